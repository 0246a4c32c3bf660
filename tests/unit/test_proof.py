"""What headers prove about a study: whole series, and slices from L1 to S1."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from node.spine.anatomy import Role
from node.spine.facts import FrameFacts, SeriesFacts
from node.spine.proof import contents
from node.spine.series import choose
from tests.unit.series_habits import ax_t2, blocks, sag_t1, sag_t2, series, stack

T2: dict[str, Any] = {"echo_time": 105.0, "repetition_time": 3800.0}
TILTS = (-10, 0, 8, 18, 35)


def without(facts: SeriesFacts, *places: int) -> SeriesFacts:
    """The same series, some of its images not there (yet)."""
    return replace(facts, frames=tuple(f for i, f in enumerate(facts.frames) if i not in places))


def doubts(*study: SeriesFacts) -> str:
    return "; ".join(contents(choose(study)).doubts)


def per_disc(tilts: Sequence[float] = TILTS, count: int = 5) -> list[FrameFacts]:
    return blocks(tilts, count, **T2)


@pytest.mark.parametrize(
    "axial",
    [ax_t2(), series("ax", per_disc()), series("ax", per_disc((0, 0, 0, 0, 0)))],
    ids=["one stack", "a block for each disc", "parallel blocks"],
)
def test_a_whole_study_is_proven(axial: SeriesFacts) -> None:
    """All roles, no gap, L1 to S1: with what was found, in numbers."""
    found = contents(choose([sag_t1(), sag_t2(), axial]))
    assert found.doubts == ()
    assert found.is_proven
    assert "15 sagittal T1" in found.proven[0]
    assert "mm from head to foot in" in found.proven[1]


def test_missing_roles_prove_nothing() -> None:
    """And doubt nothing either: the missing role says it all."""
    found = contents(choose([sag_t1(), sag_t2()]))
    assert (found.roles, found.is_proven) == (
        frozenset({Role.SAGITTAL_T1, Role.SAGITTAL_T2}),
        False,
    )


@pytest.mark.parametrize(
    ("study", "doubt"),
    [
        ([without(sag_t1(), 7), sag_t2(), ax_t2()], "series t1 has 1 gap between its slices"),
        ([sag_t1(), without(sag_t2(), 3, 4, 9), ax_t2()], "series t2 has 2 gaps"),
        ([without(sag_t1(), *range(5)), sag_t2(), ax_t2()], "series t1 does not reach both sides"),
        (
            [without(sag_t1(), *range(7, 15)), sag_t2(), ax_t2()],
            "series t1 covers only 26 mm across",
        ),
        ([sag_t1(), sag_t2(), without(ax_t2(), 15)], "series ax has 2 stacks: neither one"),
        ([sag_t1(), sag_t2(), without(ax_t2(), *range(5))], "series ax covers only 106 mm"),
        ([sag_t1(), sag_t2(), series("ax", per_disc(TILTS[:4]))], "series ax has 4 stacks"),
        ([sag_t1(), sag_t2(), without(series("ax", per_disc()), 12)], "have 2 to 5 slices"),
        ([sag_t1(), sag_t2(), without(series("ax", per_disc()), 4, 3, 2)], "have 2 to 5 slices"),
        (
            [sag_t1(), sag_t2(), without(series("ax", per_disc()), *range(10, 15))],
            "mm without a slice",
        ),
        (
            [sag_t1(), sag_t2(), ax_t2(frame_of_reference_uid="other")],
            "series t1 and series ax do not share a frame of reference",
        ),
        (
            [
                series("t1", stack(size=200, echo_time=11.0, repetition_time=600.0)),
                sag_t2(),
                ax_t2(),
            ],
            "series t1 covers only 139 mm from head to foot",
        ),
        (
            [
                sag_t1(),
                sag_t2(),
                series("ax", stack("ax", 30, centre=(0, 0, 100), pixel=0.5, **T2)),
            ],
            "series ax reaches beyond series t1",
        ),
    ],
)
def test_each_doubt_is_told(study: list[SeriesFacts], doubt: str) -> None:
    """A study that may lack images is not proven, and says what may be missing."""
    assert doubt in doubts(*study)
    assert not contents(choose(study)).is_proven
