"""Result objects before software not written by us: dicom3tools, DCMTK, highdicom, dcmqi."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import pydicom
from pydicom.dataset import Dataset

from node.phantom import PhantomStudy
from node.results import LADDER, codes, downgrade, wording
from node.spine.anatomy import LEVELS, Condition, Level
from tests.conformance.cases import Case, of_phantom
from tests.results_study import small_study

#: What dicom3tools of 2022 says about objects that are right, and why.
EXPLAINED = (
    "Device UID",  # DeviceUID in Contributing Equipment: IHE AIR asks for it, the tool is older
    "Standard Extended SOP Class",  # the same
    "<99LSPINEAI>",  # a private coding scheme, identified in the object
    "needed to build DICOMDIR",  # the source itself has no patient ID or study date
    "Retired Person Name form",  # the source's name has no parts: it stays as it came
)

GOLDEN = Path(__file__).parent.parent / "golden" / "report.json"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def complaints(path: Path) -> list[str]:
    """Return what dciodvfy says that is not explained above."""
    told = run("/usr/bin/dciodvfy", path)
    lines = (told.stdout + told.stderr).splitlines()
    return [
        line
        for line in lines
        if line.startswith(("Error", "Warning")) and not any(e in line for e in EXPLAINED)
    ]


def unexplained(files: Sequence[Path]) -> list[str]:
    return [line for path in files for line in complaints(path)]


def test_dciodvfy_finds_no_error_and_no_unexplained_warning(case: Case) -> None:
    """Every report, capture and overlay."""
    assert unexplained(case.files) == []


def test_dciodvfy_is_able_to_complain(case: Case, tmp_path: Path) -> None:
    """The check can fail: a capture without its study date is an error."""
    broken = pydicom.dcmread(case.files[0])
    del broken.StudyDate
    broken.save_as(tmp_path / "broken.dcm")

    assert any(line.startswith("Error") for line in complaints(tmp_path / "broken.dcm"))


def test_dcmtk_reads_the_whole_report(case: Case, tmp_path: Path) -> None:
    """Dsrdump, dsr2html and dsr2xml end well; every comment is there; names break no markup."""
    report = case.report
    dumped = run("/usr/bin/dsrdump", "+Pl", report)
    rendered = run("/usr/bin/dsr2html", report, tmp_path / "report.html")
    marked_up = run("/usr/bin/dsr2xml", report, tmp_path / "report.xml")

    assert (dumped.returncode, rendered.returncode, marked_up.returncode) == (0, 0, 0)
    assert ET.parse(tmp_path / "report.xml").getroot().tag == "report"  # noqa: S314
    assert not [line for line in dumped.stderr.splitlines() if line.startswith("E:")]
    assert dumped.stdout.count('"Measurement Group"') == len(case.reported)
    assert dumped.stdout.count("NOT VERIFIED") >= len(case.reported)


def test_every_rung_of_the_ladder_is_legal(case: Case, tmp_path: Path) -> None:
    """As Comprehensive SR and as Enhanced SR: no error, and DCMTK reads the whole tree."""
    whole = run("/usr/bin/dsrdump", case.report).stdout.splitlines()
    for sop_class in LADDER[LADDER.index(case.built.report.SOPClassUID) + 1 :]:
        lower = tmp_path / f"{sop_class}.dcm"
        downgrade(case.built.report, sop_class).save_as(lower, enforce_file_format=True)
        dumped = run("/usr/bin/dsrdump", lower)

        assert complaints(lower) == []
        assert dumped.returncode == 0
        assert dumped.stdout.splitlines()[1:] == whole[1:]  # the first line names the class


def test_highdicom_reads_all_groups_with_grade_level_and_side(case: Case) -> None:
    """A foreign reader gets the findings out again, coded."""
    report = hd.sr.srread(case.report)
    groups = report.content.get_planar_roi_measurement_groups()
    found = {
        (str(g.tracking_identifier), str(f.condition), f.level)
        for g in groups
        for f in case.study.findings.findings
        if g.tracking_identifier == f"{f.level.label} {f.condition.label}"
    }

    assert len(groups) == len(found) == len(case.reported)
    for group in groups:
        finding = next(
            f
            for f in case.study.findings.findings
            if group.tracking_identifier == f"{f.level.label} {f.condition.label}"
        )
        assert finding.grade is not None
        (site,) = group.finding_sites
        assert site.value == codes.site_code(finding.condition.group)
        assert site.topographical_modifier == codes.level_code(finding.level)
        side = finding.condition.side
        assert site.laterality == (codes.side_code(side) if side else None)
        answers = group.get_qualitative_evaluations(codes.question_code(finding.condition.group))
        assert [a.value for a in answers] == [codes.grade_code(finding.grade)]
        assert len(group.get_measurements()) == 4
        assert group.reference_type == codes.code("Image Region")


def test_dcmqi_reads_all_groups_with_site_side_and_grade(case: Case, tmp_path: Path) -> None:
    """Its tid1500reader drops the level of a site, so the tracking identifier has to tell it."""
    metadata = tmp_path / "metadata.json"
    reader_path = Path(sys.executable).with_name("tid1500reader")
    told = run(reader_path, "--inputDICOM", case.report, "--outputMetadata", metadata)
    read = json.loads(metadata.read_text("utf-8"))

    assert told.returncode == 0
    assert (read["CompletionFlag"] == "COMPLETE") == (case.study.findings.status == "complete")
    assert read["VerificationFlag"] == "UNVERIFIED"
    groups = read["Measurements"]
    assert len(groups) == len(case.reported)
    for group, finding in zip(groups, case.reported, strict=True):
        assert finding.grade is not None
        kind, side = finding.condition.group, finding.condition.side
        assert group["TrackingIdentifier"] == f"{finding.level.label} {finding.condition.label}"
        assert group["FindingSite"]["CodeValue"] == codes.site_code(kind).value
        assert group.get("Laterality", {}).get("CodeMeaning") == (side and side.value.capitalize())
        answers = {e["conceptCode"]["CodeValue"]: e for e in group["qualitativeEvaluations"]}
        answer = answers[codes.question_code(kind).value]["conceptValue"]
        assert answer["CodeValue"] == codes.grade_code(finding.grade).value
        values = [float(item["value"]) for item in group["measurementItems"]]
        percents = wording.percents(finding)
        assert values == [percents[finding.grade], *percents.values()]


def sequences(item: Dataset) -> Iterator[Dataset]:
    """Yield every item of every sequence, at any depth."""
    for element in item:
        if element.VR == "SQ":
            for below in element.value:
                yield below
                yield from sequences(below)


def test_every_coded_triplet_is_in_the_table(case: Case) -> None:
    """No object holds a code that is not in codes.csv."""
    known = {(c.value, c.scheme_designator, c.meaning) for c in codes.table().values()}
    for path in case.files:
        held = {
            (str(i.CodeValue), str(i.CodingSchemeDesignator), str(i.CodeMeaning))
            for i in sequences(pydicom.dcmread(path))
            if "CodeValue" in i
        }
        assert held
        assert held <= known


def test_every_reference_resolves(case: Case) -> None:
    """Each referenced instance is one of the study or one of the objects, class included."""
    made = {str(o.SOPInstanceUID): str(o.SOPClassUID) for o in case.built.objects}
    sources = {uid: str(h.SOPClassUID) for uid, h in case.study.headers.items()}
    for path in case.files:
        data = pydicom.dcmread(path)
        assert data.StudyInstanceUID == case.study.findings.study_uid
        for item in sequences(data):
            if "ReferencedSOPInstanceUID" in item:
                uid = str(item.ReferencedSOPInstanceUID)
                assert {**made, **sources}[uid] == item.ReferencedSOPClassUID


def test_every_coordinate_is_inside_its_image(case: Case) -> None:
    """Report and overlay points lie within 0 to Columns and 0 to Rows."""
    for path in case.files:
        for item in sequences(pydicom.dcmread(path)):
            if item.get("GraphicType") == "POINT":
                image = item.ContentSequence[0].ReferencedSOPSequence[0]
                header = case.study.headers[image.ReferencedSOPInstanceUID]
                column, row = item.GraphicData
                assert 0 <= column <= header.Columns
                assert 0 <= row <= header.Rows


def test_left_is_left_in_patient_space(phantom: PhantomStudy) -> None:
    """A left finding's point in the report lies at a larger patient x than its right twin."""
    study = of_phantom(phantom)
    places = {
        (s.sop_instance_uid, s.frame_number): s.plane
        for volume in study.volumes.values()
        for s in volume.slices
    }
    x = {}
    for item in sequences(study.build().report):
        names = [i for i in item.get("ContentSequence", []) if i.ValueType == "TEXT"]
        regions = [i for i in item.get("ContentSequence", []) if i.ValueType == "SCOORD"]
        if names and regions:
            uid = regions[0].ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            column, row = regions[0].GraphicData
            x[str(names[0].TextValue)] = places[uid, None].to_patient(column - 0.5, row - 0.5)[0]

    for level in LEVELS:
        for kind in ("neural foraminal narrowing", "subarticular stenosis"):
            assert x[f"{level.label} Left {kind}"] > x[f"{level.label} Right {kind}"] + 5


def tree(item: Dataset) -> list[Any]:
    """Return a content item as ``[relationship, type, concept, value, items below]``."""
    name = item.get("ConceptNameCodeSequence")
    kind = str(item.ValueType)
    value: dict[str, Callable[[], Any]] = {
        "CODE": lambda: str(item.ConceptCodeSequence[0].CodeMeaning),
        "TEXT": lambda: str(item.TextValue),
        "UIDREF": lambda: str(item.UID),
        "NUM": lambda: f"{item.MeasuredValueSequence[0].NumericValue} %",
        "SCOORD": lambda: [round(float(v), 3) for v in item.GraphicData],
        "IMAGE": lambda: str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID),
        "CONTAINER": lambda: str(item.ContinuityOfContent),
    }
    below = [tree(i) for i in item.get("ContentSequence", [])]
    concept = str(name[0].CodeMeaning) if name else ""
    relationship = str(item.get("RelationshipType", ""))
    return [relationship, kind, concept, value[kind](), *([below] if below else [])]


def test_the_content_tree_is_the_golden_one() -> None:
    """A difference here is a difference in what a hospital receives.

    Run once with LUMBAR_UPDATE_GOLDEN=1 to accept a wanted one, and read the diff.
    """
    study = small_study()
    gone = study.findings.finding(Condition.LEFT_SUBARTICULAR_STENOSIS, Level.L5_S1)
    made = study.build(study.with_findings(gone.not_assessed("outside the axial slab"))).report
    found = tree(made)
    if os.environ.get("LUMBAR_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n", "utf-8")

    assert found == json.loads(GOLDEN.read_text("utf-8"))
