"""The exports before software not written by us: fhir.resources, DCMTK's dcm2pdf, Pillow."""

import io
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from fhir.resources.bundle import Bundle
from fhir.resources.R4B.bundle import Bundle as BundleR4B
from PIL import Image
from pydicom.dataset import Dataset

from node import result_folder
from node.config import Report
from node.results import ResultSet, codes, read_report
from node.spine.findings import Finding
from tests.conformance.test_results import sequences
from tests.results_study import CREATED, small_study

MODELS: dict[str, Any] = {"r4": BundleR4B, "r5": Bundle}


@cache
def built(version: str) -> ResultSet:
    """Return the results of a study with three findings not assessed."""
    study = small_study()
    gone = [study.findings.findings[i] for i in (0, 7, 24)]
    found = study.with_findings(*(f.not_assessed("outside the axial slab") for f in gone))
    return study.build(found, settings={"fhir": version, "pdf": True})


def coded(concept: Any) -> str:
    return str(concept.coding[0].code)


def tracking_uids(report: Dataset) -> list[str]:
    named = [i for i in sequences(report) if i.get("ValueType") == "UIDREF"]
    tracking = codes.code("Tracking Unique Identifier").value
    return [str(i.UID) for i in named if i.ConceptNameCodeSequence[0].CodeValue == tracking]


@pytest.mark.parametrize("version", MODELS)
def test_fhir_and_report_agree_value_by_value(version: str) -> None:
    """Valid in its version; grade, percents, place and reason of each finding are the report's."""
    results = built(version)
    bundle = MODELS[version].model_validate(results.fhir)
    report, device, *observations = [entry.resource for entry in bundle.entry]
    findings = read_report(results.report)

    assert report.status == "partial"
    assert report.identifier[0].value == f"urn:oid:{results.report.SOPInstanceUID}"
    assert report.subject.identifier.value == results.report.PatientID
    texts = [str(i.TextValue) for i in sequences(results.report) if "TextValue" in i]
    assert report.conclusion in texts
    assert [r.reference for r in report.result] == [e.fullUrl for e in bundle.entry[2:]]
    assert device.serialNumber == results.report.DeviceSerialNumber
    assert len(observations) == len(findings) == 25
    for observation, finding in zip(observations, findings, strict=True):
        assert_same(observation, finding, version)
    tracked = [o.identifier[0].value for o in observations if o.valueCodeableConcept]
    assert tracked == [f"urn:oid:{uid}" for uid in tracking_uids(results.report)]
    urls = [entry.fullUrl.removeprefix("urn:uuid:") for entry in bundle.entry]
    assert [f"urn:oid:2.25.{UUID(u).int}" for u in urls] == [
        entry.resource.identifier[0].value for entry in bundle.entry
    ]


def assert_same(observation: Any, finding: Finding, version: str) -> None:
    kind, side = finding.condition.group, finding.condition.side
    parts = {coded(c.code): c for c in observation.component}
    level = parts[codes.code("Topographical modifier").value].valueCodeableConcept
    laterality = parts.get(codes.code("Laterality").value)
    assert observation.status == "preliminary"
    assert coded(observation.code) == codes.question_code(kind).value
    assert coded(observation.bodySite) == codes.site_code(kind).value
    assert coded(level) == codes.level_code(finding.level).value
    assert (laterality and coded(laterality.valueCodeableConcept)) == (
        codes.side_code(side).value if side else None
    )
    if finding.grade is None or finding.probabilities is None:
        assert observation.valueCodeableConcept is None
        assert observation.dataAbsentReason.text == finding.reason
        assert len(parts) == (2 if side else 1)
        return
    assert coded(observation.valueCodeableConcept) == codes.grade_code(finding.grade).value
    shown = {name: float(p.valueQuantity.value) for name, p in parts.items() if p.valueQuantity}
    expected = {codes.probability_code(g).value: 100 * p for g, p in finding.probabilities.items()}
    expected[codes.code("Certainty of Finding").value] = 100 * finding.probabilities[finding.grade]
    assert shown == pytest.approx(expected, abs=1e-6)
    if version == "r5":
        (instance,) = observation.contained[0].instance
        assert instance.uid == finding.sop_instance_uid
        point = [float(x) - 0.5 for x in instance.imageRegion2D[0].coordinate]
        assert point == pytest.approx([finding.column, finding.row])


def test_the_document_shows_the_pages(tmp_path: Path) -> None:
    """DCMTK takes out the PDF; it holds the six pages, as good as they were drawn."""
    results = built("off")
    assert results.document is not None
    results.document.save_as(tmp_path / "pdf.dcm", enforce_file_format=True)
    subprocess.run(["/usr/bin/dcm2pdf", tmp_path / "pdf.dcm", tmp_path / "pages.pdf"], check=True)
    pdf = (tmp_path / "pages.pdf").read_bytes()
    pictures = re.findall(rb"stream\r?\n(\xff\xd8\xff.*?)\r?\nendstream", pdf, re.DOTALL)

    assert pdf.startswith(b"%PDF-")
    assert b"/Title" in pdf
    assert len(pictures) == len(results.pages) == 6
    for picture, page in zip(pictures, results.pages.values(), strict=True):
        shown = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=np.int16)
        assert np.abs(shown - np.asarray(page)).mean() < 3


def test_documents_exports_and_selections_are_off_by_default() -> None:
    """A site gets what it asks for; and asking for more changes no other object."""
    plain, more = small_study().build(), built("r4")

    assert (plain.document, plain.key_objects, plain.fhir) == (None, None, None)
    assert more.document is not None
    whole = small_study().build(settings={"fhir": "r5", "pdf": True, "key_objects": True})
    assert [o.SOPInstanceUID for o in plain.objects] == [
        o.SOPInstanceUID for o in whole.objects if o.Modality not in ("DOC", "KO")
    ]
    assert [o.Modality for o in whole.objects][-3:] == ["DOC", "SR", "KO"]


def test_the_result_folder_holds_what_was_asked_for_and_can_be_replaced(tmp_path: Path) -> None:
    """In delivery order: captures, overlays, PDF, report, key objects; the export is no object."""
    study, folder = small_study(), tmp_path / "out"
    settings = Report(pdf=True, key_objects=True, fhir="r4", overlays=False)

    def write(settings: Report) -> list[str]:
        made = result_folder.write(
            *(folder, study.findings, study.headers, study.volumes),
            settings=settings,
            created=CREATED,
        )
        return [path.name for path in made]

    assert write(settings)[6:] == ["pdf.dcm", "sr.dcm", "ko.dcm"]
    assert BundleR4B.model_validate_json((folder / "fhir.json").read_bytes()).entry
    assert write(Report(overlays=False))[6:] == ["sr.dcm"]
    assert not (folder / "fhir.json").exists()
