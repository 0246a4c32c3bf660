"""Every stage on unseen phantoms, by the node's own code, beside a constant that knows nothing.

Stage 1 and the whole pipeline start from the volumes; stages 2 and 3 are measured on the true
slice and the true point, so that each stage's number is its own.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models import metrics
from models.data import SEEDS, load, study_of
from node.inference.canonical import Stack, canonical
from node.inference.coordinate import find_points
from node.inference.instance import Place, find_slices, places, reach_mm
from node.inference.pipeline import find
from node.inference.runtime import ModelStore
from node.inference.severity import Spot, grade
from node.phantom import PhantomStudy
from node.spine.anatomy import GRADES, ROLE_OF, ConditionGroup
from node.spine.findings import Finding
from node.spine.volume import Volume

#: One measured place of one study: numbers by name.
Record = dict[str, Any]


@cache
def _store(artifacts: Path) -> ModelStore:
    return ModelStore(artifacts, "cpu", threads=1)


def measure(job: tuple[int, Path]) -> list[Record]:
    """Return the records of one unseen study, one for each of its 25 places."""
    seed, artifacts = job
    study, store = study_of(seed), _store(artifacts)
    findings = {f.key: f for f in find(study.volumes, store).findings}
    records: list[Record] = []
    for group in ConditionGroup:
        volume = study.volumes.get(ROLE_OF[group])
        if volume is None:
            continue
        by_place = _stages(study, volume, group, store)
        for place, record in by_place.items():
            finding = findings[group.condition(place[0]), place[1]]
            record |= {"seed": seed, "group": group.short, "place": places(group).index(place)}
            record["assessed"] = finding.is_assessed
            records.append(record | _outcome(finding, volume, study))
    return records


def _outcome(finding: Finding, volume: Volume, study: PhantomStudy) -> Record:
    """What the whole pipeline said about one place."""
    if finding.probabilities is None or finding.patient_mm is None:
        return {}
    uids = [s.sop_instance_uid for s in volume.slices]
    offset = np.array(finding.patient_mm) - np.array(study.truth[finding.key].point_mm)
    return {
        "final_slice": uids.index(str(finding.sop_instance_uid)),
        "final_mm": float(np.linalg.norm(offset)),
        "final_probabilities": [finding.probabilities[g] for g in GRADES],
    }


def _stages(
    study: PhantomStudy, volume: Volume, group: ConditionGroup, store: ModelStore
) -> dict[Place, Record]:
    """Each stage on its own, given the truth of the stage before."""
    stack = canonical(volume)
    posterior = find_slices(stack, group, store)
    truth = {p: study.truth[group.condition(p[0]), p[1]] for p in places(group)}
    at = {p: np.asarray(t.point_mm, dtype=np.float64) for p, t in truth.items()}
    near = {p: _nearest(stack, x) for p, x in at.items()}
    shown = [p for p in near if near[p][1] <= reach_mm(volume.spacing())]
    weights = {p: np.eye(len(stack.planes))[near[p][0]] for p in shown}
    points = find_points(stack, group, weights, store)
    spots = [Spot(near[p][0], at[p], p[0]) for p in shown]
    graded = dict(zip(shown, grade(volume, group, spots, store), strict=True))
    records: dict[Place, Record] = {}
    for place in places(group):
        index = near[place][0]
        record: Record = {
            "shown": place in shown,
            "slices": len(stack.planes),
            "slice": index,
            "found_slice": posterior[place].index,
            "absent": posterior[place].absent,
            "grade": GRADES.index(truth[place].grade),
            "truth_point": stack.planes[index].to_pixel(at[place]),
            "spacing": stack.planes[index].row_spacing,
        }
        if place in points:
            record["point"] = (points[place].column, points[place].row)
        if place in graded:
            record["probabilities"] = [graded[place][g] for g in GRADES]
        records[place] = record
    return records


def _nearest(stack: Stack, point: NDArray[np.float64]) -> tuple[int, float]:
    distances = [abs(plane.distance(point)) for plane in stack.planes]
    return int(np.argmin(distances)), float(np.min(distances))


def constants(files: Sequence[Path], group: ConditionGroup) -> dict[str, NDArray[np.float64]]:
    """Return what knows nothing of an image would answer: medians and priors of the training.

    ``slice`` (P,) as a share of the series in geometric order, ``point`` (P, 2) on the grid,
    ``prior`` (P, 3).
    """
    name = group.short
    relative, points, grades = [], [], []
    keys = [f"{name}.distance", f"{name}.points", f"{name}.grade"]
    for case in load(files, keys):
        nearest = np.abs(case[f"{name}.distance"]).argmin(axis=0)
        relative.append(nearest / max(1, len(case[f"{name}.distance"]) - 1))
        points.append(case[f"{name}.points"][nearest, np.arange(len(nearest))])
        grades.append(case[f"{name}.grade"])
    table = np.array(grades)
    prior = np.stack([(table == g).mean(axis=0) for g in range(3)], axis=1) + 1e-3
    return {
        "slice": np.median(relative, axis=0),
        "point": np.median(points, axis=0),
        "prior": prior / prior.sum(axis=1, keepdims=True),
    }


def summarise(
    records: Sequence[Record], group: ConditionGroup, training: Sequence[Path]
) -> dict[str, dict[str, Any]]:
    """Return the metrics of the three stages and of the whole, each beside its constant."""
    known = constants(training, group)
    rows = [r for r in records if r["group"] == group.short and r["shown"]]
    place = np.array([r["place"] for r in rows])
    right = np.array([r["slice"] for r in rows])
    guess = np.rint(known["slice"][place] * (np.array([r["slices"] for r in rows]) - 1))
    grade_of = np.array([r["grade"] for r in rows])
    answers = np.array([r["probabilities"] for r in rows])
    return {
        "instance": {
            "model": metrics.slices(np.array([r["found_slice"] for r in rows]) - right),
            "constant": metrics.slices(guess - right),
        },
        "coordinate": _points(rows, known["point"][place]),
        "severity": {
            "model": metrics.grades(grade_of, answers),
            "constant": metrics.grades(grade_of, known["prior"][place]),
        },
        "end_to_end": {"model": _whole(rows)},
    }


def _points(rows: Sequence[Record], constant: NDArray[np.float64]) -> dict[str, Any]:
    """Stage 2 in the plane of the true slice."""
    spacing = np.array([r["spacing"] for r in rows])
    truth = np.array([r["truth_point"] for r in rows])
    points = np.array([r.get("point", (np.nan, np.nan)) for r in rows])
    found = ~np.isnan(points[:, 0])
    off = np.linalg.norm(points - truth, axis=1) * spacing
    share = round(float(found.mean()), 4)
    return {
        "model": {**metrics.millimetres(off[found]), "found": share},
        "constant": metrics.millimetres(np.linalg.norm(constant - truth, axis=1) * spacing),
    }


def _whole(rows: Sequence[Record]) -> dict[str, float]:
    """The pipeline from volumes to grades; points in three dimensions."""
    final = [r for r in rows if r["assessed"]]
    share = {"assessed": round(len(final) / max(1, len(rows)), 4)}
    if not final:
        return share
    return {
        **share,
        **metrics.slices(np.array([r["final_slice"] - r["slice"] for r in final])),
        **metrics.millimetres(np.array([r["final_mm"] for r in final])),
        **metrics.grades(
            np.array([r["grade"] for r in final]),
            np.array([r["final_probabilities"] for r in final]),
        ),
    }


def evaluate(work: Path, artifacts: Path, count: int, processes: int = 2) -> dict[str, Any]:
    """Measure ``count`` unseen studies, write ``evaluation.json`` and each model's metrics."""
    jobs = [(seed, artifacts) for seed in range(SEEDS["test"], SEEDS["test"] + count)]
    records: list[Record] = []
    with ProcessPoolExecutor(processes) as pool:
        for part in track(pool.map(measure, jobs), "unseen phantoms", total=count):
            records += part
    training = sorted((work / "cases" / "train").glob("[0-9]*.npz"))[:200]
    result: dict[str, Any] = defaultdict(dict)
    for group in ConditionGroup:
        for stage, values in summarise(records, group, training).items():
            result[stage][group.short] = values
            folder = work / "models" / f"{stage}_{group.short}"
            if folder.exists():
                text = json.dumps({"unseen_studies": count, **values}, indent=1)
                (folder / "metrics.json").write_text(text, "utf-8")
    (work / "evaluation.json").write_text(json.dumps(result, indent=1), "utf-8")
    return dict(result)


def show(result: dict[str, Any], console: Console) -> None:
    """Print one table: every metric, model beside constant."""
    table = Table("stage", "condition", "metric", "model", "constant")
    for stage, groups in result.items():
        for group, values in groups.items():
            for metric, value in values["model"].items():
                constant = values.get("constant", {}).get(metric, "")
                table.add_row(stage, group, metric, str(value), str(constant))
    console.print(table)
