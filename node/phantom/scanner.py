"""From painted canvases to images: slabs, coil, k-space, noise.

Every slice is sampled at its acquired resolution, given complex noise, and interpolated by zero
filling in k-space, as a scanner does: the fine ringing and the grain of the noise come from there.
"""

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter, map_coordinates, uniform_filter1d

from node.phantom.artefacts import mottled, shift_fat, spoil
from node.phantom.canvas import Canvas
from node.phantom.contrast import Array, Tissue
from node.phantom.curve import Curve, Vector
from node.phantom.planes import Pose
from node.phantom.protocol import Scan
from node.phantom.trunk import Landmarks
from node.spine.anatomy import Role
from node.spine.geometry import Plane

_LATTICE = 5.0  # mm between the points at which the curved coordinates are computed exactly
_SHEETS = (1 / 6, 1 / 2, 5 / 6)  # places within an axial slab


class Wobble:
    """A smooth random displacement, so that no patient is made of ideal shapes.

    Parameters
    ----------
    rng : numpy Generator
    """

    def __init__(self, rng: np.random.Generator) -> None:
        noise = rng.standard_normal((3, 20, 20, 20))
        smooth = [gaussian_filter(n, 0.7, mode="wrap") for n in noise]
        self._tiles = [n / n.std() for n in smooth]

    def at(self, points: Vector, pitch: float, size: float) -> Vector:
        """Return the displacement (mm) at points (..., 3).

        Parameters
        ----------
        points : (..., 3) float64
            mm.
        pitch : float
            mm between the nodes of the noise.
        size : float
            Standard deviation, mm.
        """
        index = np.moveaxis(points, -1, 0) / pitch + 100.0
        moves = [map_coordinates(n, index, order=1, mode="grid-wrap") for n in self._tiles]
        return size * np.stack(moves, axis=-1)


class Scanner:
    """Scans one patient.

    Parameters
    ----------
    curve : Curve
    pose : Pose
    column : Canvas
        In spine coordinates.
    trunk : Canvas
        In anatomical coordinates (-z, y, x).
    marks : Landmarks
    wobble : Wobble
    """

    def __init__(
        self,
        curve: Curve,
        pose: Pose,
        *,
        column: Canvas,
        trunk: Canvas,
        marks: Landmarks,
        wobble: Wobble,
    ) -> None:
        self._curve, self._pose, self._marks = curve, pose, marks
        self._column, self._trunk, self._wobble = column, trunk, wobble
        self._cover = column.alpha
        #: Pairs of column and trunk: the signal, and the share of fat where it is shifted.
        self._layers: list[tuple[Array, Array]] = []

    def scan(self, scan: Scan, channel: int, rng: np.random.Generator) -> list[Array]:
        """Return the images (rows, columns) float32 of a series, whole numbers 0 to 4095."""
        self._prepare(scan, channel)
        raw = [mottled(self._slice(scan, plane), scan.artefacts, rng) for plane in scan.planes]
        peak = float(np.percentile(np.concatenate([r[::3, ::3].ravel() for r in raw]), 99.0))
        images = [
            _reconstruct((r / peak) ** scan.gamma, plane, scan, rng)
            for r, plane in zip(raw, scan.planes, strict=True)
        ]
        sparse = np.concatenate([i[::3, ::3].ravel() for i in images])
        top = float(np.percentile(sparse, 99.5))
        return [np.clip(np.rint(i * (scan.brightness / top)), 0, 4095) for i in images]

    def _prepare(self, scan: Scan, channel: int) -> None:
        """Average the canvases over the slice thickness where an axis runs along the slab."""
        sagittal = scan.role is not Role.AXIAL_T2
        axis = 2 if sagittal else 0
        size = max(1, round(scan.thickness / self._trunk.steps[axis]))
        own = max(1, round(scan.thickness / self._column.spacing))
        self._cover = self._column.alpha
        if sagittal:
            self._cover = uniform_filter1d(self._cover, own, axis=2)
        self._layers = []
        for k in (channel, -1) if scan.artefacts.fat_shift else (channel,):
            fine = self._column.channels[k]
            if sagittal:
                fine = uniform_filter1d(fine, own, axis=2)
            self._layers.append((fine, uniform_filter1d(self._trunk.channels[k], size, axis=axis)))
        self._fat = float(self._column.table[Tissue.FAT, channel])

    def _slice(self, scan: Scan, plane: Plane) -> Array:
        """Return the mean signal of a slab on the acquired grid, weighed by the coil."""
        shape = _grid(plane, scan.resolution)
        sums = np.zeros((len(self._layers) + 1, *shape), np.float32)
        lattice = self._lattice(plane, 0.0)
        parts = self._slab(scan, plane, lattice)
        move = self._wobble.at(parts[len(parts) // 2], 9.0, 0.65)
        for spine in parts:
            self._add_column(sums, spine + move)
        places = np.stack([-lattice[..., 2], lattice[..., 1], lattice[..., 0]], axis=-1)
        places += self._wobble.at(lattice, 21.0, 2.6) + self._wobble.at(lattice + 50, 9.0, 0.8)
        # The trunk is coarse: it is sampled coarsely too, then refined.
        index = _index(self._trunk, places, _grid(plane, 0.9 * self._trunk.spacing))
        *fine, cover = sums / len(parts)
        signal, *fat = (
            own
            + (1 - cover) * _stretch(map_coordinates(rough, index, order=1, mode="nearest"), shape)
            for own, (_, rough) in zip(fine, self._layers, strict=True)
        )
        if fat:
            signal = shift_fat(signal, fat[0] * np.float32(self._fat), scan.artefacts)
        return np.asarray(signal * _stretch(self._sensitivity(scan, lattice), shape))

    def _slab(self, scan: Scan, plane: Plane, lattice: Vector) -> list[Vector]:
        """Return the curved coordinates of the sheets whose mean is the slice."""
        if scan.role is not Role.AXIAL_T2:
            return [self._curve.from_anatomy(lattice)]
        # Exact on the slab's two faces; what lies between is interpolated.
        low, high = (
            self._curve.from_anatomy(self._lattice(plane, sign * scan.thickness / 2))
            for sign in (-1.0, 1.0)
        )
        return [low + part * (high - low) for part in _SHEETS]

    def _lattice(self, plane: Plane, offset: float) -> Vector:
        """Return anatomical points of a coarse lattice over a slice's field of view."""
        ends = plane.rows * plane.row_spacing, plane.columns * plane.column_spacing
        n, m = (int(np.ceil(e / _LATTICE)) + 1 for e in ends)
        down = np.linspace(0, ends[0], n)[:, None, None] * plane.along_column
        across = np.linspace(0, ends[1], m)[None, :, None] * plane.along_row
        return self._pose.to_anatomy(plane.origin + offset * plane.normal + down + across)

    def _add_column(self, sums: Array, spine: Vector) -> None:
        """Add the column's layers, and last its coverage, where the slice meets its canvas."""
        index = _index(self._column, spine, (sums.shape[1], sums.shape[2]))
        inside = np.ones(sums.shape[1:], bool)
        for axis, size in enumerate(self._column.shape):
            inside &= (index[axis] > -1) & (index[axis] < size)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not rows.size:
            return
        cut = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        index = np.ascontiguousarray(index[:, cut[0], cut[1]])
        for total, volume in zip(sums, (*(f for f, _ in self._layers), self._cover), strict=True):
            total[cut] += map_coordinates(volume, index, order=1)

    def _sensitivity(self, scan: Scan, anatomy: Vector) -> Array:
        """Return the coil's weight at anatomical points: falls from the back of the patient."""
        coil, marks = scan.coil, self._marks
        h, y = -anatomy[..., 2], anatomy[..., 1]
        depth = np.clip(np.interp(h, marks.h, marks.back) - y, 0, None)
        weight = coil.floor + (1 - coil.floor) * np.exp(-depth / coil.reach)
        weight *= 0.25 + 0.75 * np.exp(-(((h - coil.centre_h) / coil.length) ** 2))
        for k, (a, b, c, d) in enumerate(coil.waves, start=1):
            weight *= 1 + a * np.sin(k * h / 90 + 9 * c) * np.cos(k * y / 80 + 9 * d + 9 * b)
        if coil.saturation is not None:
            edge = np.interp(h, marks.h, marks.y) - coil.saturation_edge
            band = 1 / (1 + np.exp(-(y - edge) / coil.saturation_blur))
            weight *= coil.saturation + (1 - coil.saturation) * band
        return weight.astype(np.float32)


def _grid(plane: Plane, resolution: float) -> tuple[int, int]:
    """Return the acquired matrix: never finer than the image."""
    return (
        min(plane.rows, round(plane.rows * plane.row_spacing / resolution)),
        min(plane.columns, round(plane.columns * plane.column_spacing / resolution)),
    )


def _stretch(lattice: Array, shape: tuple[int, int]) -> Array:
    """Refine a lattice to pixels, linearly.

    The lattice spans the whole field of view, one pixel more than from first to last centre.
    """
    out = lattice.astype(np.float32)
    for axis, count in enumerate(shape):
        at = np.arange(count) / count * (out.shape[axis] - 1)
        low = np.minimum(at.astype(int), out.shape[axis] - 2)
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part
        first = out.take(low, axis)
        out = first + part * (out.take(low + 1, axis) - first)
    return out


def _index(canvas: Canvas, places: Vector, shape: tuple[int, int]) -> Array:
    """Return voxel indices (3, rows, columns) of a slice from its lattice of places (s, v, u)."""
    index = np.empty((3, *shape), np.float32)
    for k in range(3):
        index[k] = _stretch((places[..., k] - canvas.low[k]) / canvas.steps[k], shape)
    return index


def _reconstruct(signal: Array, plane: Plane, scan: Scan, rng: np.random.Generator) -> Array:
    """Add complex noise and interpolate to the plane's matrix by zero filling; magnitude."""
    n, m = signal.shape
    grain = rng.standard_normal((2, n, m), dtype=np.float32) * np.float32(scan.noise)
    space = fft.fftshift(fft.fft2(signal + grain[0] + 1j * grain[1]))
    full = np.zeros((plane.rows, plane.columns), np.complex64)
    r, c = plane.rows // 2 - n // 2, plane.columns // 2 - m // 2
    full[r : r + n, c : c + m] = spoil(space, scan.artefacts)
    scale = np.float32(plane.rows * plane.columns / (n * m))
    return np.asarray(np.abs(fft.ifft2(fft.ifftshift(full))) * scale, dtype=np.float32)
