"""The structured report: TID 1500 with one TID 1410 group for each assessed finding.

Source: PS3.16 TID 1500, 1410, 1419, 4019, 1002/1004, 1204; IHE AI Results. The order of a group's
items, its point under the first NUM and the separate containers are what real viewers need.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ComprehensiveSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    ScoordContentItem,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset

from node.results import codes, wording
from node.results.codes import code
from node.results.heading import Heading, copied, is_standard, number, text
from node.results.identity import MANUFACTURER, MODEL_NAME
from node.spine.anatomy import ALL_FINDINGS, GRADES, Grade, Level
from node.spine.findings import Finding, ModelUse

DECISION = "decision=argmax"
UNCALIBRATED = "calibration=as stated in the model card"

_CONTAINS = "CONTAINS"
_CONTEXT = "HAS OBS CONTEXT"
_MODIFIER = "HAS CONCEPT MOD"


def make_report(
    heading: Heading,
    captures: Mapping[Level, Dataset],
    *,
    calibration: str = UNCALIBRATED,
    predecessor: Dataset | None = None,
) -> Dataset:
    """Build the report of one study, also of one where nothing could be assessed.

    Parameters
    ----------
    heading : Heading
    captures : dict of Level to Dataset
        The capture page a level's groups point at.
    calibration : str
        How the probabilities were calibrated, as an algorithm parameter.
    predecessor : Dataset, optional
        The earlier report of this node that this one replaces.
    """
    found = heading.findings
    reported = [f for f in found.findings if _is_reported(f, heading.settings.groups)]
    root = _tree(heading, reported, captures, calibration)
    made = Comprehensive3DSR if heading.settings.sop_class == "comprehensive3d" else ComprehensiveSR
    # highdicom looks the first instance's SOP class up in the standard's tables.
    sources = sorted(heading.sources, key=lambda s: not is_standard(s))
    report = made(
        evidence=[*map(heading.reference, sources), *captures.values()],
        content=root,
        series_instance_uid=heading.identity.report_series_uid(),
        series_number=heading.series_number(0),
        sop_instance_uid=heading.identity.object_uid("report"),
        instance_number=1 + (number(predecessor, "InstanceNumber") if predecessor else 0),
        manufacturer=MANUFACTURER,
        is_complete=found.status == "complete",
        is_final=False,
        is_verified=False,
        requested_procedures=_request(heading),
        previous_versions=[predecessor] if predecessor else None,
        coding_schemes=[codes.private_scheme()],
        specific_character_set="ISO_IR 192",
    )
    report.SeriesDescription = ""
    heading.stamp(
        report,
        series_uid=heading.identity.report_series_uid(),
        number=heading.series_number(0),
        description="AI lumbar stenosis - NOT VERIFIED",
    )
    missing = sum(not f.is_assessed for f in found.findings)
    if missing:
        report.CompletionFlagDescription = (
            f"Not assessed: {missing} of {len(ALL_FINDINGS)}, see Narrative Summary"
        )
    report.PerformedProcedureCodeSequence = copied(
        heading.sources[0], ("ProcedureCodeSequence",)
    ).get("ProcedureCodeSequence", [])
    report.AuthorObserverSequence = [_author(heading)]
    return report


def _is_reported(finding: Finding, groups: str) -> bool:
    if groups == "abnormal" and finding.grade is Grade.NORMAL_MILD:
        return False
    return finding.is_assessed


def _tree(
    heading: Heading,
    reported: Sequence[Finding],
    captures: Mapping[Level, Dataset],
    calibration: str,
) -> ContainerContentItem:
    root = _container("Imaging Measurement Report", None, template="1500")
    groups = [_group(heading, f, captures.get(f.level), calibration) for f in reported]
    measurements = _filled(_container("Imaging Measurements", _CONTAINS), groups)
    summary = _text(
        "Narrative Summary",
        wording.narrative(heading.findings, heading.settings.groups),
        _CONTAINS,
    )
    evaluations = _filled(_container("Qualitative Evaluations", _CONTAINS), [summary])
    items: list[ContentItem] = [
        _code(
            "Language of Content Item and Descendants",
            code("English (United States)"),
            _MODIFIER,
        ),
        *_observer(heading),
        _code("Procedure reported", _procedure(heading), _MODIFIER),
    ]
    if reported:
        items.append(_library(heading, reported))
    # An empty container stays: OHIF and highdicom look it up without asking whether it is there.
    return _filled(root, [*items, measurements, evaluations])


def _group(
    heading: Heading, finding: Finding, page: Dataset | None, calibration: str
) -> ContainerContentItem:
    """Return one TID 1410 measurement group."""
    group = finding.condition.group
    assert finding.grade is not None  # noqa: S101 - only assessed findings are reported
    items: list[ContentItem] = [
        _text("Tracking Identifier", wording.name(finding), _CONTEXT),
        UIDRefContentItem(
            code("Tracking Unique Identifier"),
            heading.identity.tracking_uid(finding.key),
            _CONTEXT,
        ),
    ]
    # Consumers copy Finding into their problem list: no disorder for "normal or mild" (SR-30).
    if finding.grade is not Grade.NORMAL_MILD:
        items.append(_code("Finding", codes.disorder_code(group), _CONTAINS))
    items += [_site(finding), *_algorithm(heading, finding, calibration)]
    items += _probabilities(heading, finding)
    grade = codes.grade_code(finding.grade)
    items.append(CodeContentItem(codes.question_code(group), grade, _CONTAINS))
    items.append(_region(heading, finding, _CONTAINS))
    if page is not None:
        items.append(
            ImageContentItem(
                code("Visual explanation"),
                page.SOPClassUID,
                page.SOPInstanceUID,
                relationship_type=_CONTAINS,
            )
        )
    items.append(_text("Comment", wording.comment(finding), _CONTAINS))
    return _filled(_container("Measurement Group", _CONTAINS, template="1410"), items)


def _site(finding: Finding) -> CodeContentItem:
    """Return the finding site with its side and level."""
    condition = finding.condition
    site = _code("Finding Site", codes.site_code(condition.group), _MODIFIER)
    parts: list[ContentItem] = []
    if condition.side is not None:
        parts.append(_code("Laterality", codes.side_code(condition.side), _MODIFIER))
    parts.append(_code("Topographical modifier", codes.level_code(finding.level), _MODIFIER))
    site.ContentSequence = ContentSequence(parts)
    return site


def _algorithm(heading: Heading, finding: Finding, calibration: str) -> list[ContentItem]:
    """Return TID 4019: which models made this finding, with their file hashes."""
    models = models_of(heading.findings.models, finding)
    last = models[-1] if models else ModelUse(MODEL_NAME, heading.findings.node_version, "", "")
    parameters = [f"{m.name} {m.version} sha256={m.sha256}" for m in models]
    return [
        _code("Algorithm Family", code("Artificial Intelligence"), _MODIFIER),
        _text("Algorithm Name", last.name, _MODIFIER),
        _text("Algorithm Manufacturer", MANUFACTURER, _MODIFIER),
        _text("Algorithm Version", last.version, _MODIFIER),
        *(
            _text("Algorithm Parameters", parameter, _MODIFIER)
            for parameter in (*parameters, DECISION, calibration)
        ),
    ]


def models_of(models: Sequence[ModelUse], finding: Finding) -> list[ModelUse]:
    """Return the models behind one finding, the one that graded it last."""
    short = finding.condition.group.short
    return sorted((m for m in models if m.name.endswith(f"_{short}")), key=_stage)


def _stage(model: ModelUse) -> int:
    stages = ("instance", "coordinate", "severity")
    return next((i for i, s in enumerate(stages) if model.name.startswith(s)), 0)


def _probabilities(heading: Heading, finding: Finding) -> list[ContentItem]:
    """Return certainty and the three class probabilities, in percent."""
    percents = wording.percents(finding)
    assert finding.grade is not None  # noqa: S101 - only assessed findings are reported
    certainty = _percent(code("Certainty of Finding"), percents[finding.grade])
    if heading.settings.region_copy_under_num:
        # OHIF 3.13 looks for the region below the first NUM and nowhere else (SR-26).
        certainty.ContentSequence = ContentSequence([_region(heading, finding, "INFERRED FROM")])
    return [certainty, *(_percent(codes.probability_code(g), percents[g]) for g in GRADES)]


def _region(heading: Heading, finding: Finding, relationship: str) -> ScoordContentItem:
    """Return the point on its key slice.

    An SCOORD counts from the corner of the first pixel, this node from its centre: + 0.5
    (PS3.3 C.18.6.1.2 against C.7.6.2.1.1).
    """
    if finding.sop_instance_uid is None or finding.column is None or finding.row is None:
        raise ValueError(f"{wording.name(finding)} is assessed but has no point on a slice")
    source = heading.source(finding.sop_instance_uid)
    column = float(np.clip(finding.column + 0.5, 0, number(source, "Columns")))
    row = float(np.clip(finding.row + 0.5, 0, number(source, "Rows")))
    region = ScoordContentItem(
        code("Image Region"),
        "POINT",
        np.array([[column, row]], dtype=np.float32),
        relationship_type=relationship,
    )
    image = _image(source, finding.frame_number, "SELECTED FROM")
    region.ContentSequence = ContentSequence([image])
    return region


def _library(heading: Heading, reported: Iterable[Finding]) -> ContainerContentItem:
    """Return TID 1600 with the key images only: a whole study would add 300 KB."""
    frames = sorted({(f.sop_instance_uid or "", f.frame_number) for f in reported}, key=str)
    uids = dict.fromkeys(uid for uid, _ in frames)
    images = [_image(heading.source(uid), None, _CONTAINS) for uid in uids]
    group = _filled(_container("Image Library Group", _CONTAINS), images)
    return _filled(_container("Image Library", _CONTAINS), [group])


def _image(source: Dataset, frame: int | None, relationship: str) -> ImageContentItem:
    return ImageContentItem(
        code("Source"),
        str(source.SOPClassUID),
        str(source.SOPInstanceUID),
        referenced_frame_numbers=frame,
        relationship_type=relationship,
    )


def _observer(heading: Heading) -> list[ContentItem]:
    """Return TID 1002 and 1004: the observer is a device, this node."""
    identity = heading.identity
    return [
        _code("Observer Type", code("Device"), _CONTEXT),
        UIDRefContentItem(code("Device Observer UID"), identity.device_uid(), _CONTEXT),
        _text("Device Observer Name", MODEL_NAME, _CONTEXT),
        _text("Device Observer Manufacturer", MANUFACTURER, _CONTEXT),
        _text("Device Observer Model Name", MODEL_NAME, _CONTEXT),
        _text("Device Observer Serial Number", identity.serial_number(), _CONTEXT),
    ]


def _author(heading: Heading) -> Dataset:
    author = Dataset()
    author.ObserverType = "DEV"
    author.StationName = MODEL_NAME
    author.DeviceUID = heading.identity.device_uid()
    author.Manufacturer = MANUFACTURER
    author.ManufacturerModelName = MODEL_NAME
    author.InstitutionName = heading.settings.institution
    author.InstitutionCodeSequence = []
    return author


def _procedure(heading: Heading) -> CodedConcept:
    """Return the imaging procedure: with contrast, without, both, or simply lumbar MR."""
    agents = {bool(text(source, "ContrastBolusAgent")) for source in heading.sources}
    if agents == {True, False}:
        return code("MR Lumbar spine WO and W contrast IV")
    return code("MR Lumbar spine W contrast IV" if agents == {True} else "MR Lumbar spine")


def _request(heading: Heading) -> list[Dataset] | None:
    """Return the order the images were made for, when the images name one (SR-14)."""
    source = heading.sources[0]
    attributes = source.get("RequestAttributesSequence") or [Dataset()]
    accession = str(heading.study.AccessionNumber)
    if not accession and not attributes[0]:
        return None
    item = Dataset()
    item.StudyInstanceUID = heading.findings.study_uid
    item.AccessionNumber = accession
    for keyword in ("RequestedProcedureID", "RequestedProcedureDescription"):
        setattr(item, keyword, text(attributes[0], keyword))
    for keyword in ("PlacerOrderNumber", "FillerOrderNumber"):
        name = f"{keyword}ImagingServiceRequest"
        setattr(item, name, text(source, name))
    item.ReferencedStudySequence = []
    item.RequestedProcedureCodeSequence = []
    return [item]


def _container(
    meaning: str, relationship: str | None, template: str | None = None
) -> ContainerContentItem:
    # SEPARATE: Weasis and dcm4chee hide the concept names inside continuous text (SR-25).
    return ContainerContentItem(
        code(meaning),
        is_content_continuous=False,
        template_id=template,
        relationship_type=relationship,
    )


def _filled(container: ContainerContentItem, items: Sequence[ContentItem]) -> ContainerContentItem:
    if items:
        container.ContentSequence = ContentSequence(items)
    return container


def _code(meaning: str, value: CodedConcept, relationship: str) -> CodeContentItem:
    return CodeContentItem(code(meaning), value, relationship)


def _text(meaning: str, value: str, relationship: str) -> TextContentItem:
    return TextContentItem(code(meaning), value, relationship)


def _percent(concept: CodedConcept, value: float) -> NumContentItem:
    return NumContentItem(concept, value, code("Percent"), relationship_type=_CONTAINS)
