"""Axial series that complete each other: upper and lower discs, or one series for each disc.

17 of 100 studies have two axial series (RSNA 2024): half of them repeat each other, half share the
spine between them.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from node.spine.candidates import Candidate, coverage, same_space
from node.spine.facts import FrameFacts
from node.spine.geometry import Vector
from node.spine.stacks import extent, pitch

#: Fewer slices than this show no disc.
LEAST_SLICES = 3
#: Between two blocks of one series lies one vertebra; a wider hole leaves out a disc.
HOLE_MM = 30.0
#: Coarser than the best by more than this, in the plane or across, is a scout.
COARSER = 1.6
#: What has to be equal for two series to be graded as one.
ALIKE = ("contrast", "native", "plain")


def complemented(
    axial: Candidate, others: Sequence[Candidate], sagittal: Candidate | None
) -> Candidate:
    """Add the slices of other axial series where the best one has none.

    Parameters
    ----------
    axial : Candidate
        The best.
    others : sequence of Candidate
        Axial too, the better first. Of the same frame of reference, contrast and fat suppression
        they count; elsewhere nobody knows whether they lie in the same place.
    sagittal : Candidate or None
        In whose view a slice has to lie.

    Returns
    -------
    Candidate
        With the frames of all, and the coverage they have together.
    """
    found = axial
    for other in others:
        if not same_space(other, axial) or _unlike(other, axial):
            continue
        added = _beyond(found, _seen(other.frames, sagittal))
        if len(added) >= LEAST_SLICES:
            found = replace(found, frames=(*found.frames, *added))
            value, covered = coverage(found)
            why = f"{len(added)} slices of {other.name} where this one has none: {covered}"
            found = found.with_part("coverage", max(value, axial.parts["coverage"]), why)
    return found


def _unlike(other: Candidate, axial: Candidate) -> bool:
    is_coarse = _pixel(other) > COARSER * _pixel(axial) or pitch(other.planes) > COARSER * pitch(
        axial.planes
    )
    return is_coarse or any(other.parts[part] != axial.parts[part] for part in ALIKE)


def _pixel(candidate: Candidate) -> float:
    return float(np.median([p.row_spacing for p in candidate.planes]))


def _seen(frames: Sequence[FrameFacts], sagittal: Candidate | None) -> list[FrameFacts]:
    if sagittal is None:
        return list(frames)
    low, high = extent(sagittal.planes, axis=2)
    return [f for f in frames if f.plane is not None and low <= f.plane.centre[2] <= high]


def _beyond(axial: Candidate, frames: Sequence[FrameFacts]) -> list[FrameFacts]:
    """Return the frames above or below all slices of a candidate, or in a hole between them."""
    heights = _heights(axial.frames)
    step = pitch(axial.planes) / 2
    holes = [(-np.inf, heights[0]), (heights[-1], np.inf)]
    holes += [(a, b) for a, b in pairwise(heights) if b - a > HOLE_MM]
    return [
        frame
        for frame in frames
        if frame.plane is not None
        and any(a + step < frame.plane.centre[2] < b - step for a, b in holes)
    ]


def _heights(frames: Sequence[FrameFacts]) -> Vector:
    return np.sort([f.plane.centre[2] for f in frames if f.plane is not None])
