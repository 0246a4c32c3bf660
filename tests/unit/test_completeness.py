"""The rule that says when a study has everything, as a table of cases."""

from dataclasses import replace

import pytest

from node.config import Complete
from node.spine.anatomy import Role
from node.spine.completeness import Contents, Counted, StudyState, compare, decide

TIMES = Complete(proven_s=1, quiet_s=60, incomplete_s=900, forced_s=5400)
ALL = Contents(frozenset(Role), doubts=("series 4 has 1 gap",))
PROVEN = Contents(frozenset(Role), proven=("no gap",))
T2_ONLY = Contents(frozenset({Role.SAGITTAL_T2}))
NONE = Contents(frozenset())
AGREES = Counted("agrees", "PACS holds no more")
MORE = Counted("more", "PACS holds 5 more")
SILENT = Counted("silent", "PACS does not answer")
PENDING = Counted("pending", "asking PACS")

Case = tuple[int, float, float, Contents, Counted | None, str, list[str]]

# open associations, silence in s, age in s, contents, the source's count
# -> verdict, words that have to be in the reasons
CASES: list[Case] = [
    (1, 0, 0, NONE, None, "wait", ["1 association still open"]),
    (2, 0, 10, ALL, None, "wait", ["2 associations still open"]),
    (1, 899, 1000, PROVEN, AGREES, "wait", ["still open"]),
    (1, 3000, 5399, T2_ONLY, None, "wait", ["still open"]),
    (0, 0, 0, ALL, None, "wait", ["1 gap", "waiting for 60 s of silence"]),
    (0, 59.9, 100, ALL, None, "wait", ["waiting for 60 s of silence"]),
    (0, 60, 100, ALL, None, "ready", ["all three series", "no image for 60 s", "1 gap"]),
    (0, 5000, 5001, ALL, None, "ready", ["all three series"]),
    (0, 60, 100, T2_ONLY, None, "wait", ["no sagittal T1 series", "no axial T2", "up to 15 min"]),
    (0, 899.9, 1000, NONE, None, "wait", ["no sagittal T2 or STIR series"]),
    (0, 900, 1000, T2_ONLY, None, "incomplete", ["no sagittal T1 series", "no axial T2 series"]),
    (0, 900, 1000, NONE, None, "incomplete", ["no sagittal T2 or STIR series"]),
    (1, 0, 5400, ALL, None, "ready", ["decided 90 min after the first image"]),
    (1, 0, 5400, T2_ONLY, None, "incomplete", ["decided 90 min", "no axial T2 series"]),
    (0, 1, 6000, NONE, None, "incomplete", ["no sagittal T1 series"]),
    (0, 0.9, 10, PROVEN, None, "wait", ["proven complete, waiting for 1 s"]),
    (0, 1, 10, PROVEN, None, "ready", ["proven complete", "no gap"]),
    (0, 0, 10, PROVEN, AGREES, "ready", ["proven complete", "no gap", "holds no more"]),
    (0, 0, 10, PROVEN, PENDING, "wait", ["asking PACS"]),
    (0, 70, 100, ALL, PENDING, "wait", ["asking PACS"]),
    (0, 10, 20, PROVEN, MORE, "wait", ["holds 5 more", "waiting for 60 s"]),
    (0, 60, 100, PROVEN, MORE, "wait", ["holds 5 more", "up to 15 min"]),
    (0, 900, 1000, PROVEN, MORE, "ready", ["no image for 15 min", "holds 5 more"]),
    (0, 900, 1000, T2_ONLY, MORE, "incomplete", ["no axial T2 series", "holds 5 more"]),
    (0, 10, 20, PROVEN, SILENT, "wait", ["does not answer", "waiting for 60 s"]),
    (0, 60, 100, PROVEN, SILENT, "ready", ["does not answer"]),
    (0, 60, 100, ALL, AGREES, "ready", ["holds no more", "1 gap"]),
]


@pytest.mark.parametrize("case", CASES)
def test_each_case(case: Case) -> None:
    """Every line of the table gives its verdict and says why."""
    open_associations, silence, age, contents, counted, verdict, words = case
    decision = decide(StudyState(open_associations, silence, age, contents, counted), TIMES)
    assert decision.verdict == verdict
    for word in words:
        assert word in "; ".join(decision.reasons)


@pytest.mark.parametrize("missing", list(Role))
def test_a_missing_role_is_named_and_no_other(missing: Role) -> None:
    """An incomplete study says which series it lacks, in words."""
    state = StudyState(0, 1000, 1000, Contents(ALL.roles - {missing}))
    reasons = decide(state, TIMES).reasons
    assert [r for r in reasons if r.startswith("no ") and "series" in r] == [
        f"no {missing.label} series"
    ]


def test_more_silence_never_turns_ready_into_wait() -> None:
    """A study that is ready stays ready as the clock runs on."""
    for contents, start in ((ALL, 60.0), (PROVEN, 1.0)):
        state = StudyState(0, start, start, contents)
        for later in range(0, 6000, 50):
            moved = replace(
                state, seconds_since_last=start + later, seconds_since_first=start + later
            )
            assert decide(moved, TIMES).verdict == "ready"


def test_a_source_that_calls_the_study_stable_ends_the_wait() -> None:
    """Whatever is open and however short the silence; what is missing is said."""
    state = StudyState(1, 0, 0, ALL, is_settled=True)
    assert decide(state, TIMES).reasons == ("its source calls the study stable",)
    assert decide(replace(state, contents=T2_ONLY), TIMES).verdict == "incomplete"


@pytest.mark.parametrize(
    ("theirs", "answer"),
    [
        ({"a": 15, "b": 30}, "agrees"),
        ({"a": 14}, "agrees"),
        ({"a": 16, "b": 30}, "more"),
        ({"a": 15, "b": 30, "c": 3}, "more"),
        ({"a": 15, "b": None}, "silent"),
        ({}, "silent"),
    ],
)
def test_the_sources_count_beside_ours(theirs: dict[str, int | None], answer: str) -> None:
    """More there than here means that images are on their way; fewer never does."""
    assert compare("PACS", theirs, {"a": 15, "b": 30, "localizer": 3}).answer == answer
