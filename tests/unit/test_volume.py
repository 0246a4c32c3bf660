"""Volumes are ordered by place in the patient, whatever the files' order and orientation."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.spine.anatomy import Role
from node.spine.geometry import Image, Plane
from node.spine.volume import Slice, Volume, ordered
from tests.unit.test_geometry import AXIS_PAIRS

SAGITTAL = [c for c in AXIS_PAIRS if abs(np.cross(*c)[0]) > 0.5]
AXIAL = [c for c in AXIS_PAIRS if abs(np.cross(*c)[2]) > 0.5]
SIZE = (100.0, 80.0)


def anatomy(x: Image, y: Image, z: Image) -> Image:
    """A scalar of the patient point, without any symmetry."""
    return np.asarray(x + 10 * y + 0.1 * z, dtype=np.float32)


def image(cosines: tuple[Any, Any], centre: Any, name: str) -> Slice:
    """The picture of `anatomy` in a plane around a patient point, with non-square pixels."""
    row_spacing, column_spacing, rows, columns = 2.0, 1.25, 24, 40
    start = (
        np.array(centre, float)
        - cosines[0] * column_spacing * (columns - 1) / 2
        - cosines[1] * row_spacing * (rows - 1) / 2
    )
    plane = Plane.from_header(
        list(start), [*cosines[0], *cosines[1]], [row_spacing, column_spacing], rows, columns
    )
    r, c = np.mgrid[:rows, :columns]
    points = (
        plane.origin
        + c[..., None] * column_spacing * plane.along_row
        + r[..., None] * row_spacing * plane.along_column
    )
    return Slice(plane, anatomy(points[..., 0], points[..., 1], points[..., 2]), name)


@settings(max_examples=60)
@given(st.sampled_from(SAGITTAL), st.permutations(range(9)))
def test_sagittal_slices_run_from_right_to_left(cosines: Any, order: list[int]) -> None:
    """Any file order and any mirrored orientation give the same slices in the same order."""
    slices = [image(cosines, (4.4 * i - 18, 5, -7), str(i)) for i in range(9)]
    volume = ordered(Role.SAGITTAL_T2, "s", "f", [slices[i] for i in order])
    assert [s.sop_instance_uid for s in volume.slices] == [str(i) for i in range(9)]
    assert volume.spacing() == pytest.approx(4.4)
    assert (np.diff(volume.positions()) > 0).all()


@settings(max_examples=60)
@given(st.sampled_from(AXIAL), st.permutations(range(9)))
def test_axial_slices_run_from_head_to_foot(cosines: Any, order: list[int]) -> None:
    """The same for axial slices, whose order is by falling z."""
    slices = [image(cosines, (1, 5, -4.0 * i), str(i)) for i in range(9)]
    volume = ordered(Role.AXIAL_T2, "s", "f", [slices[i] for i in order])
    assert [s.sop_instance_uid for s in volume.slices] == [str(i) for i in range(9)]
    assert volume.spacing() == pytest.approx(4.0)


@pytest.mark.parametrize("cosines", SAGITTAL)
def test_the_same_anatomy_is_at_the_same_millimetres(cosines: Any) -> None:
    """A pixel's value is that of the patient point the plane gives it, flipped or transposed."""
    volume = ordered(
        Role.SAGITTAL_T1, "s", "f", [image(cosines, (3.0 * i, 0, 0), str(i)) for i in range(5)]
    )
    for s in volume.slices:
        for column, row in ((0, 0), (39, 23), (7, 11)):
            x, y, z = s.plane.to_patient(column, row)
            assert s.pixels[row, column] == pytest.approx(x + 10 * y + 0.1 * z, abs=1e-3)


def test_a_lone_slice_has_a_usual_spacing() -> None:
    """One slice has no neighbour; 4 mm keeps later divisions finite."""
    volume = ordered(Role.AXIAL_T2, "s", "f", [image(AXIAL[0], (0, 0, 0), "1")])
    assert volume.spacing() == 4.0


def test_oblique_blocks_stay_in_the_order_of_their_centres() -> None:
    """Tilted stacks may cross at the edge of the image; the middle of each slice decides."""
    slices = []
    for block, degrees in enumerate((-15, 0, 30)):
        angle = np.radians(degrees)
        cosines = (np.array([1.0, 0, 0]), np.array([0, np.cos(angle), -np.sin(angle)]))
        for i in range(4):
            z = -35.0 * block - 4.0 * i
            slices.append(image(cosines, (0, 0, z), f"{block}{i}"))
    volume = ordered(Role.AXIAL_T2, "s", "f", slices[::-1])
    names = [s.sop_instance_uid for s in volume.slices]
    assert names == sorted(names)


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0])
def test_the_window_of_a_flat_image_is_not_empty(value: float) -> None:
    """A constant image still gives a window that can be divided by."""
    flat = image(SAGITTAL[0], (0, 0, 0), "1")
    pixels = np.full_like(flat.pixels, value)
    volume = Volume(Role.SAGITTAL_T2, "s", "f", (Slice(flat.plane, pixels, "1"),))
    low, high = volume.window()
    assert low == value
    assert high > low
