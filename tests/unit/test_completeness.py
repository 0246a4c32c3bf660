"""The rule that says when a study has everything, as a table of cases."""

from dataclasses import replace

import pytest

from node.config import Complete
from node.spine.anatomy import Role
from node.spine.completeness import StudyState, decide

TIMES = Complete(quiet_s=60, incomplete_s=900, forced_s=5400)
ALL = frozenset(Role)
T2_ONLY = frozenset({Role.SAGITTAL_T2})
NONE: frozenset[Role] = frozenset()

Case = tuple[int, float, float, frozenset[Role], str, list[str]]

# open associations, silence in s, age in s, roles -> verdict, words that have to be in the reasons
CASES: list[Case] = [
    (1, 0, 0, NONE, "wait", ["1 association still open"]),
    (2, 0, 10, ALL, "wait", ["2 associations still open"]),
    (1, 899, 1000, ALL, "wait", ["still open"]),
    (1, 3000, 5399, T2_ONLY, "wait", ["still open"]),
    (0, 0, 0, ALL, "wait", ["waiting for 60 s of silence"]),
    (0, 59.9, 100, ALL, "wait", ["waiting for 60 s of silence"]),
    (0, 60, 100, ALL, "ready", ["all three series"]),
    (0, 5000, 5001, ALL, "ready", ["all three series"]),
    (0, 60, 100, T2_ONLY, "wait", ["no sagittal T1 series", "no axial T2 series", "up to 15 min"]),
    (0, 899.9, 1000, NONE, "wait", ["no sagittal T2 or STIR series"]),
    (0, 900, 1000, T2_ONLY, "incomplete", ["no sagittal T1 series", "no axial T2 series"]),
    (0, 900, 1000, NONE, "incomplete", ["no sagittal T2 or STIR series"]),
    (1, 0, 5400, ALL, "ready", ["decided 90 min after the first image"]),
    (1, 0, 5400, T2_ONLY, "incomplete", ["decided 90 min", "no axial T2 series"]),
    (0, 1, 6000, ALL, "ready", ["decided 90 min"]),
    (0, 1, 6000, NONE, "incomplete", ["no sagittal T1 series"]),
]


@pytest.mark.parametrize("case", CASES)
def test_each_case(case: Case) -> None:
    """Every line of the table gives its verdict and says why."""
    open_associations, silence, age, roles, verdict, words = case
    decision = decide(StudyState(open_associations, silence, age, roles, 40), TIMES)
    assert decision.verdict == verdict
    for word in words:
        assert word in "; ".join(decision.reasons)


@pytest.mark.parametrize("missing", list(Role))
def test_a_missing_role_is_named_and_no_other(missing: Role) -> None:
    """An incomplete study says which series it lacks, in words."""
    state = StudyState(0, 1000, 1000, ALL - {missing}, 40)
    reasons = decide(state, TIMES).reasons
    assert [r for r in reasons if r.startswith("no ")] == [f"no {missing.label} series"]


def test_more_silence_never_turns_ready_into_wait() -> None:
    """A study that is ready stays ready as the clock runs on."""
    state = StudyState(0, 60, 60, ALL, 40)
    for later in range(0, 6000, 50):
        moved = replace(state, seconds_since_last=60.0 + later, seconds_since_first=60.0 + later)
        assert decide(moved, TIMES).verdict == "ready"
