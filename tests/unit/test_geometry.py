"""Planes in patient space: every orientation, mirrored or not, square pixels or not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.spine.geometry import Image, Plane, Vector, bilinear, grid, sample

# Columns: along_row, along_column. All 48 signed axis pairs that are orthogonal.
_AXES = [np.eye(3)[i] * s for i in range(3) for s in (1, -1)]
AXIS_PAIRS = [(a, b) for a in _AXES for b in _AXES if abs(a @ b) < 0.5]


def rotation(a: float, b: float, c: float) -> Vector:
    """A rotation matrix from three angles (radians)."""

    def turn(axis: int, angle: float) -> Vector:
        i, j = [k for k in range(3) if k != axis]
        matrix = np.eye(3)
        matrix[[i, i, j, j], [i, j, i, j]] = [
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        ]
        return matrix

    return np.asarray(turn(0, a) @ turn(1, b) @ turn(2, c))


@st.composite
def planes(draw: Any, *, most_tilt: float = np.pi) -> Plane:
    """Any image plane: 24 axis pairs (mirrored ones too), then a rotation."""
    across, down = draw(st.sampled_from(AXIS_PAIRS))
    angles = [draw(st.floats(-most_tilt, most_tilt)) for _ in range(3)]
    turn = rotation(*angles)
    number = st.floats(-300, 300)
    step = st.floats(0.2, 2.0)
    return Plane.from_header(
        [draw(number) for _ in range(3)],
        [*(turn @ across), *(turn @ down)],
        [draw(step), draw(step)],
        draw(st.integers(8, 200)),
        draw(st.integers(8, 200)),
    )


@given(planes(), st.floats(-50, 250), st.floats(-50, 250))
def test_pixel_to_patient_and_back(plane: Plane, column: float, row: float) -> None:
    """A pixel position survives the way through millimetres, in any orientation."""
    point = plane.to_patient(column, row)
    assert plane.to_pixel(point) == pytest.approx((column, row), abs=1e-6)
    assert plane.distance(point) == pytest.approx(0, abs=1e-6)


@given(planes(), st.floats(-30, 30))
def test_a_point_off_the_plane_falls_on_its_foot(plane: Plane, off: float) -> None:
    """The distance has the sign of the normal and does not move the pixel."""
    point = plane.to_patient(3, 5) + off * plane.normal
    assert plane.distance(point) == pytest.approx(off, abs=1e-6)
    assert plane.to_pixel(point) == pytest.approx((3, 5), abs=1e-6)


def test_spacing_order_is_rows_first() -> None:
    """PixelSpacing[0] is between rows: one row down is 2 mm, one column right 0.5 mm."""
    plane = Plane.from_header([0, 0, 0], [1, 0, 0, 0, 1, 0], [2.0, 0.5], 10, 20)
    assert plane.to_patient(0, 1) == pytest.approx([0, 2.0, 0])
    assert plane.to_patient(1, 0) == pytest.approx([0.5, 0, 0])
    assert plane.contains(19.5, 9.5)
    assert not plane.contains(19.6, 0)
    assert not plane.contains(0, -0.6)


GOOD: dict[str, Any] = {
    "position": [0.0, 0.0, 0.0],
    "orientation": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    "spacing": [1.0, 1.0],
    "rows": 10,
    "columns": 10,
}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"position": None}, "ImagePositionPatient is missing"),
        ({"position": [0.0, 0.0]}, "ImagePositionPatient has 2 values instead of 3"),
        ({"position": [0.0, 0.0, float("nan")]}, "ImagePositionPatient holds values"),
        ({"position": [0.0, 0.0, 1e30]}, "ImagePositionPatient holds values"),
        ({"orientation": [1.0, 0.0, 0.0, 0.0, 1.0]}, "5 values instead of 6"),
        ({"orientation": [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]}, "not two orthogonal"),
        ({"orientation": [2.0, 0.0, 0.0, 0.0, 1.0, 0.0]}, "not two orthogonal"),
        ({"orientation": [0.0] * 6}, "not two orthogonal"),
        ({"spacing": [0.0, 1.0]}, "PixelSpacing is not positive"),
        ({"spacing": [1.0, -1.0]}, "PixelSpacing is not positive"),
        ({"spacing": []}, "PixelSpacing is missing"),
        ({"rows": 0}, "not credible"),
        ({"columns": 65535}, "not credible"),
        ({"rows": None}, "not credible"),
    ],
)
def test_a_header_without_a_plane_says_why(wrong: dict[str, Any], said: str) -> None:
    """Every way in which the geometry of a header is unusable has its own words."""
    with pytest.raises(ValueError, match=said):
        Plane.from_header(**{**GOOD, **wrong})


def test_rounded_cosines_become_exact() -> None:
    """Headers round to a few digits; the plane's vectors are orthonormal all the same."""
    plane = Plane.from_header([0, 0, 0], [0.9999, 0.003, 0, -0.001, 1.0001, 0], [1, 1], 4, 4)
    assert plane.along_row @ plane.along_column == pytest.approx(0, abs=1e-12)
    assert plane.normal @ plane.normal == pytest.approx(1, abs=1e-12)


def blob(plane: Plane, at: Vector, width: float = 4.0) -> Image:
    """A Gaussian around a patient point, as this plane's image would show it."""
    column, row = plane.to_pixel(at)
    rows, columns = np.mgrid[: plane.rows, : plane.columns]
    x = (columns - column) * plane.column_spacing
    y = (rows - row) * plane.row_spacing
    return np.asarray(np.exp(-(x**2 + y**2) / (2 * width**2)), dtype=np.float32)


def centre_of_mass(image: Image) -> tuple[float, float]:
    """``(column, row)``, of what is bright."""
    weight = np.clip(image - 0.02, 0, None)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return float((columns * weight).sum() / weight.sum()), float(
        (rows * weight).sum() / weight.sum()
    )


@settings(max_examples=60)
@given(planes(most_tilt=0.5), st.floats(-12, 12), st.floats(-12, 12), st.floats(0.4, 2.5))
def test_a_blob_lands_where_its_millimetres_are(
    plane: Plane, across: float, down: float, spacing: float
) -> None:
    """Sampled onto the turned grid, a known patient point is at the grid's pixel for it."""
    middle = plane.centre
    at = middle + across * plane.along_row + down * plane.along_column
    right = max([plane.along_row, plane.along_column], key=lambda a: abs(a[0]) + abs(a[1]))
    wide = Plane(
        middle - 60 * plane.along_row - 60 * plane.along_column,
        plane.along_row,
        plane.along_column,
        120 / 199,
        120 / 149,
        200,
        150,
    )
    side = int(80 / spacing)
    target = grid(wide, centre=middle, right=right, spacing=spacing, shape=(side, side))
    found = centre_of_mass(sample(blob(wide, at), wide, target))
    assert found == pytest.approx(target.to_pixel(at), abs=0.25 / spacing)


@given(planes(most_tilt=0.3), st.sampled_from(["left", "posterior"]))
def test_the_grid_reads_the_same_in_every_study(plane: Plane, columns_to: str) -> None:
    """Columns grow as asked (or as near as the plane can), and the grid lies in the plane."""
    right = np.array({"left": [1.0, 0, 0], "posterior": [0, 1.0, 0]}[columns_to])
    target = grid(plane, centre=plane.centre, right=right, spacing=1.0, shape=(32, 48))
    best = max(abs(plane.along_row @ right), abs(plane.along_column @ right))
    assert target.along_row @ right == pytest.approx(best)
    assert abs(target.along_row @ target.along_column) < 1e-9
    assert abs(plane.distance(target.to_patient(10, 20))) < 1e-6
    assert target.to_pixel(plane.centre) == pytest.approx((23.5, 15.5), abs=1e-6)


@pytest.mark.parametrize("cosines", [c for c in AXIS_PAIRS if abs(np.cross(*c)[0]) > 0.5])
def test_a_sagittal_grid_has_the_head_on_top(cosines: tuple[Vector, Vector]) -> None:
    """However the image is flipped or transposed: columns to the back, rows to the feet."""
    plane = Plane.from_header([0, 0, 0], [*cosines[0], *cosines[1]], [1.0, 0.7], 60, 80)
    target = grid(
        plane, centre=plane.centre, right=np.array([0, 1.0, 0]), spacing=1.0, shape=(20, 20)
    )
    assert target.along_row == pytest.approx([0, 1, 0])
    assert target.along_column == pytest.approx([0, 0, -1])


@pytest.mark.parametrize("cosines", [c for c in AXIS_PAIRS if abs(np.cross(*c)[2]) > 0.5])
def test_an_axial_grid_has_the_patients_left_on_the_right(cosines: tuple[Vector, Vector]) -> None:
    """However the image is flipped or transposed: columns to the left, rows to the back."""
    plane = Plane.from_header([0, 0, 0], [*cosines[0], *cosines[1]], [0.6, 0.6], 60, 60)
    target = grid(
        plane, centre=plane.centre, right=np.array([1.0, 0, 0]), spacing=1.0, shape=(20, 20)
    )
    assert target.along_row == pytest.approx([1, 0, 0])
    assert target.along_column == pytest.approx([0, 1, 0])


def test_an_axial_grid_of_a_tilted_disc_keeps_the_back_below() -> None:
    """Tilts of both signs, as L1 and L5 have, do not turn the grid over."""
    for degrees in (-45, -20, 0, 20, 45, 55):
        angle = np.radians(degrees)
        down = [0, np.cos(angle), -np.sin(angle)]
        plane = Plane.from_header([0, 0, 0], [1, 0, 0, *down], [1, 1], 64, 64)
        target = grid(
            plane, centre=plane.centre, right=np.array([1.0, 0, 0]), spacing=1.0, shape=(8, 8)
        )
        assert target.along_column[1] > 0, degrees


def test_sampling_outside_the_image_gives_zero() -> None:
    """A grid that reaches beyond the image is filled with 0, not with its border."""
    plane = Plane.from_header([0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1], 10, 10)
    target = Plane.from_header([-5, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1], 10, 20)
    found = sample(np.ones((10, 10), np.float32), plane, target)
    assert found[:, :5] == pytest.approx(0)
    assert found[:, 5:15] == pytest.approx(1)
    assert found[:, 15:] == pytest.approx(0)


def test_the_same_grid_gives_the_same_image() -> None:
    """Sampling onto the image's own plane changes nothing."""
    image = np.random.default_rng(1).random((30, 40), dtype=np.float32)
    plane = Plane.from_header([7, -3, 2], [0, 1, 0, 0, 0, -1], [0.8, 0.8], 30, 40)
    assert sample(image, plane, plane) == pytest.approx(image, abs=1e-6)


def test_coarse_sampling_takes_means() -> None:
    """A thin bright line keeps its brightness over area when the grid is coarser."""
    image = np.zeros((64, 64), np.float32)
    image[:, 20] = 1
    plane = Plane.from_header([0, 0, 0], [1, 0, 0, 0, 1, 0], [0.5, 0.5], 64, 64)
    target = Plane.from_header([0.75, 0.75, 0], [1, 0, 0, 0, 1, 0], [2.0, 2.0], 16, 16)
    found = sample(image, plane, target)
    assert found.sum(axis=1) == pytest.approx(0.25, abs=0.01)


def test_bilinear_is_exact_on_a_ramp() -> None:
    """A linear image is interpolated without error inside."""
    rows, columns = np.mgrid[:20, :30]
    image = (2 * columns + 3 * rows).astype(np.float32)
    at = np.array([0.0, 1.25, 17.5, 29.0]), np.array([0.0, 2.5, 18.75, 19.0])
    assert bilinear(image, *at) == pytest.approx(2 * at[0] + 3 * at[1], abs=1e-4)
