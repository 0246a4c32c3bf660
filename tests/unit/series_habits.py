"""Series as scanners write them: facts for the table of habits in `test_series`.

The values follow vendors' public conformance statements and the headers seen in
``../shared/spec/dicom-objects-and-trust.md`` section 4.3; nothing here is a patient's.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from node.spine.facts import FrameFacts, SeriesFacts
from node.spine.geometry import Plane, Vector

MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY = "1.2.840.10008.5.1.4.1.1.4.4"

SAG = ((0, 1, 0), (0, 0, -1))
COR = ((1, 0, 0), (0, 0, -1))
AX = ((1, 0, 0), (0, 1, 0))

#: A sagittal plane turned by 15 degrees about the long axis of the body.
TURNED = ((-0.25882, 0.96593, 0), (0, 0, -1))

_DIRECTIONS = {"sag": SAG, "cor": COR, "ax": AX, "turned": TURNED}


def tilted(degrees: float) -> tuple[Sequence[float], Sequence[float]]:
    """Direction cosines of an axial plane turned about the left-right axis."""
    angle = np.radians(degrees)
    return (1, 0, 0), (0, float(np.cos(angle)), float(-np.sin(angle)))


def plane(
    directions: tuple[Sequence[float], Sequence[float]],
    centre: Sequence[float] | Vector,
    *,
    pixel: float = 0.7,
    size: int = 384,
) -> Plane:
    """A square image around a patient point."""
    across, down = np.array(directions[0], float), np.array(directions[1], float)
    half = (size - 1) / 2 * pixel
    origin = np.array(centre, float) - half * across - half * down
    return Plane.from_header(list(origin), [*across, *down], [pixel, pixel], size, size)


def stack(
    orientation: str = "sag",
    count: int = 15,
    *,
    step: float = 4.4,
    centre: Sequence[float] = (0.0, 0.0, 0.0),
    tilt: float = 0.0,
    pixel: float = 0.7,
    size: int = 384,
    name: str = "1",
    **frame: Any,
) -> list[FrameFacts]:
    """Parallel images around a centre; keywords are those of `FrameFacts`."""
    directions = tilted(tilt) if tilt else _DIRECTIONS[orientation]
    normal = np.cross(directions[0], directions[1])
    return [
        replace(
            FrameFacts(f"{name}.{i}", image_type=("ORIGINAL", "PRIMARY", "OTHER")),
            plane=plane(
                directions,
                np.array(centre) + (i - (count - 1) / 2) * step * normal,
                pixel=pixel,
                size=size,
            ),
            **frame,
        )
        for i in range(count)
    ]


def turned(degrees: float) -> list[FrameFacts]:
    """One thick T2 slab turned about the long axis of the body, as MR myelography is made."""
    angle = np.radians(degrees)
    directions = (float(np.sin(angle)), float(np.cos(angle)), 0.0), (0, 0, -1)
    slab = FrameFacts("slab", image_type=("ORIGINAL", "PRIMARY", "M"))
    return [
        replace(slab, plane=plane(directions, (0, 0, 0)), echo_time=900.0, repetition_time=4500.0)
    ]


def blocks(tilts: Sequence[float], count: int = 5, **frame: Any) -> list[FrameFacts]:
    """One oblique stack for each disc, 34 mm apart, as axial series are often planned."""
    found: list[FrameFacts] = []
    for i, tilt in enumerate(tilts):
        found += stack(
            "ax",
            count,
            tilt=tilt,
            centre=(0, 0, 68 - 34 * i),
            pixel=0.5,
            size=384,
            name=f"b{i}",
            **frame,
        )
    return found


def series(uid: str, frames: Sequence[FrameFacts], **facts: Any) -> SeriesFacts:
    """A classic spin echo series; keywords are those of `SeriesFacts`."""
    named = [
        replace(f, sop_instance_uid=f"{uid}.{f.sop_instance_uid}.{i}", series_uid=uid)
        for i, f in enumerate(frames)
    ]
    start = SeriesFacts(
        uid,
        "study",
        MR,
        "MR",
        tuple(named),
        scanning_sequence=("SE",),
        acquisition_type="2D",
        frame_of_reference_uid="space",
    )
    return replace(start, **facts)


def sag_t1(uid: str = "t1", **facts: Any) -> SeriesFacts:
    """A plain sagittal T1 without any text."""
    return series(uid, stack(echo_time=11.0, repetition_time=600.0), **facts)


def sag_t2(uid: str = "t2", **facts: Any) -> SeriesFacts:
    """A plain sagittal T2 without any text."""
    return series(uid, stack(echo_time=105.0, repetition_time=3800.0), **facts)


def ax_t2(uid: str = "ax", count: int = 30, **facts: Any) -> SeriesFacts:
    """A plain contiguous axial T2 without any text."""
    frames = stack("ax", count, pixel=0.5, echo_time=98.0, repetition_time=4100.0)
    return series(uid, frames, **facts)
