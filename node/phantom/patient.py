"""The body of one phantom patient as numbers: every length, angle and habit, no voxels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from node.phantom.curve import Curve, Vector
from node.spine.anatomy import LEVELS, Condition, ConditionGroup, FindingKey, Level, Side

#: Vertebrae from the head; the disc below number k is ``DISCS[k]``.
BODIES = ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2", "S3", "S4", "S5")
_FIRST_LUMBAR = BODIES.index("L1")
#: Per body: pitch from disc to disc, disc height below, half width, depth; mm at median size.
_PITCH = (27.0, 28.5, 30.5, 33.0, 35.0, 36.0, 36.8, 36.4, 34.5, 29.0, 24.0, 20.0, 17.0, 15.0)
_DISC = (4.5, 5.0, 5.5, 6.5, 8.0, 9.5, 10.8, 11.2, 10.0, 2.0, 1.0, 0.8, 0.8, 0.8)
_HALF_WIDTH = (15.0, 16.0, 17.5, 19.5, 21.5, 22.5, 23.5, 24.8, 26.0, 25.0, 19.0, 15.0, 12.0, 9.0)
_DEPTH = (28.0, 29.0, 30.0, 31.0, 32.0, 33.0, 34.0, 34.5, 34.5, 29.0, 20.0, 15.0, 12.0, 9.0)
#: Turn of the curve at the disc below each body, degrees (mean).
_TURN = (-3.0, -3.0, -3.0, -2.0, 1.0, 4.0, 7.0, 14.0, 24.0, 7.0, 0.0, -12.0, -14.0, -10.0)
_CANAL_HALF_WIDTH = (9.0, 9.0, 9.5, 10.0, 10.5, 10.8, 11.2, 12.0, 14.0, 14.5, 10.0, 8.0, 6.0, 5.0)
_PEDICLE = (5.5, 6.0, 7.0, 7.5, 7.5, 8.0, 9.5, 11.5, 14.0, 14.0, 9.0, 8.0, 8.0, 6.0)


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

    def disc(self, level: Level) -> Disc:
        """Return the disc of a graded level."""
        return next(d for d in self.discs if d.level is level)

    def above(self, level: Level) -> Body:
        """Return the vertebra over a graded level."""
        return self.bodies[_FIRST_LUMBAR + LEVELS.index(level)]

    def disc_centre(self, level: Level) -> Vector:
        """Return the anatomical point (mm) in the middle of a disc."""
        disc = self.disc(level)
        return self.curve.to_anatomy(disc.s, -disc.depth / 2, 0.0)

    def point(self, condition: Condition, level: Level) -> Vector:
        """Return the anatomical point (mm) where a radiologist would mark a finding."""
        disc, body = self.disc(level), self.above(level)
        if condition.side is None:
            return self.curve.to_anatomy(disc.s, 8.0, 0.0)
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


def make_patient(rng: np.random.Generator, severities: Mapping[FindingKey, float]) -> Patient:
    """Draw a patient around the given severities."""
    scale = float(np.clip(rng.normal(1.0, 0.065), 0.86, 1.14))
    age = float(rng.uniform(0, 1))
    discs_s, heights = _stack(rng, scale, severities)
    slips = np.zeros(len(BODIES))
    if rng.random() < 0.18:
        slips[_FIRST_LUMBAR + int(rng.choice([2, 3, 3, 4]))] = rng.uniform(1.5, 5.0)
    widen = float(rng.normal(1.0, 0.05))
    size = scale * np.clip(rng.normal(1.0, 0.02, (2, len(BODIES))), 0.93, 1.07) * widen
    bodies = []
    for k, name in enumerate(BODIES):
        top = discs_s[k] - _PITCH[0] if k == 0 else discs_s[k - 1] + heights[k - 1] / 2
        bodies.append(
            Body(
                name=name,
                top=float(top),
                bottom=float(discs_s[k] - heights[k] / 2),
                half_width=float(_HALF_WIDTH[k] * size[0, k]),
                depth=float(_DEPTH[k] * size[1, k]),
                slip=float(slips[k]),
                canal_half_width=float(_CANAL_HALF_WIDTH[k] * scale),
                pedicle_width=float(_PEDICLE[k] * scale),
                taper=_DEPTH[k + 1] / _DEPTH[k] if name[0] == "S" and k + 1 < len(BODIES) else 1.0,
            )
        )
    discs = tuple(
        _disc(
            rng,
            k,
            at_s=float(discs_s[k]),
            height=float(heights[k]),
            bodies=bodies,
            severities=severities,
            age=age,
        )
        for k in range(len(BODIES) - 1)
    )
    return Patient(
        curve=_curve(rng, discs_s, scale),
        bodies=tuple(bodies),
        discs=discs,
        scale=scale,
        fatty_marrow=float(np.clip(0.1 + 0.5 * age + rng.normal(0, 0.1), 0.05, 0.8)),
        fatty_muscle=float(np.clip(0.1 + 0.6 * age + rng.normal(0, 0.15), 0.02, 0.95)),
        skin_fat=float(np.clip(rng.lognormal(2.6, 0.5), 5.0, 50.0)),
        conus=float(rng.normal(-8.0, 12.0)),
        sac_end=float(discs_s[BODIES.index("S1")] + rng.normal(9.0, 9.0)),
        sac_depth=float(np.clip(rng.normal(13.2, 1.0), 11.5, 16.0)),
        sac_half_width=float(np.clip(rng.normal(8.2, 0.6), 7.0, 10.0)),
    )


def _stack(
    rng: np.random.Generator, scale: float, severities: Mapping[FindingKey, float]
) -> tuple[Vector, Vector]:
    """Return the middle (s, mm) and the height of the disc below every body."""
    n = len(BODIES)
    heights = np.array(_DISC) * scale * np.clip(rng.normal(1.0, 0.1, n), 0.75, 1.25)
    if rng.random() < 0.1:
        heights[BODIES.index("S1")] *= rng.uniform(1.8, 3.5)  # a disc S1/S2 that stayed
    for k, level in enumerate(LEVELS):
        worst = max(severities[c, level] for c in Condition)
        loss = float(np.clip(rng.normal(0.35 * worst, 0.14), 0.0, 0.7))
        heights[_FIRST_LUMBAR + k] *= 1 - loss
    middles = np.cumsum(np.array(_PITCH) * scale * np.clip(rng.normal(1.0, 0.02, n), 0.95, 1.05))
    return middles - middles[_FIRST_LUMBAR], heights


def _curve(rng: np.random.Generator, discs_s: Vector, scale: float) -> Curve:
    """Turn the spine at every disc; a third of patients lean sideways and twist."""
    s = np.arange(discs_s[0] - 40.0, discs_s[-1] + 45.0, 0.5)
    lordosis = float(np.clip(rng.normal(1.0, 0.25), 0.4, 1.5))
    turns = np.radians(np.array(_TURN) * lordosis + rng.normal(0, 1.3, len(BODIES)))
    tilt = np.full_like(s, np.radians(rng.normal(-12.0, 3.0)) * (0.5 + 0.5 * lordosis))
    first = _FIRST_LUMBAR
    for k, (at, turn) in enumerate(zip(discs_s, turns, strict=True)):
        step = 1 / (1 + np.exp(-(s - at) / (7.5 * scale)))
        tilt += turn * (step if k >= first else step - 1.0)
    lean = np.zeros_like(s)
    twist = np.zeros_like(s)
    size = abs(rng.normal(0, 3.5)) if rng.random() < 0.4 else abs(rng.normal(0, 1.0))
    wave, phase = rng.uniform(120, 260), rng.uniform(0, 2 * np.pi)
    side = rng.choice([-1.0, 1.0])
    lean += side * np.radians(size) * np.sin(2 * np.pi * s / wave + phase)
    twist += side * np.radians(size * 0.9) * np.cos(2 * np.pi * s / wave + phase)
    return Curve(s, tilt, lean, twist)


def _disc(
    rng: np.random.Generator,
    k: int,
    *,
    at_s: float,
    height: float,
    bodies: list[Body],
    severities: Mapping[FindingKey, float],
    age: float,
) -> Disc:
    above, below = bodies[k], bodies[k + 1]
    j = k - _FIRST_LUMBAR
    level = LEVELS[j] if 0 <= j < len(LEVELS) else None

    def at(group: ConditionGroup, side: Side | None) -> float:
        return severities[group.condition(side), level] if level else 0.0

    canal = at(ConditionGroup.CANAL, None)
    recess = {side: at(ConditionGroup.SUBARTICULAR, side) for side in Side}
    foramen = {side: at(ConditionGroup.FORAMINAL, side) for side in Side}
    worst = max(canal, *recess.values(), *foramen.values())
    water = float(np.clip(rng.normal(1.05 - 0.6 * age - 0.55 * worst, 0.22), 0.0, 1.0))
    bulge = float(np.clip(rng.normal(0.4 + 0.8 * (1 - water), 0.5), 0.0, 2.5))
    osteophyte = float(np.clip(rng.normal(1.2 * (age + worst) - 0.6, 0.9), 0.0, 4.5))
    spur, modic = age + worst, float(rng.normal(0, 0.6))
    return Disc(
        s=at_s,
        height=height,
        half_width=below.half_width
        if above.is_sacral
        else 0.5 * (above.half_width + below.half_width),
        depth=below.depth if above.is_sacral else 0.5 * (above.depth + below.depth),
        water=0.15 * water if above.is_sacral else water,
        bulge=0.0 if above.is_sacral else bulge,
        osteophyte=0.0 if above.is_sacral else osteophyte,
        modic=modic if rng.random() < 0.3 * spur else 0.0,
        canal=canal,
        front_share=float(rng.uniform(0.3, 0.75)),
        flavum=float(np.clip(rng.normal(3.4, 0.5), 2.4, 4.8)),
        recess=recess,
        foramen=foramen,
        level=level,
    )
