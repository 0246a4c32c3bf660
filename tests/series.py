"""Small volumes for tests of the pipeline: right geometry, arbitrary pixels."""

import numpy as np

from node.inference.canonical import Stack, canonical
from node.spine.anatomy import Role
from node.spine.geometry import Plane
from node.spine.volume import Slice, Volume, ordered

FRAME = "1.2.840.99"


def sagittal(
    count: int = 9, *, role: Role = Role.SAGITTAL_T2, frame: str = FRAME, black: bool = False
) -> Volume:
    """A sagittal series of noise, 4.5 mm apart, handed over left to right; in T2 with a canal."""
    rng = np.random.default_rng(count)
    slices = []
    for k in reversed(range(count)):
        plane = Plane(
            origin=np.array([4.5 * (k - (count - 1) / 2), -130.0, 140.0]),
            along_row=np.array([0.0, 1.0, 0.0]),
            along_column=np.array([0.0, 0.0, -1.0]),
            row_spacing=1.0,
            column_spacing=1.0,
            rows=280,
            columns=260,
        )
        pixels = np.zeros((280, 260)) if black else rng.uniform(0, 800, (280, 260))
        if role is Role.SAGITTAL_T2 and not black:
            pixels[:, 122:142] += 500
        slices.append(Slice(plane, pixels.astype(np.float32), f"1.2.3.{k + 1}"))
    return ordered(role, f"1.2.{role.value}".replace("_", ""), frame, slices)


def axial(heights: tuple[float, ...], *, frame: str = FRAME) -> Volume:
    """An axial series of noise with slices at the given z, mm, handed over from the feet up."""
    rng = np.random.default_rng(len(heights))
    slices = []
    for k, z in enumerate(sorted(heights)):
        plane = Plane(
            origin=np.array([-90.0, -90.0, z]),
            along_row=np.array([1.0, 0.0, 0.0]),
            along_column=np.array([0.0, 1.0, 0.0]),
            row_spacing=0.7,
            column_spacing=0.7,
            rows=256,
            columns=256,
        )
        pixels = rng.uniform(0, 800, (256, 256)).astype(np.float32)
        slices.append(Slice(plane, pixels, f"1.2.4.{k + 1}"))
    return ordered(Role.AXIAL_T2, "1.2.4", frame, slices)


def sagittal_stack(count: int) -> Stack:
    """The canonical stack of a sagittal series."""
    return canonical(sagittal(count))
