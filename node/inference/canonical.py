"""A series as a network sees it: same orientation, same millimetres, same brightness, every time.

Training imports this file, so a model is served with exactly the preparation it was trained with.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.spine.anatomy import Role
from node.spine.geometry import Image, Plane, Vector, grid, sample
from node.spine.volume import Volume

#: Changes whenever a network's input changes; a model card names the one it was trained with.
PREPARATION = "1"

#: More than this many times the 99.5th percentile is clipped: a coil's hot spot, flow, metal.
CEILING = 1.5


@dataclass(frozen=True)
class View:
    """The grid on which one kind of series is shown to the networks.

    Attributes
    ----------
    spacing : float
        mm between pixels.
    shape : (rows, columns)
    right : (x, y, z)
        LPS direction in which the column index grows: to the back in sagittal views, to the
        patient's left in axial ones.
    """

    spacing: float
    shape: tuple[int, int]
    right: tuple[float, float, float]


SAGITTAL = View(1.5, (192, 192), (0.0, 1.0, 0.0))
AXIAL = View(1.1, (160, 160), (1.0, 0.0, 0.0))


def view_of(role: Role) -> View:
    """Return the view of a role."""
    return AXIAL if role is Role.AXIAL_T2 else SAGITTAL


@dataclass(frozen=True, eq=False)
class Stack:
    """A volume on its canonical grids, slice by slice in the volume's order.

    Attributes
    ----------
    images : (slices, rows, columns) float32
        Brightness, 0 to about 1.2.
    planes : tuple of Plane
        The grid of each slice.
    millimetres : (slices,) float64
        Position on the ordering axis, 0 at the middle of the series.
    """

    images: NDArray[np.float32]
    planes: tuple[Plane, ...]
    millimetres: Vector


def brightness(pixels: Image, window: tuple[float, float]) -> Image:
    """Scale pixels to 0..1 between the window's ends and take the square root.

    The root shrinks the bright end, where fat beside a surface coil outshines everything.
    """
    low, high = window
    scaled = np.clip((pixels - low) / (high - low), 0.0, CEILING)
    return np.asarray(np.sqrt(scaled), dtype=np.float32)


def canonical(volume: Volume) -> Stack:
    """Resample every slice of a volume onto its role's view, centred on the slice's own middle."""
    view = view_of(volume.role)
    windows = volume.windows()
    planes = tuple(
        grid(
            s.plane,
            centre=s.plane.centre,
            right=np.array(view.right),
            spacing=view.spacing,
            shape=view.shape,
        )
        for s in volume.slices
    )
    images = np.stack(
        [
            sample(brightness(s.pixels, windows[volume.series_of(s)]), s.plane, plane)
            for s, plane in zip(volume.slices, planes, strict=True)
        ]
    )
    positions = volume.positions()
    return Stack(images, planes, positions - (positions.min() + positions.max()) / 2)


def holds_signal(stack: Stack) -> bool:
    """Tell whether the images show anything: not black, not flat."""
    return float(stack.images.std()) > 0.02
