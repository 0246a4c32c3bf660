"""Stage 1: slices from posteriors, and axial slices from geometry."""

from collections.abc import Mapping

import numpy as np
import pytest

from node.inference.canonical import canonical
from node.inference.instance import (
    SlicePosterior,
    find_slices,
    places,
    prepare,
    reach_mm,
    slice_of_point,
)
from node.spine.anatomy import ConditionGroup, Level, Role, Side
from tests.series import axial, sagittal


class Logits:
    """A stand-in for ONNX Runtime that answers with given logits."""

    def __init__(self, logits: np.ndarray) -> None:
        self.logits = logits

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        assert name == "instance_foraminal"
        assert inputs["images"].shape[0] == len(self.logits) - 1
        return self.logits.astype(np.float32)


def test_inputs_follow_the_order_of_geometry() -> None:
    """Sagittal slices handed over left to right arrive right to left, in millimetres."""
    inputs = prepare(canonical(sagittal(7)))
    assert inputs["images"].shape == (7, 1, 192, 192)
    assert inputs["millimetres"][:, 0] == pytest.approx(0.045 * np.arange(-3, 4), abs=1e-6)


def test_axial_slices_run_from_head_to_foot() -> None:
    """The first axial slice is the highest, whatever the order of arrival."""
    volume = axial((-30.0, 10.0, 40.0))
    assert [s.plane.origin[2] for s in volume.slices] == [40.0, 10.0, -30.0]


def test_sides_keep_their_columns() -> None:
    """Output columns are left L1/L2 to L5/S1, then right; softmax runs over the slices."""
    logits = np.zeros((8, 10))
    logits[6, 0] = 9.0  # left L1/L2 on the leftmost slice
    logits[0, 5] = 9.0  # right L1/L2 on the rightmost slice
    logits[7, 9] = 9.0  # right L5/S1 nowhere
    volume = sagittal(7, role=Role.SAGITTAL_T1)
    group = ConditionGroup.FORAMINAL
    found = find_slices(canonical(volume), group, Logits(logits))
    assert list(found) == list(places(group))
    left, right = found[Side.LEFT, Level.L1_L2], found[Side.RIGHT, Level.L1_L2]
    assert (left.index, right.index) == (6, 0)
    x = [volume.slices[p.index].plane.origin[0] for p in (left, right)]
    assert x[0] > x[1]
    assert found[Side.RIGHT, Level.L5_S1].absent > 0.99


def test_median_slice_and_its_neighbourhood() -> None:
    """The slice is the posterior's median; the confidence is the mass within one slice."""
    posterior = SlicePosterior(np.array([0.0, 0.1, 0.3, 0.4, 0.1, 0.0]), absent=0.1)
    assert posterior.index == 3
    assert posterior.confidence == pytest.approx(0.8)


def test_axial_slice_of_a_sagittal_point() -> None:
    """The nearest plane wins, and its distance is told."""
    volume = axial((40.0, 35.0, 30.0, -10.0, -15.0))
    hit = slice_of_point(volume, np.array([2.0, 3.0, 34.0]))
    assert hit is not None
    assert hit[0] == 1
    assert hit[1] == pytest.approx(1.0)


@pytest.mark.parametrize("point", [(0.0, 0.0, 10.0), (200.0, 0.0, 35.0)])
def test_no_axial_slice_through_the_level(point: tuple[float, float, float]) -> None:
    """A point between two stacks, or beside the images, has no slice."""
    assert slice_of_point(axial((40.0, 35.0, 30.0, -10.0, -15.0)), np.array(point)) is None


@pytest.mark.parametrize(("spacing", "reach"), [(3.0, 4.0), (8.0, 4.8), (18.0, 6.0)])
def test_reach_is_bounded(spacing: float, reach: float) -> None:
    """0.6 of the slice distance, but gaps where slices are missing do not widen it."""
    assert reach_mm(spacing) == pytest.approx(reach)
