"""What is not believable is not assessed, with its reason, and nothing else changes."""

from dataclasses import replace

import pytest

from node.spine.anatomy import (
    ALL_FINDINGS,
    LEVELS,
    Condition,
    ConditionGroup,
    Grade,
    Level,
    Role,
    Side,
)
from node.spine.findings import Finding, in_order
from node.spine.safety import check

FRAMES = dict.fromkeys(Role, "1.2.3")
SURE = {"instance": 0.9, "coordinate": 0.9}
ACROSS = {Side.LEFT: 15.0, Side.RIGHT: -15.0, None: 0.0}

Findings = tuple[Finding, ...]
Key = tuple[Condition, Level]


def healthy() -> Findings:
    """25 believable findings on a straight spine, levels 34 mm apart."""
    return tuple(
        Finding(
            condition,
            level,
            grade=Grade.MODERATE,
            probabilities={Grade.NORMAL_MILD: 0.2, Grade.MODERATE: 0.6, Grade.SEVERE: 0.2},
            patient_mm=(ACROSS[condition.side], 10.0, 70.0 - 34.0 * LEVELS.index(level)),
            confidence=SURE,
        )
        for condition, level in ALL_FINDINGS
    )


def moved(findings: Findings, key: Key, point: tuple[float, float, float]) -> Findings:
    """The findings with one point elsewhere."""
    return in_order([replace(f, patient_mm=point) if f.key == key else f for f in findings])


def withdrawn(findings: Findings) -> dict[Key, str]:
    """The findings that lost their grade, with the reason."""
    return {f.key: str(f.reason) for f in findings if not f.is_assessed}


def key(group: ConditionGroup, side: Side | None, level: Level) -> Key:
    return group.condition(side), level


def test_believable_findings_pass_unchanged() -> None:
    """No check touches what is in order."""
    assert check(healthy(), FRAMES) == healthy()


@pytest.mark.parametrize("stage", ["instance", "coordinate"])
def test_low_confidence_is_not_assessed(stage: str) -> None:
    """A grade on an uncertain place is worth nothing: it goes, the place stays."""
    unsure = {**SURE, stage: 0.05}
    findings = (replace(healthy()[0], confidence=unsure), *healthy()[1:])
    checked = check(findings, FRAMES)
    assert list(withdrawn(checked)) == [ALL_FINDINGS[0]]
    assert "not certain enough (0.05" in str(checked[0].reason)
    assert checked[0].patient_mm is not None
    assert checked[0].probabilities is None


def test_levels_out_of_order_withdraw_the_whole_condition() -> None:
    """If L3/L4 lies below L4/L5, none of the names can be trusted."""
    bad = key(ConditionGroup.CANAL, None, Level.L3_L4)
    checked = check(moved(healthy(), bad, (0.0, 10.0, -50.0)), FRAMES)
    lost = withdrawn(checked)
    assert set(lost) >= {key(ConditionGroup.CANAL, None, lv) for lv in LEVELS}
    assert "out of order" in lost[bad]


def test_implausible_spacing_withdraws_the_condition() -> None:
    """Two levels 8 mm apart are one disc found twice."""
    bad = key(ConditionGroup.FORAMINAL, Side.LEFT, Level.L2_L3)
    lost = withdrawn(check(moved(healthy(), bad, (15.0, 10.0, 62.0)), FRAMES))
    assert len(lost) == 5
    assert "8 mm" in lost[bad]


def test_levels_as_close_as_in_a_neck_are_withdrawn() -> None:
    """A cervical spine also has five discs in order, 17 mm apart."""
    findings = in_order(
        [
            replace(f, patient_mm=(0.0, 10.0, 30.0 - 17.0 * LEVELS.index(f.level)))
            if f.condition is Condition.SPINAL_CANAL_STENOSIS
            else f
            for f in healthy()
        ]
    )
    lost = withdrawn(check(findings, dict.fromkeys(Role, "") | {Role.SAGITTAL_T2: "9"}))
    assert set(lost) == {key(ConditionGroup.CANAL, None, lv) for lv in LEVELS}
    assert "not those of a lumbar spine" in lost[key(ConditionGroup.CANAL, None, Level.L3_L4)]


@pytest.mark.parametrize("group", [ConditionGroup.FORAMINAL, ConditionGroup.SUBARTICULAR])
def test_swapped_sides_are_withdrawn(group: ConditionGroup) -> None:
    """A left point right of the right point: both go, the other levels stay."""
    left, right = (key(group, side, Level.L4_L5) for side in Side)
    findings = moved(healthy(), left, (-15.0, 10.0, -32.0))
    findings = moved(findings, right, (15.0, 10.0, -32.0))
    lost = withdrawn(check(findings, FRAMES))
    assert set(lost) == {left, right}


def test_point_beyond_the_midline_is_withdrawn() -> None:
    """A left point 5 mm right of the canal is on the wrong side, 4 mm is half a slice."""
    left = key(ConditionGroup.SUBARTICULAR, Side.LEFT, Level.L1_L2)
    assert set(withdrawn(check(moved(healthy(), left, (-5.0, 10.0, 70.0)), FRAMES))) == {left}
    assert not withdrawn(check(moved(healthy(), left, (-4.0, 10.0, 70.0)), FRAMES))


@pytest.mark.parametrize("group", [ConditionGroup.FORAMINAL, ConditionGroup.SUBARTICULAR])
def test_point_far_from_its_level_is_withdrawn(group: ConditionGroup) -> None:
    """25 mm below the canal point is another level."""
    left = key(group, Side.LEFT, Level.L5_S1)
    lost = withdrawn(check(moved(healthy(), left, (15.0, 10.0, -91.0)), FRAMES))
    assert set(lost) == {left}
    assert "mm from L5/S1" in lost[left]


def test_other_frames_of_reference_are_not_compared() -> None:
    """Millimetres of two frames mean nothing together (GEO-04)."""
    left = key(ConditionGroup.SUBARTICULAR, Side.LEFT, Level.L5_S1)
    findings = moved(healthy(), left, (15.0, 10.0, -91.0))
    assert not withdrawn(check(findings, {**FRAMES, Role.AXIAL_T2: "9.9"}))


def test_earlier_reasons_are_kept() -> None:
    """A finding that was never assessed keeps its own reason and takes no part in the checks."""
    findings = in_order(
        [
            replace(f.not_assessed("no axial T2 series"), patient_mm=None, confidence={})
            if f.condition.group is ConditionGroup.SUBARTICULAR
            else f
            for f in healthy()
        ]
    )
    lost = withdrawn(check(findings, FRAMES))
    assert len(lost) == 10
    assert set(lost.values()) == {"no axial T2 series"}
