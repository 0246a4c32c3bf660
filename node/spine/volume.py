"""A series as slices in patient space, in an order that depends on geometry alone."""

from dataclasses import dataclass

import numpy as np

from node.spine.anatomy import Role
from node.spine.geometry import Image, Plane, Vector


@dataclass(frozen=True, eq=False)
class Slice:
    """One image of a series.

    Attributes
    ----------
    plane : Plane
    pixels : (rows, columns) float32
        Modality values; MONOCHROME1 is already inverted, so large is bright.
    sop_instance_uid : str
    frame_number : int or None
        1-based, only for an enhanced multi-frame object.
    series_uid : str
        Of the series it came in; empty where a volume holds no other.
    """

    plane: Plane
    pixels: Image
    sop_instance_uid: str
    frame_number: int | None = None
    series_uid: str = ""


@dataclass(frozen=True, eq=False)
class Volume:
    """A series in one role, ordered by geometry.

    Sagittal slices run from the patient's right to left (growing x), axial slices from head to
    foot (falling z). Slices may differ in matrix and in tilt: an axial series is often one small
    stack for each disc, and may take the slices of a second series where it has none.

    Attributes
    ----------
    role : Role
    series_uid, frame_of_reference_uid : str
        Of the main series; all slices share the frame of reference.
    slices : tuple of Slice
    """

    role: Role
    series_uid: str
    frame_of_reference_uid: str
    slices: tuple[Slice, ...]

    def positions(self) -> Vector:
        """Return each slice's place on the ordering axis, mm: x for sagittal, -z for axial."""
        axis, sign = (2, -1.0) if self.role is Role.AXIAL_T2 else (0, 1.0)
        return np.array([sign * s.plane.centre[axis] for s in self.slices])

    def spacing(self) -> float:
        """Return the median distance between neighbouring slices, mm (4.0 for a lone slice)."""
        if len(self.slices) < 2:
            return 4.0
        return float(np.median(np.abs(np.diff(self.positions()))))

    def series_of(self, shown: Slice) -> str:
        """Return the series a slice came in."""
        return shown.series_uid or self.series_uid

    def window(self, series_uid: str | None = None) -> tuple[float, float]:
        """Return the 1st and 99.5th percentile of the pixels that hold signal.

        Parameters
        ----------
        series_uid : str, optional
            Of this series only: two series need not have the same scale.
        """
        shown = [s for s in self.slices if series_uid in {None, self.series_of(s)}]
        sparse = np.concatenate([s.pixels[::3, ::3].ravel() for s in shown])
        low, high = np.percentile(sparse, (1.0, 99.5))
        return float(low), float(max(high, low + 1.0))

    def windows(self) -> dict[str, tuple[float, float]]:
        """Return the window of each series, by its UID."""
        return {uid: self.window(uid) for uid in {self.series_of(s) for s in self.slices}}


def ordered(
    role: Role, series_uid: str, frame_of_reference_uid: str, slices: list[Slice]
) -> Volume:
    """Build a volume whose slices are sorted by position in the patient, never by number."""
    volume = Volume(role, series_uid, frame_of_reference_uid, tuple(slices))
    order = np.argsort(volume.positions(), kind="stable")
    return Volume(role, series_uid, frame_of_reference_uid, tuple(slices[int(i)] for i in order))
