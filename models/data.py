"""Labelled series as training cases: prepared once, in parallel, kept as ``.npz`` files.

Everything a case holds went through ``node.inference``'s own preparation. One case is one series
with the labels made on it, so that memory holds a few series at a time, whatever the data's size.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from models.reader import Mark, Study, read_study
from models.tables import LabelledStudy, Part, part_of, read_tables
from node.inference.canonical import PREPARATION, canonical
from node.inference.instance import Place, places
from node.inference.severity import Spot, prepare
from node.spine.anatomy import ROLE_OF, ConditionGroup, Role
from node.spine.volume import Volume

Case = dict[str, NDArray[np.generic]]

#: Crops are kept larger than the network's, and with two neighbours on each side, so that
#: training can rotate, zoom, shift and take a neighbouring slice.
CROP, REACH = 144, 2

#: Brightness is stored in steps of 1/200.
STEP = 200.0


@dataclass(frozen=True)
class _Job:
    data: Path
    study: LabelledStudy
    series_id: str
    file: Path


def case_files(work: Path, part: Part, group: ConditionGroup) -> list[Path]:
    """Return the prepared cases of one condition."""
    return sorted(_folder(work, part, ROLE_OF[group]).glob("*.npz"))


def _folder(work: Path, part: Part, role: Role) -> Path:
    # Another preparation is another folder: old cases are never mixed with new ones.
    return work / f"cases-{PREPARATION}" / part / role.value


def prepare_all(data: Path, work: Path, processes: int = 2) -> Counter[str]:
    """Prepare every labelled series that is trained on and is not prepared yet.

    Parameters
    ----------
    data : Path
        Folder in the layout of the RSNA download.
    work : Path
        Scratch folder outside git; what is there already is kept, so that a run can be stopped
        and started again.
    processes : int

    Returns
    -------
    Counter
        How many cases were ``written``, how many were there, and every oddity of tables and
        images with its count; ``prepared.json`` in ``work`` keeps them.
    """
    tables = read_tables(data)
    counts: Counter[str] = Counter(tables.oddities)
    jobs = list(_jobs(data, work, tables.studies.values()))
    missing = [job for job in jobs if not job.file.exists()]
    counts["cases there already"] = len(jobs) - len(missing)
    with ProcessPoolExecutor(processes) as pool:
        done = pool.map(_write, missing, chunksize=4)
        for found in track(done, "preparing series", total=len(missing)):
            counts += found
    source = "phantoms" if (data / "truth").is_dir() else "patients"
    work.mkdir(parents=True, exist_ok=True)
    made = {"data": source, "counts": dict(sorted(counts.items()))}
    (work / "prepared.json").write_text(json.dumps(made, indent=1), "utf-8")
    return counts


def source_of(work: Path) -> str:
    """Return what cases were made of: ``phantoms`` (only they know the truth) or ``patients``."""
    return str(json.loads((work / "prepared.json").read_text("utf-8"))["data"])


def _jobs(data: Path, work: Path, studies: Iterable[LabelledStudy]) -> Iterator[_Job]:
    for study in studies:
        part = part_of(study.study_id)
        if part == "test":  # measured by the whole node, from the images themselves
            continue
        for series_id in dict.fromkeys(label.series_id for label in study.labels):
            name = f"{study.study_id}.{series_id}.npz"
            folder = _folder(work, part, study.series[series_id])
            yield _Job(data, study, series_id, folder / name)


def _write(job: _Job) -> Counter[str]:
    study = read_study(job.data, job.study, [job.series_id])
    made = case(study, job.series_id) if job.series_id in study.series_facts else None
    counts = study.oddities.copy()
    if made is None:
        counts["labelled series that give no case"] += 1
        return counts
    job.file.parent.mkdir(parents=True, exist_ok=True)
    partial = job.file.with_suffix(f".{os.getpid()}.part")
    with partial.open("wb") as file:
        np.savez(file, **made)  # type: ignore[arg-type]  # its stub takes one array kind
    partial.rename(job.file)
    counts["cases written"] += 1
    return counts


def case(study: Study, series_id: str) -> Case | None:
    """Return one labelled series as arrays; None when the node would not use it.

    With S slices and P places (`node.inference.instance.places`): ``images`` (S, H, W) uint8,
    ``mm`` (S,), ``spacing`` (), ``distance`` (S, P) mm of each slice plane from the label,
    ``points`` (S, P, 2) the label's ``(column, row)`` on each slice's grid, ``grade`` (P,) 0 to 2,
    ``severity`` (P,) 0 to 1, ``crops`` (P, 5, 144, 144) uint8 around the label. What nobody
    labelled is NaN, or -1 for a grade; unlabelled is not absent.
    """
    volume = study.series(series_id)
    if volume is None:
        return None
    group = next(g for g in ConditionGroup if ROLE_OF[g] is volume.role)
    images = {s.sop_instance_uid: i for i, s in enumerate(volume.slices)}
    marks: dict[Place, Mark] = {}
    for place in places(group):
        mark = study.marks.get((series_id, (group.condition(place[0]), place[1])))
        if mark is not None and mark.image in images:
            marks[place] = mark
        elif mark is not None:
            study.oddities["points on an image that the node would not use"] += 1
    if not marks:
        return None
    stack = canonical(volume)
    shape = (len(stack.planes), len(places(group)))
    distance = np.full(shape, np.nan, dtype=np.float32)
    points = np.full((*shape, 2), np.nan, dtype=np.float32)
    grade = np.full(shape[1], -1)
    severity = np.full(shape[1], np.nan, dtype=np.float32)
    for k, place in enumerate(places(group)):
        if place in marks:
            at, key = marks[place].point_mm, (group.condition(place[0]), place[1])
            distance[:, k] = [p.distance(at) for p in stack.planes]
            points[:, k] = [p.to_pixel(at) for p in stack.planes]
            grade[k] = study.labelled.grades.get(key, -1)
            severity[k] = study.severities.get(key, np.nan)
    return {
        "images": _bytes(stack.images),
        "mm": stack.millimetres.astype(np.float32),
        "spacing": np.array(volume.spacing(), dtype=np.float32),
        "distance": distance,
        "points": points,
        "grade": grade,
        "severity": severity,
        "crops": _crops(volume, group, {p: (images[m.image], m) for p, m in marks.items()}),
    }


def _crops(
    volume: Volume, group: ConditionGroup, marks: dict[Place, tuple[int, Mark]]
) -> NDArray[np.uint8]:
    window = volume.window()
    crops = np.zeros((len(places(group)), 2 * REACH + 1, CROP, CROP), dtype=np.uint8)
    for k, place in enumerate(places(group)):
        if place in marks:
            index, mark = marks[place]
            spot = Spot(index, mark.point_mm, place[0])
            crops[k] = _bytes(prepare(volume, window, spot, size=CROP, reach=REACH))
    return crops


def _bytes(brightness: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(brightness * STEP), 0, 255), dtype=np.uint8)


def load(files: Iterable[Path], keys: Sequence[str]) -> list[Case]:
    """Read only the named arrays of each case."""
    cases = []
    for file in files:
        with np.load(file) as arrays:
            cases.append({key: arrays[key] for key in keys})
    return cases
