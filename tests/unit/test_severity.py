"""Stage 3: crops in millimetres, the right side shown as the left, one batched run."""

from collections.abc import Mapping

import numpy as np
import pytest

from node.inference.canonical import brightness
from node.inference.severity import Spot, grade, prepare
from node.spine.anatomy import GRADES, ConditionGroup, Role, Side
from node.spine.volume import Volume
from tests.series import axial, sagittal

WINDOW = (0.0, 800.0)


class Fixed:
    """A stand-in for ONNX Runtime that remembers what it was asked."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        assert name == "severity_canal"
        self.shapes.append(inputs["crops"].shape)
        return np.tile(np.array([0.2, 0.3, 0.5], dtype=np.float32), (len(inputs["crops"]), 1))


def crop(volume: Volume, index: int, side: Side | None = None) -> np.ndarray:
    """The crop around the origin on one slice."""
    return prepare(volume, WINDOW, Spot(index, np.zeros(3), side))


def test_crop_is_three_slices_around_the_point() -> None:
    """The middle of the crop is the point, on the slice and on both neighbours."""
    volume = sagittal(5)
    layers = crop(volume, 2)
    assert layers.shape == (3, 96, 96)
    for layer, at in zip(layers, volume.slices[1:4], strict=True):
        column, row = at.plane.to_pixel(np.zeros(3))
        expected = at.pixels[round(row) - 1 : round(row) + 2, round(column) - 1 : round(column) + 2]
        seen = brightness(expected, WINDOW)
        assert seen.min() - 1e-6 <= layer[47:49, 47:49].mean() <= seen.max() + 1e-6


def test_right_axial_crop_is_the_mirrored_left() -> None:
    """One network learns both sides: the axial right is flipped, the slices stay in order."""
    volume = axial((5.0, 0.0, -5.0))
    assert np.array_equal(crop(volume, 1, Side.RIGHT), crop(volume, 1, Side.LEFT)[:, :, ::-1])


def test_right_sagittal_crop_has_its_slices_reversed() -> None:
    """Sagittal slices run from medial to lateral on both sides."""
    volume = sagittal(5, role=Role.SAGITTAL_T1)
    assert np.array_equal(crop(volume, 2, Side.RIGHT), crop(volume, 2, Side.LEFT)[::-1])


def test_missing_neighbours_repeat_the_slice() -> None:
    """At the end of a series, and where the next slice belongs to another disc's stack."""
    ends = crop(sagittal(5), 0)
    assert np.array_equal(ends[0], ends[1])
    stacks = axial((32.0, 28.0, 24.0, 0.0, -4.0, -8.0))
    gap = prepare(stacks, WINDOW, Spot(3, np.zeros(3), None))
    assert np.array_equal(gap[0], gap[1])
    assert not np.array_equal(gap[1], gap[2])


def test_all_spots_go_through_one_run() -> None:
    """25 crops are one call, and every answer is a distribution over the grades."""
    store = Fixed()
    spots = [Spot(k % 5, np.zeros(3), None) for k in range(25)]
    answers = grade(sagittal(5), ConditionGroup.CANAL, spots, store)
    assert store.shapes == [(25, 3, 96, 96)]
    for answer in answers:
        assert list(answer) == list(GRADES)
        assert sum(answer.values()) == pytest.approx(1.0)


def test_no_spots_need_no_run() -> None:
    """Nothing located, nothing graded, no model touched."""
    store = Fixed()
    assert grade(sagittal(5), ConditionGroup.CANAL, [], store) == []
    assert store.shapes == []
