"""Reading a report back into the findings it was made from."""

from collections.abc import Iterator

from pydicom.dataset import Dataset

from node.results import codes, wording
from node.results.codes import code
from node.spine.anatomy import ALL_FINDINGS, GRADES, ConditionGroup, Grade, Level, Side
from node.spine.findings import Finding


def read_report(report: Dataset) -> tuple[Finding, ...]:
    """Return the findings a report of this node holds, in the order of `ALL_FINDINGS`.

    Assessed findings come from the measurement groups (probabilities to a tenth of a percent,
    no patient position, no confidence), the others with their reasons from the Narrative
    Summary. A report of abnormal findings only holds no others that were assessed.
    """
    series = _series_of(report)
    found = [_finding(group, series) for group in _items(report, "Measurement Group")]
    for text in _items(report, "Narrative Summary"):
        found += _not_assessed(str(text.TextValue))
    by_key = {finding.key: finding for finding in found}
    return tuple(by_key[key] for key in ALL_FINDINGS if key in by_key)


def _finding(group: Dataset, series: dict[str, str]) -> Finding:
    (site,) = _items(group, "Finding Site")
    level = next(
        lv for lv in Level if any(_has(i, codes.level_code(lv)) for i in site.ContentSequence)
    )
    side = next(
        (s for s in Side if any(_has(i, codes.side_code(s)) for i in site.ContentSequence)), None
    )
    kind = next(g for g in ConditionGroup if _has(site, codes.site_code(g)))
    (answer,) = (i for i in group.ContentSequence if _is(i, codes.question_code(kind)))
    (region,) = (i for i in group.ContentSequence if i.ValueType == "SCOORD")
    (image,) = region.ContentSequence[0].ReferencedSOPSequence
    column, row = region.GraphicData
    uid = str(image.ReferencedSOPInstanceUID)
    frame = image.get("ReferencedFrameNumber")
    return Finding(
        condition=kind.condition(side),
        level=level,
        grade=next(g for g in GRADES if _has(answer, codes.grade_code(g))),
        probabilities={g: _percent(group, g) / 100 for g in GRADES},
        series_uid=series.get(uid),
        sop_instance_uid=uid,
        frame_number=int(frame) if frame is not None else None,
        column=float(column) - 0.5,
        row=float(row) - 0.5,
    )


def _percent(group: Dataset, grade: Grade) -> float:
    (item,) = (i for i in group.ContentSequence if _is(i, codes.probability_code(grade)))
    return float(item.MeasuredValueSequence[0].NumericValue)


def _not_assessed(narrative: str) -> Iterator[Finding]:
    lines = narrative.splitlines()
    for condition, level in ALL_FINDINGS:
        finding = Finding(condition, level)
        start = f"{wording.NOT_ASSESSED} {wording.name(finding)}: "
        for line in lines:
            if line.startswith(start):
                yield finding.not_assessed(line.removeprefix(start))


def _items(parent: Dataset, meaning: str) -> Iterator[Dataset]:
    """Yield the content items of one concept name, at any depth."""
    for item in parent.get("ContentSequence") or []:
        if _is(item, code(meaning)):
            yield item
        yield from _items(item, meaning)


def _is(item: Dataset, concept: Dataset) -> bool:
    """Tell whether a content item has this concept name."""
    return _same(item.get("ConceptNameCodeSequence"), concept)


def _has(item: Dataset, concept: Dataset) -> bool:
    """Tell whether a CODE item has this value."""
    return _same(item.get("ConceptCodeSequence"), concept)


def _same(sequence: list[Dataset] | None, concept: Dataset) -> bool:
    if not sequence:
        return False
    held = sequence[0]
    return (str(held.CodeValue), str(held.CodingSchemeDesignator)) == (
        str(concept.CodeValue),
        str(concept.CodingSchemeDesignator),
    )


def _series_of(report: Dataset) -> dict[str, str]:
    """Return the series of every instance of the evidence."""
    return {
        str(instance.ReferencedSOPInstanceUID): str(series.SeriesInstanceUID)
        for study in report.get("CurrentRequestedProcedureEvidenceSequence") or []
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
