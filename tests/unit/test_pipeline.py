"""The pipeline's own decisions, with stand-ins for the networks."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from node.inference.pipeline import find
from node.spine.anatomy import (
    ALL_FINDINGS,
    LEVELS,
    ROLE_OF,
    Condition,
    ConditionGroup,
    Grade,
    Level,
    Role,
    Side,
)
from node.spine.findings import Finding
from node.spine.volume import Volume
from tests.series import axial, sagittal

#: Heatmap rows of the five levels on the sagittal grid; 3 mm a cell.
ROWS = (15, 27, 38, 50, 61)
#: The same levels as patient z, mm, in the volumes of `tests.series`.
HEIGHTS = tuple(0.5 - (2 * row + 0.5 - 95.5) * 1.5 for row in ROWS)


class Networks:
    """Networks that know the answer: slices, points and grades are given."""

    def __init__(self, *, axial_opinion: int = 0) -> None:
        self.calls: list[str] = []
        self.axial_opinion = axial_opinion

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        self.calls.append(name)
        stage, group = name.split("_")
        count = len(next(iter(inputs.values())))
        if stage == "instance":
            return self._slices(group, count)
        if stage == "coordinate":
            return self._heat(group, count)
        return np.tile(np.array([0.1, 0.2, 0.7], dtype=np.float32), (count, 1))

    def _slices(self, group: str, count: int) -> np.ndarray:
        logits = np.full((count + 1, 5 if group == "canal" else 10), -5.0, dtype=np.float32)
        middle = count // 2
        for k in range(logits.shape[1]):
            where = {
                "canal": middle,
                "foraminal": middle + (3 if k < 5 else -3),
                "subarticular": min(count - 1, k % 5 + self.axial_opinion),
            }[group]
            logits[where, k] = 5.0
        return logits

    def _heat(self, group: str, count: int) -> np.ndarray:
        if group == "subarticular":
            heat = np.zeros((count, 2, 80, 80), dtype=np.float32)
            heat[:, 0, 40, 44] = heat[:, 1, 40, 35] = 1.0
            return heat
        heat = np.zeros((count, 6, 96, 96), dtype=np.float32)
        for k, row in enumerate(ROWS):
            heat[:, k, row, 48] = 1.0
            heat[:, 5, row, 48] = 0.2
        return heat


def study(**changes: Volume | None) -> dict[Role, Volume]:
    """A whole study of noise; a role given as None is left out."""
    volumes: dict[str, Volume | None] = {
        "sagittal_t1": sagittal(9, role=Role.SAGITTAL_T1),
        "sagittal_t2": sagittal(9),
        "axial_t2": axial(HEIGHTS),
        **changes,
    }
    return {Role(name): volume for name, volume in volumes.items() if volume is not None}


def test_all_25_are_found_in_order() -> None:
    """A whole study gives 25 assessed findings, each with its slice, point and probabilities."""
    networks = Networks()
    result = find(study(), networks)
    assert tuple(f.key for f in result.findings) == ALL_FINDINGS
    assert [f.reason for f in result.findings if not f.is_assessed] == []
    assert {f.grade for f in result.findings} == {Grade.SEVERE}
    assert all(f.sop_instance_uid and f.patient_mm and not f.warnings for f in result.findings)
    assert len(networks.calls) == 9
    assert result.timings_ms["total"] > 0


def test_sides_are_the_patients() -> None:
    """Left findings have the larger x (LPS), sagittal and axial."""
    by_key = {f.key: f for f in find(study(), Networks()).findings}
    for group in (ConditionGroup.FORAMINAL, ConditionGroup.SUBARTICULAR):
        for level in LEVELS:
            left, right = (by_key[group.condition(side), level].patient_mm for side in Side)
            assert left is not None
            assert right is not None
            assert left[0] > 0 > right[0]


def test_lone_sagittal_t2_assesses_the_canal_only() -> None:
    """Five findings stand, twenty say which series is missing."""
    findings = find(study(sagittal_t1=None, axial_t2=None), Networks()).findings
    assert sum(f.is_assessed for f in findings) == 5
    reasons = {f.condition.group: f.reason for f in findings if not f.is_assessed}
    assert reasons == {
        ConditionGroup.FORAMINAL: "no sagittal T1 series",
        ConditionGroup.SUBARTICULAR: "no axial T2 series",
    }


def negative(volume: Volume) -> Volume:
    """A series whose pixels are dark as in MR, most of them, with bright and dark exchanged."""
    rng = np.random.default_rng(5)
    slices = [
        replace(s, pixels=1000 - rng.exponential(100, s.pixels.shape).astype(np.float32))
        for s in volume.slices
    ]
    return replace(volume, slices=tuple(slices))


def test_a_lone_axial_t2_is_not_assessed() -> None:
    """The axial slices of a head look much like others to a network that was never shown one."""
    findings = find(study(sagittal_t1=None, sagittal_t2=None), Networks()).findings
    assert not any(f.is_assessed for f in findings)
    axial_ones = [f for f in findings if f.condition.group is ConditionGroup.SUBARTICULAR]
    assert all("cannot be told apart" in str(f.reason) for f in axial_ones)


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        (sagittal(9, black=True), "the sagittal T2 or STIR images are blank"),
        (sagittal(2), "the sagittal T2 or STIR series has only 2 usable slice(s)"),
        (
            negative(sagittal(9)),
            "bright and dark are exchanged in the sagittal T2 or STIR images: "
            "nothing in them is dark",
        ),
    ],
)
def test_unusable_series_gets_a_reason_not_a_grade(volume: Volume, reason: str) -> None:
    """Black images, negatives and two slices are no basis for a grade."""
    findings = find(study(sagittal_t2=volume), Networks()).findings
    canal = [f for f in findings if f.condition is Condition.SPINAL_CANAL_STENOSIS]
    assert {f.reason for f in canal} == {reason}
    assert all(f.grade is None and f.probabilities is None for f in canal)


def test_the_wrong_contrast_is_not_graded() -> None:
    """A canal that is dark in T2 or bright in T1: found, told why, and not graded."""
    bright = replace(sagittal(9), role=Role.SAGITTAL_T1)
    elsewhere = replace(bright, frame_of_reference_uid="1.2.3")
    dark = replace(sagittal(9, role=Role.SAGITTAL_T1), role=Role.SAGITTAL_T2)
    for volumes, role in (
        (study(sagittal_t1=bright), Role.SAGITTAL_T1),
        (study(sagittal_t1=elsewhere), Role.SAGITTAL_T1),
        (study(sagittal_t1=bright, sagittal_t2=None), Role.SAGITTAL_T1),
        (study(sagittal_t2=dark), Role.SAGITTAL_T2),
    ):
        findings = [f for f in find(volumes, Networks()).findings if _role(f) is role]
        assert not any(f.is_assessed for f in findings)
        assert all("do not look like" in str(f.reason) for f in findings)
        assert all(f.patient_mm is not None for f in findings)


def test_other_pictures_are_not_graded() -> None:
    """Where the heatmaps are not those of a spine, nothing is graded, axial slices included."""

    class Lost(Networks):
        def _heat(self, group: str, count: int) -> np.ndarray:
            return 0.1 * super()._heat(group, count)

    findings = find(study(), Lost()).findings
    assert not any(f.is_assessed for f in findings)
    canal = [f.reason for f in findings if _role(f) is Role.SAGITTAL_T2]
    assert any("does not look like a lumbar spine" in str(reason) for reason in canal)


def _role(finding: Finding) -> Role:
    return ROLE_OF[finding.condition.group]


def test_axial_level_comes_from_geometry() -> None:
    """The slice through the sagittal point wins over the network, which is only quoted."""
    findings = find(study(), Networks(axial_opinion=3)).findings
    first = next(
        f for f in findings if f.key == (Condition.LEFT_SUBARTICULAR_STENOSIS, Level.L1_L2)
    )
    assert first.patient_mm is not None
    assert first.patient_mm[2] == pytest.approx(HEIGHTS[0])
    assert first.warnings == ("the axial images look like the level 3 slices away",)


def test_level_without_axial_slice_is_not_assessed() -> None:
    """Axial slices that miss L5/S1 leave it open rather than take the nearest."""
    findings = find(study(axial_t2=axial(HEIGHTS[:4])), Networks()).findings
    lost = {f.key: f.reason for f in findings if not f.is_assessed}
    assert set(lost) == {
        (ConditionGroup.SUBARTICULAR.condition(side), Level.L5_S1) for side in Side
    }
    assert set(lost.values()) == {"no axial slice passes through the level"}


def test_other_frame_of_reference_relies_on_the_image_and_says_so() -> None:
    """Without a common frame the network names the axial slices, with a warning."""
    findings = find(study(axial_t2=axial(HEIGHTS, frame="1.2.840.77")), Networks()).findings
    side = [f for f in findings if f.condition.group is ConditionGroup.SUBARTICULAR]
    assert all(f.is_assessed for f in side)
    assert all("do not share a frame of reference" in f.warnings[0] for f in side)
