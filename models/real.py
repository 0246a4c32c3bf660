"""The canal's level points on real sagittal series: evaluation only, never for choosing a model."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from node.dicom.reading.reader import facts, load_volume, read_header
from node.inference.pipeline import find
from node.inference.runtime import ModelStore
from node.spine.anatomy import LEVELS, Condition, Level, Role
from node.spine.series import choose
from node.spine.volume import Volume


@dataclass(frozen=True)
class RealCase:
    """One real case: how many of its certain discs were named right, and how far off.

    Attributes
    ----------
    name : str
    series : str
        T1, T2 or STIR.
    assessed : int
        Levels with a grade.
    certain, right : int
        Discs with a certain name, and those whose point lies nearest to its own disc.
    height_mm : tuple of float
        Distance along the body axis from each point to its disc's centre.
    """

    name: str
    series: str
    assessed: int
    certain: int
    right: int
    height_mm: tuple[float, ...]


def read_study(folder: Path) -> dict[Role, Volume]:
    """Read a folder with one study into volumes, as the node would."""
    headers = [(path, read_header(path)) for path in sorted(folder.rglob("*.dcm"))]
    files = {str(header.SOPInstanceUID): path for path, header in headers}
    choice = choose(facts(headers))
    return {role: load_volume(role, c, files) for role, c in choice.chosen.items()}


def measure_real(folder: Path, artifacts: Path) -> list[RealCase]:
    """Run the pipeline on every case of ``levels.csv`` that has a sagittal T2 or STIR."""
    store = ModelStore(artifacts, "cpu")
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with (folder / "levels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["case"]].append(row)
    cases = []
    for name, labels in sorted(rows.items()):
        volumes = read_study(folder / name)
        if Role.SAGITTAL_T2 in volumes:
            cases.append(_case(name, labels, volumes, store))
    return cases


def _case(
    name: str, labels: list[dict[str, str]], volumes: dict[Role, Volume], store: ModelStore
) -> RealCase:
    by_label = {level.label: level for level in LEVELS}
    discs = {
        by_label[r["level"]]: np.array([float(r[k]) for k in ("x_mm", "y_mm", "z_mm")])
        for r in labels
        if r["level"] in by_label
    }
    certain = {by_label[r["level"]] for r in labels if r["certain"] == "1"} & set(discs)
    findings = {
        f.level: f
        for f in find(volumes, store).findings
        if f.condition is Condition.SPINAL_CANAL_STENOSIS
    }
    points = {lv: np.array(f.patient_mm) for lv, f in findings.items() if f.patient_mm}

    def nearest(point: np.ndarray) -> Level:
        # In the sagittal plane: the true patient side of these cases is unknown.
        return min(discs, key=lambda lv: float(np.linalg.norm((discs[lv] - point)[1:])))

    return RealCase(
        name=name,
        series=labels[0]["weighting"],
        assessed=sum(f.is_assessed for f in findings.values()),
        certain=len(certain),
        right=sum(lv in points and nearest(points[lv]) is lv for lv in certain),
        height_mm=tuple(float(abs(points[lv][2] - discs[lv][2])) for lv in certain if lv in points),
    )


def show_real(cases: list[RealCase], console: Console) -> None:
    """Print a line for each case and the sum."""
    table = Table("case", "series", "assessed", "named right", "median height error, mm")
    for case in cases:
        off = f"{np.median(case.height_mm):.1f}" if case.height_mm else "-"
        table.add_row(
            case.name, case.series, f"{case.assessed}/5", f"{case.right}/{case.certain}", off
        )
    right, certain = sum(c.right for c in cases), sum(c.certain for c in cases)
    every = [h for c in cases for h in c.height_mm]
    table.add_row("all", "", "", f"{right}/{certain}", f"{np.median(every):.1f}" if every else "-")
    console.print(table)
