"""Stage 3: how narrow is it at the point? Graded on a small crop in millimetres."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.inference.canonical import brightness, view_of
from node.inference.runtime import Array, Models
from node.spine.anatomy import GRADES, ConditionGroup, Grade, Role, Side
from node.spine.geometry import Vector, grid, sample
from node.spine.volume import Volume

CROP_MM = 0.5
CROP = 96

#: The crop's slice and its neighbours on both sides.
REACH = 1


#: Slices of one stack are not farther apart than this, mm; where the median is, slices are missing.
USUAL_MM = 6.5


@dataclass(frozen=True, eq=False)
class Spot:
    """What to crop: a point on a slice, on a side of the patient or in the middle.

    Attributes
    ----------
    index : int
        Slice of the volume.
    point : (3,) float64
        mm LPS.
    side : Side or None
    """

    index: int
    point: Vector
    side: Side | None


def prepare(
    volume: Volume,
    window: tuple[float, float],
    spot: Spot,
    *,
    size: int = CROP,
    reach: int = REACH,
) -> Array:
    """Crop brightness around a spot: (2 * reach + 1, size, size), `CROP_MM` a pixel.

    The patient's right is shown as if it were the left, so that one network learns both: axial
    crops are mirrored, sagittal crops get their slices in reverse order (medial to lateral).
    Where the neighbour is missing or belongs to another stack or series, the nearer slice is
    repeated.
    """
    view = view_of(volume.role)
    layers: list[Array] = [np.empty(0, dtype=np.float32)] * (2 * reach + 1)
    for step in sorted(range(-reach, reach + 1), key=abs):
        neighbour = _neighbour(volume, spot, step)
        if neighbour is None:
            layers[reach + step] = layers[reach + step - int(np.sign(step))]
            continue
        at = volume.slices[neighbour]
        target = grid(
            at.plane,
            centre=spot.point,
            right=np.array(view.right),
            spacing=CROP_MM,
            shape=(size, size),
        )
        layers[reach + step] = brightness(sample(at.pixels, at.plane, target), window)
    crop = np.stack(layers)
    if spot.side is Side.RIGHT:
        crop = crop[:, :, ::-1] if volume.role is Role.AXIAL_T2 else crop[::-1]
    return np.ascontiguousarray(crop)


def _neighbour(volume: Volume, spot: Spot, step: int) -> int | None:
    index = spot.index + step
    if not 0 <= index < len(volume.slices):
        return None
    if volume.series_of(volume.slices[index]) != volume.series_of(volume.slices[spot.index]):
        return None
    here, there = volume.slices[spot.index].plane, volume.slices[index].plane
    gap = abs(there.distance(spot.point) - here.distance(spot.point))
    usual = min(volume.spacing(), USUAL_MM)
    return index if gap <= 1.8 * abs(step) * usual + 0.5 else None


def grade(
    volume: Volume, group: ConditionGroup, spots: Sequence[Spot], store: Models
) -> list[dict[Grade, float]]:
    """Return calibrated probabilities for every spot, from one batched run."""
    if not spots:
        return []
    windows = volume.windows()
    crops = np.stack(
        [
            prepare(volume, windows[volume.series_of(volume.slices[spot.index])], spot)
            for spot in spots
        ]
    )
    probabilities: NDArray[np.float64] = store.run(
        f"severity_{group.short}", {"crops": crops}
    ).astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return [dict(zip(GRADES, map(float, row), strict=True)) for row in probabilities]
