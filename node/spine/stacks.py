"""Where the images of a series lie: orientation, stacks, stations, repeated positions, extent.

Only Image Position, Image Orientation and Pixel Spacing count. InstanceNumber, SliceLocation and
InStackPositionNumber are not trusted (Philips numbers at random).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

import numpy as np

from node.spine.facts import FrameFacts
from node.spine.geometry import Plane

# Engineering defaults, ../shared/spec/dicom-objects-and-trust.md section 4.3, rules 1 and 2.
SAME_NORMAL_COS = float(np.cos(np.radians(3.0)))
SAME_POSITION_MM = 0.1
STEEP_AXIAL_COS = float(np.cos(np.radians(60.0)))
STEEP_AXIAL_TO_X_COS = float(np.cos(np.radians(25.0)))
STEEP_AXIAL_NORMAL_X = 0.3
#: A neighbour further away than this many median spacings begins a new stack.
STACK_GAP = 2.0
#: Two table positions of a long spine lie further apart than any tilt inside one station.
STATION_GAP_MM = 60.0


class Orientation(StrEnum):
    """The main direction of an image plane in the patient."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"


def orientation(plane: Plane, *, steep_axial: bool = False) -> Orientation:
    """Return the patient axis the plane's normal lies closest to.

    Parameters
    ----------
    plane : Plane
    steep_axial : bool
        Also call a plane axial that is tilted about the left-right axis by up to 60 degrees,
        as L5/S1 stacks are; allowed only where other evidence says axial.
    """
    normal = np.abs(plane.normal)
    if steep_axial and _is_steep_axial(plane):
        return Orientation.AXIAL
    names = (Orientation.SAGITTAL, Orientation.CORONAL, Orientation.AXIAL)
    return names[int(np.argmax(normal))]


def _is_steep_axial(plane: Plane) -> bool:
    normal = np.abs(plane.normal)
    to_x = max(abs(plane.along_row[0]), abs(plane.along_column[0]))
    return bool(
        normal[0] < STEEP_AXIAL_NORMAL_X
        and normal[2] >= STEEP_AXIAL_COS
        and to_x >= STEEP_AXIAL_TO_X_COS
    )


def stacks(planes: Sequence[Plane]) -> list[list[int]]:
    """Group planes that are parallel within 3 degrees and follow each other without a gap.

    Returns
    -------
    list of list of int
        Indices into `planes`, each stack sorted along its normal; the largest stack first.
    """
    found: list[list[int]] = []
    for group in parallel(planes):
        normal = planes[group[0]].normal
        place = np.array([planes[i].centre @ normal for i in group])
        order = np.argsort(place, kind="stable")
        steps = np.diff(place[order])
        usual = (
            np.median(steps[steps > SAME_POSITION_MM]) if (steps > SAME_POSITION_MM).any() else 0
        )
        cuts = np.flatnonzero(steps > STACK_GAP * usual) + 1
        found += [[group[int(i)] for i in part] for part in np.split(order, cuts)]
    return sorted(found, key=len, reverse=True)


def parallel(planes: Sequence[Plane]) -> list[list[int]]:
    """Group planes whose normals differ by no more than 3 degrees; indices into `planes`."""
    normals = np.array([plane.normal for plane in planes])
    leaders = np.empty_like(normals)
    groups: list[list[int]] = []
    for i, normal in enumerate(normals):
        near = np.abs(leaders[: len(groups)] @ normal) >= SAME_NORMAL_COS
        if near.any():
            groups[int(np.argmax(near))].append(i)
        else:
            leaders[len(groups)] = normal
            groups.append([i])
    return groups


def main_direction(frames: Sequence[FrameFacts]) -> list[FrameFacts]:
    """Return the frames of the largest group of parallel planes."""
    planes = [f.plane for f in frames if f.plane is not None]
    largest = max(parallel(planes), key=len)
    return [frames[i] for i in largest]


def stations(frames: Sequence[FrameFacts]) -> list[list[FrameFacts]]:
    """Split frames where the image centre jumps along the patient, cranial station first."""
    height = np.array([f.plane.centre[2] for f in frames if f.plane is not None])
    order = np.argsort(-height, kind="stable")
    cuts = np.flatnonzero(-np.diff(height[order]) > STATION_GAP_MM) + 1
    return [[frames[int(i)] for i in part] for part in np.split(order, cuts)]


def without_repeats(frames: Sequence[FrameFacts]) -> list[FrameFacts]:
    """Keep one image for each position: the latest of the most complete acquisition.

    Images repeat a position when they are parallel, less than 0.1 mm apart and overlap. The
    acquisition with the most images fills the positions first, the later one when two are equal;
    positions it lacks come from the others. File order plays no part.
    """
    size = Counter((f.temporal_position, f.acquisition_number) for f in frames)
    by_name = sorted(frames, key=lambda f: (f.sop_instance_uid, f.frame_number or 0))
    by_time = sorted(by_name, key=_when, reverse=True)
    by_size = sorted(
        by_time, key=lambda f: size[f.temporal_position, f.acquisition_number], reverse=True
    )
    planes = [f.plane for f in by_size if f.plane is not None]
    normals = np.array([p.normal for p in planes])
    centres = np.array([p.centre for p in planes])
    reach = np.array(
        [min(p.rows * p.row_spacing, p.columns * p.column_spacing) / 2 for p in planes]
    )
    kept: list[int] = []
    for i in range(len(planes)):
        between = centres[kept] - centres[i]
        repeated = (
            (np.abs(between @ normals[i]) < SAME_POSITION_MM)
            & ((between**2).sum(axis=1) < reach[i] ** 2)
            & (np.abs(normals[kept] @ normals[i]) >= SAME_NORMAL_COS)
        )
        if not repeated.any():
            kept.append(i)
    return [by_size[i] for i in kept]


def _when(frame: FrameFacts) -> tuple[int, str, int]:
    return frame.temporal_position or 0, frame.acquired, frame.acquisition_number or 0


def extent(planes: Iterable[Plane], axis: int) -> tuple[float, float]:
    """Return the lowest and highest patient coordinate (mm) of the image corners on one axis."""
    values = [
        plane.to_patient(column, row)[axis]
        for plane in planes
        for column in (0, plane.columns - 1)
        for row in (0, plane.rows - 1)
    ]
    return float(min(values)), float(max(values))


def pitch(planes: Sequence[Plane]) -> float:
    """Return the median distance (mm) between neighbours inside stacks; 0 for lone images."""
    steps: list[float] = []
    for group in stacks(planes):
        normal = planes[group[0]].normal
        steps += list(np.diff([planes[i].centre @ normal for i in group]))
    return float(np.median(steps)) if steps else 0.0
