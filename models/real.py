"""The canal's level points on real sagittal series: evaluation only, never for choosing a model.

A folder of real cases holds a folder for each and ``levels.csv`` with ``case, weighting, level,
certain, x_mm, y_mm, z_mm``: the discs' centres, by a person.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models import altered
from models.evaluate import store_of
from node import analysis
from node.inference.pipeline import find
from node.spine.anatomy import LEVELS, Condition, Grade, Level, Role
from node.spine.findings import Finding
from node.spine.geometry import Vector
from node.spine.safety import NAMING_WARNING
from node.spine.volume import Volume

Outcome = Literal["right", "flagged", "silent"]
Discs = Mapping[Level, Vector]

#: By the names of the given cases: people without visible stenosis, and with narrowed levels.
HEALTHY, NARROWED = ("VB2", "IVD"), ("VB1-12", "VB1-16")

#: Draws of each case for the stress sets that have something to draw.
DRAWS = 2


@dataclass(frozen=True)
class Case:
    """One real series with its discs.

    Attributes
    ----------
    name, weighting : str
    volumes : dict of Role to Volume
        As the node reads the folder.
    discs : dict of Level to (3,) float64
        Centres, mm LPS.
    certain : frozenset of Level
        Whose names a person is sure of.
    """

    name: str
    weighting: str
    volumes: dict[Role, Volume]
    discs: Discs
    certain: frozenset[Level]


@dataclass(frozen=True)
class Judged:
    """What the node made of one disc.

    Attributes
    ----------
    set, case, level : str
    certain : bool
    outcome : {"right", "flagged", "silent"}
        ``right``: the canal's point of this level lies nearest to this disc. ``flagged``: it does
        not, but nothing is claimed: no grade, or the warning that names are uncertain.
        ``silent``: a wrong disc, named with confidence.
    grade : str or None
    severe, worse : float or None
        Probability of severe, and of moderate or severe.
    point_mm : (x, y, z) or None
        The canal's point of this level.
    height_mm : float or None
        Distance along the body axis from the point to the disc's centre.
    warned : bool
    """

    set: str
    case: str
    level: str
    certain: bool
    outcome: Outcome
    grade: str | None
    severe: float | None
    worse: float | None
    point_mm: tuple[float, float, float] | None
    height_mm: float | None
    warned: bool


def read_cases(folder: Path) -> Iterator[Case]:
    """Read every case of ``levels.csv`` that has a sagittal T2 or STIR."""
    rows: dict[str, list[dict[str, str]]] = {}
    with (folder / "levels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["case"], []).append(row)
    by_label = {level.label: level for level in LEVELS}
    for name, labels in sorted(rows.items()):
        known = {by_label[r["level"]]: r for r in labels if r["level"] in by_label}
        (taken,) = analysis.read(sorted((folder / name).rglob("*.dcm")))
        volumes, _ = analysis.load(taken, analysis.choose(taken))
        if Role.SAGITTAL_T2 in volumes:
            discs = {lv: _point(r) for lv, r in known.items()}
            certain = frozenset(lv for lv, r in known.items() if r["certain"] == "1")
            yield Case(name, labels[0]["weighting"], volumes, discs, certain)


def _point(row: Mapping[str, str]) -> Vector:
    return np.array([float(row[key]) for key in ("x_mm", "y_mm", "z_mm")])


def measure_real(folder: Path, artifacts: Path) -> list[Judged]:
    """Judge every disc of every case, as it is and under stress.

    The sets are ``as it is``, ``turned`` (15 degrees to either side, zoom 0.85 to 1.2), ``small
    field`` (150 to 200 mm, up to 25 mm off the centre), ``off the middle`` (only the slices on one
    side of the middle: 18 mm off) and ``no sacrum`` (cut 12 mm below the lowest disc).
    """
    judged: list[Judged] = []
    for number, case in enumerate(read_cases(folder)):
        rng = np.random.default_rng([2024, number])
        for name, volume, discs in _variants(case, rng):
            volumes = {**case.volumes, Role.SAGITTAL_T2: volume}
            judged += _judge(name, case, volumes, discs, artifacts)
    return judged


def _variants(case: Case, rng: np.random.Generator) -> Iterator[tuple[str, Volume, Discs]]:
    volume, discs = case.volumes[Role.SAGITTAL_T2], case.discs
    yield "as it is", volume, discs
    for _ in range(DRAWS):
        zoom = float(np.exp(rng.uniform(np.log(0.85), np.log(1.2))))
        shown, moved = altered.turned(volume, rng.uniform(-15, 15), zoom)
        yield "turned", shown, {lv: moved(at) for lv, at in discs.items()}
    for _ in range(DRAWS):
        size = float(rng.uniform(150, 200))
        middle = volume.slices[len(volume.slices) // 2].plane.centre
        centre = middle + np.array([0.0, rng.uniform(-15, 15), rng.uniform(-25, 25)])
        small = altered.windowed(volume, centre, size)
        plane = small.slices[len(small.slices) // 2].plane
        inside = {lv: at for lv, at in discs.items() if plane.contains(*plane.to_pixel(at))}
        yield "small field", small, inside
    x = float(np.mean([at[0] for at in discs.values()]))
    for side in (-1, 1):
        yield "off the middle", altered.beside(volume, x, side), discs
    lowest = min(at[2] for at in discs.values())
    yield "no sacrum", altered.above(volume, float(lowest) - 12.0), discs


def _judge(
    name: str, case: Case, volumes: Mapping[Role, Volume], discs: Discs, artifacts: Path
) -> Iterator[Judged]:
    found = find(volumes, store_of(artifacts)).findings
    canal = {f.level: f for f in found if f.condition is Condition.SPINAL_CANAL_STENOSIS}
    for level, disc in discs.items():
        finding = canal[level]
        p = finding.probabilities
        at = finding.patient_mm
        yield Judged(
            name,
            case.name,
            level.label,
            level in case.certain,
            outcome(finding, discs),
            finding.grade.value if finding.grade else None,
            p[list(p)[2]] if p else None,
            sum(list(p.values())[1:]) if p else None,
            at,
            abs(at[2] - float(disc[2])) if at else None,
            NAMING_WARNING in finding.warnings,
        )


def outcome(finding: Finding, discs: Discs) -> Outcome:
    """Say whether a finding's point lies nearest to the disc of its name."""
    if finding.patient_mm is not None:
        at = np.array(finding.patient_mm)
        # In the sagittal plane: the true patient side of these cases is unknown.
        near = min(discs, key=lambda lv: float(np.linalg.norm((discs[lv] - at)[1:])))
        if near is finding.level:
            return "right"
    is_claimed = finding.is_assessed and NAMING_WARNING not in finding.warnings
    return "silent" if is_claimed else "flagged"


def grade_study(folder: Path, artifacts: Path) -> dict[str, Any]:
    """Return the canal's grade, or why there is none, at each level of one real study."""
    (taken,) = analysis.read(sorted(folder.rglob("*.dcm")))
    found, _ = analysis.find(taken, store_of(artifacts))
    return {
        f.level.label: f.grade.value if f.grade else f.reason
        for f in found.findings
        if f.condition is Condition.SPINAL_CANAL_STENOSIS
    }


def summarise_real(judged: Sequence[Judged]) -> dict[str, Any]:
    """Return the shares of the outcomes of each set, over the discs whose names are certain.

    ``severity`` tells the canal's grades of healthy cases in numbers, of narrowed ones by level.
    """
    result: dict[str, Any] = {"severity": _severity([j for j in judged if j.set == "as it is"])}
    for name in dict.fromkeys(j.set for j in judged):
        rows = [j for j in judged if j.set == name and j.certain]
        heights = [j.height_mm for j in rows if j.height_mm is not None and j.level != "L5/S1"]
        known = {"discs": len(rows)}
        known |= {o: sum(j.outcome == o for j in rows) for o in ("right", "flagged", "silent")}
        result[name] = {
            **known,
            "right_share": round(known["right"] / max(len(rows), 1), 4),
            "silent_share": round(known["silent"] / max(len(rows), 1), 4),
            "right_but_warned": sum(j.outcome == "right" and j.warned for j in rows),
            "graded": sum(j.grade is not None for j in rows),
            "height_median_mm": round(float(np.median(heights)), 2) if heights else None,
        }
    return result


def _severity(judged: Sequence[Judged]) -> dict[str, Any]:
    graded = [j for j in judged if j.grade is not None]
    healthy = [j for j in graded if j.case.startswith(HEALTHY)]
    called = [j for j in healthy if j.grade != Grade.NORMAL_MILD]
    return {
        "healthy_levels": len(healthy),
        "healthy_called_moderate_or_severe": len(called),
        "healthy_share": round(len(called) / max(len(healthy), 1), 4),
        "narrowed": {
            case: {j.level: [j.grade, round(j.worse or 0.0, 3)] for j in graded if j.case == case}
            for case in NARROWED
        },
    }
