"""How a phantom is scanned: series, planes, contrast, coil, noise; drawn as real studies are made.

Slice counts, pitches, matrices, fields of view, order and stacks follow the RSNA 2024 training set.
"""

from dataclasses import dataclass

import numpy as np

from node.phantom.contrast import Weighting
from node.phantom.curve import Vector
from node.phantom.options import StudyOptions
from node.phantom.patient import Patient
from node.spine.anatomy import LEVELS, Condition, Role
from node.spine.geometry import Plane


@dataclass(frozen=True, eq=False)
class Pose:
    """How the patient lies in the scanner: ``lps = rotation @ anatomy + shift`` (mm)."""

    rotation: Vector
    shift: Vector

    def to_lps(self, point: Vector) -> Vector:
        """Return scanner coordinates of an anatomical point (3,)."""
        return np.asarray(self.rotation @ point + self.shift)

    def to_anatomy(self, points: Vector) -> Vector:
        """Return anatomical coordinates of scanner points (..., 3)."""
        return np.asarray((points - self.shift) @ self.rotation)


@dataclass(frozen=True, eq=False)
class Coil:
    """Sensitivity: how fast it falls from the back, along the body, and at random."""

    floor: float
    reach: float
    length: float
    centre_h: float
    waves: Vector
    saturation: float | None


@dataclass(frozen=True, eq=False)
class Scan:
    """One series before it is scanned.

    Attributes
    ----------
    role : Role
    weighting : Weighting
    planes : tuple of Plane
        In the order in which the slices lie in the patient (see `node.spine.volume.Volume`).
    thickness, pitch : float
        mm.
    resolution : float
        Acquired pixel size, mm; the images are interpolated to the planes' spacing.
    noise : float
        Standard deviation, relative to the 99th percentile of the signal.
    brightness : float
        Pixel value of the 99.5th percentile.
    coil : Coil
    gamma : float
        A slight tone curve, as reconstruction filters have.
    reversed_numbers : bool
        InstanceNumber runs against the order of ``planes``.
    """

    role: Role
    weighting: Weighting
    planes: tuple[Plane, ...]
    thickness: float
    pitch: float
    resolution: float
    noise: float
    brightness: float
    coil: Coil
    gamma: float
    reversed_numbers: bool


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a patient who lies a few degrees askew."""
    a, b, c = np.radians(np.clip(rng.normal(0, (1.5, 2.0, 2.0)), -6, 6))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    shift = np.array([rng.normal(0, 8), rng.normal(10, 20), rng.normal(0, 150)])
    return Pose(about_z @ about_y @ about_x, shift)


def draw_scans(
    rng: np.random.Generator, patient: Patient, pose: Pose, options: StudyOptions
) -> tuple[Scan, ...]:
    """Draw the study's series, in the order of their roles."""
    strong = rng.random() < 0.5
    stir = options.stir if options.stir is not None else bool(rng.random() < 0.15)
    direction = _sagittal_axes(rng, pose)
    back = options.reversed_sagittal
    back = bool(rng.random() < 0.36) if back is None else back
    feet_first = options.reversed_axial
    feet_first = bool(rng.random() < 0.12) if feet_first is None else feet_first
    scans = []
    for role in Role:
        # Every role draws its numbers whether it is wanted or not: the others stay the same.
        own = np.random.default_rng(rng.integers(2**63))
        if role not in options.roles:
            continue
        if role is Role.AXIAL_T2:
            planes, pitch = _axial_planes(own, patient, pose, options)
            resolution = float(own.uniform(0.55, 0.75))
        else:
            planes, pitch = _sagittal_planes(own, patient, pose, direction, options)
            resolution = float(own.uniform(0.75, 1.05))
        scan = Scan(
            role=role,
            weighting=draw_weighting(own, role, stir=stir and role is Role.SAGITTAL_T2),
            planes=planes,
            thickness=round(pitch * float(own.uniform(0.82, 1.0)), 1),
            pitch=pitch,
            resolution=resolution,
            noise=float(own.uniform(0.004, 0.016)),
            brightness=float(np.clip(own.lognormal(6.9, 0.55), 250, 3900)),
            coil=_draw_coil(own, strong=strong, sagittal=role is not Role.AXIAL_T2),
            gamma=float(own.normal(1.0, 0.06)),
            reversed_numbers=feet_first if role is Role.AXIAL_T2 else back,
        )
        scans.append(scan)
    return tuple(scans)


def draw_weighting(rng: np.random.Generator, role: Role, *, stir: bool) -> Weighting:
    """Draw TR, TE and TI (ms) of a series."""
    if role is Role.SAGITTAL_T1:
        return Weighting(float(rng.integers(420, 780)), float(rng.integers(8, 16)))
    if stir:
        return Weighting(
            float(rng.integers(3500, 5500)),
            float(rng.integers(35, 75)),
            float(rng.integers(165, 190)),
        )
    return Weighting(float(rng.integers(2800, 5200)), float(rng.integers(88, 125)))


def _draw_coil(rng: np.random.Generator, *, strong: bool, sagittal: bool) -> Coil:
    # A normalised image keeps little of the coil; others are far brighter at the back.
    floor, reach = 0.4, rng.uniform(80, 160)
    if strong:
        floor, reach = (0.08, rng.uniform(60, 100)) if sagittal else (0.2, rng.uniform(80, 120))
    return Coil(
        floor=floor,
        reach=float(reach),
        length=float(rng.uniform(110, 240)),
        centre_h=float(rng.normal(70, 25)),
        waves=rng.normal(0, 0.10, (3, 4)),
        saturation=float(rng.uniform(0.06, 0.5)) if sagittal and rng.random() < 0.4 else None,
    )


def _sagittal_axes(rng: np.random.Generator, pose: Pose) -> tuple[Vector, Vector]:
    """Return the row and column direction; the operator follows most of the patient's tilt."""
    follow = 0.0 if rng.random() < 0.3 else 1.0
    normal = np.array([1.0, 0.0, 0.0]) * (1 - follow) + follow * pose.rotation[:, 0]
    normal = normal + rng.normal(0, 0.012, 3)
    normal /= np.linalg.norm(normal)
    down = np.array([0.0, 0.0, -1.0])
    down = down - (down @ normal) * normal
    down /= np.linalg.norm(down)
    back = np.cross(down, normal)
    return (back if back[1] > 0 else -back), down


def _plane(
    centre: Vector, row: Vector, column: Vector, spacing: float, shape: tuple[int, int]
) -> Plane:
    rows, columns = shape
    corner = centre - row * spacing * (columns - 1) / 2 - column * spacing * (rows - 1) / 2
    return Plane(corner, row, column, spacing, spacing, rows, columns)


_SAGITTAL_MATRIX = ((512, 0.32), (384, 0.24), (320, 0.20), (448, 0.11), (256, 0.05), (640, 0.08))
_AXIAL_MATRIX = ((320, 0.33), (512, 0.25), (640, 0.17), (384, 0.12), (256, 0.08), (448, 0.05))


def _matrix(rng: np.random.Generator, choices: tuple[tuple[int, float], ...]) -> int:
    weights = np.array([w for _, w in choices])
    return int(choices[int(rng.choice(len(choices), p=weights / weights.sum()))][0])


def _sagittal_planes(
    rng: np.random.Generator,
    patient: Patient,
    pose: Pose,
    axes: tuple[Vector, Vector],
    options: StudyOptions,
) -> tuple[tuple[Plane, ...], float]:
    row, column = axes
    normal = np.cross(row, column)
    normal = normal if normal[0] > 0 else -normal
    pitch = float(rng.choice([3.6, 4.0, 4.0, 4.4, 4.5, 4.5, 4.8, 5.0]))
    count = int(np.clip(rng.choice([12, 13, 15, 15, 16, 17, 17, 18, 19, 21]), 56 / pitch, 21))
    middle = pose.to_lps(patient.point(Condition.SPINAL_CANAL_STENOSIS, LEVELS[2]))
    top = pose.to_lps(patient.disc_centre(LEVELS[0]))
    bottom = pose.to_lps(patient.disc_centre(LEVELS[4]))
    span = float((bottom - top) @ column)
    field = float(np.clip(rng.normal(288, 15), 258, 320))
    down, along = rng.normal(-3, 11), rng.normal(-13, 11)
    if options.coverage == "off_centre":
        down, along = down + rng.choice([-1, 1]) * rng.uniform(15, 40), along + rng.normal(0, 25)
    elif options.coverage == "small_field":
        field = max(span + 50, float(rng.uniform(170, 225)))
    # From the middle of the five levels, which all stay inside with some sacrum below them.
    low = span / 2 + 34 - field / 2
    centre_down = float(np.clip(down, low, max(low, field / 2 - span / 2 - 12)))
    if options.coverage == "sacrum_cut":
        centre_down = span / 2 + float(rng.uniform(8, 18)) - field / 2
    base = middle + (0.5 * (top + bottom) - middle) @ column * column
    across = 0.5 * (top + bottom) @ normal - base @ normal
    base = base + across * normal
    columns = _matrix(rng, _SAGITTAL_MATRIX)
    rows = columns
    if rng.random() < 0.1:
        rows, columns = int(columns * 1.1 // 8 * 8), int(columns * 0.92 // 8 * 8)
    spacing = round(field / rows, 4)
    centre = base + centre_down * column + along * row + rng.normal(0, 2.0) * normal
    places = (np.arange(count) - (count - 1) / 2) * pitch
    return (
        tuple(_plane(centre + d * normal, row, column, spacing, (rows, columns)) for d in places),
        pitch,
    )


def _axial_planes(
    rng: np.random.Generator, patient: Patient, pose: Pose, options: StudyOptions
) -> tuple[tuple[Plane, ...], float]:
    kind = options.axial or ("groups" if rng.random() < 0.55 else "stack")
    field = float(np.clip(rng.normal(180, 14), 158, 204))
    matrix = _matrix(rng, _AXIAL_MATRIX)
    spacing = round(field / matrix, 4)
    pitch = float(rng.choice([4.0, 4.2, 4.4, 4.4, 4.8, 5.0]))
    offset = rng.normal(0, 4), rng.normal(-4, 7)
    centres = [pose.to_lps(patient.point(Condition.SPINAL_CANAL_STENOSIS, lv)) for lv in LEVELS]
    tilts = [
        float(np.interp(patient.disc(lv).s, patient.curve.s, patient.curve.tilt)) for lv in LEVELS
    ]
    planes = []
    if kind == "groups":
        count = int(rng.integers(4, 7))
        for centre, tilt in zip(centres, tilts, strict=True):
            row, column = _axial_axes(pose, tilt * rng.uniform(0.75, 1.0) + rng.normal(0, 0.03))
            normal = np.cross(row, column)
            down = normal if normal[2] < 0 else -normal
            middle = centre + offset[0] * row + offset[1] * column + rng.normal(0, 1.0) * down
            for k in range(count):
                at = middle + (k - (count - 1) / 2) * pitch * down
                planes.append(_plane(at, row, column, spacing, (matrix, matrix)))
        planes.sort(key=lambda p: -float(p.centre[2]))
        return tuple(planes), pitch
    row, column = _axial_axes(
        pose, float(np.mean(tilts)) * rng.choice([0.0, 1.0]) + rng.normal(0, 0.03)
    )
    normal = np.cross(row, column)
    down = normal if normal[2] < 0 else -normal
    reach = float((centres[4] - centres[0]) @ down)
    above, below = rng.uniform(6, 16), rng.uniform(10, 22)
    count = int(np.ceil((reach + above + below) / pitch)) + 1
    middle = 0.5 * (centres[1] + centres[3])
    middle = middle - (middle - centres[0]) @ down * down
    start = middle + offset[0] * row + offset[1] * column - above * down
    return (
        tuple(
            _plane(start + k * pitch * down, row, column, spacing, (matrix, matrix))
            for k in range(count)
        ),
        pitch,
    )


def _axial_axes(pose: Pose, tilt: float) -> tuple[Vector, Vector]:
    """Return row (to the patient's left) and column (to the back) of a plane across the spine."""
    row = np.array([1.0, 0.0, 0.0]) + 0.5 * (pose.rotation[:, 0] - np.array([1.0, 0.0, 0.0]))
    row /= np.linalg.norm(row)
    back = np.array([0.0, np.cos(tilt), np.sin(tilt)])
    back = back - (back @ row) * row
    return row, back / np.linalg.norm(back)
