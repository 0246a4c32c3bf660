"""Stage 2: heatmaps to points, points to native pixels, five levels in order."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.inference.canonical import AXIAL, SAGITTAL, View
from node.inference.chain import best_chain, chain_score, naming_margin
from node.inference.coordinate import Point, find_points, to_grid
from node.inference.instance import places
from node.spine.anatomy import LEVELS, ConditionGroup, Level, Side
from node.spine.geometry import Plane, grid
from node.spine.safety import LEAST_CHAIN
from tests.series import sagittal_stack

ROWS = (15, 26, 37, 48, 58)


def blob(row: float, column: float, *, mass: float = 1.0, size: int = 96) -> np.ndarray:
    """A Gaussian of one cell around a place of a heatmap."""
    r, c = np.mgrid[:size, :size]
    heat = np.exp(-0.5 * ((r - row) ** 2 + (c - column) ** 2))
    return np.asarray(mass * heat / heat.sum())


class Heat:
    """A stand-in for ONNX Runtime that answers with given heatmaps."""

    def __init__(self, maps: np.ndarray) -> None:
        self.maps = maps

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        assert name.startswith("coordinate_")
        return np.repeat(self.maps[None], len(inputs["images"]), axis=0).astype(np.float32)


def test_chain_reads_five_clear_levels() -> None:
    """Five separate peaks come back in order, at their cells."""
    named = np.stack([blob(r, 40) for r in ROWS])
    chain = best_chain(named, named.sum(axis=0), 3.0)
    assert chain == [(r, 40) for r in ROWS]
    assert naming_margin(named, chain) > 3


def test_score_tells_a_spine_from_scattered_peaks() -> None:
    """Five clear levels score near zero; a lone peak does not, no level is no spine."""
    named = np.stack([blob(r, 40) for r in ROWS])
    spine = chain_score(named, named.sum(axis=0), [(r, 40) for r in ROWS], 3.0)
    lone = np.stack([0.2 * blob(30, 40)] * 5)
    chain = best_chain(lone, 0.2 * blob(30, 40), 3.0)
    assert spine > -2
    assert chain_score(lone, 0.2 * blob(30, 40), chain, 3.0) < LEAST_CHAIN
    assert chain_score(named, named.sum(axis=0), [None] * 5, 3.0) == -np.inf


def test_chain_repairs_a_level_whose_own_map_points_at_its_neighbour() -> None:
    """L3/L4's map sits on L4/L5; order and spacing put it back on the disc between."""
    named = np.stack([blob(r, 40) for r in ROWS])
    named[2] = 0.55 * blob(ROWS[3], 40) + 0.4 * blob(ROWS[2], 40)
    chain = best_chain(named, np.sum([blob(r, 40) for r in ROWS], axis=0), 3.0)
    assert chain == [(r, 40) for r in ROWS]


def test_chain_leaves_out_a_level_beyond_the_image() -> None:
    """A level whose map says "not here" stays out when nothing else supports it."""
    named = np.stack([0.0 * blob(15, 40), *(blob(r, 40) for r in ROWS[1:])])
    chain = best_chain(named, named.sum(axis=0), 3.0)
    assert chain[0] is None
    assert chain[1:] == [(r, 40) for r in ROWS[1:]]


def test_margin_is_small_when_names_could_shift() -> None:
    """Maps that hedge between two discs give no margin."""
    rows = (*ROWS, 69)
    named = np.stack([0.5 * blob(rows[k], 40) + 0.5 * blob(rows[k + 1], 40) for k in range(5)])
    chain = best_chain(named, np.sum([blob(r, 40) for r in rows], axis=0), 3.0)
    assert naming_margin(named, chain) < 0.5


def test_blank_heatmaps_give_no_points() -> None:
    """No mass anywhere is no level anywhere, not a guess in the corner."""
    assert best_chain(np.zeros((5, 96, 96)), np.zeros((96, 96)), 3.0) == [None] * 5


def test_subpixel_point_is_recovered() -> None:
    """A peak between cells comes back within a tenth of a cell."""
    stack = sagittal_stack(5)
    named = np.stack([blob(r + 0.3, 40.6) for r in ROWS])
    maps = np.concatenate([named, named.mean(axis=0, keepdims=True)])
    weights = {place: np.full(5, 0.2) for place in places(ConditionGroup.CANAL)}
    found = find_points(stack, ConditionGroup.CANAL, weights, Heat(maps))
    point = found[None, Level.L3_L4]
    assert point.column == pytest.approx(to_grid(40.6), abs=0.2)
    assert point.row == pytest.approx(to_grid(ROWS[2] + 0.3), abs=0.2)
    assert point.confidence > 0.9


def test_a_level_that_is_not_asked_for_is_not_answered() -> None:
    """Stage 1 believes it absent: the chain may pass through it, but says nothing of it."""
    named = np.stack([blob(r, 40.0) for r in ROWS])
    maps = np.concatenate([named, named.mean(axis=0, keepdims=True)])
    asked = [place for place in places(ConditionGroup.CANAL) if place[1] is not Level.L3_L4]
    weights = {place: np.full(5, 0.2) for place in asked}
    found = find_points(sagittal_stack(5), ConditionGroup.CANAL, weights, Heat(maps))
    assert list(found) == asked


def test_axial_heads_are_left_then_right() -> None:
    """The first axial head is the patient's left; every level takes its own slice's map."""
    stack = sagittal_stack(3)
    maps = np.stack([blob(40, 50), blob(40, 30)])
    weights = {place: np.eye(3)[1] for place in places(ConditionGroup.SUBARTICULAR)}
    found = find_points(stack, ConditionGroup.SUBARTICULAR, weights, Heat(maps))
    for level in LEVELS:
        assert found[Side.LEFT, level].column > found[Side.RIGHT, level].column


@given(
    turns=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    spacings=st.tuples(st.floats(0.25, 1.3), st.floats(0.25, 1.3)),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    view=st.sampled_from([SAGITTAL, AXIAL]),
)
def test_point_maps_back_to_the_native_pixel(
    turns: tuple[float, float],
    flips: tuple[bool, bool, bool],
    spacings: tuple[float, float],
    at: tuple[float, float],
    view: View,
) -> None:
    """Native pixel -> grid -> patient -> native pixel is exact for any plane and any flip."""
    first, second = (
        (np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, -1.0]))
        if view is SAGITTAL
        else (np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    )
    normal = np.cross(first, second)
    row = np.cos(turns[0]) * first + np.sin(turns[0]) * second
    column = np.cross(normal, row)
    column = np.cos(turns[1]) * column + np.sin(turns[1]) * np.cross(row, column)
    along = [row, column][:: -1 if flips[2] else 1]
    plane = Plane(
        origin=np.array([3.0, -80.0, 140.0]),
        along_row=along[0] * (-1 if flips[0] else 1),
        along_column=along[1] * (-1 if flips[1] else 1),
        row_spacing=spacings[0],
        column_spacing=spacings[1],
        rows=300,
        columns=260,
    )
    target = grid(
        plane,
        centre=plane.centre,
        right=np.array(view.right),
        spacing=view.spacing,
        shape=view.shape,
    )
    native = (at[0] * 259, at[1] * 299)
    seen = target.to_pixel(plane.to_patient(*native))
    back = plane.to_pixel(Point(seen[0], seen[1], 1.0).in_patient(target))
    assert back == pytest.approx(native, abs=1e-6)
