"""How a phantom is scanned: series, contrast, coil, noise; drawn as real studies are made."""

from dataclasses import dataclass

import numpy as np

from node.phantom.artefacts import UNTOUCHED, Artefacts
from node.phantom.contrast import Weighting
from node.phantom.curve import Vector
from node.phantom.options import StudyOptions
from node.phantom.patient import Patient
from node.phantom.planes import Pose, plain_axial_planes, plain_sagittal_planes, sagittal_axes
from node.spine.anatomy import Role
from node.spine.geometry import Plane


@dataclass(frozen=True, eq=False)
class Coil:
    """Sensitivity: how fast it falls from the back, along the body, and at random.

    ``saturation`` is what is left of the signal in front of ``saturation_edge`` mm before the
    spine, after ``saturation_blur`` mm.
    """

    floor: float
    reach: float
    length: float
    centre_h: float
    waves: Vector
    saturation: float | None
    saturation_edge: float = 62.0
    saturation_blur: float = 5.0


@dataclass(frozen=True, eq=False)
class Scan:
    """One series before it is scanned.

    Attributes
    ----------
    role : Role
    weighting : Weighting
    planes : tuple of Plane
        In the order in which the slices lie in the patient (see `node.spine.volume.Volume`).
    thickness, pitch : float
        mm.
    resolution : float
        Acquired pixel size, mm; the images are interpolated to the planes' spacing.
    noise : float
        Standard deviation, relative to the 99th percentile of the signal.
    brightness : float
        Pixel value of the 99.5th percentile.
    coil : Coil
    gamma : float
        A slight tone curve, as reconstruction filters have.
    reversed_numbers : bool
        InstanceNumber runs against the order of ``planes``.
    strength : float
        Of the field, tesla.
    artefacts : Artefacts
    first_number : int
        The lowest InstanceNumber.
    """

    role: Role
    weighting: Weighting
    planes: tuple[Plane, ...]
    thickness: float
    pitch: float
    resolution: float
    noise: float
    brightness: float
    coil: Coil
    gamma: float
    reversed_numbers: bool
    strength: float = 1.5
    artefacts: Artefacts = UNTOUCHED
    first_number: int = 1


def draw_scans(
    rng: np.random.Generator, patient: Patient, pose: Pose, options: StudyOptions
) -> tuple[Scan, ...]:
    """Draw the study's series, in the order of their roles."""
    strong = rng.random() < 0.5
    stir = options.stir if options.stir is not None else bool(rng.random() < 0.15)
    direction = sagittal_axes(rng, pose)
    back = options.reversed_sagittal
    back = bool(rng.random() < 0.36) if back is None else back
    feet_first = options.reversed_axial
    feet_first = bool(rng.random() < 0.12) if feet_first is None else feet_first
    scans = []
    for role in Role:
        # Every role draws its numbers whether it is wanted or not: the others stay the same.
        own = np.random.default_rng(rng.integers(2**63))
        if role not in options.roles:
            continue
        if role is Role.AXIAL_T2:
            planes, pitch = plain_axial_planes(own, patient, pose, options)
            resolution = float(own.uniform(0.55, 0.75))
        else:
            planes, pitch = plain_sagittal_planes(own, patient, pose, direction, options)
            resolution = float(own.uniform(0.75, 1.05))
        scan = Scan(
            role=role,
            weighting=draw_weighting(own, role, stir=stir and role is Role.SAGITTAL_T2),
            planes=planes,
            thickness=round(pitch * float(own.uniform(0.82, 1.0)), 1),
            pitch=pitch,
            resolution=resolution,
            noise=float(own.uniform(0.004, 0.016)),
            brightness=float(np.clip(own.lognormal(6.9, 0.55), 250, 3900)),
            coil=_draw_coil(own, strong=strong, sagittal=role is not Role.AXIAL_T2),
            gamma=float(own.normal(1.0, 0.06)),
            reversed_numbers=feet_first if role is Role.AXIAL_T2 else back,
        )
        scans.append(scan)
    return tuple(scans)


def draw_weighting(rng: np.random.Generator, role: Role, *, stir: bool) -> Weighting:
    """Draw TR, TE and TI (ms) of a series."""
    if role is Role.SAGITTAL_T1:
        return Weighting(float(rng.integers(420, 780)), float(rng.integers(8, 16)))
    if stir:
        return Weighting(
            float(rng.integers(3500, 5500)),
            float(rng.integers(35, 75)),
            float(rng.integers(165, 190)),
        )
    return Weighting(float(rng.integers(2800, 5200)), float(rng.integers(88, 125)))


def _draw_coil(rng: np.random.Generator, *, strong: bool, sagittal: bool) -> Coil:
    # A normalised image keeps little of the coil; others are far brighter at the back.
    floor, reach = 0.4, rng.uniform(80, 160)
    if strong:
        floor, reach = (0.08, rng.uniform(60, 100)) if sagittal else (0.2, rng.uniform(80, 120))
    return Coil(
        floor=floor,
        reach=float(reach),
        length=float(rng.uniform(110, 240)),
        centre_h=float(rng.normal(70, 25)),
        waves=rng.normal(0, 0.10, (3, 4)),
        saturation=float(rng.uniform(0.06, 0.5)) if sagittal and rng.random() < 0.4 else None,
    )
