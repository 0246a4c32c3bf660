"""Records into figures: each beside the best constant, with a bootstrap interval by study.

The constant knows the geometry (slice order, sides) but no image. It is fitted to the very studies
it is measured on, so it is the hardest constant to beat.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np

from models import metrics
from models.evaluate import Record, only
from models.metrics import Figures, Floats, Ints
from node.inference.instance import places
from node.spine.anatomy import ConditionGroup


class Figure(TypedDict):
    """One figure: measured, its 95 % interval, and what a constant reaches; None: undefined."""

    model: float | None
    low: float | None
    high: float | None
    constant: float | None


Table = dict[str, Figure]


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Return all figures: stages and whole by condition, then the competition's score.

    ``instance``, ``coordinate``, ``severity`` and ``end_to_end`` hold a table for each condition;
    ``competition`` holds one. ``not_assessed`` counts the reasons for giving no grade.
    """
    studies = {r.study for r in records}
    result: dict[str, Any] = {"studies": len(studies), "findings": len(records)}
    measured = {
        "instance": _instance,
        "coordinate": _coordinate,
        "severity": _severity,
        "end_to_end": _end_to_end,
    }
    for stage, measure in measured.items():
        result[stage] = {g.short: measure(only(records, g)) for g in ConditionGroup}
    result["competition"] = _competition(records)
    reasons = Counter(r.reason.split(" (")[0] for r in records if r.reason)
    result["not_assessed"] = dict(reasons.most_common())
    return result


def study_numbers(rows: Sequence[Record]) -> Ints:
    """Return a number for each row's study."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(r.study, len(known)) for r in rows], dtype=np.intp)


def prior(rows: Sequence[Record]) -> Floats:
    """Return the frequencies of the grades at each place, (places, 3)."""
    counts = np.full((10, 3), 1e-3)
    for r in rows:
        if r.grade is not None:
            counts[r.place, r.grade] += 1
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def _beside(
    rows: Sequence[Record],
    model: Callable[[Ints], Figures],
    constant: Callable[[Ints], Figures] | None = None,
) -> Table:
    """Figures of a model beside a constant's; both take the numbers of rows."""
    if not rows:
        return {}
    every = np.arange(len(rows))
    other = constant(every) if constant else {}
    between = metrics.intervals(study_numbers(rows), model)
    return {
        name: Figure(
            model=_rounded(value),
            low=_rounded(between[name][0]),
            high=_rounded(between[name][1]),
            constant=_rounded(other.get(name, float("nan"))),
        )
        for name, value in model(every).items()
    }


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


def _instance(records: Sequence[Record]) -> Table:
    rows = [r for r in records if r.slice is not None]
    slices = np.array([r.slices for r in rows], dtype=np.float64)
    right = np.array([r.slice for r in rows], dtype=np.float64)
    found = np.array([r.found_slice for r in rows], dtype=np.float64)
    usual = _median_of_places(rows, (right / np.maximum(slices - 1, 1))[:, None])[:, 0]
    guess = np.rint(usual * (slices - 1))
    return _beside(
        rows,
        lambda i: metrics.slices((found - right)[i]),
        lambda i: metrics.slices((guess - right)[i]),
    )


def _coordinate(records: Sequence[Record]) -> Table:
    rows = [r for r in records if r.label is not None]
    spacing = np.array([r.spacing for r in rows])
    label = np.array([r.label for r in rows])
    found = np.array([r.found_point or (np.nan, np.nan) for r in rows])
    if not rows:
        return {}
    off = np.linalg.norm(found - label, axis=1) * spacing
    constant = np.linalg.norm(_median_of_places(rows, label) - label, axis=1) * spacing

    def model(i: Ints) -> Figures:
        known = off[i][~np.isnan(off[i])]
        return {**metrics.millimetres(known), "found": len(known) / len(i)}

    return _beside(rows, model, lambda i: metrics.millimetres(constant[i]))


def _median_of_places(rows: Sequence[Record], values: Floats) -> Floats:
    """Return for each row the median of the values (N, K) of all rows of its place."""
    place = np.array([r.place for r in rows])
    medians = np.zeros_like(values)
    for k in np.unique(place):
        medians[place == k] = np.median(values[place == k], axis=0)
    return medians


def _severity(records: Sequence[Record]) -> Table:
    return _graded([r for r in records if r.graded and r.grade is not None], "graded")


def _graded(rows: Sequence[Record], answer: str) -> Table:
    truth = np.array([r.grade for r in rows], dtype=np.intp)
    answers = np.array([getattr(r, answer) for r in rows])
    usual = prior(rows)[[r.place for r in rows]]
    return _beside(
        rows,
        lambda i: metrics.grades(truth[i], answers[i]),
        lambda i: metrics.grades(truth[i], usual[i]),
    )


def _end_to_end(records: Sequence[Record]) -> Table:
    """Slices, points and grades are of what was assessed; ``assessed`` says how much that is.

    ``warned`` is the share that was assessed with a warning.
    """
    assessed = np.array([r.probabilities is not None for r in records], dtype=np.float64)
    warned = assessed * np.array([r.warned for r in records])
    table = _beside(
        records,
        lambda i: {"assessed": float(assessed[i].mean()), "warned": float(warned[i].mean())},
    )
    on_slice = [r for r in records if r.final_slice is not None and r.slice is not None]
    off = np.array([_int(r.final_slice) - _int(r.slice) for r in on_slice], dtype=np.float64)
    table |= _beside(on_slice, lambda i: metrics.slices(off[i]))
    for name in ("off_plane_mm", "off_mm"):
        rows = [r for r in records if getattr(r, name) is not None]
        far = np.array([getattr(r, name) for r in rows])
        figures = _beside(rows, lambda i, far=far: metrics.millimetres(far[i]))  # type: ignore[misc]
        prefix = "in_plane" if name == "off_plane_mm" else "in_space"
        table |= {f"{prefix}_{key}": figure for key, figure in figures.items()}
    graded = [r for r in records if r.probabilities and r.grade is not None]
    return table | _graded(graded, "probabilities")


def _int(value: int | None) -> int:
    return -1 if value is None else value


def _competition(records: Sequence[Record]) -> Table:
    """The RSNA 2024 score: what is not assessed is answered by the constant, as one must."""
    rows = [r for r in records if r.grade is not None]
    group = np.array([list(ConditionGroup).index(_group(r)) for r in rows])
    truth = np.array([r.grade for r in rows], dtype=np.intp)
    study = study_numbers(rows)
    usual = np.zeros((len(rows), 3))
    for k, g in enumerate(ConditionGroup):
        usual[group == k] = prior(only(rows, g))[[r.place for r in rows if _group(r) is g]]
    given = [r.probabilities for r in rows]
    answers = np.array([g or u for g, u in zip(given, map(tuple, usual), strict=True)])

    def score(p: Floats) -> Callable[[Ints], Figures]:
        def of(i: Ints) -> Figures:
            figures = {}
            for k, g in enumerate(ConditionGroup):
                here = i[group[i] == k]
                found = metrics.grades(truth[here], p[here])
                figures[g.short] = found.get("weighted_log_loss", float("nan"))
            canal, times = np.unique(i[group[i] == 0], return_counts=True)
            figures["any_severe"] = metrics.any_severe(study[canal], truth[canal], p[canal], times)
            return {**figures, "score": float(np.mean(list(figures.values())))}

        return of

    return _beside(rows, score(answers), score(usual))


def _group(record: Record) -> ConditionGroup:
    return ConditionGroup[record.group.upper()]


def place_name(record: Record) -> str:
    """Return the place of a record in words, ``left L4/L5``."""
    side, level = places(_group(record))[record.place]
    return f"{side.value} {level.label}" if side else level.label
