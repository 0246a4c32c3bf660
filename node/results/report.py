"""The structured report: Comprehensive 3D SR (or Comprehensive SR) with a TID 1500 tree.

Source: PS3.3 A.35.13, C.17; IHE AI Results. Never verified, always preliminary, always research.
"""

from collections.abc import Mapping

from highdicom.sr import Comprehensive3DSR, ComprehensiveSR
from pydicom.dataset import Dataset

from node.results import codes
from node.results.attributes import copied, is_standard, items, number, text
from node.results.content import content_tree
from node.results.heading import Heading
from node.results.identity import MANUFACTURER, MODEL_NAME
from node.spine.anatomy import ALL_FINDINGS, Level

UNCALIBRATED = "calibration=as stated in the model card"


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
    made = Comprehensive3DSR if heading.settings.sop_class == "comprehensive3d" else ComprehensiveSR
    # highdicom looks the first instance's SOP class up in the standard's tables.
    sources = sorted(heading.sources, key=lambda s: not is_standard(s))
    report = made(
        evidence=[*map(heading.reference, sources), *captures.values()],
        content=content_tree(heading, captures, calibration),
        **heading.place("report"),
        is_complete=found.status == "complete",
        is_final=False,
        is_verified=False,
        requested_procedures=_request(heading),
        previous_versions=[predecessor] if predecessor else None,
        coding_schemes=[codes.private_scheme()],
        specific_character_set="ISO_IR 192",
    )
    heading.stamp(report, "report")
    if predecessor:
        report.InstanceNumber = 1 + number(predecessor, "InstanceNumber")
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


def _request(heading: Heading) -> list[Dataset] | None:
    """Return the order the images were made for, when the images name one (SR-14)."""
    source = heading.sources[0]
    attributes = items(source, "RequestAttributesSequence") or [Dataset()]
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
