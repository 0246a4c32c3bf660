"""The body of one phantom patient as numbers: every length, angle and habit, no voxels."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from node.phantom.curve import Curve, Vector
from node.phantom.population import Anomalies, Looks
from node.spine.anatomy import LEVELS, Condition, ConditionGroup, Level, Side

#: Vertebrae from the head; the disc below number k is ``DISCS[k]``.
BODIES = ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2", "S3", "S4", "S5")
FIRST_LUMBAR = BODIES.index("L1")


@dataclass(frozen=True)
class Body:
    """One vertebra, in spine coordinates (mm).

    Attributes
    ----------
    name : str
    top, bottom : float
        s of its endplates.
    half_width, depth : float
    slip : float
        How far it lies forward of its neighbours.
    canal_half_width, pedicle_width : float
    taper : float
        Size of the lower end relative to the upper: 1 but for the sacrum.
    """

    name: str
    top: float
    bottom: float
    half_width: float
    depth: float
    slip: float
    canal_half_width: float
    pedicle_width: float
    taper: float

    @property
    def is_sacral(self) -> bool:
        """S1 and below: no free posterior arch."""
        return self.name.startswith("S")

    @property
    def pedicle_s(self) -> float:
        """The middle of the pedicle along the spine."""
        return self.top + 0.34 * (self.bottom - self.top)

    @property
    def pedicle_half_height(self) -> float:
        """Half the height of the pedicle, mm."""
        return 0.27 * (self.bottom - self.top)


@dataclass(frozen=True)
class Disc:
    """One disc and what presses from it; severities run from 0 to 1.

    Attributes
    ----------
    s, height : float
        Middle and height at the posterior wall, mm.
    half_width, depth : float
        Of the neighbouring endplates, mm.
    water : float
        1 a young bright nucleus, 0 black.
    bulge : float
        Everywhere around the rim, mm.
    osteophyte, modic : float
        Rim spurs (mm) and endplate change (negative: fatty, positive: oedema).
    canal : float
        Severity of the canal stenosis.
    front_share : float
        Part of the narrowing that comes from the disc; the rest from the flavum.
    recess, foramen : dict of Side to float
        Severities.
    """

    s: float
    height: float
    half_width: float
    depth: float
    water: float
    bulge: float
    osteophyte: float
    modic: float
    canal: float
    front_share: float
    flavum: float
    recess: Mapping[Side, float]
    foramen: Mapping[Side, float]
    level: Level | None


@dataclass(frozen=True, eq=False)
class Patient:
    """Everything `node.phantom.column` and `node.phantom.trunk` need to paint one patient."""

    curve: Curve
    bodies: tuple[Body, ...]
    discs: tuple[Disc, ...]
    scale: float
    fatty_marrow: float
    fatty_muscle: float
    skin_fat: float
    conus: float
    sac_end: float
    sac_depth: float
    sac_half_width: float
    anomalies: Anomalies = field(default_factory=Anomalies)
    looks: Looks = field(default_factory=Looks)

    @property
    def narrowing(self) -> float:
        """How much further a stenosis goes in a wide sac: grades are of what is left."""
        return self.sac_depth / 13.2 if self.looks.natural else 1.0

    def epidural_fat(self, s: Vector | float) -> Vector:
        """Return the thickness (mm) of the fat before the sac: most at the sacrum."""
        return np.asarray(0.2 + 2.8 / (1 + np.exp(-(s - self.discs[8].s + 8) / 7.0)))

    def sac_taper(self, s: Vector | float) -> Vector:
        """Return the size of the sac relative to its widest."""
        reach = self.sac_end - self.discs[8].s + 12.0
        return np.asarray(np.clip((self.sac_end - s) / reach, 0, 1) ** 0.6)

    def canal_middle(self, disc: Disc) -> float:
        """Return v (mm) of the canal's middle at a disc: of what its stenosis leaves of the sac."""
        if not self.looks.natural:
            return 8.0
        shift = (0.9 + 9.0 * disc.canal) * self.narrowing * (disc.front_share - 0.5)
        taper = float(self.sac_taper(disc.s))
        return float(self.epidural_fat(disc.s)) + taper * (0.5 * self.sac_depth + shift)

    def disc(self, level: Level) -> Disc:
        """Return the disc of a graded level."""
        return next(d for d in self.discs if d.level is level)

    def above(self, level: Level) -> Body:
        """Return the vertebra over a graded level."""
        return self.bodies[FIRST_LUMBAR + LEVELS.index(level)]

    def disc_centre(self, level: Level) -> Vector:
        """Return the anatomical point (mm) in the middle of a disc."""
        disc = self.disc(level)
        return self.curve.to_anatomy(disc.s, -disc.depth / 2, 0.0)

    def point(self, condition: Condition, level: Level) -> Vector:
        """Return the anatomical point (mm) where a radiologist would mark a finding."""
        disc, body = self.disc(level), self.above(level)
        if condition.side is None:
            return self.curve.to_anatomy(disc.s, self.canal_middle(disc), 0.0)
        sign = 1.0 if condition.side is Side.LEFT else -1.0
        if condition.group is ConditionGroup.FORAMINAL:
            s, v, u = foramen_centre(body, disc)
            return self.curve.to_anatomy(s, v, sign * u)
        return self.curve.to_anatomy(disc.s, 4.5, sign * recess_offset(body))


def foramen_centre(body: Body, disc: Disc) -> tuple[float, float, float]:
    """Return (s, v, |u|) in mm of the middle of the foramen under a vertebra's pedicle."""
    roof = body.pedicle_s + body.pedicle_half_height
    return 0.55 * roof + 0.45 * disc.s, 4.0, body.canal_half_width + 0.5 * body.pedicle_width


def recess_offset(body: Body) -> float:
    """Return |u| in mm of the lateral recess at the disc below a vertebra."""
    return body.canal_half_width - 2.6
