"""Stage 2: the point of each level in its slice."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from node.inference.canonical import SAGITTAL, Stack
from node.inference.chain import Cell, around, best_chain, chain_score, naming_margin
from node.inference.extent import SEEN_MM, SOFT_MM, centred
from node.inference.instance import Place
from node.inference.runtime import Array, Models
from node.spine.anatomy import LEVELS, ConditionGroup, Side
from node.spine.geometry import Plane, Vector

#: One cell of a heatmap covers this many grid pixels in each direction.
STRIDE = 2
CELL_MM = STRIDE * SAGITTAL.spacing

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
    weights : (slices,) float64
        How much each slice counts for the place, now that it is seen how far it reaches.
    """

    column: float
    row: float
    confidence: float
    margin: float = np.inf
    score: float = np.inf
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), compare=False)

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
    slices = _worth_looking(stack, group, weights)
    heat = store.run(f"coordinate_{group.short}", prepare(stack, slices)).astype(np.float64)
    asked = {place: w[slices] for place, w in weights.items()}
    found: dict[Place, Point] = {}
    if group is ConditionGroup.SUBARTICULAR:
        found = _two_sides(heat, asked)
    else:
        look = _Look(heat, stack.millimetres[slices], SEEN_MM[group], expected_rows or {})
        for side in group.sides:
            found |= _five_levels(look, {p: w for p, w in asked.items() if p[0] == side}, side)
    return {place: _over_all(point, slices, len(stack.planes)) for place, point in found.items()}


@dataclass(frozen=True, eq=False)
class _Look:
    """What stage 2 saw in a sagittal series, and what is known of it already."""

    heat: _Map  # (slices, heads, rows, columns)
    millimetres: NDArray[np.float64]
    seen_mm: float
    expected_rows: Mapping[Place, float]

    def seen(self, cell: Cell) -> NDArray[np.float64]:
        """Return for each slice how likely it sees a level at a cell, whatever its name."""
        any_level = [len(LEVELS) * around(heatmap, cell) for heatmap in self.heat[:, len(LEVELS)]]
        return np.minimum(1.0, any_level)


def _worth_looking(
    stack: Stack, group: ConditionGroup, weights: Mapping[Place, NDArray[np.float64]]
) -> NDArray[np.intp]:
    """Return the slices that may be a level's, and in sagittal series what may see it beside."""
    most = np.max(list(weights.values()), axis=0)
    worth = most >= min(WORTH_LOOKING, most.max())
    if group in SEEN_MM:
        apart = np.abs(stack.millimetres[:, None] - stack.millimetres[worth]).min(axis=1)
        worth = apart <= SEEN_MM[group] + 3 * SOFT_MM
    return np.flatnonzero(worth)


def _over_all(point: Point, slices: NDArray[np.intp], count: int) -> Point:
    """Give a point weights for all slices of the series, not only for those looked at."""
    weights = np.zeros(count)
    weights[slices] = point.weights
    return replace(point, weights=weights)


def _share(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(weights / max(float(weights.sum()), 1e-9))


def _two_sides(heat: _Map, weights: Mapping[Place, NDArray[np.float64]]) -> dict[Place, Point]:
    """Axial: one head for each side of the patient; the level is the slice's, not the image's."""
    heads = {Side.LEFT: 0, Side.RIGHT: 1}
    found: dict[Place, Point] = {}
    for (side, level), own in weights.items():
        if side is None:
            continue
        heatmap = np.tensordot(_share(own), heat[:, heads[side]], axes=1)
        peak = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
        found[side, level] = replace(_point(heatmap, (int(peak[0]), int(peak[1]))), weights=own)
    return found


def _five_levels(
    look: _Look, weights: Mapping[Place, NDArray[np.float64]], side: Side | None
) -> dict[Place, Point]:
    """Sagittal: name the levels in the slices that stage 1 believes in, then settle each slice."""
    if not weights:
        return {}
    named, anywhere = _maps(look, weights, side)
    chain = best_chain(named, anywhere * len(LEVELS), CELL_MM)
    margin = naming_margin(named, chain)
    alone = not any(place in look.expected_rows for place in weights)
    score = chain_score(named, anywhere * len(LEVELS), chain, CELL_MM) if alone else np.inf
    cells = {
        (side, level): cell
        for level, cell in zip(LEVELS, chain, strict=True)
        if cell is not None and (side, level) in weights
    }
    own = {
        place: centred(weights[place], look.seen(cell), look.millimetres, look.seen_mm)
        for place, cell in cells.items()
    }
    named, anywhere = _maps(look, {**weights, **own}, side)
    found: dict[Place, Point] = {}
    for place, cell in cells.items():
        heatmap = named[LEVELS.index(place[1])]
        # Which of the levels it is, is the margin's question; here: is it a level at all?
        sure = max(around(heatmap, cell), len(LEVELS) * around(anywhere, cell))
        found[place] = replace(
            _point(heatmap + anywhere, cell),
            confidence=min(1.0, sure),
            margin=margin,
            score=score,
            weights=own[place],
        )
    return found


def _maps(
    look: _Look, weights: Mapping[Place, NDArray[np.float64]], side: Side | None
) -> tuple[_Map, _Map]:
    """Five heads for the names and one for "any level", over the slices that count."""
    heat = look.heat
    # A slice beside the canal or the foramina sees no level: that says nothing about the others.
    seeing = heat[:, len(LEVELS)].sum(axis=(1, 2)) + 1e-3
    shares = {place: _share(w * seeing) for place, w in weights.items()}
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
        if (side, level) in look.expected_rows:
            named[k] = _near_row(named[k], anywhere, look.expected_rows[side, level])
    return named, anywhere


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
