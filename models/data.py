"""Phantom studies as training cases: made once, in parallel, kept as small ``.npz`` files.

Everything a case holds went through ``node.inference``'s own preparation.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from node.inference.canonical import canonical
from node.inference.instance import places, reach_mm
from node.inference.severity import Spot, prepare
from node.phantom import PhantomStudy, StudyOptions, make_study
from node.phantom.options import Coverage
from node.spine.anatomy import GRADES, ROLE_OF, ConditionGroup
from node.spine.volume import Volume

Case = dict[str, NDArray[np.generic]]

#: Crops are kept larger than the network's, and with two neighbours on each side, so that
#: training can rotate, zoom, shift and take a neighbouring slice.
CROP, REACH = 144, 2

#: Brightness is stored in steps of 1/200.
STEP = 200.0

#: The first seed of each set; no set comes near the next one.
SEEDS = {"train": 0, "validation": 500_000, "test": 900_000}


#: Coverage of every twelfth training study.
_SHORTENED: dict[int, Coverage] = {3: "sacrum_cut", 9: "off_centre"}


def build(work: Path, part: str, count: int, processes: int = 2) -> list[Path]:
    """Make the first ``count`` cases of a part that do not exist yet; return all their files.

    Parameters
    ----------
    work : Path
        Scratch folder outside git.
    part : {"train", "validation", "test"}
    count : int
    processes : int
    """
    folder = work / "cases" / part
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(SEEDS[part], SEEDS[part] + count)
    files = [folder / f"{seed}.npz" for seed in seeds]
    missing = [(seed, file) for seed, file in zip(seeds, files, strict=True) if not file.exists()]
    if missing:
        with ProcessPoolExecutor(processes) as pool:
            for _ in track(
                pool.map(_write, missing, chunksize=2), f"{part} phantoms", total=len(missing)
            ):
                pass
    return files


def _write(job: tuple[int, Path]) -> None:
    seed, file = job
    partial = file.with_suffix(f".{os.getpid()}.tmp.npz")
    np.savez(partial, **case(seed))  # type: ignore[arg-type]  # its stub takes one array kind
    partial.rename(file)


def study_of(seed: int) -> PhantomStudy:
    """Return the study of a seed: grades balanced, and of the training one in six cut short."""
    coverage: Coverage = "full"
    if seed < SEEDS["validation"]:
        coverage = _SHORTENED.get(seed % 12, "full")
    return make_study(seed, options=StudyOptions(balanced=True, coverage=coverage))


def case(seed: int) -> Case:
    """Return one phantom study as arrays.

    For each role (``sagittal_t1.`` ...): ``images`` (S, H, W) uint8, ``mm`` (S,), ``spacing``.
    For each group (``canal.`` ...), with P places: ``distance`` (S, P) mm of each slice plane from
    the true point, ``points`` (S, P, 2) the true ``(column, row)`` on each slice's grid,
    ``crops`` (P, 5, 144, 144) uint8 around the true point, ``grade`` (P,) 0 to 2, or -1 where no
    slice shows the place, ``severity`` (P,) 0 to 1.
    """
    study = study_of(seed)
    arrays: Case = {}
    for role, volume in study.volumes.items():
        stack = canonical(volume)
        arrays[f"{role}.images"] = _bytes(stack.images)
        arrays[f"{role}.mm"] = stack.millimetres.astype(np.float32)
        arrays[f"{role}.spacing"] = np.array(volume.spacing(), dtype=np.float32)
        for group in ConditionGroup:
            if ROLE_OF[group] is not role:
                continue
            truths = [study.truth[group.condition(side), lv] for side, lv in places(group)]
            at = [np.asarray(t.point_mm, dtype=np.float64) for t in truths]
            distance = np.array([[p.distance(x) for x in at] for p in stack.planes])
            shown = np.abs(distance).min(axis=0) <= reach_mm(volume.spacing())
            grade = np.array([GRADES.index(t.grade) for t in truths])
            arrays[f"{group.short}.distance"] = distance.astype(np.float32)
            arrays[f"{group.short}.points"] = np.array(
                [[p.to_pixel(x) for x in at] for p in stack.planes], dtype=np.float32
            )
            arrays[f"{group.short}.grade"] = np.where(shown, grade, -1)
            arrays[f"{group.short}.severity"] = np.array(
                [t.severity for t in truths], dtype=np.float32
            )
            arrays[f"{group.short}.crops"] = _crops(volume, group, distance, at)
    return arrays


def _crops(
    volume: Volume,
    group: ConditionGroup,
    distance: NDArray[np.float64],
    at: Sequence[NDArray[np.float64]],
) -> NDArray[np.uint8]:
    window = volume.window()
    nearest = np.abs(distance).argmin(axis=0)
    spots = [
        Spot(int(i), point, side)
        for i, point, (side, _) in zip(nearest, at, places(group), strict=True)
    ]
    return _bytes(
        np.stack([prepare(volume, window, spot, size=CROP, reach=REACH) for spot in spots])
    )


def _bytes(brightness: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(brightness * STEP), 0, 255), dtype=np.uint8)


def load(files: Iterable[Path], keys: Sequence[str]) -> list[Case]:
    """Read only the named arrays of each case."""
    cases = []
    for file in files:
        with np.load(file) as arrays:
            cases.append({key: arrays[key] for key in keys})
    return cases
