"""A box of voxels that holds signals, painted shape by shape with soft edges.

Every channel is one MR weighting, premultiplied with the coverage in ``alpha``: what nobody
painted stays see-through. Soft edges (the coverage of a voxel, not a label) keep structures that
are thinner than a voxel, such as endplates and nerve roots.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.phantom.contrast import Array, Tissue

Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Region:
    """A sub-box of a canvas and its voxel centres in mm, shaped to broadcast together.

    ``s`` is (n, 1, 1) and grows to the feet, ``v`` (1, m, 1) to the back, ``u`` (1, 1, k) to the
    patient's left.
    """

    at: tuple[slice, slice, slice]
    s: Array
    v: Array
    u: Array


class Grain:
    """Periodic noise of unit variance, read at any region.

    Parameters
    ----------
    rng : numpy Generator
    size : int
        Voxels along an edge of the period.
    reach : float
        Correlation length in voxels; above it the spectrum is flat.
    power : float
        Fall of the amplitude with frequency.
    smooth : float
        Standard deviation of a last Gaussian blur, voxels: no detail is finer.
    drawn : float
        How much longer the grain is along the body than across it.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        size: int = 80,
        reach: float = 6.0,
        power: float = 1.6,
        smooth: float = 0.0,
        drawn: float = 1.0,
    ) -> None:
        k = (drawn * np.fft.fftfreq(size)[:, None, None]) ** 2 + np.fft.fftfreq(size)[:, None] ** 2
        k = k + np.fft.rfftfreq(size) ** 2
        white = np.fft.rfftn(rng.standard_normal((size, size, size), dtype=np.float32))
        shape = (k + (1 / reach) ** 2) ** (-power / 2) * np.exp(-2 * (np.pi * smooth) ** 2 * k)
        tile = np.fft.irfftn(white * shape, s=(size,) * 3, axes=(0, 1, 2))
        self._tile: Array = ((tile - tile.mean()) / tile.std()).astype(np.float32)
        self._size = size

    def map(self, function: Callable[[Array], Array]) -> "Grain":
        """Return the noise passed through a function."""
        other = copy(self)
        other._tile = function(self._tile).astype(np.float32)
        return other

    def at(self, region: Region, shift: int = 0) -> Array:
        """Return the noise in a region, from a place in the period that ``shift`` chooses."""
        index = [(np.arange(r.start, r.stop) + shift) % self._size for r in region.at]
        return np.asarray(self._tile[np.ix_(*index)])


class Canvas:
    """Signals on a regular grid whose axes are (s, v, u); see `Region`.

    Parameters
    ----------
    low, high : (s, v, u) mm
        The box.
    spacing : float or (s, v, u)
        mm between voxels.
    table : (tissues, channels) float32
        From `node.phantom.contrast.signals`.
    """

    def __init__(self, low: Point, high: Point, spacing: float | Point, table: Array) -> None:
        steps = (spacing,) * 3 if isinstance(spacing, float) else spacing
        self.low, self.steps, self.table = low, steps, table
        #: Of the finest axis: what edges are soft by.
        self.spacing = min(steps)
        self.shape = tuple(
            int(np.ceil((b - a) / d)) + 1 for a, b, d in zip(low, high, steps, strict=True)
        )
        self.channels = [np.zeros(self.shape, np.float32) for _ in range(table.shape[1])]
        self.alpha = np.zeros(self.shape, np.float32)

    def region(self, low: Point, high: Point) -> Region:
        """Return the voxels between two corners, clipped to the canvas (perhaps none)."""
        cuts, axes = [], []
        for axis in range(3):
            count, step = self.shape[axis], self.steps[axis]
            first = int(np.floor((low[axis] - self.low[axis]) / step))
            last = int(np.ceil((high[axis] - self.low[axis]) / step)) + 1
            cut = slice(min(max(first, 0), count), max(min(last, count), 0))
            cut = slice(cut.start, max(cut.start, cut.stop))
            cuts.append(cut)
            place = np.arange(cut.start, cut.stop, dtype=np.float32) * step
            axes.append((place + self.low[axis]).astype(np.float32))
        s, v, u = axes
        return Region((cuts[0], cuts[1], cuts[2]), s[:, None, None], v[:, None], u[None, None, :])

    def soft(self, distance: Array) -> Array:
        """Return the coverage of voxels whose centres are ``distance`` mm outside a surface."""
        return np.asarray(np.clip(0.5 - distance / np.float32(1.1 * self.spacing), 0, 1))

    def paint(
        self,
        region: Region,
        cover: Array,
        tissue: Tissue,
        texture: Array | float | np.floating = 1.0,
    ) -> None:
        """Lay a tissue over a region.

        Parameters
        ----------
        region : Region
        cover : (n, m, k) float32, or broadcastable to it
            0 leaves what is there, 1 replaces it.
        tissue : Tissue
        texture : array or float
            Multiplies the tissue's signal.
        """
        box = _covered(cover)
        cover = _cut(cover, box)
        if isinstance(texture, np.ndarray):
            texture = _cut(texture, box)
        for channel, signal in zip(self.channels, self.table[tissue], strict=True):
            view = channel[region.at][box]
            view += cover * (signal * texture - view)
        view = self.alpha[region.at][box]
        view += cover * (1 - view)

    def capsule(
        self, ends: tuple[Point, Point], radii: tuple[float, float], margin: float = 1.5
    ) -> tuple[Region, Array]:
        """Return a region around a thick line and each voxel's distance (mm) outside it.

        Parameters
        ----------
        ends : two (s, v, u) points, mm
        radii : float, float
            At either end, mm.
        """
        p, q = (np.asarray(e, dtype=np.float32) for e in ends)
        reach = max(radii) + margin
        low, high = np.minimum(p, q) - reach, np.maximum(p, q) + reach
        region = self.region(_point(low), _point(high))
        axis = q - p
        length = float(axis @ axis) or 1.0
        ds, dv, du = region.s - p[0], region.v - p[1], region.u - p[2]
        t = np.clip((ds * axis[0] + dv * axis[1] + du * axis[2]) / length, 0, 1)
        away = (ds - t * axis[0]) ** 2 + (dv - t * axis[1]) ** 2 + (du - t * axis[2]) ** 2
        return region, np.sqrt(away) - (radii[0] + t * (radii[1] - radii[0]))

    def blob(self, centre: Point, radii: Point, margin: float = 1.5) -> tuple[Region, Array]:
        """Return a region around an ellipsoid and each voxel's distance (mm) outside it."""
        low = np.asarray(centre) - radii - margin
        high = np.asarray(centre) + radii + margin
        region = self.region(_point(low), _point(high))
        ds, dv, du = (
            (a - c) / r
            for a, c, r in zip((region.s, region.v, region.u), centre, radii, strict=True)
        )
        norm = np.sqrt(ds**2 + dv**2 + du**2) + np.float32(1e-6)
        # Along the ray to the centre the surface is at 1/norm of the way.
        steep = np.sqrt((ds / radii[0]) ** 2 + (dv / radii[1]) ** 2 + (du / radii[2]) ** 2)
        return region, (norm - 1) * norm / (steep + np.float32(1e-6))


def rounded(a: Array, b: Array, radius: float = 2.0) -> Array:
    """Return the distance outside the meeting of two shapes, with a rounded edge (mm)."""
    corner = np.hypot(np.clip(a + radius, 0, None), np.clip(b + radius, 0, None)) - radius
    return np.where(corner > -radius, corner, np.maximum(a, b))


class Bone:
    """Shapes that grow together into one bone: all the cortex first, then all the marrow.

    Parameters
    ----------
    canvas : Canvas
    grain : Grain
        Of the marrow, and of the surface.
    rugged : (Grain, float), optional
        A broader grain and how far (mm) it moves the surface.
    """

    def __init__(
        self, canvas: Canvas, grain: Grain, rugged: tuple[Grain, float] | None = None
    ) -> None:
        self._canvas, self._grain, self._rugged = canvas, grain, rugged
        self._parts: list[tuple[Region, Array]] = []

    def add(self, region: Region, away: Array) -> None:
        """Add a shape by its distance (mm) outside."""
        self._parts.append((region, away))

    def rod(self, ends: tuple[Point, Point], radii: tuple[float, float]) -> None:
        """Add a thick line between two (s, v, u) points."""
        self.add(*self._canvas.capsule(ends, radii))

    def paint(self, rim: float = 1.0, darker: float = 1.0) -> None:
        """Paint what was added; ``rim`` is the cortex, mm."""
        rough = [a + np.float32(0.12) * self._grain.at(r, 9) for r, a in self._parts]
        if self._rugged:
            broad, size = self._rugged
            rough = [
                a + np.float32(size) * broad.at(r, 55)
                for (r, _), a in zip(self._parts, rough, strict=True)
            ]
        for (region, _), away in zip(self._parts, rough, strict=True):
            self._canvas.paint(region, self._canvas.soft(away), Tissue.CORTEX)
        for (region, _), away in zip(self._parts, rough, strict=True):
            texture = darker * (1 + np.float32(0.12) * self._grain.at(region))
            self._canvas.paint(region, self._canvas.soft(away + rim), Tissue.MARROW, texture)


def _covered(cover: Array) -> tuple[slice, ...]:
    """Return the smallest box that holds all that is covered: most regions are mostly empty."""
    box: list[slice] = []
    for axis in range(3):
        if cover.shape[axis] == 1:  # the same along this axis
            box.append(slice(None))
            continue
        inside = _cut(cover, (*box, *[slice(None)] * (3 - axis)))
        found = np.flatnonzero((inside > 0).any(axis=tuple(k for k in range(3) if k != axis)))
        box.append(slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 0))
    return tuple(box)


def _cut(array: Array, box: tuple[slice, ...]) -> Array:
    """Cut an array that broadcasts to a region down to a box of it."""
    shape = (1,) * (3 - array.ndim) + array.shape
    array = array.reshape(shape)
    return array[tuple(c if n > 1 else slice(None) for c, n in zip(box, shape, strict=True))]


def _point(a: NDArray[np.floating]) -> Point:
    return float(a[0]), float(a[1]), float(a[2])
