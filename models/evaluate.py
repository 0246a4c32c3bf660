"""Every stage and the whole pipeline on labelled studies, by the node's own code.

Stage 1 and the whole start from the series the node chooses; stages 2 and 3 are measured on the
labelled slice and point, so that each stage's figures are its own. The whole never sees a label.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import track

from models.reader import Mark, Study, read_study
from models.tables import LabelledStudy, part_of, read_tables
from node.inference.canonical import Stack, canonical
from node.inference.coordinate import Point, find_points
from node.inference.instance import Place, find_slices, places
from node.inference.pipeline import find
from node.inference.runtime import ModelStore
from node.inference.severity import Spot, grade
from node.spine.anatomy import GRADES, ROLE_OF, ConditionGroup, FindingKey, Grade
from node.spine.findings import Finding
from node.spine.volume import Volume

Part = Literal["train", "validation", "test", "all"]
Pair = tuple[float, float]
Measured = tuple[list["Record"], Counter[str]]
Triple = tuple[float, float, float]


@dataclass
class Record:
    """One labelled finding of one study, and what was said about it.

    Attributes
    ----------
    study, group : str
    place : int
        In the order of `node.inference.instance.places`.
    grade : int or None
        The label's, 0 to 2.
    slices, slice : int or None
        Of the series the node chose, and which of them is labelled. None, as all that follows of
        the stages, when the label is on a series that was not chosen.
    label : (column, row) or None
        On the labelled slice's grid, of ``spacing`` mm.
    image : str
        The labelled image.
    found_slice : stage 1
    found_point : stage 2, on the labelled slice
    graded : stage 3, probabilities at the labelled point
    reason : str or None
        Why the whole pipeline gave no grade.
    warned : bool
        The whole pipeline's answer came with a warning.
    final_slice, final_image, final_point, off_plane_mm, off_mm, probabilities : whole pipeline
        The point in native pixels. ``off_plane_mm`` is the distance from the label in the plane of
        the slice that was found, ``off_mm`` in three dimensions.
    """

    study: str
    group: str
    place: int
    grade: int | None
    slices: int | None = None
    slice: int | None = None
    label: Pair | None = None
    spacing: float = float("nan")
    image: str = ""
    found_slice: int | None = None
    found_point: Pair | None = None
    graded: Triple | None = None
    reason: str | None = None
    warned: bool = False
    final_slice: int | None = None
    final_image: str = ""
    final_point: Pair | None = None
    off_plane_mm: float | None = None
    off_mm: float | None = None
    probabilities: Triple | None = None


@cache
def store_of(artifacts: Path) -> ModelStore:
    """Return the models of a folder, opened once in each process."""
    return ModelStore(artifacts, "cpu", threads=1)


def measure(
    data: Path, artifacts: Path, *, part: Part = "test", most: int | None = None, processes: int = 2
) -> Measured:
    """Return the records of all labelled findings of a part, and the oddities met.

    Parameters
    ----------
    data : Path
        Folder in the layout of the RSNA download.
    artifacts : Path
        The models.
    part : {"train", "validation", "test", "all"}
        ``all`` for data that was never trained on.
    most : int, optional
        Only so many studies.
    processes : int
    """
    tables = read_tables(data)
    chosen = [s for s in tables.studies.values() if part in {"all", part_of(s.study_id)}][:most]
    jobs = [(data, artifacts, study) for study in chosen]
    records: list[Record] = []
    oddities = Counter(tables.oddities)
    with ProcessPoolExecutor(processes) as pool:
        for found, odd in track(pool.map(_measure, jobs), "studies", total=len(jobs)):
            records += found
            oddities += odd
    return records, oddities


def _measure(job: tuple[Path, Path, LabelledStudy]) -> Measured:
    data, artifacts, labelled = job
    study, store = read_study(data, labelled), store_of(artifacts)
    volumes = study.volumes()
    findings = {f.key: f for f in find(volumes, store).findings}
    records = []
    for group in ConditionGroup:
        volume = volumes.get(ROLE_OF[group])
        staged = dict(_staged(study, volume, group, store)) if volume else {}
        for k, place in enumerate(places(group)):
            key = (group.condition(place[0]), place[1])
            known = labelled.grades.get(key)
            record = staged.get(place) or Record(labelled.study_id, group.short, k, known)
            mark = _mark(study, volume, key)
            if known is not None or mark is not None:
                _whole(record, findings[key], volume, mark)
                records.append(record)
    return records, study.oddities


def _mark(study: Study, volume: Volume | None, key: FindingKey) -> Mark | None:
    """Return the label that lies on an image of the volume, if any does."""
    images = {s.sop_instance_uid for s in volume.slices} if volume else set()
    return next((m for (_, k), m in study.marks.items() if k == key and m.image in images), None)


def _staged(
    study: Study, volume: Volume, group: ConditionGroup, store: ModelStore
) -> Iterator[tuple[Place, Record]]:
    """Each stage on its own, given the label for the stage before."""
    keys = {p: (group.condition(p[0]), p[1]) for p in places(group)}
    marks = {p: m for p in keys if (m := _mark(study, volume, keys[p])) is not None}
    order = {s.sop_instance_uid: i for i, s in enumerate(volume.slices)}
    at = {p: order[m.image] for p, m in marks.items()}
    stack = canonical(volume)
    posterior = find_slices(stack, group, store)
    weights = {p: np.eye(len(stack.planes))[i] for p, i in at.items()}
    points = find_points(stack, group, weights, store)
    spots = [Spot(at[p], m.point_mm, p[0]) for p, m in marks.items()]
    graded = dict(zip(marks, grade(volume, group, spots, store), strict=True))
    for k, place in enumerate(places(group)):
        if place in marks:
            record = Record(
                study.labelled.study_id,
                group.short,
                k,
                study.labelled.grades.get(keys[place]),
                graded=_triple(graded[place]),
            )
            record.slice, record.found_slice = at[place], posterior[place].index
            _located(record, marks[place], at[place], stack, points.get(place))
            yield place, record


def _located(record: Record, mark: Mark, index: int, stack: Stack, point: Point | None) -> None:
    plane = stack.planes[index]
    record.slices = len(stack.planes)
    record.label, record.spacing = plane.to_pixel(mark.point_mm), plane.row_spacing
    record.image = mark.image
    record.found_point = (point.column, point.row) if point else None


def _whole(record: Record, finding: Finding, volume: Volume | None, mark: Mark | None) -> None:
    """What the whole pipeline said about one finding."""
    record.reason, record.warned = finding.reason, bool(finding.warnings)
    if finding.probabilities is None or finding.patient_mm is None or volume is None:
        return
    record.probabilities = _triple(finding.probabilities)
    record.final_point = _native(finding)
    record.final_image = str(finding.sop_instance_uid)
    names = [s.sop_instance_uid for s in volume.slices]
    record.final_slice = names.index(record.final_image)
    if mark is not None:
        offset = np.array(finding.patient_mm) - mark.point_mm
        across = float(offset @ volume.slices[record.final_slice].plane.normal)
        record.off_mm = float(np.linalg.norm(offset))
        record.off_plane_mm = float(np.sqrt(max(0.0, record.off_mm**2 - across**2)))


def _native(finding: Finding) -> Pair:
    """Return the native pixel of a finding that has a point."""
    if finding.column is None or finding.row is None:
        raise ValueError("the finding has no point")
    return finding.column, finding.row


def _triple(probabilities: Mapping[Grade, float]) -> Triple:
    """Return probabilities in the order of `GRADES`."""
    first, second, third = (float(probabilities[g]) for g in GRADES)
    return first, second, third


def only(records: Sequence[Record], group: ConditionGroup) -> list[Record]:
    """Return the records of one condition group."""
    return [r for r in records if r.group == group.short]
