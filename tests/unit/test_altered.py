"""Stress and spoiling in memory: what moves is where it is said to be, and nothing else moves."""

from dataclasses import replace

import numpy as np
import pytest

from models import altered
from models.real import outcome
from node.spine.anatomy import LEVELS, Condition, Grade, Level, Role
from node.spine.findings import Finding
from node.spine.geometry import Vector
from node.spine.safety import NAMING_WARNING
from node.spine.volume import Volume
from tests.series import axial, sagittal

POINT = np.array([0.0, 20.0, 35.0])


def dotted() -> Volume:
    """A dark sagittal series with a bright dot at a patient point of its middle slice."""
    volume = sagittal(5, black=True)
    slices = []
    for s in volume.slices:
        column, row = s.plane.to_pixel(POINT)
        r, c = np.mgrid[: s.plane.rows, : s.plane.columns]
        dot = np.exp(-0.5 * ((r - row) ** 2 + (c - column) ** 2) / 4)
        slices.append(replace(s, pixels=dot.astype(np.float32)))
    return replace(volume, slices=tuple(slices))


def seen(volume: Volume) -> Vector:
    """Where the middle slice shows the dot, mm."""
    s = volume.slices[len(volume.slices) // 2]
    row, column = np.unravel_index(int(s.pixels.argmax()), s.pixels.shape)
    return s.plane.to_patient(float(column), float(row))


@pytest.mark.parametrize(("degrees", "zoom"), [(15, 0.85), (-15, 1.2), (0, 1.0)])
def test_a_turned_patient_has_the_point_where_it_is_said(degrees: float, zoom: float) -> None:
    """The dot is where the returned function says, to a pixel."""
    volume, moved = altered.turned(dotted(), degrees, zoom)
    assert seen(volume) == pytest.approx(moved(POINT), abs=1.0)
    assert np.linalg.norm(moved(POINT) - POINT) > 3 or (degrees, zoom) == (0, 1.0)


def test_a_smaller_field_moves_nothing() -> None:
    """Cut images show the dot at the same place in the patient."""
    small = altered.windowed(dotted(), POINT + np.array([0.0, 30.0, -20.0]), 150.0)
    assert small.slices[0].pixels.shape == (150, 150)
    assert seen(small) == pytest.approx(POINT, abs=1.0)
    upper = altered.above(dotted(), 10.0)
    assert seen(upper) == pytest.approx(POINT, abs=1.0)
    plane = upper.slices[0].plane
    assert plane.to_patient(0, plane.rows - 1)[2] == pytest.approx(10.0, abs=1.0)


def test_one_side_of_the_middle() -> None:
    """Only slices at the middle and to the left are left over."""
    kept = altered.beside(sagittal(9), 0.0, 1)
    assert [round(s.plane.centre[0], 1) for s in kept.slices] == [0.0, 4.5, 9.0, 13.5, 18.0]


@pytest.mark.parametrize("name", list(altered.HOPELESS))
def test_spoilt_studies_keep_their_roles(name: str) -> None:
    """Whatever the pictures show, a volume still claims to be of its role, and is well-formed."""
    study = {
        Role.SAGITTAL_T1: sagittal(9, role=Role.SAGITTAL_T1),
        Role.SAGITTAL_T2: sagittal(9),
        Role.AXIAL_T2: axial((60.0, 30.0, 0.0, -30.0, -60.0)),
    }
    spoilt = altered.HOPELESS[name](study)
    assert spoilt
    for role, volume in spoilt.items():
        assert volume.role is role
        for s in volume.slices:
            assert s.pixels.shape == (s.plane.rows, s.plane.columns)


def test_a_wrong_name_is_silent_only_when_it_is_claimed() -> None:
    """Right by the nearest disc; wrong with a grade is silent, with a warning or none, flagged."""
    discs = {lv: np.array([0.0, 0.0, -34.0 * k]) for k, lv in enumerate(LEVELS)}
    right = Finding(
        Condition.SPINAL_CANAL_STENOSIS,
        Level.L3_L4,
        grade=Grade.SEVERE,
        patient_mm=(9.0, 12.0, -66.0),
    )
    shifted = replace(right, patient_mm=(0.0, 0.0, -100.0))
    assert outcome(right, discs) == "right"
    assert outcome(shifted, discs) == "silent"
    assert outcome(replace(shifted, warnings=(NAMING_WARNING,)), discs) == "flagged"
    assert outcome(shifted.not_assessed("unsure"), discs) == "flagged"
