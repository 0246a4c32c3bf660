"""One slice as a picture: square pixels, standard orientation, sharp, letters from its geometry."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from node.spine.anatomy import Role
from node.spine.geometry import Plane, Vector, grid
from node.spine.volume import Slice, Volume

#: What a picture's columns grow towards: sagittal to the back, axial to the patient's left.
_RIGHT = {
    Role.SAGITTAL_T1: np.array([0.0, 1.0, 0.0]),
    Role.SAGITTAL_T2: np.array([0.0, 1.0, 0.0]),
    Role.AXIAL_T2: np.array([1.0, 0.0, 0.0]),
}
_LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))


@dataclass(frozen=True)
class View:
    """A picture of one slice and where its pixels are in the patient.

    Attributes
    ----------
    picture : grayscale image
    plane : Plane
        Of the picture: square pixels, columns to the back or to the patient's left.
    slice : Slice
        What it shows.
    """

    picture: Image.Image
    plane: Plane
    slice: Slice

    def place(self, point: Vector) -> tuple[float, float]:
        """Return where a patient point (mm LPS) lies in the picture, (x, y) in pixels."""
        return self.plane.to_pixel(point)

    @property
    def edges(self) -> dict[str, str]:
        """The patient direction at the picture's four edges, as letters."""
        across, down = self.plane.along_row, self.plane.along_column
        return {
            "left": letters(-across),
            "right": letters(across),
            "top": letters(-down),
            "bottom": letters(down),
        }


def view(volume: Volume, shown: Slice, *, centre: Vector, mm: float, size: tuple[int, int]) -> View:
    """Return ``size`` (width, height) pixels of a slice at ``mm`` a pixel, around a patient point.

    The frame moves inwards where it would leave the image, so that the page shows anatomy.
    """
    width, height = size
    right = _RIGHT[volume.role]
    plane = grid(shown.plane, centre=centre, right=right, spacing=mm, shape=(height, width))
    plane = _moved_inside(plane, shown.plane)
    values = _resampled(shown, plane)
    return View(
        Image.fromarray(_eight_bit(values, volume.window(volume.series_of(shown)))), plane, shown
    )


def whole(volume: Volume, shown: Slice, size: tuple[int, int]) -> View:
    """Return all of a slice, as large as ``size`` (width, height) allows."""
    source = shown.plane
    right = _RIGHT[volume.role]
    probe = grid(source, centre=source.centre, right=right, spacing=1.0, shape=(1, 1))
    is_upright = abs(float(probe.along_row @ source.along_row)) > 0.5
    wide = source.columns * source.column_spacing
    high = source.rows * source.row_spacing
    if not is_upright:
        wide, high = high, wide
    mm = max(wide / size[0], high / size[1])
    return view(volume, shown, centre=source.centre, mm=mm, size=size)


def letters(direction: Vector) -> str:
    """Return a patient direction in letters: the main axis, a second one from 30 degrees on."""
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(
        _LETTERS[axis][int(direction[axis] > 0)]
        for i, axis in enumerate(order[:2])
        if i == 0 or abs(direction[axis]) > 0.5
    )


def _moved_inside(plane: Plane, source: Plane) -> Plane:
    """Move a frame along its own axes so that as little of it as can be lies outside the image."""
    corners = [
        source.to_patient(c, r)
        for c in (-0.5, source.columns - 0.5)
        for r in (-0.5, source.rows - 0.5)
    ]
    places = np.array([plane.to_pixel(corner) for corner in corners])
    low, high = places.min(axis=0), places.max(axis=0)
    shift = [
        _shift(low[i], high[i], extent)
        for i, extent in enumerate((float(plane.columns), float(plane.rows)))
    ]
    return replace(plane, origin=plane.to_patient(shift[0], shift[1]))


def _shift(low: float, high: float, extent: float) -> float:
    """Return how far a frame of ``extent`` pixels moves to lie in low to high, or be centred."""
    if high - low <= extent:
        return (low + high - extent) / 2 + 0.5
    return float(np.clip(0.0, low + 0.5, high - extent + 0.5))


def _resampled(shown: Slice, plane: Plane) -> NDArray[np.float32]:
    """Resample with a Lanczos kernel: the frame is a flip or transposition of the image."""
    source = shown.plane
    first = source.to_pixel(plane.to_patient(-0.5, -0.5))
    last = source.to_pixel(plane.to_patient(plane.columns - 0.5, plane.rows - 0.5))
    is_upright = abs(float(plane.along_row @ source.along_row)) > 0.5
    box = np.round([*np.minimum(first, last), *np.maximum(first, last)], 6) + 0.5
    # Pillow resizes boxes inside an image only: pad by what lies outside.
    matrix = np.array([source.columns, source.rows])
    before = np.ceil(np.maximum(0, -box[:2])).astype(int)
    after = np.ceil(np.maximum(0, box[2:] - matrix)).astype(int)
    rims = ((before[1], after[1]), (before[0], after[0]))
    padded = np.pad(shown.pixels.astype(np.float32), rims, constant_values=shown.pixels.min())
    box += np.tile(before, 2)
    box = np.clip(box, 0, np.tile(matrix + before + after, 2))
    size = (plane.columns, plane.rows) if is_upright else (plane.rows, plane.columns)
    left, top, right, bottom = (float(b) for b in box)
    resized = Image.fromarray(padded).resize(
        size, Image.Resampling.LANCZOS, box=(left, top, right, bottom)
    )
    values = np.asarray(resized, dtype=np.float32)
    if last[0] < first[0]:
        values = values[:, ::-1]
    if last[1] < first[1]:
        values = values[::-1]
    return values if is_upright else values.T


def _eight_bit(values: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Window the frame: black where the series is, white at the frame's own brightest structure.

    White follows the frame, since a window for the whole series (skin fat, coil flare) drowns the
    roots in the fluid; it stays within a factor of the series', so that noise is not stretched.
    """
    low, high = window
    white = low + np.clip(
        float(np.percentile(values, 99.6)) - low, 0.5 * (high - low), 1.6 * (high - low)
    )
    scaled = np.clip((values - low) / (white - low), 0.0, 1.0)
    return np.ascontiguousarray(np.round(scaled * 255)).astype(np.uint8)
