// OHIF's configuration on this node: one data source, on the port that the viewer came from.

// OHIF draws a point of a report as a ring without words. As an arrow it carries its label, short
// enough to stand beside the spine. The tail lies behind the point (LPS, mm), in the plane of
// sagittal and of axial images; the two of an axial image are not equally long, so that one label
// does not cover the other, and these labels begin to the right of the patient, so that the edge
// does not cut them. Points of other software stay as they are.
const OURS = /^AI (\S+) (.+) (?:stenosis|narrowing): (.+)$/;

function asArrow(measurement) {
  const { data } = measurement.annotation;
  const [, level, where, grade] = data.label.match(OURS);
  const [[x, y, z]] = data.handles.points;
  const behind = y + (where === 'Right subarticular' ? 28 : 20);
  const aside = where.endsWith('subarticular') ? 35 : 0;
  data.label = `AI ${level} ${where.replace(/neural |Spinal /, '')}: ${grade}`;
  data.handles = {
    points: [[x, y, z], [x, behind, z]],
    arrowFirst: true,
    textBox: { hasMoved: true, worldPosition: [x - aside, behind, z] },
  };
  data.cachedStats = {};
  return measurement;
}

// OHIF opens a report on its last point: the worst finding, the first one of that grade.
const GRADES = ['Normal/Mild', 'Moderate', 'Severe'];
const rank = ({ annotation }) => GRADES.findIndex(grade => annotation.data.label.includes(grade));

function worstLast(points) {
  const worst = points.reduce((a, b) => (rank(b) > rank(a) ? b : a), points[0]);
  return [...points.filter(point => point !== worst), ...(worst ? [worst] : [])];
}

function asArrows({ storedMeasurementByAnnotationType: { Probe = [], ...others } }) {
  const isOurs = ({ annotation }) => OURS.test(annotation.data.label);
  const arrows = worstLast(Probe.filter(isOurs).map(asArrow));
  return {
    ...others,
    Probe: Probe.filter(point => !arrows.includes(point)),
    ArrowAnnotate: [...(others.ArrowAnnotate ?? []), ...arrows],
  };
}

// Words on an image stay legible on bright fat.
const style = document.createElement('style');
style.textContent = '.svg-layer text { paint-order: stroke; stroke: #000; stroke-width: 3px; }';
document.head.append(style);

window.config = {
  name: 'lumbar-node',
  routerBasename: null,
  extensions: [],
  modes: [],
  customizationService: {
    'ohif.tours': { $set: [] },
    autoCineModalities: { $set: [] }, // its bar would cover the top of our pages
    'panelMeasurement.disableEditing': { $set: true },
    onBeforeSRHydration: { $set: { value: asArrows } },
  },
  // A report opens as measurements, without a question.
  disableConfirmationPrompts: true,
  showStudyList: false,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  maxNumberOfWebWorkers: 3,
  defaultDataSourceName: 'node',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'node',
      configuration: {
        friendlyName: 'lumbar-node',
        name: 'node',
        wadoUriRoot: '/dicom-web',
        qidoRoot: '/dicom-web',
        wadoRoot: '/dicom-web',
        qidoSupportsIncludeField: false,
        supportsFuzzyMatching: false,
        supportsWildcard: false,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: true,
        omitQuotationForMultipartRequest: true,
        bulkDataURI: { enabled: true, relativeResolution: 'studies' },
      },
    },
  ],
};
