"""Volumes changed in memory: harder ones to be read all the same, hopeless ones to be refused."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from node.spine.anatomy import Role
from node.spine.geometry import Image, Plane, Vector, sample
from node.spine.volume import Slice, Volume

Volumes = Mapping[Role, Volume]


def turned(
    volume: Volume, degrees: float, zoom: float
) -> tuple[Volume, Callable[[Vector], Vector]]:
    """Turn and enlarge what the images show, in their planes, about their centres.

    Returns
    -------
    Volume
        Its headers are the old ones: the patient has been turned, not the scanner.
    callable
        From where a point (mm LPS) was to where it is now.
    """

    def old(plane: Plane) -> Plane:
        angle = np.deg2rad(degrees)
        across = np.cos(angle) * plane.along_row + np.sin(angle) * plane.along_column
        down = np.cos(angle) * plane.along_column - np.sin(angle) * plane.along_row
        by_row, by_column = plane.row_spacing / zoom, plane.column_spacing / zoom
        corner = (
            plane.centre
            - across * by_column * (plane.columns - 1) / 2
            - down * by_row * (plane.rows - 1) / 2
        )
        return Plane(corner, across, down, by_row, by_column, plane.rows, plane.columns)

    def moved(point: Vector) -> Vector:
        plane = volume.slices[len(volume.slices) // 2].plane
        column, row = old(plane).to_pixel(point)
        return plane.to_patient(column, row) + plane.distance(point) * plane.normal

    return _each(
        volume, lambda s: replace(s, pixels=sample(s.pixels, s.plane, old(s.plane)))
    ), moved


def windowed(volume: Volume, centre: Vector, size_mm: float) -> Volume:
    """Keep a square of the images around a patient point, as a smaller field of view would."""

    def cut(s: Slice) -> Slice:
        column, row = s.plane.to_pixel(centre)
        half_c, half_r = size_mm / 2 / s.plane.column_spacing, size_mm / 2 / s.plane.row_spacing
        return cropped(s, (row - half_r, row + half_r), (column - half_c, column + half_c))

    return _each(volume, cut)


def above(volume: Volume, z_mm: float) -> Volume:
    """Keep the rows of sagittal images above a height (patient z, mm), for images read upright."""

    def cut(s: Slice) -> Slice:
        row = (z_mm - s.plane.origin[2]) / (s.plane.along_column[2] * s.plane.row_spacing)
        upright = s.plane.along_column[2] < 0
        return cropped(s, (0, row) if upright else (row, s.plane.rows), (0, s.plane.columns))

    return _each(volume, cut)


def cropped(s: Slice, rows: tuple[float, float], columns: tuple[float, float]) -> Slice:
    """Keep some rows and columns of a slice; its pixels stay where they are in the patient."""
    top, bottom = (int(np.clip(round(r), 0, s.plane.rows)) for r in rows)
    left, right = (int(np.clip(round(c), 0, s.plane.columns)) for c in columns)
    bottom, right = max(bottom, top + 8), max(right, left + 8)
    pixels = s.pixels[top:bottom, left:right]
    plane = replace(
        s.plane,
        origin=s.plane.to_patient(left, top),
        rows=pixels.shape[0],
        columns=pixels.shape[1],
    )
    return replace(s, plane=plane, pixels=pixels)


def beside(volume: Volume, x_mm: float, side: int) -> Volume:
    """Keep the sagittal slices on one side (-1 right, 1 left) of a patient x, and that at it."""
    kept = [s for s in volume.slices if side * (s.plane.centre[0] - x_mm) > -volume.spacing() / 2]
    return replace(volume, slices=tuple(kept))


def _each(volume: Volume, change: Callable[[Slice], Slice]) -> Volume:
    return replace(volume, slices=tuple(change(s) for s in volume.slices))


def _pictures(volume: Volume, change: Callable[[Image], Image]) -> Volume:
    return _each(volume, lambda s: replace(s, pixels=change(s.pixels)))


def black(volumes: Volumes) -> dict[Role, Volume]:
    """Noise of a receiver that saw nothing."""
    rng = np.random.default_rng(0)

    def noise(image: Image) -> Image:
        return rng.rayleigh(2.0, image.shape).astype(np.float32)

    return {role: _pictures(v, noise) for role, v in volumes.items()}


def inverted(volumes: Volumes) -> dict[Role, Volume]:
    """Bright is dark: no tissue looks as it does in T1 or T2; bone is the brightest, as in CT."""
    return {role: _pictures(v, lambda i: float(i.max()) - i) for role, v in volumes.items()}


def wrong_contrast(volumes: Volumes) -> dict[Role, Volume]:
    """Sagittal T1 and T2 with each other's headers; no axial series."""
    pair = (Role.SAGITTAL_T1, Role.SAGITTAL_T2)
    if not all(role in volumes for role in pair):
        return {}
    return {a: replace(volumes[b], role=a) for a, b in (pair, pair[::-1])}


def wrong_plane(volumes: Volumes) -> dict[Role, Volume]:
    """Sagittal headers over axial pictures, axial headers over sagittal ones."""
    if len(volumes) < len(Role):
        return {}
    axial, sagittal = volumes[Role.AXIAL_T2], volumes[Role.SAGITTAL_T2]
    return {
        Role.SAGITTAL_T1: _with_pictures_of(volumes[Role.SAGITTAL_T1], axial),
        Role.SAGITTAL_T2: _with_pictures_of(sagittal, axial),
        Role.AXIAL_T2: _with_pictures_of(axial, sagittal),
    }


def _with_pictures_of(volume: Volume, other: Volume) -> Volume:
    slices = []
    for k, s in enumerate(volume.slices):
        shown = other.slices[k * len(other.slices) // len(volume.slices)]
        plane = replace(shown.plane, origin=s.plane.origin, along_row=s.plane.along_row,
                        along_column=s.plane.along_column)  # fmt: skip
        centred = replace(plane, origin=plane.origin + s.plane.centre - plane.centre)
        slices.append(replace(s, plane=centred, pixels=shown.pixels))
    return replace(volume, slices=tuple(slices))


def cervical_like(volumes: Volumes) -> dict[Role, Volume]:
    """Everything half as large, as a neck is: discs 17 mm apart."""

    def halved(s: Slice) -> Slice:
        p = s.plane
        small = replace(p, row_spacing=p.row_spacing / 2, column_spacing=p.column_spacing / 2)
        return replace(s, plane=replace(small, origin=small.origin + p.centre - small.centre))

    return {role: _each(v, halved) for role, v in volumes.items()}


def upside_down(volumes: Volumes) -> dict[Role, Volume]:
    """The feet where the header says the head is."""
    return {
        role: _pictures(v, lambda i: np.ascontiguousarray(i[::-1])) for role, v in volumes.items()
    }


def five_slices(volumes: Volumes) -> dict[Role, Volume]:
    """The five outermost slices of the patient's right, or of the top."""
    return {role: replace(v, slices=v.slices[:5]) for role, v in volumes.items()}


def cut_off(volumes: Volumes) -> dict[Role, Volume]:
    """The upper quarter of the sagittal images, and axial ones that reach as far."""
    kept: dict[Role, Volume] = {}
    for role, v in volumes.items():
        if role is not Role.AXIAL_T2:
            kept[role] = _each(v, lambda s: cropped(s, (0, s.plane.rows / 4), (0, s.plane.columns)))
    return kept


#: What is done to a study so that its findings cannot be seen any more.
HOPELESS: dict[str, Callable[[Volumes], dict[Role, Volume]]] = {
    "black": black,
    "inverted contrast (CT-like)": inverted,
    "T1 as T2 and T2 as T1": wrong_contrast,
    "wrong plane": wrong_plane,
    "half as large (cervical-like)": cervical_like,
    "upside down": upside_down,
    "five outer slices": five_slices,
    "upper quarter only": cut_off,
}

#: Of these, some findings can still be seen.
PARTLY_SEEN = frozenset({"five outer slices", "upper quarter only"})
