"""Stage 1: the slice of each level, for one condition."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.inference.canonical import Stack
from node.inference.runtime import Array, Models
from node.spine.anatomy import LEVELS, ConditionGroup, Level, Side
from node.spine.geometry import Vector
from node.spine.volume import Volume

#: A slice shows a level when its plane is nearer to the level's point than 0.6 of the slice
#: distance, and that within these limits, mm: a series with missing slices has wide gaps.
NEAREST_MM, FARTHEST_MM = 4.0, 6.0

Place = tuple[Side | None, Level]


def places(group: ConditionGroup) -> tuple[Place, ...]:
    """Return what stages 1 and 3 look for, in the order of the networks' outputs."""
    return tuple((side, level) for side in group.sides for level in LEVELS)


@dataclass(frozen=True, eq=False)
class SlicePosterior:
    """Where stage 1 believes one place to lie.

    Attributes
    ----------
    weights : (slices,) float64
        Probability of each slice; with `absent` they sum to 1.
    absent : float
        Probability that no slice shows it.
    """

    weights: NDArray[np.float64]
    absent: float

    @property
    def index(self) -> int:
        """The median slice, which has the least expected distance from the right one."""
        total = np.cumsum(self.weights)
        return int(np.searchsorted(total, total[-1] / 2))

    @property
    def confidence(self) -> float:
        """The probability that the right slice is `index` or one of its neighbours."""
        i = self.index
        return float(self.weights[max(0, i - 1) : i + 2].sum())


def prepare(stack: Stack) -> dict[str, Array]:
    """Return the network's inputs.

    ``images`` (slices, 1, rows, columns) and ``millimetres`` (slices, 1), the latter in units of
    100 mm from the middle of the series.
    """
    return {
        "images": stack.images[:, None],
        "millimetres": (stack.millimetres[:, None] / 100).astype(np.float32),
    }


def find_slices(stack: Stack, group: ConditionGroup, store: Models) -> dict[Place, SlicePosterior]:
    """Run stage 1 of one condition on a series of any length."""
    logits = store.run(f"instance_{group.short}", prepare(stack)).astype(np.float64)
    exp = np.exp(logits - logits.max(axis=0))
    posterior = exp / exp.sum(axis=0)  # (slices + 1, places), the last row is "absent"
    return {
        place: SlicePosterior(posterior[:-1, k], float(posterior[-1, k]))
        for k, place in enumerate(places(group))
    }


def slice_of_point(volume: Volume, point: Vector) -> tuple[int, float] | None:
    """Return the slice whose plane is nearest to a patient point, and its distance in mm.

    None when no slice that contains the point is within `reach_mm`. This is how an axial slice
    gets its level from a sagittal series: geometry, not learning.
    """
    distances = np.array([abs(s.plane.distance(point)) for s in volume.slices])
    inside = [s.plane.contains(*s.plane.to_pixel(point)) for s in volume.slices]
    distances[~np.array(inside)] = np.inf
    index = int(np.argmin(distances))
    if distances[index] > reach_mm(volume.spacing()):
        return None
    return index, float(distances[index])


def reach_mm(spacing: float) -> float:
    """Return how far from its plane a slice still shows a point, mm (GEO-03)."""
    return float(np.clip(0.6 * spacing, NEAREST_MM, FARTHEST_MM))
