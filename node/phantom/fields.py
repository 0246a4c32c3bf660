"""Where the wide population's slices lie: fields of view, stacks, obliques, cuts, second series.

Shares and lengths follow the RSNA 2024 training set (slice counts, matrices and orders counted
over all 6,294 series; pitches and pixel sizes from its published histograms). What the set does
not tell is an allowance of ours.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from node.phantom.curve import Vector
from node.phantom.options import Coverage, StudyOptions
from node.phantom.patient import Patient
from node.phantom.planes import Pose, axial_axes, plane_at
from node.spine.anatomy import LEVELS, Condition, Role
from node.spine.geometry import Plane

T = TypeVar("T")

#: (rows, columns): share, of the sagittal T1, the sagittal T2 and the axial series.
MATRICES: dict[Role, dict[tuple[int, int], float]] = {
    Role.SAGITTAL_T1: {
        (512, 512): 0.41,
        (384, 384): 0.18,
        (320, 320): 0.16,
        (256, 256): 0.06,
        (760, 640): 0.05,
        (448, 448): 0.04,
        (852, 768): 0.03,
        (528, 512): 0.03,
        (540, 384): 0.04,
    },
    Role.SAGITTAL_T2: {
        (512, 512): 0.27,
        (320, 320): 0.22,
        (448, 448): 0.16,
        (384, 384): 0.12,
        (576, 576): 0.04,
        (836, 704): 0.04,
        (640, 640): 0.04,
        (768, 768): 0.03,
        (256, 256): 0.03,
        (462, 448): 0.03,
        (456, 384): 0.02,
    },
    Role.AXIAL_T2: {
        (320, 320): 0.29,
        (512, 512): 0.22,
        (640, 640): 0.17,
        (384, 384): 0.11,
        (256, 256): 0.06,
        (448, 448): 0.05,
        (320, 260): 0.05,
        (384, 320): 0.05,
    },
}

#: mm from slice to slice: share.
PITCH = {3.3: 0.05, 3.6: 0.1, 4.0: 0.2, 4.4: 0.15, 4.5: 0.15, 4.8: 0.15, 5.0: 0.1, 5.5: 0.05}
PITCH |= {6.0: 0.05}
SAGITTAL_COUNT = {12: 0.07, 13: 0.07, 14: 0.06, 15: 0.2, 16: 0.08, 17: 0.17, 18: 0.12, 19: 0.09}
SAGITTAL_COUNT |= {20: 0.04, 21: 0.08, 22: 0.02}

#: Slices of each disc's own stack.
GROUP_COUNT = {3: 0.12, 4: 0.25, 5: 0.4, 6: 0.15, 7: 0.08}

#: Which levels the stacks of discs cover: all five in 72 %, from the labels of such series.
GROUP_LEVELS = {(0, 5): 0.72, (1, 5): 0.16, (2, 5): 0.12}

COVERAGE: dict[Coverage, float] = {
    "full": 0.78,
    "sacrum_cut": 0.06,
    "top_cut": 0.04,
    "off_centre": 0.06,
    "small_field": 0.06,
}

#: Shares of studies.
GROUPS, REVERSED_AXIAL, REVERSED_SAGITTAL, SECOND_AXIAL, SPLIT_AXIAL = 0.55, 0.12, 0.36, 0.17, 0.5


def chosen(rng: np.random.Generator, shares: dict[T, float]) -> T:
    """Draw a key with the probability of its share."""
    weights = np.array(list(shares.values()))
    return list(shares)[int(rng.choice(len(weights), p=weights / weights.sum()))]


@dataclass(frozen=True, eq=False)
class Prescription:
    """What the operator chose for the sagittal series of one study; mm."""

    pitch: float
    count: int
    field: float
    down: float
    along: float
    across: float


def draw_prescription(rng: np.random.Generator) -> Prescription:
    """Draw what one operator would choose."""
    across = float(rng.normal(0, 3.0))
    if rng.random() < 0.1:
        across += float(rng.choice([-1, 1])) * float(rng.uniform(6, 18))
    return Prescription(
        pitch=chosen(rng, PITCH),
        count=chosen(rng, SAGITTAL_COUNT),
        field=float(np.clip(rng.normal(285, 26), 225, 380)),
        down=float(rng.normal(-3, 14)),
        along=float(rng.normal(-13, 15)),
        across=across,
    )


def sagittal_planes(
    rng: np.random.Generator,
    patient: Patient,
    pose: Pose,
    role: Role,
    *,
    axes: tuple[Vector, Vector],
    wish: Prescription,
    coverage: Coverage,
) -> tuple[tuple[Plane, ...], float]:
    """Return the planes of a sagittal series and its pitch, mm.

    Parameters
    ----------
    rng : numpy Generator
    patient : Patient
    pose : Pose
    role : Role
    axes : row and column direction
    wish : Prescription
    coverage : str
    """
    row, column = axes
    normal = np.cross(row, column)
    normal = normal if normal[0] > 0 else -normal
    ends = [pose.to_lps(patient.disc_centre(LEVELS[k])) for k in (0, 4)]
    canal = pose.to_lps(patient.point(Condition.SPINAL_CANAL_STENOSIS, LEVELS[2]))
    span = float((ends[1] - ends[0]) @ column)
    field, down, along = wish.field, wish.down, wish.along
    if coverage == "off_centre":
        down += float(rng.choice([-1, 1])) * float(rng.uniform(15, 45))
        along += float(rng.normal(0, 25))
    if coverage == "small_field":
        field = float(rng.uniform(150, 200))
        down, along = float(rng.normal(0, 18)), float(rng.normal(-5, 12))
    else:
        # All five discs stay inside, with some sacrum below them.
        low = span / 2 + 34 - field / 2
        down = float(np.clip(down, low, max(low, field / 2 - span / 2 - 12)))
    if coverage == "sacrum_cut":
        down = span / 2 + float(rng.uniform(5, 18)) - field / 2
    elif coverage == "top_cut":
        down = field / 2 - span / 2 - float(rng.uniform(5, 16))
    # No pixel of the set is finer than 0.28 mm in a sagittal series.
    matrices = {m: share for m, share in MATRICES[role].items() if field / m[0] >= 0.28}
    rows, columns = chosen(rng, matrices)
    spacing = round(field / rows, 4)
    middle = 0.5 * (ends[0] + ends[1])
    centre = canal + ((middle - canal) @ column + down) * column + along * row
    centre = centre + ((middle - canal) @ normal + wish.across) * normal
    count = int(max(wish.count, np.ceil(54 / wish.pitch)))
    places = (np.arange(count) - (count - 1) / 2) * wish.pitch
    shape = (rows, columns)
    planes = [plane_at(centre + d * normal, row, column, spacing, shape) for d in places]
    return tuple(planes), wish.pitch


def axial_series(
    rng: np.random.Generator, patient: Patient, pose: Pose, options: StudyOptions
) -> list[tuple[tuple[Plane, ...], float]]:
    """Return the planes and pitch of one axial series, or of two that repeat or share levels."""
    kind = options.axial or ("groups" if rng.random() < GROUPS else "stack")
    first = chosen(rng, GROUP_LEVELS) if kind == "groups" else (0, 5)
    if rng.random() >= SECOND_AXIAL:
        return [_axial_planes(rng, patient, pose, kind, first)]
    if rng.random() < SPLIT_AXIAL:
        parts = ((0, 3), (2, 5)) if rng.random() < 0.5 else ((0, 2), (2, 5))
        return [_axial_planes(rng, patient, pose, kind, part) for part in parts]
    other: Literal["groups", "stack"] = "stack" if kind == "groups" else "groups"
    second = kind if rng.random() < 0.4 else other
    return [
        _axial_planes(rng, patient, pose, kind, first),
        _axial_planes(rng, patient, pose, second, (0, 5)),
    ]


def _axial_planes(
    rng: np.random.Generator,
    patient: Patient,
    pose: Pose,
    kind: Literal["groups", "stack"],
    covered: tuple[int, int],
) -> tuple[tuple[Plane, ...], float]:
    rows, columns = chosen(rng, MATRICES[Role.AXIAL_T2])
    field = float(np.clip(rng.normal(180, 18), 145, 230))
    size = (round(field / rows, 4), (rows, columns))
    pitch = chosen(rng, PITCH)
    offset = rng.normal(0, 6), rng.normal(-4, 9)
    levels = LEVELS[covered[0] : covered[1]]
    centres = [pose.to_lps(patient.point(Condition.SPINAL_CANAL_STENOSIS, lv)) for lv in levels]
    curve = patient.curve
    tilts = [float(np.interp(patient.disc(lv).s, curve.s, curve.tilt)) for lv in levels]
    if kind == "groups":
        count = chosen(rng, GROUP_COUNT)
        planes = []
        for centre, tilt in zip(centres, tilts, strict=True):
            # The operator follows the disc's angle well, or not so well.
            row, column = axial_axes(pose, tilt * rng.uniform(0.6, 1.05) + rng.normal(0, 0.05))
            middle = centre + offset[0] * row + offset[1] * column
            middle = middle + rng.normal(0, 1.2) * _down(row, column)
            reach = (np.arange(count) - (count - 1) / 2) * pitch
            planes += [plane_at(middle + d * _down(row, column), row, column, *size) for d in reach]
        planes.sort(key=lambda p: -float(p.centre[2]))
        return tuple(planes), pitch
    tilt = float(np.mean(tilts)) * float(rng.choice([0.0, 0.5, 1.0])) + float(rng.normal(0, 0.04))
    row, column = axial_axes(pose, tilt)
    down = _down(row, column)
    above, below = rng.uniform(5, 28), rng.uniform(6, 26)
    length = float((centres[-1] - centres[0]) @ down) + above + below
    middle = 0.5 * (centres[0] + centres[-1])
    middle = middle - (middle - centres[0]) @ down * down
    start = middle + offset[0] * row + offset[1] * column - above * down
    places = np.arange(int(np.ceil(length / pitch)) + 1) * pitch
    return tuple(plane_at(start + d * down, row, column, *size) for d in places), pitch


def _down(row: Vector, column: Vector) -> Vector:
    """The normal that points to the feet."""
    normal = np.cross(row, column)
    return normal if normal[2] < 0 else -normal
