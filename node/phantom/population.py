"""How far patients vary: the distributions from which `node.phantom.patient` draws.

``PLAIN`` is a narrow population, quick to paint. ``WIDE``, which the shipped models were trained
on, follows adults as they come to a scanner; each number names its source, or is an allowance of
ours where none does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from node.phantom.options import Variety
from node.spine.anatomy import Side

Point = tuple[float, float, float]

#: (mean, standard deviation, lowest, highest) of a normal variable.
Normal = tuple[float, float, float, float]


@dataclass(frozen=True)
class Population:
    """Distributions of a population of patients; lengths in mm, angles in degrees.

    Attributes
    ----------
    size : Normal
        Of everything, relative.
    pitch, disc_height, body_size, body_width : float
        Relative standard deviations from one level to the next, and of the patient's width.
    wear : Normal
        Loss of disc height beyond what the findings explain (the mean is added to theirs).
    lordosis : Normal
        Relative to the mean curve, whose L1 to S1 angle is near 55 degrees.
    turn : float
        Standard deviation of each disc's own angle.
    tilt : float
        Standard deviation of the whole spine's angle.
    scoliosis : (share, sd of those, sd of the others)
        Slope of the curve sideways.
    slip : (share, lowest, highest)
        Forward slip of a vertebra.
    slip_backward, slip_carried : float
        Share of slips that go backward; how much of a slip the next vertebra above shares.
    sac_depth, sac_half_width : Normal
    conus, sac_end : (mean, sd)
        From the disc L1/L2, and from the disc S1/S2.
    flavum : Normal
    skin_fat : (mean, sd, lowest, highest)
        Mean and sd of the logarithm.
    water, bulge, osteophyte, modic : float
        Standard deviations of disc wear.
    """

    size: Normal
    pitch: float
    disc_height: float
    body_size: float
    body_width: float
    wear: Normal
    lordosis: Normal
    turn: float
    tilt: float
    scoliosis: tuple[float, float, float]
    slip: tuple[float, float, float]
    slip_backward: float
    slip_carried: float
    sac_depth: Normal
    sac_half_width: Normal
    conus: tuple[float, float]
    sac_end: tuple[float, float]
    flavum: Normal
    skin_fat: Normal
    water: float
    bulge: float
    osteophyte: float
    modic: float


Transition = Literal["none", "sacralised", "lumbarised"]


@dataclass(frozen=True)
class Anomalies:
    """The anomalies of one patient, in spine coordinates (mm).

    Attributes
    ----------
    transition : str
        Whether L5 is fused to the sacrum, or S1 freed from it.
    schmorl, cysts, tarlov : tuple of ((s, v, u), radius)
        Nodes in endplates, synovial cysts at facets, cysts of sacral roots.
    fracture : (index of the body, share of its front height lost) or None
    arthrosis : mapping of (index of the disc, Side) to float
        Facets: 0 young to 1 hypertrophic with an effusion.
    screws : tuple of int
        Indices of vertebrae with pedicle screws.
    """

    transition: Transition = "none"
    schmorl: tuple[tuple[Point, float], ...] = ()
    cysts: tuple[tuple[Point, float], ...] = ()
    tarlov: tuple[tuple[Point, float], ...] = ()
    fracture: tuple[int, float] | None = None
    arthrosis: Mapping[tuple[int, Side], float] = field(default_factory=dict)
    screws: tuple[int, ...] = ()

    def worn(self, disc: int, side: Side) -> float:
        """Return the arthrosis of the facet at a disc."""
        return self.arthrosis.get((disc, side), 0.0)

    def front_loss(self, body: int) -> float:
        """Return the share of its front height that a vertebra has lost."""
        return self.fracture[1] if self.fracture and self.fracture[0] == body else 0.0


@dataclass(frozen=True)
class Looks:
    """Small habits of shape and texture that make every patient look another; mm, or shares.

    Attributes
    ----------
    rugged : float
        By how much the surfaces of arches wander.
    facets : float
        How much thicker the articular processes are.
    waist : float
        How much narrower bodies are at mid height.
    hollow : (lowest, highest)
        Depth of the endplates.
    rim, plate : float
        Thickness of the bodies' cortex and endplates.
    triangle : float
        How much narrower the sac is behind than in front.
    pulsation : float
        Share of the CSF's signal that its flow takes in places.
    roots : float
        Thickness of the cauda equina's roots, relative.
    streaks : float
        How much of the midline ligaments is fat, relative.
    natural : bool
        Flavum, foramina and muscles with the rounded, tapered forms of the wide population.
    """

    rugged: float = 0.0
    facets: float = 0.0
    waist: float = 2.0
    hollow: tuple[float, float] = (0.8, 2.6)
    rim: float = 0.7
    plate: float = 0.9
    triangle: float = 0.0
    pulsation: float = 0.06
    roots: float = 1.0
    streaks: float = 1.0
    natural: bool = False


def draw_looks(rng: np.random.Generator) -> Looks:
    """Draw the looks of one patient of the wide population."""
    return Looks(
        rugged=float(rng.uniform(0.15, 0.5)),
        facets=float(rng.uniform(0.2, 0.9)),
        waist=float(rng.uniform(0.8, 3.2)),
        hollow=(0.3, float(rng.uniform(1.2, 3.6))),
        rim=float(rng.uniform(0.35, 0.9)),
        plate=float(rng.uniform(0.5, 1.1)),
        triangle=float(rng.uniform(0.0, 0.4)),
        pulsation=float(rng.choice([0.04, 0.1, 0.25, 0.45], p=[0.4, 0.3, 0.2, 0.1])),
        roots=float(rng.uniform(0.7, 1.25)),
        streaks=float(rng.uniform(0.4, 1.5)),
        natural=True,
    )


PLAIN = Population(
    size=(1.0, 0.065, 0.86, 1.14),
    pitch=0.02,
    disc_height=0.1,
    body_size=0.02,
    body_width=0.05,
    wear=(0.0, 0.14, 0.0, 0.7),
    lordosis=(1.0, 0.25, 0.4, 1.5),
    turn=1.3,
    tilt=3.0,
    scoliosis=(0.4, 3.5, 1.0),
    slip=(0.18, 1.5, 5.0),
    slip_backward=0.0,
    slip_carried=0.0,
    sac_depth=(13.2, 1.0, 11.5, 16.0),
    sac_half_width=(8.2, 0.6, 7.0, 10.0),
    conus=(-8.0, 12.0),
    sac_end=(9.0, 9.0),
    flavum=(3.4, 0.5, 2.4, 4.8),
    skin_fat=(2.6, 0.5, 5.0, 50.0),
    water=0.22,
    bulge=0.5,
    osteophyte=0.9,
    modic=0.6,
)

WIDE = Population(
    # Stature of adults of both sexes varies by 6 %; vertebrae vary more (Zhou 2000).
    size=(1.0, 0.085, 0.80, 1.22),
    pitch=0.03,
    # Disc height: sd about 18 % of the mean at each lumbar level (Zhou 2000; Hong 2010).
    disc_height=0.17,
    body_size=0.035,
    body_width=0.07,
    wear=(0.06, 0.2, 0.0, 0.85),
    # L1 to S1 angle 20 to 85 degrees over all spine types (Roussouly 2005).
    lordosis=(0.95, 0.34, 0.15, 1.7),
    turn=2.4,
    tilt=4.5,
    # Degenerative scoliosis: a third of older adults above 10 degrees (Schwab 2005).
    scoliosis=(0.35, 6.5, 1.2),
    # Spondylolisthesis in about 20 % of older adults; retrolisthesis is not rare (Kalichman 2009).
    slip=(0.22, 1.5, 9.0),
    slip_backward=0.25,
    slip_carried=0.6,
    sac_depth=(13.2, 1.5, 10.0, 17.5),
    sac_half_width=(8.3, 0.9, 6.3, 11.0),
    # Tip of the conus: lower third of L1 on average, T12 to upper L3 (Saifuddin 1998).
    conus=(-8.0, 13.0),
    sac_end=(9.0, 11.0),
    # Flavum 2 to 6 mm, thicker with age (Sakamaki 2009).
    flavum=(3.5, 0.8, 2.0, 6.0),
    skin_fat=(2.65, 0.6, 3.0, 60.0),
    water=0.3,
    bulge=0.7,
    osteophyte=1.3,
    modic=0.7,
)

POPULATIONS: dict[Variety, Population] = {"plain": PLAIN, "wide": WIDE}
