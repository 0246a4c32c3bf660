"""Stage 2: the point of each level in its slice."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.inference.canonical import SAGITTAL, Stack
from node.inference.chain import around, best_chain, chain_score, naming_margin
from node.inference.instance import Place
from node.inference.runtime import Array, Models
from node.spine.anatomy import LEVELS, ConditionGroup, Side
from node.spine.geometry import Plane, Vector

#: One cell of a heatmap covers this many grid pixels in each direction.
STRIDE = 2

#: A slice that stage 1 gives less than this to every place is not looked at again.
WORTH_LOOKING = 0.02

#: Spread of a level's height in one sagittal series around its height in another, mm.
EXPECTED_MM = 9.0

_Map = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """One place found by stage 2.

    Attributes
    ----------
    column, row : float
        In pixels of the stack's grid, 0-based, centres are integers.
    confidence : float
        0 to 1: the probability mass around the point.
    margin : float
        How much better this naming of the levels is than one shifted by a level, in nats a
        level; infinite where there is no naming to do (axial slices).
    score : float
        How much all the levels together look like a lumbar spine (`chain.chain_score`); infinite
        where another series has found them, and in axial slices.
    """

    column: float
    row: float
    confidence: float
    margin: float = np.inf
    score: float = np.inf

    def in_patient(self, plane: Plane) -> Vector:
        """Return the patient point (mm LPS) on a slice's grid plane."""
        return plane.to_patient(self.column, self.row)


def prepare(stack: Stack, slices: NDArray[np.intp]) -> dict[str, Array]:
    """Return the network's input, ``images`` (chosen slices, 1, rows, columns)."""
    return {"images": stack.images[slices][:, None]}


def find_points(
    stack: Stack,
    group: ConditionGroup,
    weights: Mapping[Place, NDArray[np.float64]],
    store: Models,
    expected_rows: Mapping[Place, float] | None = None,
) -> dict[Place, Point]:
    """Run stage 2 on the slices that matter and read the points off the weighted heatmaps.

    Parameters
    ----------
    stack : Stack
    group : ConditionGroup
    weights : dict of place to (slices,) float64
        How much each slice counts for a place. A place that is not in it is not looked for.
    store : Models
    expected_rows : dict of place to float, optional
        Grid rows at which another series has found the levels: a spine has one naming.

    Returns
    -------
    dict of place to Point
        Places that are not in the images are missing.
    """
    if not weights:
        return {}
    most = np.max(list(weights.values()), axis=0)
    slices = np.flatnonzero(most >= min(WORTH_LOOKING, most.max()))
    heat = store.run(f"coordinate_{group.short}", prepare(stack, slices)).astype(np.float64)
    shares = {place: _share(w[slices]) for place, w in weights.items()}
    if group is ConditionGroup.SUBARTICULAR:
        return _two_sides(heat, shares)
    found: dict[Place, Point] = {}
    for side in group.sides:
        here = {place: w for place, w in shares.items() if place[0] == side}
        if here:
            found |= _five_levels(heat, here, side, expected_rows or {})
    return found


def _share(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(weights / max(float(weights.sum()), 1e-9))


def _two_sides(heat: _Map, shares: Mapping[Place, NDArray[np.float64]]) -> dict[Place, Point]:
    """Axial: one head for each side of the patient; the level is the slice's, not the image's."""
    heads = {Side.LEFT: 0, Side.RIGHT: 1}
    found: dict[Place, Point] = {}
    for (side, level), share in shares.items():
        if side is None:
            continue
        heatmap = np.tensordot(share, heat[:, heads[side]], axes=1)
        peak = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
        found[side, level] = _point(heatmap, (int(peak[0]), int(peak[1])))
    return found


def _five_levels(
    heat: _Map,
    shares: Mapping[Place, NDArray[np.float64]],
    side: Side | None,
    expected_rows: Mapping[Place, float],
) -> dict[Place, Point]:
    """Sagittal: five heads for the names and one for "any level"; a chain picks five in order."""
    # A slice beside the canal or the foramina sees no level: that says nothing about the others.
    seeing = heat[:, len(LEVELS)].sum(axis=(1, 2)) + 1e-3
    shares = {place: _share(share * seeing) for place, share in shares.items()}
    none = np.zeros(heat.shape[2:])
    named = np.stack(
        [
            np.tensordot(shares[side, level], heat[:, k], axes=1)
            if (side, level) in shares
            else none
            for k, level in enumerate(LEVELS)
        ]
    )
    anywhere = np.tensordot(np.mean(list(shares.values()), axis=0), heat[:, len(LEVELS)], axes=1)
    for k, level in enumerate(LEVELS):
        if (side, level) in expected_rows:
            named[k] = _near_row(named[k], anywhere, expected_rows[side, level])
    cell_mm = STRIDE * SAGITTAL.spacing
    chain = best_chain(named, anywhere * len(LEVELS), cell_mm)
    margin = naming_margin(named, chain)
    alone = not any(place in expected_rows for place in shares)
    score = chain_score(named, anywhere * len(LEVELS), chain, cell_mm) if alone else np.inf
    found: dict[Place, Point] = {}
    for k, (level, cell) in enumerate(zip(LEVELS, chain, strict=True)):
        if cell is not None and (side, level) in shares:
            point = _point(named[k] + anywhere, cell)
            # Which of the levels it is, is the margin's question; here: is it a level at all?
            sure = max(around(named[k], cell), len(LEVELS) * around(anywhere, cell))
            found[side, level] = Point(point.column, point.row, min(1.0, sure), margin, score)
    return found


def _near_row(named: _Map, anywhere: _Map, row: float) -> _Map:
    """What lies near an expected row is that level, by its own map or as any level."""
    rows = np.array([to_grid(float(cell)) for cell in range(named.shape[0])])
    near = np.exp(-0.5 * ((rows - row) * SAGITTAL.spacing / EXPECTED_MM) ** 2)[:, None]
    return np.asarray((0.5 * named + 0.5 * len(LEVELS) * anywhere) * near)


def _point(heatmap: _Map, cell: tuple[int, int]) -> Point:
    """Soft-argmax over the 5 x 5 cells around a peak, in grid pixels."""
    r, c = cell
    top, left = max(0, r - 2), max(0, c - 2)
    patch = heatmap[top : r + 3, left : c + 3]
    mass = float(patch.sum())
    share = patch / max(mass, 1e-12)
    row = float(share.sum(axis=1) @ np.arange(top, top + patch.shape[0]))
    column = float(share.sum(axis=0) @ np.arange(left, left + patch.shape[1]))
    return Point(to_grid(column), to_grid(row), min(1.0, mass))


def to_grid(cell: float) -> float:
    """Return the grid pixel at the centre of a heatmap cell (``STRIDE`` pixels a cell)."""
    return STRIDE * cell + (STRIDE - 1) / 2
