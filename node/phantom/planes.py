"""How the patient lies, and where the plain population's slices lie.

Slice counts, pitches, matrices, fields of view and stacks follow the RSNA 2024 training set.
"""

from dataclasses import dataclass

import numpy as np

from node.phantom.curve import Vector
from node.phantom.options import StudyOptions
from node.phantom.patient import Patient
from node.spine.anatomy import LEVELS, Condition
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


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a patient who lies a few degrees askew."""
    turns = np.clip(rng.normal(0, (1.5, 2.0, 2.0)), -6, 6)
    return posed(turns, np.array([rng.normal(0, 8), rng.normal(10, 20), rng.normal(0, 150)]))


def posed(turns: Vector, shift: Vector) -> Pose:
    """Return the pose of a patient turned about x, y and z (degrees), then shifted (mm)."""
    a, b, c = np.radians(turns)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return Pose(about_z @ about_y @ about_x, shift)


def sagittal_axes(rng: np.random.Generator, pose: Pose) -> tuple[Vector, Vector]:
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


def plane_at(
    centre: Vector, row: Vector, column: Vector, spacing: float, shape: tuple[int, int]
) -> Plane:
    """Return a plane around its centre (mm), with square pixels of ``spacing`` mm."""
    rows, columns = shape
    corner = centre - row * spacing * (columns - 1) / 2 - column * spacing * (rows - 1) / 2
    return Plane(corner, row, column, spacing, spacing, rows, columns)


_SAGITTAL_MATRIX = ((512, 0.32), (384, 0.24), (320, 0.20), (448, 0.11), (256, 0.05), (640, 0.08))
_AXIAL_MATRIX = ((320, 0.33), (512, 0.25), (640, 0.17), (384, 0.12), (256, 0.08), (448, 0.05))


def _matrix(rng: np.random.Generator, choices: tuple[tuple[int, float], ...]) -> int:
    weights = np.array([w for _, w in choices])
    return int(choices[int(rng.choice(len(choices), p=weights / weights.sum()))][0])


def plain_sagittal_planes(
    rng: np.random.Generator,
    patient: Patient,
    pose: Pose,
    axes: tuple[Vector, Vector],
    options: StudyOptions,
) -> tuple[tuple[Plane, ...], float]:
    """Return the planes of a sagittal series and its pitch, mm."""
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
        tuple(plane_at(centre + d * normal, row, column, spacing, (rows, columns)) for d in places),
        pitch,
    )


def plain_axial_planes(
    rng: np.random.Generator, patient: Patient, pose: Pose, options: StudyOptions
) -> tuple[tuple[Plane, ...], float]:
    """Return the planes of an axial series and its pitch, mm."""
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
            row, column = axial_axes(pose, tilt * rng.uniform(0.75, 1.0) + rng.normal(0, 0.03))
            normal = np.cross(row, column)
            down = normal if normal[2] < 0 else -normal
            middle = centre + offset[0] * row + offset[1] * column + rng.normal(0, 1.0) * down
            for k in range(count):
                at = middle + (k - (count - 1) / 2) * pitch * down
                planes.append(plane_at(at, row, column, spacing, (matrix, matrix)))
        planes.sort(key=lambda p: -float(p.centre[2]))
        return tuple(planes), pitch
    row, column = axial_axes(
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
            plane_at(start + k * pitch * down, row, column, spacing, (matrix, matrix))
            for k in range(count)
        ),
        pitch,
    )


def axial_axes(pose: Pose, tilt: float) -> tuple[Vector, Vector]:
    """Return row (to the patient's left) and column (to the back) of a plane across the spine."""
    row = np.array([1.0, 0.0, 0.0]) + 0.5 * (pose.rotation[:, 0] - np.array([1.0, 0.0, 0.0]))
    row /= np.linalg.norm(row)
    back = np.array([0.0, np.cos(tilt), np.sin(tilt)])
    back = back - (back @ row) * row
    return row, back / np.linalg.norm(back)
