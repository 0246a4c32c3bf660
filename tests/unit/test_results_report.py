"""The report's rules (SR-01 to SR-36), on a small study."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from node.results import wording
from node.spine.anatomy import ALL_FINDINGS, Condition, Grade, Level
from node.spine.findings import ModelUse, nothing_assessed
from tests.builders import part10
from tests.results_study import MODELS, PATIENT, SmallStudy, small_study


@pytest.fixture(scope="module")
def study() -> SmallStudy:
    return small_study()


@pytest.fixture(scope="module")
def report(study: SmallStudy) -> Dataset:
    return study.build(settings={"overlays": False}).report


def walk(item: Dataset) -> Iterator[Dataset]:
    for below in item.get("ContentSequence", []):
        yield below
        yield from walk(below)


def meaning(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def groups(report: Dataset) -> list[Dataset]:
    return [i for i in walk(report) if meaning(i) == "Measurement Group"]


def items(group: Dataset, name: str) -> list[Dataset]:
    return [i for i in group.ContentSequence if meaning(i) == name]


def narrative(report: Dataset) -> str:
    return next(str(i.TextValue) for i in walk(report) if meaning(i) == "Narrative Summary")


def test_the_flags_never_claim_more_than_research(report: Dataset) -> None:
    """COMPLETE means 25 of 25; verified, final or product it never is."""
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert report.CompletionFlag == "COMPLETE"
    assert report.VerificationFlag == "UNVERIFIED"
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert report.ContentQualification == "RESEARCH"
    assert report.SeriesDescription == "AI lumbar stenosis - NOT VERIFIED"
    assert (report.Modality, report.SeriesNumber) == ("SR", 9901)


def test_patient_and_study_are_copied_and_text_is_utf8(report: Dataset) -> None:
    """A PACS files the report under the patient it came from."""
    assert report.SpecificCharacterSet == "ISO_IR 192"
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyID"):
        assert str(report[keyword].value) == PATIENT[keyword]


def test_every_instance_of_the_run_is_evidence(study: SmallStudy, report: Dataset) -> None:
    """Also the pages the groups point at; none of it twice (SR-13)."""
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    uids = [
        i.ReferencedSOPInstanceUID
        for s in evidence.ReferencedSeriesSequence
        for i in s.ReferencedSOPSequence
    ]

    assert evidence.StudyInstanceUID == study.findings.study_uid
    assert len(uids) == len(set(uids)) == len(study.headers) + 5
    assert set(study.headers) <= set(uids)
    assert "PertinentOtherEvidenceSequence" not in report


def test_all_containers_are_separate_and_all_items_have_names(report: Dataset) -> None:
    """Weasis hides names in continuous text; OHIF stops at an item without one (SR-22, SR-25)."""
    for item in (report, *walk(report)):
        assert item.ConceptNameCodeSequence
        if item.ValueType == "CONTAINER":
            assert item.ContinuityOfContent == "SEPARATE"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert {g.ContentTemplateSequence[0].TemplateIdentifier for g in groups(report)} == {"1410"}


def test_each_group_says_what_where_and_how_sure(study: SmallStudy, report: Dataset) -> None:
    """Tracking, site with side and level, grade, four percents, one point on the key slice."""
    for finding, group in zip(study.findings.findings, groups(report), strict=True):
        assert finding.probabilities is not None
        assert finding.column is not None
        assert finding.row is not None
        (tracking,) = items(group, "Tracking Identifier")
        assert tracking.TextValue == wording.name(finding)
        (site,) = items(group, "Finding Site")
        assert site.RelationshipType == "HAS CONCEPT MOD"
        below = {meaning(i): i.ConceptCodeSequence[0].CodeMeaning for i in site.ContentSequence}
        side = {"Laterality": finding.condition.side.capitalize()} if finding.condition.side else {}
        assert below == {
            **side,
            "Topographical modifier": f"Level of {finding.level.label} intervertebral disc",
        }
        numbers = [i for i in group.ContentSequence if i.ValueType == "NUM"]
        values = [float(i.MeasuredValueSequence[0].NumericValue) for i in numbers]
        assert meaning(numbers[0]) == "Certainty of Finding"
        assert values[0] == max(values[1:])
        assert round(sum(values[1:]), 6) == 100.0
        units = {
            i.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue for i in numbers
        }
        assert units == {"%"}
        (region,) = [i for i in group.ContentSequence if i.ValueType == "SCOORD"]
        assert region.GraphicType == "POINT"
        assert region.GraphicData == pytest.approx([finding.column + 0.5, finding.row + 0.5])
        (image,) = region.ContentSequence
        assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == finding.sop_instance_uid
        assert items(group, "Comment")[0].TextValue == wording.comment(finding)


def test_tracking_uids_are_unique_and_first_in_their_group(report: Dataset) -> None:
    """OHIF merges groups of one UID and takes the first UIDREF for it (SR-23, SR-24)."""
    uids = []
    for group in groups(report):
        (reference,) = [i for i in group.ContentSequence if i.ValueType == "UIDREF"]
        uids.append(reference.UID)
        assert not items(group, "Tracking Identifier")[0].TextValue.startswith("Cornerstone")

    assert len(set(uids)) == 25


def test_no_disorder_is_asserted_for_normal_or_mild(study: SmallStudy, report: Dataset) -> None:
    """Finding is written for moderate and severe only (SR-30)."""
    for finding, group in zip(study.findings.findings, groups(report), strict=True):
        assert len(items(group, "Finding")) == (finding.grade is not Grade.NORMAL_MILD)


def test_the_algorithm_names_each_model_with_its_hash(study: SmallStudy, report: Dataset) -> None:
    """Which file made this finding, which rule decided, how it was calibrated."""
    group = groups(report)[0]
    parameters = [str(i.TextValue) for i in items(group, "Algorithm Parameters")]

    assert items(group, "Algorithm Name")[0].TextValue == "severity_canal"
    assert [p.split()[0] for p in parameters[:3]] == [
        "instance_canal",
        "coordinate_canal",
        "severity_canal",
    ]
    assert all(p.split("sha256=")[1] in {m.sha256 for m in MODELS} for p in parameters[:3])
    assert parameters[3] == "decision=argmax"
    assert parameters[4].startswith("calibration=")


def test_the_region_copy_can_be_switched_off(study: SmallStudy, report: Dataset) -> None:
    """On: the first NUM carries the point, for OHIF. Off: strict TID 1410 (SR-26)."""
    strict = study.build(settings={"region_copy_under_num": False}).report

    for group in groups(report):
        (copy,) = items(group, "Certainty of Finding")[0].ContentSequence
        assert (copy.ValueType, copy.RelationshipType) == ("SCOORD", "INFERRED FROM")
    for group in groups(strict):
        assert "ContentSequence" not in items(group, "Certainty of Finding")[0]


def test_comprehensive_sr_holds_the_same_tree(study: SmallStudy, report: Dataset) -> None:
    """The older class for an older PACS; only the class and the UIDs differ."""
    older = study.build(settings={"sop_class": "comprehensive"}).report

    assert older.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.33"
    assert older.SOPInstanceUID != report.SOPInstanceUID
    assert [meaning(i) for i in walk(older)] == [meaning(i) for i in walk(report)]


def test_abnormal_only_still_tells_the_normal_ones(study: SmallStudy) -> None:
    """A missing group never means "normal": the narrative names every finding."""
    few = study.build(settings={"groups": "abnormal"}).report
    abnormal = [f for f in study.findings.findings if f.grade is not Grade.NORMAL_MILD]

    assert 0 < len(groups(few)) == len(abnormal) < 25
    assert few.CompletionFlag == "COMPLETE"
    assert "Only moderate and severe findings have a measurement group" in narrative(few)
    assert narrative(few).count("Normal/Mild") == 25 - len(abnormal)


def test_what_is_not_assessed_has_no_group_and_makes_the_report_partial(study: SmallStudy) -> None:
    """Never a default grade: the finding is named with its reason (SR-31)."""
    gone = study.findings.finding(Condition.LEFT_SUBARTICULAR_STENOSIS, Level.L3_L4)
    partial = study.build(study.with_findings(gone.not_assessed("no axial slice"))).report

    assert len(groups(partial)) == 24
    assert partial.CompletionFlag == "PARTIAL"
    assert "1 of 25" in partial.CompletionFlagDescription
    assert "NOT ASSESSED L3/L4 Left subarticular stenosis: no axial slice" in narrative(partial)


def test_a_study_without_any_finding_gets_a_report_that_says_why(study: SmallStudy) -> None:
    """Silence would look like "normal"."""
    nothing = replace(study.findings, findings=nothing_assessed("not MR: CT"), models=())
    empty = SmallStudy(study.headers, {}, nothing).build()

    assert not groups(empty.report)
    assert empty.report.CompletionFlag == "PARTIAL"
    assert narrative(empty.report).count("not MR: CT") == 25
    assert "Nothing in this study could be assessed." in narrative(empty.report)
    assert list(empty.pages) == ["summary"]
    assert not empty.overlays


def test_a_rerun_names_its_predecessor_in_the_same_series(
    study: SmallStudy, report: Dataset
) -> None:
    """New version: new document, same series, next number, the old one referenced (SR-16)."""
    newer = replace(study.findings, node_version="0.2.0")
    rerun = study.build(newer, earlier=[report]).report

    assert rerun.SOPInstanceUID != report.SOPInstanceUID
    assert rerun.SeriesInstanceUID == report.SeriesInstanceUID
    assert rerun.InstanceNumber == 2
    (document,) = rerun.PredecessorDocumentsSequence
    (series,) = document.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == report.SOPInstanceUID


def test_enhanced_sources_are_referenced_by_frame() -> None:
    """OHIF shows frame 1 when the frame number is missing (SR-32)."""
    study = small_study(is_enhanced=True)
    built = study.build()

    for finding, group in zip(study.findings.findings, groups(built.report), strict=True):
        (region,) = [i for i in group.ContentSequence if i.ValueType == "SCOORD"]
        reference = region.ContentSequence[0].ReferencedSOPSequence[0]
        assert reference.ReferencedFrameNumber == finding.frame_number
        assert reference.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.4.1"
    assert built.overlays


def test_a_point_at_the_rim_stays_inside_the_image(study: SmallStudy) -> None:
    """SCOORD values lie within 0 to Columns and 0 to Rows (PS3.3 C.18.6.1.2)."""
    rim = replace(study.findings.findings[0], column=-0.7, row=1e6)
    built = study.build(study.with_findings(rim))

    (region,) = [i for i in groups(built.report)[0].ContentSequence if i.ValueType == "SCOORD"]
    assert list(region.GraphicData) == [0.0, float(study.headers[str(rim.sop_instance_uid)].Rows)]


def test_an_assessed_finding_needs_a_point(study: SmallStudy) -> None:
    """A group without a region would blank OHIF: it is never built."""
    pointless = replace(study.findings.findings[0], column=None)

    with pytest.raises(ValueError, match="no point"):
        study.build(study.with_findings(pointless))


def test_a_result_needs_a_header(study: SmallStudy) -> None:
    """Nobody could tell whose result it is."""
    with pytest.raises(ValueError, match="header"):
        SmallStudy({}, {}, study.findings).build()


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 100", "Äneas^Rüdiger"),
        ("ISO_IR 192", '<b>&amp;^"O\'Neil"'),
    ],
)
def test_names_survive_any_character_set(charset: Any, name: str) -> None:
    """The source's name, byte for byte readable after a trip through a file."""
    header = Dataset()
    header.SpecificCharacterSet = charset
    header.PatientName = name
    raw = BytesIO()
    pydicom.dcmwrite(raw, header, implicit_vr=False, little_endian=True, enforce_file_format=False)
    raw.seek(0)
    read = pydicom.dcmread(raw, force=True)
    study = small_study(
        SpecificCharacterSet=read.SpecificCharacterSet, PatientName=read.PatientName
    )

    written = BytesIO()
    study.build(settings={"overlays": False}).report.save_as(written)
    written.seek(0)

    assert str(pydicom.dcmread(written).PatientName) == name


def test_text_inside_sequences_is_re_encoded_too() -> None:
    """A code meaning in Latin-1 stays readable in an object that is UTF-8."""
    procedure = Dataset()
    procedure.CodeValue, procedure.CodingSchemeDesignator = "X1", "99SITE"
    procedure.CodeMeaning = "MRT Lendenwirbelsäule"
    source = Dataset()
    source.SpecificCharacterSet = "ISO_IR 100"
    source.ProcedureCodeSequence = [procedure]
    raw = BytesIO()
    pydicom.dcmwrite(raw, source, implicit_vr=False, little_endian=True, enforce_file_format=False)
    raw.seek(0)
    read = pydicom.dcmread(raw, force=True)
    study = small_study(ProcedureCodeSequence=read.ProcedureCodeSequence)

    written = BytesIO()
    study.build(settings={"overlays": False}).report.save_as(written)
    written.seek(0)

    (item,) = pydicom.dcmread(written).PerformedProcedureCodeSequence
    assert item.CodeMeaning == "MRT Lendenwirbelsäule"


def test_missing_and_broken_header_values_become_empty() -> None:
    """Type 2 attributes are there; what its value representation forbids is left out."""
    absent: dict[str, Any] = dict.fromkeys(PATIENT)
    with pytest.warns(UserWarning, match="Invalid value"):
        study = small_study(
            **{**absent, "StudyDate": "2026-99", "PatientAge": "old", "PatientSex": "W"}
        )
        built = study.build()

    for made in built.objects:
        for keyword in ("PatientName", "PatientID", "StudyDate", "StudyTime", "PatientSex"):
            assert keyword in made
            assert not str(made[keyword].value or "")
        assert "PatientAge" not in made
        assert made.ContributingEquipmentSequence[0].Manufacturer == "unknown"


def test_times_are_in_the_zone_the_source_states() -> None:
    """One clock for all dates of an object, copied ones included (PS3.3 C.12.1.1.8)."""
    there = small_study(TimezoneOffsetFromUTC="+0900").build().report
    unsaid = small_study().build().report

    assert (there.TimezoneOffsetFromUTC, there.ContentTime) == ("+0900", "192030")
    assert "TimezoneOffsetFromUTC" not in unsaid
    assert unsaid.ContentTime == "102030"


def test_series_numbers_avoid_those_of_the_study() -> None:
    """9901 to 9905, or a hundred higher when the study uses one (3.4)."""
    built = small_study(SeriesNumber=9902).build()

    assert built.report.SeriesNumber == 10001
    assert {c.SeriesNumber for c in built.captures} == {10002}


def test_the_order_behind_the_images_is_named() -> None:
    """Accession number and requested procedure, where the images carry them (SR-14)."""
    request = Dataset()
    request.RequestedProcedureID = "RP1"
    (item,) = (
        small_study(RequestAttributesSequence=[request]).build().report.ReferencedRequestSequence
    )

    assert item.AccessionNumber == PATIENT["AccessionNumber"]
    assert item.RequestedProcedureID == "RP1"
    no_order = small_study(AccessionNumber=None).build().report
    assert "ReferencedRequestSequence" not in no_order


def test_contrast_chooses_the_procedure_code() -> None:
    """With an agent in every image: with contrast (2.6)."""
    with_agent = small_study(ContrastBolusAgent="Gadolinium").build().report
    procedure = next(i for i in walk(with_agent) if meaning(i) == "Procedure reported")

    assert procedure.ConceptCodeSequence[0].CodeValue == "30678-7"


def test_warnings_reach_the_narrative(study: SmallStudy) -> None:
    """What a reader should know although the finding stands."""
    warned = replace(study.findings.findings[2], warnings=("axial and sagittal disagree",))
    text = narrative(study.build(study.with_findings(warned)).report)

    assert "WARNING L3/L4 Spinal canal stenosis: axial and sagittal disagree" in text


def test_two_builds_give_the_same_bytes(study: SmallStudy) -> None:
    """Same input, models and time: byte-identical objects."""

    def raw() -> list[bytes]:
        settings = {"pdf": True, "key_objects": True}
        return [part10(one) for one in study.build(settings=settings).objects]

    assert raw() == raw()


def test_groups_come_in_the_order_of_all_tables(study: SmallStudy, report: Dataset) -> None:
    """The report lists findings as every table and page does."""
    names = [items(g, "Tracking Identifier")[0].TextValue for g in groups(report)]

    assert names == [f"{level.label} {condition.label}" for condition, level in ALL_FINDINGS]


def reported(study: SmallStudy, models: tuple[ModelUse, ...], earlier: list[Dataset]) -> Dataset:
    return study.build(replace(study.findings, models=models), earlier=earlier).report


def replaced_by(report: Dataset) -> list[str]:
    """Return the reports that a report replaces."""
    return [
        str(instance.ReferencedSOPInstanceUID)
        for document in report.get("PredecessorDocumentsSequence", [])
        for series in document.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]


def test_a_new_model_file_replaces_the_report_and_a_return_to_the_old_one_changes_nothing(
    study: SmallStudy,
) -> None:
    """Each document replaces the newest before it; made once more, it is the same document."""
    retrained = (replace(MODELS[0], sha256="f" * 64), *MODELS[1:])
    first = reported(study, MODELS, [])
    second = reported(study, retrained, [first])
    third = reported(study, MODELS[:-1], [first, second])

    assert len({r.SOPInstanceUID for r in (first, second, third)}) == 3
    assert len({r.SeriesInstanceUID for r in (first, second, third)}) == 1
    assert [r.InstanceNumber for r in (first, second, third)] == [1, 2, 3]
    assert [replaced_by(r) for r in (first, second, third)] == [
        [], [first.SOPInstanceUID], [second.SOPInstanceUID]
    ]  # fmt: skip
    sent = [first, second, third]
    assert part10(reported(study, MODELS, sent)) == part10(first)
    assert part10(reported(study, retrained, sent)) == part10(second)


def test_a_report_after_a_failure_replaces_the_report_of_the_failure(study: SmallStudy) -> None:
    """Why nothing was run is part of the identity, so two reasons are two documents."""
    why = [
        replace(study.findings, findings=nothing_assessed(w), models=(), reasons=(w,))
        for w in ("internal error", "no usable series")
    ]
    failed = study.build(why[0]).report
    refused = study.build(why[1], earlier=[failed]).report
    found = study.build(earlier=[failed, refused]).report

    assert replaced_by(refused) == [failed.SOPInstanceUID]
    assert replaced_by(found) == [refused.SOPInstanceUID]
