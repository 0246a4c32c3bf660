"""Do the pictures look as the header says? Water in the canal is bright in T2 and STIR, dark in T1.

The networks know anatomy by its shape and find it in any contrast; a grade from the wrong contrast
would look like any other.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from node.inference.canonical import Stack
from node.inference.choices import Choice, network_choices, settled
from node.inference.coordinate import find_points
from node.inference.runtime import Models
from node.spine.anatomy import LEVELS, ConditionGroup, Level, Role
from node.spine.geometry import Image, Plane, Vector
from node.spine.volume import Volume

#: Brightness of the canal relative to the vertebral bodies before it. Measured: T2 and STIR 1.2 to
#: 2.3 (1.2 with severe stenosis throughout), T1 0.3 to 1.0, a negative 0.2 to 0.4.
LEAST_T2, MOST_T1 = 1.05, 1.15

#: The darkest part of the range, and the least share of pixels in it. Measured: real series 0.45 to
#: 0.82 (their middle 150 mm 0.21 to 0.72), phantoms 0.11 to 0.96; negatives 0.01 to 0.10, but for
#: some phantoms with implants.
DARK, LEAST_DARK = 0.15, 0.06

#: Half width of what counts as canal, and where in front of it the vertebral body lies, mm.
CANAL_MM, BODY_MM = 3.0, (15.0, 33.0)


def is_negative(volume: Volume) -> bool:
    """Tell whether bright and dark are exchanged: air, bone and moving blood are dark in all MR."""
    low, high = volume.window()
    sparse = np.concatenate([s.pixels[::3, ::3].ravel() for s in volume.slices])
    return float((sparse < low + DARK * (high - low)).mean()) < LEAST_DARK


def doubt(role: Role, stack: Stack, canal: Mapping[Level, Vector]) -> str | None:
    """Return why sagittal images are not of the contrast of their role, or None.

    Parameters
    ----------
    role : Role
    stack : Stack
        Of a sagittal series.
    canal : dict of Level to (3,) float64
        Points of the canal, mm LPS, in the stack's frame of reference.
    """
    ratio = canal_to_bone(stack, canal)
    if role is Role.SAGITTAL_T2 and ratio is not None and ratio < LEAST_T2:
        return "the canal is dark: the images do not look like T2 or STIR"
    if role is Role.SAGITTAL_T1 and ratio is not None and ratio > MOST_T1:
        return "the canal is bright: the images do not look like T1"
    return None


def canal_points(stack: Stack, store: Models) -> dict[Level, Vector]:
    """Find the canal (mm LPS) in a sagittal series whose frame of reference no other one shares."""
    choices = network_choices(stack, ConditionGroup.CANAL, store)
    weights = {place: c.weights for place, c in choices.items() if isinstance(c, Choice)}
    points = find_points(stack, ConditionGroup.CANAL, weights, store)
    slices = settled(choices, points)
    return {
        place[1]: points[place].in_patient(stack.planes[choice.index])
        for place, choice in slices.items()
        if isinstance(choice, Choice) and place in points
    }


def canal_to_bone(stack: Stack, canal: Mapping[Level, Vector]) -> float | None:
    """Return the median brightness of the canal behind the bodies, relative to the bodies'.

    It is read half-way between neighbouring levels, where stenosis is rare. None where no two
    neighbouring levels are known.
    """
    ratios = []
    for above, below in pairwise(LEVELS):
        if above in canal and below in canal:
            middle = (canal[above] + canal[below]) / 2
            nearest = int(np.argmin([abs(p.distance(middle)) for p in stack.planes]))
            ratios.append(_ratio(stack.images[nearest], stack.planes[nearest], middle))
    known = [r for r in ratios if r is not None]
    return float(np.median(known)) if known else None


def _ratio(image: Image, plane: Plane, middle: Vector) -> float | None:
    column, row = (round(v) for v in plane.to_pixel(middle))
    half = round(CANAL_MM / plane.column_spacing)
    near, far = (round(mm / plane.column_spacing) for mm in BODY_MM)
    if not (1 <= row < plane.rows - 1 and far <= column < plane.columns - half):
        return None
    # The grid's columns grow to the back (`canonical.SAGITTAL`): the body has the smaller ones.
    water = float(image[row - 1 : row + 2, column - half : column + half + 1].mean())
    bone = float(np.median(image[row - 1 : row + 2, column - far : column - near]))
    return (water + 0.02) / (bone + 0.02)
