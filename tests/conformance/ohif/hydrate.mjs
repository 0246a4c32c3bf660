// What OHIF makes of a structured report when a reader answers "Yes, track": its own adapter.
//
// node hydrate.cjs SR.dcm planes.json > tracked.json      (hydrate.cjs: this file, bundled)
// planes.json: {"<SOP Instance UID>:<frame>": imagePlaneModule of that frame}.
// A measurement group that cannot be tracked is missing from tracked.json; why is on stderr.

import { readFileSync } from "node:fs";

import { adaptersSR } from "@cornerstonejs/adapters";
import { metaData } from "@cornerstonejs/core";
import { data } from "dcmjs";

const [reportFile, planesFile] = process.argv.slice(2);
const planes = JSON.parse(readFileSync(planesFile, "utf8"));
const bytes = readFileSync(reportFile);
const read = data.DicomMessage.readFile(
  bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
);
const report = data.DicomMetaDictionary.naturalizeDataset(read.dict);

console.log = () => {}; // the adapter tells every measurement
const planeOf = (type, imageId) => (type === "imagePlaneModule" ? planes[imageId] : undefined);
metaData.addProvider(planeOf);
const { MeasurementReport } = adaptersSR.Cornerstone3D;
const state = MeasurementReport.generateToolState(
  report,
  Object.fromEntries(Object.keys(planes).map((key) => [key, key])),
  metaData,
);

const tracked = Object.entries(state).flatMap(([tool, annotations]) =>
  annotations.map(({ annotation, finding, findingSites, TrackingUniqueIdentifier }) => ({
    tool,
    label: annotation.data.label,
    value: Object.values(annotation.data.cachedStats)[0]?.value,
    image: annotation.metadata.referencedImageId,
    point: Array.from(annotation.data.handles.points[0]),
    finding: finding?.CodeMeaning,
    sites: findingSites.map((site) => site.CodeMeaning),
    uid: TrackingUniqueIdentifier,
  })),
);
process.stdout.write(JSON.stringify(tracked));
