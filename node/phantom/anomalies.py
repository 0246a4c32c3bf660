"""What only some patients have: nodes, cysts, fractures, transitional vertebrae, screws.

The plain population has none of it. The wide one draws each with the share of adults it is found
in; a share without a source is an allowance of ours.
"""

from dataclasses import replace

import numpy as np

from node.phantom.canvas import Canvas, Grain, Point
from node.phantom.contrast import Tissue
from node.phantom.patient import BODIES, Body, Patient, recess_offset
from node.phantom.population import Anomalies, Transition
from node.spine.anatomy import Side

_L1, _L5, _S1, _S2 = (BODIES.index(name) for name in ("L1", "L5", "S1", "S2"))

#: Shares. Schmorl: of discs (Pfirrmann 2001: 9 % of endplates); transitional: of patients
#: (Konin 2010: 4 to 36 %, mean 12 %); fracture: of patients; synovial cyst: of stenotic recesses;
#: Tarlov: of patients (Paulsen 1994: 4.6 %); screws: of patients.
SCHMORL, TRANSITIONAL, FRACTURE, SYNOVIAL, TARLOV, SCREWS = 0.10, 0.12, 0.07, 0.08, 0.046, 0.02


def draw_anomalies(rng: np.random.Generator, patient: Patient) -> Anomalies:
    """Draw what this patient has."""
    screws: tuple[int, ...] = ()
    if rng.random() < SCREWS:
        lowest = int(rng.choice([_L5, _L5, _S1]))
        screws = tuple(range(lowest - int(rng.integers(1, 3)), lowest + 1))
    return Anomalies(
        transition=_transition(rng),
        schmorl=_schmorl(rng, patient),
        cysts=_cysts(rng, patient),
        tarlov=_tarlov(rng, patient),
        fracture=_fracture(rng),
        arthrosis=_arthrosis(rng, patient),
        screws=screws,
    )


def _transition(rng: np.random.Generator) -> Transition:
    if rng.random() >= TRANSITIONAL:
        return "none"
    return "sacralised" if rng.random() < 0.6 else "lumbarised"


def _schmorl(rng: np.random.Generator, patient: Patient) -> tuple[tuple[Point, float], ...]:
    nodes = []
    for disc in patient.discs[1:_L5]:
        if rng.random() < SCHMORL:
            radius = float(rng.uniform(2.0, 5.5))
            s = disc.s + float(rng.choice([-1.0, 1.0])) * (0.5 * disc.height + 0.35 * radius)
            v = -float(rng.uniform(0.25, 0.75)) * disc.depth
            nodes.append(((s, v, float(rng.uniform(-0.5, 0.5)) * disc.half_width), radius))
    return tuple(nodes)


def _cysts(rng: np.random.Generator, patient: Patient) -> tuple[tuple[Point, float], ...]:
    """Beside worn facets of narrow recesses only: elsewhere a cyst would make a stenosis."""
    cysts = []
    for k in range(_L1 + 1, _L5 + 1):
        disc, body = patient.discs[k], patient.bodies[k]
        for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
            if disc.recess[side] > 0.45 and rng.random() < SYNOVIAL:
                u = sign * (recess_offset(body) + 1.0)
                at = (disc.s + float(rng.normal(0, 2)), 11.5 + float(rng.normal(0, 0.8)), u)
                cysts.append((at, float(rng.uniform(2.2, 4.2))))
    return tuple(cysts)


def _tarlov(rng: np.random.Generator, patient: Patient) -> tuple[tuple[Point, float], ...]:
    if rng.random() >= TARLOV:
        return ()
    body = patient.bodies[_S2]
    u = float(rng.choice([-1.0, 1.0]) * rng.uniform(2.0, 9.0))
    return (((body.top + float(rng.uniform(0, 12)), 6.0, u), float(rng.uniform(4.0, 8.0))),)


def _fracture(rng: np.random.Generator) -> tuple[int, float] | None:
    if rng.random() >= FRACTURE:
        return None
    # Most are at the thoracolumbar junction.
    chosen = int(rng.choice([_L1 - 2, _L1 - 1, _L1 - 1, _L1, _L1, _L1 + 1, _L1 + 2, _L1 + 3]))
    return chosen, float(rng.uniform(0.12, 0.5))


def _arthrosis(rng: np.random.Generator, patient: Patient) -> dict[tuple[int, Side], float]:
    """Facets wear with age and with the recess they bound, most at the lowest levels."""
    worn = {}
    for k in range(1, _L5 + 1):
        disc = patient.discs[k]
        low = np.clip((k - _L1 + 1) / 5, 0.15, 1.0)
        for side in Side:
            mean = 0.5 * patient.fatty_muscle * low + 0.35 * disc.recess[side]
            worn[k, side] = float(np.clip(rng.normal(mean, 0.25), 0, 1))
    return worn


def afflicted(patient: Patient, anomalies: Anomalies) -> Patient:
    """Return the patient with anomalies, and the heights that a transitional vertebra changes."""
    patient = replace(patient, anomalies=anomalies)
    kind = anomalies.transition
    if kind == "none":
        return patient
    k = _L5 if kind == "sacralised" else _S1
    disc = patient.discs[k]
    height = 0.45 * disc.height if kind == "sacralised" else max(disc.height, 5.5 * patient.scale)
    grown = 0.5 * (height - disc.height)
    bodies, discs = list(patient.bodies), list(patient.discs)
    bodies[k] = replace(bodies[k], bottom=bodies[k].bottom - grown)
    bodies[k + 1] = replace(bodies[k + 1], top=bodies[k + 1].top + grown)
    if kind == "lumbarised":  # squarer, and as deep below as above
        bodies[k] = replace(bodies[k], taper=0.5 * (1 + bodies[k].taper))
    discs[k] = replace(disc, height=height, water=max(disc.water, 0.4) if k == _S1 else disc.water)
    return replace(patient, bodies=tuple(bodies), discs=tuple(discs))


def paint_anomalies(canvas: Canvas, patient: Patient, grain: Grain) -> None:
    """Paint nodes, cysts and screws over the finished column."""
    anomalies = patient.anomalies
    for centre, radius in anomalies.schmorl:
        region, away = canvas.blob(centre, (0.8 * radius, 1.1 * radius, radius))
        away = away + np.float32(0.5) * grain.at(region)
        canvas.paint(region, canvas.soft(away - 0.8), Tissue.CORTEX)
        canvas.paint(region, canvas.soft(away), Tissue.ANNULUS, 1.15)
    for centre, radius in anomalies.cysts:
        _cyst(canvas, centre, radius, grain)
    for centre, radius in anomalies.tarlov:
        region, away = canvas.blob(centre, (1.5 * radius, 0.8 * radius, radius))
        canvas.paint(region, canvas.soft(away), Tissue.CSF)
    for k in anomalies.screws:
        _screws(canvas, patient.bodies[k])


def _cyst(canvas: Canvas, centre: Point, radius: float, grain: Grain) -> None:
    """A cyst with a dark wall; its fluid may be thick."""
    region, away = canvas.blob(centre, (1.2 * radius, radius, 0.8 * radius))
    away = away + np.float32(0.3) * grain.at(region)
    canvas.paint(region, canvas.soft(away), Tissue.LIGAMENT)
    canvas.paint(region, canvas.soft(away + 1.0), Tissue.FLUID, 0.85)


def _screws(canvas: Canvas, body: Body) -> None:
    """Titanium in both pedicles: no signal, a wider shadow, and a bright edge along the readout."""
    for sign in (1.0, -1.0):
        u = sign * (body.canal_half_width + 0.5 * body.pedicle_width)
        ends: tuple[Point, Point] = (
            (body.pedicle_s, 24.0, u + sign * 4.0),
            (body.pedicle_s, -0.7 * body.depth, u - sign * 8.0),
        )
        region, away = canvas.capsule(ends, (6.5, 5.0), margin=4.0)
        canvas.paint(region, 0.7 * canvas.soft(np.abs(away - 1.2) - 0.8), Tissue.FLUID, 1.2)
        canvas.paint(region, canvas.soft(away), Tissue.AIR)
