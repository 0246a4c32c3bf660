"""The slice of a level from how far to its sides it is seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from node.inference.extent import SEEN_MM, centred
from node.spine.anatomy import ConditionGroup

SEEN = SEEN_MM[ConditionGroup.CANAL]


def flat(count: int) -> NDArray[np.float64]:
    """A stage 1 that has no idea."""
    return np.full(count, 1 / count)


def spaced(count: int, gap: float = 4.0) -> NDArray[np.float64]:
    """Where slices lie, mm."""
    return gap * np.arange(count, dtype=np.float64)


@given(own=st.integers(6, 14), gap=st.floats(3.0, 5.5), way=st.sampled_from([-1, 1]))
def test_the_middle_of_what_is_seen(own: int, gap: float, way: int) -> None:
    """A level seen as far to both sides is in the middle, whichever way the slices are counted."""
    at = way * spaced(21, gap)
    seen = (np.abs(at - at[own]) <= SEEN).astype(float)
    assert np.argmax(centred(flat(21), seen, at, SEEN)) == own


def test_a_curved_spine_overrules_stage_1() -> None:
    """Stage 1 leans to one slice for all levels; the level is seen two slices further left."""
    at = spaced(15)
    leaning = np.exp(-0.5 * ((np.arange(15) - 8) / 1.2) ** 2)
    seen = (np.abs(at - at[6]) <= SEEN).astype(float)
    assert np.argmax(leaning) == 8
    assert np.argmax(centred(leaning, seen, at, SEEN)) == 6


def test_a_series_that_ends_says_nothing_of_the_other_side() -> None:
    """Seen in the first four slices only: the middle is as far from the end that is seen."""
    at = spaced(10, 5.0)
    seen = (at <= SEEN + 5.0).astype(float)  # the level's own slice is the second
    assert np.argmax(centred(flat(10), seen, at, SEEN)) == 1


def test_missing_slices_are_gaps_in_millimetres() -> None:
    """Slices count by where they lie, not by their number."""
    at = np.array([0.0, 4.0, 8.0, 12.0, 16.0, 32.0, 36.0, 40.0, 44.0, 48.0, 52.0, 56.0])
    seen = (np.abs(at - 16.0) <= SEEN).astype(float)
    assert np.argmax(centred(flat(12), seen, at, SEEN)) == 4


def test_what_is_seen_nowhere_changes_little() -> None:
    """No evidence to either side leaves stage 1's own slice."""
    leaning = np.exp(-0.5 * ((np.arange(15) - 8) / 1.2) ** 2)
    after = centred(leaning, np.full(15, 0.5), spaced(15), SEEN)
    assert np.argmax(after) == 8
    assert after.sum() == pytest.approx(leaning.sum())


def test_a_slice_that_is_given_stays() -> None:
    """The labelled slice, or the only one, is not argued with."""
    given_slice = np.eye(9)[2]
    assert centred(given_slice, np.ones(9), spaced(9), SEEN) == pytest.approx(given_slice)
    assert centred(np.ones(1), np.zeros(1), np.zeros(1), SEEN) == pytest.approx(np.ones(1))
