"""The content tree of the report: TID 1500 around the measurement groups.

Source: PS3.16 TID 1500, 1600, 1002 and 1004, 1204; IHE AI Results.
"""

from collections.abc import Mapping, Sequence

from highdicom.sr import CodedConcept, ContainerContentItem, ContentItem, UIDRefContentItem
from pydicom.dataset import Dataset

from node.results import wording
from node.results.attributes import text
from node.results.codes import code
from node.results.group import measurement_group
from node.results.heading import Heading
from node.results.identity import MANUFACTURER, MODEL_NAME
from node.results.items import CONTAINS, CONTEXT, MODIFIER, coded, container, filled, image, worded
from node.spine.anatomy import Grade, Level
from node.spine.findings import Finding

LANGUAGE = "Language of Content Item and Descendants"


def content_tree(
    heading: Heading,
    captures: Mapping[Level, Dataset],
    calibration: str,
) -> ContainerContentItem:
    """Return the root container with everything below it."""
    found, settings = heading.findings, heading.settings
    reported = [f for f in found.findings if _is_reported(f, settings.groups)]
    root = container("Imaging Measurement Report", None, template="1500")
    groups = [measurement_group(heading, f, captures.get(f.level), calibration) for f in reported]
    # Never empty: OHIF wants the container, highdicom wants something in it.
    nothing = worded("Comment", "No measurement group: see Narrative Summary.", CONTAINS)
    measurements = filled(container("Imaging Measurements", CONTAINS), groups or [nothing])
    summary = worded("Narrative Summary", wording.narrative(found, settings.groups), CONTAINS)
    evaluations = filled(container("Qualitative Evaluations", CONTAINS), [summary])
    items: list[ContentItem] = [
        coded(LANGUAGE, code("English (United States)"), MODIFIER),
        *observer(heading),
        coded("Procedure reported", _procedure(heading), MODIFIER),
    ]
    if reported:
        items.append(_library(heading, reported))
    return filled(root, [*items, measurements, evaluations])


def _is_reported(finding: Finding, groups: str) -> bool:
    if groups == "abnormal" and finding.grade is Grade.NORMAL_MILD:
        return False
    return finding.is_assessed


def _library(heading: Heading, reported: Sequence[Finding]) -> ContainerContentItem:
    """Return TID 1600 with the key images only: a whole study would add 300 KB."""
    uids = sorted({f.sop_instance_uid for f in reported if f.sop_instance_uid})
    images = [image(heading.source(uid), None, CONTAINS) for uid in uids]
    group = filled(container("Image Library Group", CONTAINS), images)
    return filled(container("Image Library", CONTAINS), [group])


def observer(heading: Heading) -> list[ContentItem]:
    """Return TID 1002 and 1004: the observer is a device, this node."""
    identity = heading.identity
    return [
        coded("Observer Type", code("Device"), CONTEXT),
        UIDRefContentItem(code("Device Observer UID"), identity.device_uid(), CONTEXT),
        worded("Device Observer Name", MODEL_NAME, CONTEXT),
        worded("Device Observer Manufacturer", MANUFACTURER, CONTEXT),
        worded("Device Observer Model Name", MODEL_NAME, CONTEXT),
        worded("Device Observer Serial Number", identity.serial_number(), CONTEXT),
    ]


def _procedure(heading: Heading) -> CodedConcept:
    """Return the imaging procedure: with contrast, without, both, or simply lumbar MR."""
    agents = {bool(text(source, "ContrastBolusAgent")) for source in heading.sources}
    if agents == {True, False}:
        return code("MR Lumbar spine WO and W contrast IV")
    return code("MR Lumbar spine W contrast IV" if agents == {True} else "MR Lumbar spine")
