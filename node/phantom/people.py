"""Draws patients of a population around given severities."""

from collections.abc import Mapping

import numpy as np

from node.phantom.curve import Curve, Vector
from node.phantom.patient import BODIES, FIRST_LUMBAR, Body, Disc, Patient
from node.phantom.population import PLAIN, Normal, Population
from node.spine.anatomy import LEVELS, Condition, ConditionGroup, FindingKey, Side

#: Per body: pitch from disc to disc, disc height below, half width, depth; mm at median size.
_PITCH = (27.0, 28.5, 30.5, 33.0, 35.0, 36.0, 36.8, 36.4, 34.5, 29.0, 24.0, 20.0, 17.0, 15.0)
_DISC = (4.5, 5.0, 5.5, 6.5, 8.0, 9.5, 10.8, 11.2, 10.0, 2.0, 1.0, 0.8, 0.8, 0.8)
_HALF_WIDTH = (15.0, 16.0, 17.5, 19.5, 21.5, 22.5, 23.5, 24.8, 26.0, 25.0, 19.0, 15.0, 12.0, 9.0)
_DEPTH = (28.0, 29.0, 30.0, 31.0, 32.0, 33.0, 34.0, 34.5, 34.5, 29.0, 20.0, 15.0, 12.0, 9.0)
#: Turn of the curve at the disc below each body, degrees (mean).
_TURN = (-3.0, -3.0, -3.0, -2.0, 1.0, 4.0, 7.0, 14.0, 24.0, 7.0, 0.0, -12.0, -14.0, -10.0)
_CANAL_HALF_WIDTH = (9.0, 9.0, 9.5, 10.0, 10.5, 10.8, 11.2, 12.0, 14.0, 14.5, 10.0, 8.0, 6.0, 5.0)
_PEDICLE = (5.5, 6.0, 7.0, 7.5, 7.5, 8.0, 9.5, 11.5, 14.0, 14.0, 9.0, 8.0, 8.0, 6.0)


def _normal(rng: np.random.Generator, of: Normal) -> float:
    mean, sd, low, high = of
    return float(np.clip(rng.normal(mean, sd), low, high))


def make_patient(
    rng: np.random.Generator,
    severities: Mapping[FindingKey, float],
    people: Population = PLAIN,
) -> Patient:
    """Draw a patient of a population around the given severities."""
    scale = _normal(rng, people.size)
    age = float(rng.uniform(0, 1))
    discs_s, heights = _stack(rng, scale, severities, people)
    slips = _slips(rng, people)
    widen = float(rng.normal(1.0, people.body_width))
    spread = 3.5 * people.body_size
    size = rng.normal(1.0, people.body_size, (2, len(BODIES)))
    size = scale * np.clip(size, 1 - spread, 1 + spread) * widen
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
            people=people,
        )
        for k in range(len(BODIES) - 1)
    )
    return Patient(
        curve=_curve(rng, discs_s, scale, people),
        bodies=tuple(bodies),
        discs=discs,
        scale=scale,
        fatty_marrow=float(np.clip(0.1 + 0.5 * age + rng.normal(0, 0.1), 0.05, 0.8)),
        fatty_muscle=float(np.clip(0.1 + 0.6 * age + rng.normal(0, 0.15), 0.02, 0.95)),
        skin_fat=float(np.clip(rng.lognormal(*people.skin_fat[:2]), *people.skin_fat[2:])),
        conus=float(rng.normal(*people.conus)),
        sac_end=float(discs_s[BODIES.index("S1")] + rng.normal(*people.sac_end)),
        sac_depth=_normal(rng, people.sac_depth),
        sac_half_width=_normal(rng, people.sac_half_width),
    )


def _slips(rng: np.random.Generator, people: Population) -> Vector:
    """Return how far each vertebra lies forward, mm: one slips and carries those above along."""
    share, low, high = people.slip
    slips = np.zeros(len(BODIES))
    if rng.random() < share:
        slipped = FIRST_LUMBAR + int(rng.choice([2, 3, 3, 4]))
        slips[slipped] = rng.uniform(low, high)
        if people.slip_backward and rng.random() < people.slip_backward:
            slips[slipped] *= -0.5
        for k in range(slipped - 1, 0, -1):
            slips[k] = slips[k + 1] * people.slip_carried
    return slips


def _stack(
    rng: np.random.Generator,
    scale: float,
    severities: Mapping[FindingKey, float],
    people: Population,
) -> tuple[Vector, Vector]:
    """Return the middle (s, mm) and the height of the disc below every body."""
    n, sd = len(BODIES), people.disc_height
    heights = np.clip(rng.normal(1.0, sd, n), 1 - 2.5 * sd, 1 + 2.5 * sd)
    heights = np.array(_DISC) * scale * heights
    if rng.random() < 0.1:
        heights[BODIES.index("S1")] *= rng.uniform(1.8, 3.5)  # a disc S1/S2 that stayed
    for k, level in enumerate(LEVELS):
        worst = max(severities[c, level] for c in Condition)
        extra, sd, low, high = people.wear
        loss = _normal(rng, (extra + 0.35 * worst, sd, low, high))
        heights[FIRST_LUMBAR + k] *= 1 - loss
    sd = people.pitch
    steps = np.clip(rng.normal(1.0, sd, n), 1 - 2.5 * sd, 1 + 2.5 * sd)
    middles = np.cumsum(np.array(_PITCH) * scale * steps)
    return middles - middles[FIRST_LUMBAR], heights


def _curve(rng: np.random.Generator, discs_s: Vector, scale: float, people: Population) -> Curve:
    """Turn the spine at every disc; a third of patients lean sideways and twist."""
    s = np.arange(discs_s[0] - 40.0, discs_s[-1] + 45.0, 0.5)
    lordosis = _normal(rng, people.lordosis)
    turns = np.radians(np.array(_TURN) * lordosis + rng.normal(0, people.turn, len(BODIES)))
    tilt = np.full_like(s, np.radians(rng.normal(-12.0, people.tilt)) * (0.5 + 0.5 * lordosis))
    first = FIRST_LUMBAR
    for k, (at, turn) in enumerate(zip(discs_s, turns, strict=True)):
        step = 1 / (1 + np.exp(-(s - at) / (7.5 * scale)))
        tilt += turn * (step if k >= first else step - 1.0)
    lean = np.zeros_like(s)
    twist = np.zeros_like(s)
    share, much, little = people.scoliosis
    size = abs(rng.normal(0, much)) if rng.random() < share else abs(rng.normal(0, little))
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
    people: Population,
) -> Disc:
    above, below = bodies[k], bodies[k + 1]
    j = k - FIRST_LUMBAR
    level = LEVELS[j] if 0 <= j < len(LEVELS) else None

    def at(group: ConditionGroup, side: Side | None) -> float:
        return severities[group.condition(side), level] if level else 0.0

    canal = at(ConditionGroup.CANAL, None)
    recess = {side: at(ConditionGroup.SUBARTICULAR, side) for side in Side}
    foramen = {side: at(ConditionGroup.FORAMINAL, side) for side in Side}
    worst = max(canal, *recess.values(), *foramen.values())
    water = float(np.clip(rng.normal(1.05 - 0.6 * age - 0.55 * worst, people.water), 0.0, 1.0))
    bulge = float(np.clip(rng.normal(0.4 + 0.8 * (1 - water), people.bulge), 0.0, 2.5))
    osteophyte = float(np.clip(rng.normal(1.2 * (age + worst) - 0.6, people.osteophyte), 0.0, 4.5))
    spur, modic = age + worst, float(rng.normal(0, people.modic))
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
        flavum=_normal(rng, people.flavum),
        recess=recess,
        foramen=foramen,
        level=level,
    )
