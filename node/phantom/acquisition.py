"""How the wide population is scanned: poses, contrasts, coils, noise, orders, as scanners vary.

Shares of orders and series are those of the RSNA 2024 training set (`node.phantom.fields`);
timings are those of usual lumbar protocols at 0.3 to 3 T.
"""

from dataclasses import dataclass

import numpy as np

from node.phantom.artefacts import draw_artefacts
from node.phantom.contrast import Weighting
from node.phantom.fields import (
    COVERAGE,
    REVERSED_AXIAL,
    REVERSED_SAGITTAL,
    axial_series,
    chosen,
    draw_prescription,
    sagittal_planes,
)
from node.phantom.options import Scanners, StudyOptions, Vendor
from node.phantom.patient import Patient
from node.phantom.planes import Pose, posed, sagittal_axes
from node.phantom.protocol import Coil, Scan
from node.spine.anatomy import Role
from node.spine.geometry import Plane

Range = tuple[float, float]
Milliseconds = tuple[int, int]

#: Shares of sagittal "T2" series that are a STIR, or a T2 with fat saturation; of T1 at 3 T that
#: are an inversion recovery (FLAIR).
STIR, FAT_SATURATED, T1_FLAIR = 0.15, 0.05, 0.25


@dataclass(frozen=True)
class Machines:
    """A world of scanners.

    Attributes
    ----------
    strength : dict
        Tesla: share of scanners.
    brightness : dict of vendor to (mean, sd)
        Of the log of the 99.5th percentile: each vendor scales its own way.
    sagittal_mm, axial_mm : (lowest, highest)
        Acquired pixel size.
    gamma : (mean, sd, lowest, highest)
        How far from linear the brightness is.
    t1_echo, t2_echo, axial_echo, t2_repetition : (lowest, highest)
    noise : float
        Mean of its log, relative to the brightest, at 1.5 T.
    """

    strength: dict[float, float]
    brightness: dict[Vendor, tuple[float, float]]
    sagittal_mm: Range
    axial_mm: Range
    gamma: tuple[float, float, float, float]
    t1_echo: Milliseconds
    t2_echo: Milliseconds
    axial_echo: Milliseconds
    t2_repetition: Milliseconds
    noise: float


#: ``other`` shares no setting with ``usual``: strengths between its own, echoes beyond its own,
#: coarser pixels, another curve of brightness on another scale.
MACHINES: dict[Scanners, Machines] = {
    "usual": Machines(
        strength={1.5: 0.6, 3.0: 0.3, 1.0: 0.04, 0.55: 0.02, 0.3: 0.04},
        brightness={"siemens": (6.2, 0.45), "ge": (7.6, 0.45), "philips": (6.9, 0.5)},
        sagittal_mm=(0.6, 1.25),
        axial_mm=(0.45, 0.95),
        gamma=(1.0, 0.12, 0.7, 1.4),
        t1_echo=(7, 19),
        t2_echo=(72, 135),
        axial_echo=(78, 130),
        t2_repetition=(2300, 6800),
        noise=-4.7,
    ),
    "other": Machines(
        strength={1.2: 0.5, 2.0: 0.3, 0.4: 0.2},
        brightness={"siemens": (5.2, 0.1), "ge": (5.2, 0.1), "philips": (5.2, 0.1)},
        sagittal_mm=(1.26, 1.5),
        axial_mm=(0.96, 1.15),
        gamma=(1.5, 0.05, 1.41, 1.6),
        t1_echo=(20, 26),
        t2_echo=(136, 165),
        axial_echo=(131, 155),
        t2_repetition=(6900, 8500),
        noise=-4.2,
    ),
}


def draw_wide_pose(rng: np.random.Generator) -> Pose:
    """Draw how a patient lies: a few degrees askew, one in eight up to 15 degrees in the plane."""
    turns = np.clip(rng.normal(0, (3.5, 2.5, 3.0)), -9, 9)
    if rng.random() < 0.12:
        turns[0] = rng.uniform(-15, 15)
    return posed(turns, np.array([rng.normal(0, 10), rng.normal(10, 25), rng.normal(0, 200)]))


def draw_wide_scans(
    rng: np.random.Generator,
    patient: Patient,
    pose: Pose,
    options: StudyOptions,
    vendor: Vendor,
) -> tuple[Scan, ...]:
    """Draw the study's series, in the order of their roles; the axial may be two.

    Parameters
    ----------
    rng : numpy Generator
    patient : Patient
    pose : Pose
    options : StudyOptions
    vendor : str
        Whose intensities the images have.
    """
    machines = MACHINES[options.scanners]
    strength = chosen(rng, machines.strength)
    kind = float(rng.random())
    stir = kind < STIR if options.stir is None else options.stir
    saturated = options.stir is None and STIR <= kind < STIR + FAT_SATURATED
    coverage = chosen(rng, COVERAGE)
    coverage = options.coverage or coverage
    orders = rng.random(2) < (REVERSED_SAGITTAL, REVERSED_AXIAL)
    back, feet_first = (
        bool(drawn) if given is None else given
        for given, drawn in zip(
            (options.reversed_sagittal, options.reversed_axial), orders, strict=True
        )
    )
    axes, wish = sagittal_axes(rng, pose), draw_prescription(rng)
    scans: list[Scan] = []
    for role in Role:
        # Every role draws its numbers whether it is wanted or not: the others stay the same.
        own = np.random.default_rng(rng.integers(2**63))
        if role not in options.roles:
            continue
        if role is Role.AXIAL_T2:
            series = axial_series(own, patient, pose, options)
        else:
            # Most operators copy the geometry from one sagittal series to the next.
            mine = wish if own.random() < 0.7 else draw_prescription(own)
            series = [
                sagittal_planes(own, patient, pose, role, axes=axes, wish=mine, coverage=coverage)
            ]
        t2 = role is Role.SAGITTAL_T2
        weighting = draw_wide_weighting(
            own, role, (strength, machines), stir=stir and t2, saturated=saturated and t2
        )
        reverse = feet_first if role is Role.AXIAL_T2 else back
        scans += [
            _scan(own, role, planes, weighting, (strength, machines, vendor, reverse))
            for planes in series
        ]
    return tuple(scans)


def _scan(
    rng: np.random.Generator,
    role: Role,
    planes: tuple[tuple[Plane, ...], float],
    weighting: Weighting,
    machine: tuple[float, Machines, Vendor, bool],
) -> Scan:
    strength, machines, vendor, reverse = machine
    sagittal = role is not Role.AXIAL_T2
    resolution = float(rng.uniform(*(machines.sagittal_mm if sagittal else machines.axial_mm)))
    noise = np.clip(rng.lognormal(machines.noise, 0.6) * (1.5 / strength) ** 0.5, 0.002, 0.05)
    odd = rng.random() < 0.015
    return Scan(
        role=role,
        weighting=weighting,
        planes=planes[0],
        # A gap of 0 to 30 % between slices.
        thickness=round(float(np.clip(planes[1] * rng.uniform(0.72, 1.0), 2.5, 6.0)), 1),
        pitch=planes[1],
        resolution=resolution,
        noise=float(noise),
        brightness=float(np.clip(rng.lognormal(*machines.brightness[vendor]), 150, 3900)),
        coil=draw_wide_coil(rng, sagittal=sagittal),
        gamma=float(np.clip(rng.normal(*machines.gamma[:2]), *machines.gamma[2:])),
        reversed_numbers=reverse,
        strength=strength,
        artefacts=draw_artefacts(rng, strength=strength, resolution=resolution, sagittal=sagittal),
        first_number=int(rng.integers(2, 200)) if odd else 1,
    )


def draw_wide_weighting(
    rng: np.random.Generator,
    role: Role,
    machine: tuple[float, Machines],
    *,
    stir: bool,
    saturated: bool,
) -> Weighting:
    """Draw TR, TE and TI (ms) of a series.

    Parameters
    ----------
    rng : numpy Generator
    role : Role
    machine : (float, Machines)
        Tesla, and the world the scanner is of.
    stir, saturated : bool
        Fat is nulled by its T1, or saturated.
    """
    strength, machines = machine
    if role is Role.SAGITTAL_T1:
        if strength == 3.0 and rng.random() < T1_FLAIR:
            times = rng.uniform(1900, 2800), rng.uniform(8, 26), rng.uniform(760, 950)
            return Weighting(*(round(float(t)) for t in times))
        longest = 1000 if strength == 3.0 else 820
        return Weighting(float(rng.integers(360, longest)), float(rng.integers(*machines.t1_echo)))
    if stir:
        null = 180 * (strength / 1.5) ** 0.12
        return Weighting(
            float(rng.integers(2800, 6500)),
            float(rng.integers(25, 85)),
            float(round(null * rng.uniform(0.85, 1.12))),
        )
    low, high = machines.t2_echo if role is Role.SAGITTAL_T2 else machines.axial_echo
    suppression = float(rng.uniform(0.75, 0.95)) if saturated else 0.0
    repetition, echo = float(rng.integers(*machines.t2_repetition)), float(rng.integers(low, high))
    return Weighting(repetition, echo, suppression=suppression)


def draw_wide_coil(rng: np.random.Generator, *, sagittal: bool) -> Coil:
    """Draw a coil: a third is evened out by the scanner, the others fall off from the back."""
    if rng.random() < 0.33:
        floor, reach, waves = rng.uniform(0.5, 0.9), rng.uniform(100, 250), 0.05
    else:
        floor, reach, waves = rng.uniform(0.02, 0.3), rng.uniform(40, 140), 0.12
    saturated = sagittal and rng.random() < 0.45
    return Coil(
        floor=float(floor),
        reach=float(reach),
        length=float(rng.uniform(85, 300)),
        centre_h=float(rng.normal(70, 35)),
        waves=rng.normal(0, waves, (3, 4)),
        saturation=float(rng.uniform(0.04, 0.5)) if saturated else None,
        saturation_edge=float(rng.uniform(42, 85)),
        saturation_blur=float(rng.uniform(3, 14)),
    )
