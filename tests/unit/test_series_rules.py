"""What holds for every study: one line on refusal, no effect of order, no crash on rubbish."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import NotAssessable
from node.spine.anatomy import Role
from node.spine.facts import FrameFacts, SeriesFacts
from node.spine.geometry import Plane
from node.spine.series import WEIGHTS, choose
from node.spine.stacks import without_repeats
from tests.unit.series_habits import MR, ax_t2, sag_t1, sag_t2, series, stack

CT = "1.2.840.10008.5.1.4.1.1.2"


def test_a_ct_study_is_refused_by_modality() -> None:
    """The one line names the study and the modality."""
    ct = series("ct", stack("ax", 40), modality="CT", sop_class_uid=CT)
    with pytest.raises(NotAssessable) as refusal:
        choose([ct])
    assert str(refusal.value) == "study study: modality CT; only MR can be assessed"


def test_nothing_usable_is_told_in_one_line() -> None:
    """Equal reasons are counted, so that the line stays short."""
    few = [series(f"few{i}", stack(count=3)) for i in range(4)]
    with pytest.raises(NotAssessable) as refusal:
        choose([*few, series("cor", stack("cor"))])
    line = str(refusal.value)
    assert line == ("study study: no usable series: 3 sagittal slices, fewer than 5 (4); coronal")


def test_many_reasons_are_cut_short() -> None:
    """A study with more reasons than five names five and counts the rest."""
    many = [series(f"s{i}", [FrameFacts("1", problem=f"problem {i}")]) for i in range(8)]
    with pytest.raises(NotAssessable, match=r"and 3 more$"):
        choose(many)


def test_no_series_at_all() -> None:
    """An empty study is refused like any other, not an error of the program."""
    with pytest.raises(NotAssessable, match="holds no images"):
        choose([])


def test_the_score_is_the_sum_of_its_table() -> None:
    """Every candidate with a role has every part, and the weights give its score."""
    choice = choose([sag_t1(), sag_t2(), ax_t2()])
    for candidate in choice.chosen.values():
        assert set(candidate.parts) == set(WEIGHTS)
        assert all(0 <= part <= 1 for part in candidate.parts.values())
        total = sum(WEIGHTS[k] * v for k, v in candidate.parts.items())
        assert candidate.score == pytest.approx(total, abs=0.01)
    assert sum(WEIGHTS.values()) == 100


def test_frames_of_a_candidate_have_planes_and_one_place_each() -> None:
    """What is handed to the decoder can be ordered by geometry."""
    frames = [*stack(count=15), *stack(count=15, name="again"), FrameFacts("x", problem="none")]
    timed = [replace(f, echo_time=100.0, repetition_time=3000.0) for f in frames]
    chosen = choose([series("t2", timed)]).chosen[Role.SAGITTAL_T2]
    positions = [p.centre[0] for p in chosen.planes]
    assert len(chosen.planes) == len(chosen.frames) == 15
    assert np.diff(np.sort(positions)).min() > 4


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_any_order(random: Any) -> None:
    """Series and files in any order give the same images, scores and reasons."""
    twice = [*stack(name="a"), *stack(name="b")]
    t2 = [replace(f, echo_time=100.0, repetition_time=3000.0) for f in twice]
    study = [sag_t1(), sag_t1("t1b"), series("t2", t2), ax_t2()]
    expected = choose(study)
    shuffled = [replace(s, frames=tuple(random.sample(s.frames, len(s.frames)))) for s in study]
    random.shuffle(shuffled)
    found = choose(shuffled)
    assert found.others == expected.others
    for role, candidate in expected.chosen.items():
        other = found.chosen[role]
        assert other.score == candidate.score
        assert {f.sop_instance_uid for f in other.frames} == {
            f.sop_instance_uid for f in candidate.frames
        }


def test_a_more_complete_acquisition_fills_the_positions_first() -> None:
    """An aborted repeat does not replace the complete scan before it."""
    whole = stack(count=15, acquisition_number=1, acquired="1", name="whole")
    aborted = stack(count=15, acquisition_number=2, acquired="2", name="part")[:4]
    kept = without_repeats([*aborted, *whole])
    assert {f.sop_instance_uid.split(".")[0] for f in kept} == {"whole"}


_planes = st.builds(
    lambda sign, axis, at: Plane.from_header(
        [float(at), 0.0, 0.0], [[0, sign, 0, 0, 0, -1], [sign, 0, 0, 0, 1, 0]][axis], [1, 1], 64, 64
    ),
    st.sampled_from([-1, 1]),
    st.integers(0, 1),
    st.integers(-50, 50),
)
_times = st.none() | st.floats(0.001, 1e6)
_frames = st.builds(
    FrameFacts,
    sop_instance_uid=st.text(max_size=4),
    plane=st.none() | _planes,
    image_type=st.lists(st.sampled_from(["ORIGINAL", "", "M", "W", "P", "MPR"])).map(tuple),
    echo_time=_times,
    repetition_time=_times,
    inversion_time=_times,
    acquisition_number=st.none() | st.integers(),
    temporal_position=st.none() | st.integers(),
    acquired=st.text(max_size=3),
)
_series = st.builds(
    SeriesFacts,
    series_uid=st.text(max_size=3),
    study_uid=st.just("study"),
    sop_class_uid=st.just(MR),
    modality=st.sampled_from(["MR", "", "CT"]),
    frames=st.lists(_frames, max_size=12).map(tuple),
    description=st.text(max_size=12) | st.sampled_from(["T1 T2", "STIR", "AX", "+C"]),
    body_part=st.sampled_from(["", "BRAIN", "LSPINE"]),
    scanning_sequence=st.lists(st.sampled_from(["SE", "GR", "IR", "EP"])).map(tuple),
    scan_options=st.lists(st.sampled_from(["FS", "SAT_GEMS"])).map(tuple),
)


@settings(max_examples=150)
@given(st.lists(_series, max_size=4))
def test_rubbish_gives_a_choice_or_one_line(study: list[SeriesFacts]) -> None:
    """Whatever the headers say, there is a choice or one readable line, never another error."""
    try:
        choice = choose(study)
    except NotAssessable as refusal:
        assert "\n" not in str(refusal)
        return
    assert all(len(c.frames) >= 5 and c.role is role for role, c in choice.chosen.items())
