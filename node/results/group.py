"""One finding as a TID 1410 measurement group.

Source: PS3.16 TID 1410, 1419, 4019. The order of the items and the point under the first NUM are
what real viewers need (OHIF, dcmqi).
"""

from collections.abc import Sequence

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    ScoordContentItem,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset

from node.results import codes, wording
from node.results.attributes import number
from node.results.codes import code
from node.results.heading import Heading
from node.results.identity import MANUFACTURER, MODEL_NAME
from node.results.items import (
    CONTAINS,
    CONTEXT,
    MODIFIER,
    coded,
    container,
    filled,
    image,
    percent,
    worded,
)
from node.spine.anatomy import GRADES, Grade
from node.spine.findings import Finding, ModelUse

DECISION = "decision=argmax"


def measurement_group(
    heading: Heading, finding: Finding, page: Dataset | None, calibration: str
) -> ContainerContentItem:
    """Return one TID 1410 measurement group."""
    group = finding.condition.group
    assert finding.grade is not None  # noqa: S101 - only assessed findings are reported
    items: list[ContentItem] = [
        worded("Tracking Identifier", wording.name(finding), CONTEXT),
        UIDRefContentItem(
            code("Tracking Unique Identifier"),
            heading.identity.tracking_uid(finding.key),
            CONTEXT,
        ),
    ]
    # Consumers copy Finding into their problem list: no disorder for "normal or mild" (SR-30).
    if finding.grade is not Grade.NORMAL_MILD:
        items.append(coded("Finding", codes.disorder_code(group), CONTAINS))
    items += [_site(finding), *_algorithm(heading, finding, calibration)]
    items += _probabilities(heading, finding)
    grade = codes.grade_code(finding.grade)
    items.append(CodeContentItem(codes.question_code(group), grade, CONTAINS))
    items.append(_region(heading, finding, CONTAINS))
    if page is not None:
        items.append(
            ImageContentItem(
                code("Visual explanation"),
                page.SOPClassUID,
                page.SOPInstanceUID,
                relationship_type=CONTAINS,
            )
        )
    items.append(worded("Comment", wording.comment(finding), CONTAINS))
    return filled(container("Measurement Group", CONTAINS, template="1410"), items)


def _site(finding: Finding) -> CodeContentItem:
    """Return the finding site with its side and level."""
    condition = finding.condition
    site = coded("Finding Site", codes.site_code(condition.group), MODIFIER)
    parts: list[ContentItem] = []
    if condition.side is not None:
        parts.append(coded("Laterality", codes.side_code(condition.side), MODIFIER))
    parts.append(coded("Topographical modifier", codes.level_code(finding.level), MODIFIER))
    site.ContentSequence = ContentSequence(parts)
    return site


def _algorithm(heading: Heading, finding: Finding, calibration: str) -> list[ContentItem]:
    """Return TID 4019: which models made this finding, with their file hashes."""
    models = _models_of(heading.findings.models, finding)
    last = models[-1] if models else ModelUse(MODEL_NAME, heading.findings.node_version, "", "")
    parameters = [f"{m.name} {m.version} sha256={m.sha256}" for m in models]
    return [
        coded("Algorithm Family", code("Artificial Intelligence"), MODIFIER),
        worded("Algorithm Name", last.name, MODIFIER),
        worded("Algorithm Manufacturer", MANUFACTURER, MODIFIER),
        worded("Algorithm Version", last.version, MODIFIER),
        *(
            worded("Algorithm Parameters", parameter, MODIFIER)
            for parameter in (*parameters, DECISION, calibration)
        ),
    ]


def _models_of(models: Sequence[ModelUse], finding: Finding) -> list[ModelUse]:
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
    certainty = percent(code("Certainty of Finding"), percents[finding.grade])
    if heading.settings.region_copy_under_num:
        # OHIF 3.13 looks for the region below the first NUM and nowhere else (SR-26).
        certainty.ContentSequence = ContentSequence([_region(heading, finding, "INFERRED FROM")])
    return [certainty, *(percent(codes.probability_code(g), percents[g]) for g in GRADES)]


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
    shown = image(source, finding.frame_number, "SELECTED FROM")
    region.ContentSequence = ContentSequence([shown])
    return region
