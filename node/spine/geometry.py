"""Image planes in patient space.

Patient coordinates are LPS in millimetres: x grows to the patient's left, y to the back, z to the
head (PS3.3 C.7.6.2.1.1). Pixel coordinates are ``(column, row)``, 0-based, and an integer is the
*centre* of a pixel (Image Position is the centre of the first voxel).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Image = NDArray[np.float32]

#: How far direction cosines may be from orthogonal unit vectors.
SKEW = 0.01
#: Cosine of the largest tilt, 60 degrees, at which a plane still counts as axial.
STEEPEST_AXIAL = 0.5
#: Rows or columns beyond this are not an MR image (../shared/spec, SEC-05).
MATRIX = 4096


@dataclass(frozen=True, eq=False)
class Plane:
    """Where one image lies in the patient.

    Attributes
    ----------
    origin : (3,) float64
        ImagePositionPatient, mm LPS: the centre of pixel (0, 0).
    along_row, along_column : (3,) float64
        Unit vectors. ``along_row`` points where the column index grows (IOP[0:3]),
        ``along_column`` where the row index grows (IOP[3:6]).
    row_spacing, column_spacing : float
        PixelSpacing[0] and [1], mm: between the centres of rows, of columns.
    rows, columns : int
        The matrix.
    """

    origin: Vector
    along_row: Vector
    along_column: Vector
    row_spacing: float
    column_spacing: float
    rows: int
    columns: int

    @classmethod
    def from_header(
        cls,
        position: Sequence[float] | None,
        orientation: Sequence[float] | None,
        spacing: Sequence[float] | None,
        rows: int | None,
        columns: int | None,
    ) -> "Plane":
        """Build a plane from what a header says.

        Parameters
        ----------
        position, orientation, spacing : sequence of float or None
            ImagePositionPatient (3), ImageOrientationPatient (6), PixelSpacing (2).
        rows, columns : int or None

        Raises
        ------
        ValueError
            When a value is missing, not finite, or no image plane; the message says which.
        """
        origin = _finite("ImagePositionPatient", position, 3)
        direction = _finite("ImageOrientationPatient", orientation, 6)
        step = _finite("PixelSpacing", spacing, 2)
        if not (step > 0).all():
            raise ValueError("PixelSpacing is not positive")
        if rows is None or columns is None or not (0 < rows <= MATRIX and 0 < columns <= MATRIX):
            raise ValueError(f"the matrix of {rows} rows and {columns} columns is not credible")
        across, down = direction[:3], direction[3:]
        lengths = np.array([np.linalg.norm(across), np.linalg.norm(down)])
        if (np.abs(lengths - 1) > SKEW).any() or abs(float(across @ down)) > SKEW:
            raise ValueError("ImageOrientationPatient is not two orthogonal unit vectors")
        # Headers round to a few digits; exact unit vectors make pixel -> mm -> pixel exact.
        across = across / lengths[0]
        down = down - (down @ across) * across
        down = down / np.linalg.norm(down)
        return cls(origin, across, down, float(step[0]), float(step[1]), rows, columns)

    @cached_property
    def normal(self) -> Vector:
        """Unit normal, ``along_row x along_column``."""
        return np.cross(self.along_row, self.along_column)

    @property
    def centre(self) -> Vector:
        """The middle of the image, mm LPS."""
        return self.to_patient((self.columns - 1) / 2, (self.rows - 1) / 2)

    def to_patient(self, column: float, row: float) -> Vector:
        """Return the patient point (mm LPS) of a pixel position (PS3.3 C.7.6.2.1.1-1)."""
        across = column * self.column_spacing * self.along_row
        down = row * self.row_spacing * self.along_column
        return np.asarray(self.origin + across + down, dtype=np.float64)

    def to_pixel(self, point: Vector) -> tuple[float, float]:
        """Return ``(column, row)`` of the foot of the perpendicular from a patient point."""
        offset = np.asarray(point, dtype=np.float64) - self.origin
        column = float(offset @ self.along_row) / self.column_spacing
        row = float(offset @ self.along_column) / self.row_spacing
        return column, row

    def distance(self, point: Vector) -> float:
        """Return the signed distance (mm) of a patient point from the plane, along the normal."""
        return float((np.asarray(point, dtype=np.float64) - self.origin) @ self.normal)

    def contains(self, column: float, row: float) -> bool:
        """Tell whether a pixel position lies inside the image."""
        return -0.5 <= column <= self.columns - 0.5 and -0.5 <= row <= self.rows - 0.5


def _finite(name: str, values: Sequence[float] | None, count: int) -> Vector:
    if not values:
        raise ValueError(f"{name} is missing")
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} values instead of {count}")
    vector = np.asarray(values, dtype=np.float64)
    # A position of 1e6 mm is as impossible as infinity, and overflows later.
    if not np.isfinite(vector).all() or (np.abs(vector) > 1e5).any():
        raise ValueError(f"{name} holds values that are not credible")
    return vector


def grid(
    plane: Plane, *, centre: Vector, right: Vector, spacing: float, shape: tuple[int, int]
) -> Plane:
    """Return a square-pixel grid inside ``plane``, turned so that it reads the same in every study.

    The grid's column axis is whichever of the plane's four in-plane half-axes lies closest to
    ``right``; its row axis is the remaining one, turned to the feet or, in an axial plane, to
    the back. The grid is a flip or transposition of the image, never a rotation:
    what the scanner angled stays angled.

    Parameters
    ----------
    plane : Plane
        The image to sample.
    centre : (3,) float64
        Patient point (mm LPS) at the middle of the grid; projected into the plane.
    right : (3,) float64
        Patient direction that grows with the grid's column index.
    spacing : float
        mm between samples.
    shape : (rows, columns)
        Of the grid.
    """
    axes = [plane.along_row, -plane.along_row, plane.along_column, -plane.along_column]
    best = int(np.argmax([float(a @ right) for a in axes]))
    across = axes[best]
    others = axes[2:] if best < 2 else axes[:2]
    # An axial plane along L5/S1 rises to the back by 40 degrees and more: only its normal tells
    # that "down" is the back there, and not the feet.
    normal = np.abs(plane.normal)
    is_axial = normal[2] >= STEEPEST_AXIAL and normal[2] >= normal[0]
    towards = np.array([0.0, 1.0, 0.0] if is_axial else [0.0, 0.0, -1.0])
    down = max(others, key=lambda a: float(a @ towards))
    rows, columns = shape
    middle = centre - plane.distance(centre) * plane.normal
    corner = middle - across * spacing * (columns - 1) / 2 - down * spacing * (rows - 1) / 2
    return Plane(corner, across, down, spacing, spacing, rows, columns)


def sample(image: Image, plane: Plane, target: Plane) -> Image:
    """Resample a 2-D image onto another grid of (nearly) the same plane, bilinearly.

    Where the target is coarser than the image each target pixel is the mean of a small block of
    samples, so that thin bright structures do not alias. Outside the image the result is 0.

    Parameters
    ----------
    image : (rows, columns) float32
    plane, target : Plane
        Of the image and of the result.

    Returns
    -------
    (target.rows, target.columns) float32
    """
    fine = max(plane.row_spacing, plane.column_spacing)
    block = int(np.clip(round(target.row_spacing / fine), 1, 4))
    steps_c = _substeps(target.columns, block) * target.column_spacing
    steps_r = _substeps(target.rows, block) * target.row_spacing
    base = target.origin - plane.origin
    # The map from target to image is affine, and separable into two outer sums.
    column = (
        base @ plane.along_row
        + steps_c[None, :] * (target.along_row @ plane.along_row)
        + steps_r[:, None] * (target.along_column @ plane.along_row)
    ) / plane.column_spacing
    row = (
        base @ plane.along_column
        + steps_c[None, :] * (target.along_row @ plane.along_column)
        + steps_r[:, None] * (target.along_column @ plane.along_column)
    ) / plane.row_spacing
    values = bilinear(image, column, row)
    blocks = values.reshape(target.rows, block, target.columns, block)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _substeps(count: int, block: int) -> Vector:
    """Sample positions in target pixels: ``block`` of them inside every pixel."""
    return (np.arange(count * block) + 0.5) / block - 0.5


def bilinear(image: Image, column: Vector, row: Vector) -> Image:
    """Interpolate an image (rows, columns) at pixel positions; 0 outside it."""
    rows, columns = image.shape
    padded = np.pad(image.astype(np.float32, copy=False), ((1, 2), (1, 2)))
    c = np.clip(column + 1, 0, columns + 1)
    r = np.clip(row + 1, 0, rows + 1)
    c0, r0 = c.astype(np.intp), r.astype(np.intp)
    fc, fr = (c - c0).astype(np.float32), (r - r0).astype(np.float32)
    flat, width = padded.ravel(), columns + 3
    at = r0 * width + c0
    top = flat[at] * (1 - fc) + flat[at + 1] * fc
    below = flat[at + width] * (1 - fc) + flat[at + width + 1] * fc
    return np.asarray(top * (1 - fr) + below * fr, dtype=np.float32)
