"""The page of an evaluation on labelled studies: figures, pictures, worst cases to look at."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import drawing, metrics
from models.drawing import FOUND_COLOUR, TRUE_COLOUR, Picture, Section
from models.evaluate import Record, only
from models.reader import Study, read_study
from models.real import Case, Judged, read_cases
from models.summary import Table, place_name
from models.tables import read_tables
from node.inference.instance import places
from node.spine.anatomy import GRADES, ROLE_OF, ConditionGroup, Role

STAGES = {
    "instance": "Stage 1: the slice",
    "coordinate": "Stage 2: the point, on the labelled slice",
    "severity": "Stage 3: the grade, at the labelled point",
    "end_to_end": "The whole: predicted slice, predicted point",
}

#: Worst cases shown for each condition.
WORST = 5


def write_page(
    path: Path, data: Path, records: Sequence[Record], result: dict[str, Any], facts: Sequence[str]
) -> None:
    """Write the page; ``result`` is what `models.summary.summarise` made of the records."""
    sections = [
        Section(
            "The competition's score",
            "Weighted log loss (1, 2, 4); what is not assessed is answered by the constant.",
            ("", "model", "95 % interval", "constant"),
            list(_rows(result["competition"])),
        )
    ]
    sections += [
        Section(
            f"{title}: {group.short}",
            head=("", "model", "95 % interval", "constant"),
            rows=list(_rows(result[stage][group.short])),
            pictures=list(_pictures(stage, only(records, group))),
        )
        for stage, title in STAGES.items()
        for group in ConditionGroup
    ]
    for group in ConditionGroup:
        shown = list(_worst(data, only(records, group), group))
        note = "Left the labelled image, right the image that was found; green label, red answer."
        sections.append(Section(f"Worst cases: {group.short}", note, pictures=shown))
    drawing.write_page(path, "Evaluation on labelled studies", facts, sections)


def _rows(table: Table) -> Iterator[tuple[str, ...]]:
    for name, f in table.items():
        between = f"{_number(f['low'])} to {_number(f['high'])}"
        yield name.replace("_", " "), _number(f["model"]), between, _number(f["constant"])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _pictures(stage: str, records: Sequence[Record]) -> Iterator[Picture]:
    if stage in {"instance", "end_to_end"}:
        name = "found_slice" if stage == "instance" else "final_slice"
        off = [
            abs(getattr(r, name) - r.slice)
            for r in records
            if r.slice is not None and getattr(r, name) is not None
        ]
        if off:
            yield drawing.histogram(np.array(off, float), range(8), "slices off the labelled one")
    if stage in {"coordinate", "end_to_end"}:
        far = [mm for r in records if (mm := _millimetres(r, stage)) is not None]
        if far:
            steps = (0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30)
            yield drawing.histogram(np.array(far), steps, "mm off the label, in the plane")
    if stage in {"severity", "end_to_end"}:
        name = "graded" if stage == "severity" else "probabilities"
        rows = [r for r in records if r.grade is not None and getattr(r, name)]
        if rows:
            truth = np.array([r.grade for r in rows])
            answers = np.array([getattr(r, name) for r in rows])
            table = metrics.confusion(truth, answers.argmax(axis=1))
            yield drawing.confusion(table, "label in rows, answer in columns")
            bins = metrics.reliability(truth, answers)
            yield drawing.reliability(bins, "accuracy over confidence")


def _millimetres(record: Record, stage: str) -> float | None:
    if stage == "end_to_end":
        return record.off_plane_mm
    if record.found_point is None or record.label is None:
        return None
    off = np.subtract(record.found_point, record.label)
    return float(np.linalg.norm(off)) * record.spacing


def _worst(data: Path, records: Sequence[Record], group: ConditionGroup) -> Iterator[Picture]:
    """The farthest points, then the grades that were most surely wrong."""
    placed = [r for r in records if r.off_mm is not None and r.image]
    far = sorted(placed, key=lambda r: -(r.off_mm or 0.0))[: WORST // 2]
    wrong = sorted((r for r in placed if r not in far and _wrongness(r) > 0), key=_wrongness)
    tables = read_tables(data)
    for record in [*far, *wrong[::-1][: WORST - len(far)]]:
        study = read_study(data, tables.studies[record.study])
        yield _pair(study, record, group)


def _wrongness(record: Record) -> float:
    """The distance of label and answer in grades, then how sure the answer was."""
    if record.grade is None or record.probabilities is None:
        return 0.0
    answer = int(np.argmax(record.probabilities))
    return abs(answer - record.grade) and abs(answer - record.grade) + max(record.probabilities)


def _pair(study: Study, record: Record, group: ConditionGroup) -> Picture:
    volume = study.volumes()[ROLE_OF[group]]
    by_name = {s.sop_instance_uid: s for s in volume.slices}
    side, level = places(group)[record.place]
    point = next(
        mark.point_mm
        for (_, key), mark in study.marks.items()
        if key == (group.condition(side), level) and mark.image == record.image
    )
    label, found = by_name[record.image], by_name[record.final_image]
    marks = [(*label.plane.to_pixel(point), TRUE_COLOUR)]
    true_grade = "no grade" if record.grade is None else GRADES[record.grade].label
    name = f"study {record.study}, {place_name(record)}"
    answer = [(*record.final_point, FOUND_COLOUR)] if record.final_point else []
    pictures = drawing.image(label, marks) + drawing.image(found, answer)
    return Picture(pictures, f"{name}: {true_grade}; answer: {_answer(record)}")


def _answer(record: Record) -> str:
    if record.probabilities is None:
        return "not assessed"
    best = int(np.argmax(record.probabilities))
    sure = record.probabilities[best]
    return f"{GRADES[best].label} ({sure:.2f}), {record.off_mm or 0:.1f} mm off"


def write_real_page(
    path: Path, folder: Path, judged: Sequence[Judged], result: dict[str, Any]
) -> None:
    """Write a page of real cases, the worst first: discs by a person, points by the models."""
    rows: dict[str, list[Judged]] = {}
    for one in judged:
        if one.set == "as it is":
            rows.setdefault(one.case, []).append(one)
    cases = sorted(read_cases(folder), key=lambda c: -_misnamed(rows[c.name]))
    sets = [name for name in result if name != "severity"]
    columns = tuple(result[sets[0]]) if sets else ()
    table = [(name, *(str(result[name][c]) for c in columns)) for name in sets]
    sections = [
        Section("Discs whose names are certain", head=("", *columns), rows=table),
        Section(
            "Cases as they are",
            "Green: the disc's centre by a person. Red: the canal's point of the models.",
            pictures=[_case_picture(case, rows[case.name]) for case in cases],
        ),
    ]
    drawing.write_page(path, "Evaluation on real cases", (), sections)


def _misnamed(rows: Sequence[Judged]) -> int:
    return sum((j.outcome != "right") + (j.outcome == "silent") for j in rows)


def _case_picture(case: Case, rows: Sequence[Judged]) -> Picture:
    slices = case.volumes[Role.SAGITTAL_T2].slices
    middle = float(np.mean([at[0] for at in case.discs.values()]))
    shown = min(slices, key=lambda s: abs(s.plane.centre[0] - middle))
    marks = [(*shown.plane.to_pixel(at), TRUE_COLOUR) for at in case.discs.values()]
    found = [np.array(j.point_mm) for j in rows if j.point_mm is not None]
    marks += [(*shown.plane.to_pixel(at), FOUND_COLOUR) for at in found]
    told = ", ".join(f"{j.level} {j.outcome} ({j.grade or 'no grade'})" for j in rows)
    certain = "" if case.certain else ", names uncertain"
    caption = f"{case.name} {case.weighting}{certain}: {told}"
    return Picture(drawing.image(shown, marks, 2 * drawing.TALL), caption)
