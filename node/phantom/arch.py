"""Posterior arches, the ligaments between them, and the wings of the sacrum."""

from itertools import pairwise

import numpy as np

from node.phantom.canvas import Bone, Canvas, Grain, Region, rounded
from node.phantom.contrast import Array, Tissue
from node.phantom.patient import Body, Disc, Patient
from node.spine.anatomy import Side


def paint_arch(canvas: Canvas, patient: Patient, k: int, grains: tuple[Grain, Grain]) -> None:
    """Paint pedicles, articular processes, laminae and the spinous process of vertebra ``k``."""
    grain, broad = grains
    rugged = (broad, patient.looks.rugged) if patient.looks.rugged else None
    body = patient.bodies[k]
    above, below = patient.discs[k - 1], patient.discs[k]
    scale, hw, pw = patient.scale, body.canal_half_width, body.pedicle_width
    ps, slip = body.pedicle_s, -body.slip
    arch, front = Bone(canvas, grain, rugged), Bone(canvas, grain, rugged)
    for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
        worn = max(below.recess[side], 0.6 * below.foramen[side])
        old, bulk = patient.anomalies.worn(k, side), patient.looks.facets
        pars = (ps + 2, 13.0 + slip, sign * (hw + 3.5))
        knee = (body.bottom - 3, 20.5 + slip, sign * (hw + 0.5))
        arch.rod((pars, knee), (4.3 * scale, 4.6 * scale))
        # A worn joint grows outward and back: what it does to the recess is the recess's grade.
        ends = (18.5 + 0.8 * old + slip, hw - 2.5), (24.5 + 1.5 * old + slip, hw + 2.0 + old)
        along = (body.bottom - 7, below.s + 8.0 * scale)
        arch.add(*_pillar(canvas, ends, along, (3.9 + 0.9 * worn + 0.9 * old + bulk) * scale, sign))
        front.add(*_pedicle(canvas, body, sign))
        _superior(
            front,
            canvas,
            (body, above),
            side,
            scale,
            old=patient.anomalies.worn(k - 1, side),
            bulk=bulk,
        )
        if body.name[0] == "L":
            out = (ps, 9.5, sign * (hw + 0.8 * pw)), (ps - 1, 12.0, sign * 45.0)
            fused = body.name == "L5" and patient.anomalies.transition == "sacralised"
            arch.rod(out, (4.5 * scale, (8.0 if fused else 3.2) * scale))
        elif patient.looks.natural:  # the head and the first stretch of a rib
            head, away = (body.top + 2, -3.0, sign * (hw + pw)), (body.top + 12, 14.0, sign * 48.0)
            arch.rod((head, away), (4.2 * scale, 3.6 * scale))
    arch.add(*_lamina(canvas, body, scale))
    arch.add(*_spinous(canvas, body, scale))
    arch.paint(1.1)
    front.paint(1.1)
    for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
        _facet_gap(canvas, above, (hw, scale), sign, patient.anomalies.worn(k - 1, side))


def _superior(
    bone: Bone,
    canvas: Canvas,
    at: tuple[Body, Disc],
    side: Side,
    scale: float,
    *,
    old: float,
    bulk: float,
) -> None:
    """Add a superior articular process: it rises from the pedicle, outside the joint above."""
    body, above = at
    sign = 1.0 if side is Side.LEFT else -1.0
    worn = max(above.recess[side], 0.8 * above.foramen[side])
    hw, slip = body.canal_half_width, -body.slip
    low = (body.pedicle_s, 11.0 + slip, sign * (hw + 0.5 * body.pedicle_width))
    high = (above.s, 15.0 - worn, sign * (hw + 6.5))
    bone.rod((low, high), (4.6 * scale, 4.0 * scale))
    ends = (12.6 - 1.2 * worn + old, hw + 4.5 - 1.2 * worn + old), (19.5, hw + 9.0 + 1.5 * old)
    along = (above.s - 7.0 * scale, body.pedicle_s)
    bone.add(*_pillar(canvas, ends, along, (3.5 + 0.9 * worn + old + bulk) * scale, sign))


def _pillar(
    canvas: Canvas,
    ends: tuple[tuple[float, float], tuple[float, float]],
    along: tuple[float, float],
    radius: float,
    sign: float,
) -> tuple[Region, Array]:
    """Return a flat rounded column: a thick line across the spine, drawn out along it.

    Parameters
    ----------
    canvas : Canvas
    ends : two (v, |u|) points, mm
    along : first and last s, mm
    radius : float
        mm.
    sign : float
        1 on the left, -1 on the right.
    """
    (v0, u0), (v1, u1) = ends
    reach = radius + 1.5
    region = canvas.region(
        (along[0] - 2, min(v0, v1) - reach, min(sign * u0, sign * u1) - reach),
        (along[1] + 2, max(v0, v1) + reach, max(sign * u0, sign * u1) + reach),
    )
    dv, du = region.v - v0, sign * region.u - u0
    ev, eu = v1 - v0, u1 - u0
    t = np.clip((dv * ev + du * eu) / (ev * ev + eu * eu), 0, 1)
    across = np.hypot(dv - t * ev, du - t * eu) - radius
    middle = 0.5 * (along[0] + along[1])
    return region, rounded(across, np.abs(region.s - middle) - (middle - along[0]), 3.0)


def _pedicle(canvas: Canvas, body: Body, sign: float) -> tuple[Region, Array]:
    half, pw = body.pedicle_half_height, body.pedicle_width / 2
    centre = sign * (body.canal_half_width + pw)
    ps, slip = body.pedicle_s, -body.slip
    region = canvas.region(
        (ps - half - 2, -10.0, min(centre - pw, centre + pw) - 2),
        (ps + half + 2, 16.0, max(centre - pw, centre + pw) + 2),
    )
    # Waisted: lowest where it leaves the body.
    waist = 1 - 0.14 * np.exp(-(((region.v - slip - 3) / 4.0) ** 2))
    norm = np.hypot((region.s - ps) / (half * waist), (region.u - centre) / pw)
    ends = np.abs(region.v - slip - 2.0) - 11.5
    return region, np.maximum((norm - 1) * min(half, pw), ends)


def _facet_gap(
    canvas: Canvas, disc: Disc, size: tuple[float, float], sign: float, old: float
) -> None:
    """Cartilage between the articular processes, and the effusion of a worn joint."""
    hw, scale = size
    ends = (
        (disc.s - 3.5 * scale, 18.6, sign * (hw + 3.3)),
        (disc.s + 4.5 * scale, 18.6, sign * (hw + 3.3)),
    )
    region, away = canvas.capsule(ends, (5.0, 5.0))
    du = sign * region.u - (hw + 3.3)
    joint = np.abs(0.61 * (region.v - 18.6) - 0.79 * du) - 0.5
    canvas.paint(region, 0.75 * canvas.soft(np.maximum(away, joint)), Tissue.CARTILAGE)
    if old > 0.45:
        canvas.paint(region, 0.8 * canvas.soft(np.maximum(away, joint + 0.2)), Tissue.FLUID)


def _lamina_s(body: Body) -> float:
    return 0.3 * body.pedicle_s + 0.7 * body.bottom


def _lamina(canvas: Canvas, body: Body, scale: float) -> tuple[Region, Array]:
    """The plate from the articular processes to the midline, sloping back to the feet."""
    hw, slip = body.canal_half_width, -body.slip
    middle, half = _lamina_s(body), 9.0 * scale
    region = canvas.region(
        (middle - half - 2, 11.0 + slip, -hw - 3), (middle + half + 2, 34.0 + slip, hw + 3)
    )
    side = np.abs(region.u)
    plate = 26.5 + slip - 0.66 * side + 0.24 * (region.s - middle)
    thick = 3.1 - 0.02 * (region.s - middle) ** 2 / scale
    ends = np.maximum(np.abs(region.s - middle) - half, side - hw - 2)
    return region, np.maximum((np.abs(region.v - plate) - thick) * 0.85, ends)


def _spinous(canvas: Canvas, body: Body, scale: float) -> tuple[Region, Array]:
    """The plate behind the laminae, thicker at its tip."""
    slip = -body.slip
    length = {"L5": 17.0, "L4": 22.0}.get(body.name, 25.0) * scale
    half = {"L5": 8.0}.get(body.name, 10.5) * scale
    middle, start = _lamina_s(body) + 1.5, 25.5 + slip
    region = canvas.region(
        (middle - half - 6, start, -8.0), (middle + half + 24, start + length + 4, 8.0)
    )
    far = np.clip((region.v - start) / length, 0, 1.2)
    slope = 0.9 if body.name[0] == "T" else 0.26
    ds = np.abs(region.s - middle - slope * length * far)
    # A rounded quadrangle, deeper at its free end.
    across = ds / (half * (0.75 + 0.25 * far))
    along = (region.v - start - 0.35 * length) / (0.65 * length)
    norm = (across**4 + np.clip(along, 0, None) ** 4) ** 0.25
    width = 3.0 + 2.2 * np.clip(far, 0, 1) ** 3
    return region, np.maximum((norm - 1) * half, np.abs(region.u) - width)


def paint_midline(canvas: Canvas, patient: Patient, grains: tuple[Grain, Grain]) -> None:
    """Paint the ligaments between and behind the spinous processes, with fat between fibres."""
    first, last = patient.bodies[1], patient.bodies[9]
    region = canvas.region((first.top, 22.0, -6.0), (last.top + 12, 54.0, 6.0))
    low, high = patient.discs[7].s, last.top
    tip = 51.0 * patient.scale - 15.0 * np.clip((region.s - low) / (high - low), 0, 1.3)
    away = np.maximum(np.abs(region.u) - 3.2, np.maximum(25.0 - region.v, region.v - tip))
    fine, broad = grains
    canvas.paint(region, canvas.soft(away), Tissue.FIBROSIS, 1 + 0.15 * fine.at(region))
    streaks = np.clip(0.5 + 0.9 * broad.at(region, 21) + 0.4 * fine.at(region, 5), 0, 1)
    canvas.paint(
        region,
        patient.looks.streaks * (0.25 + 0.6 * patient.fatty_muscle) * streaks * canvas.soft(away),
        Tissue.FAT,
    )
    behind = np.maximum(np.abs(region.v - tip) - 1.0, np.abs(region.u) - 4.0)
    canvas.paint(region, canvas.soft(behind), Tissue.LIGAMENT)


def paint_sacrum(canvas: Canvas, patient: Patient, grains: tuple[Grain, Grain]) -> None:
    """Paint the wings of the sacrum with their foramina, and its median crest."""
    bodies = [b for b in patient.bodies if b.is_sacral]
    top, bottom = bodies[0].top, bodies[-1].bottom
    region = canvas.region((top - 4, -26.0, -60.0), (bottom, 26.0, 60.0))
    t = np.clip((region.s - top) / (bottom - top), 0, 1)
    off = np.abs(region.u)
    front = -21.0 + 9.0 * t + 0.10 * np.clip(off - 20, 0, None)
    back = 13.0 - 5.0 * t
    # The upper edge of the wings falls away to the side.
    roof = top + 1.0 + 0.22 * np.clip(off - 16, 0, None) - region.s
    wing = np.maximum(np.maximum(front - region.v, region.v - back), roof)
    wing = np.maximum(wing, np.maximum(off - (52.0 - 34.0 * t), 9.0 - 4.0 * t - off))
    behind = np.maximum(off - (13.0 - 8.0 * t), np.abs(region.v - 14.5 + 7.0 * t) - 2.6)
    behind = np.maximum(behind, top + 8.0 - region.s)
    bone = Bone(canvas, grains[0])
    bone.add(region, wing + np.float32(0.5) * grains[1].at(region))
    bone.add(region, behind + np.float32(1.2) * grains[1].at(region, 40))
    above = patient.discs[patient.bodies.index(bodies[0]) - 1]
    for side in Side:
        _superior(
            bone,
            canvas,
            (bodies[0], above),
            side,
            patient.scale,
            old=patient.anomalies.worn(patient.discs.index(above), side),
            bulk=patient.looks.facets,
        )
    bone.paint(1.2)
    for upper, lower in pairwise(bodies):
        s = 0.5 * (upper.bottom + lower.top)
        for sign in (1.0, -1.0):
            u = sign * (upper.canal_half_width + 5.0)
            hole = ((s - 3, 8.0, u - sign * 4), (s + 4, -24.0, u + sign * 5))
            where, away = canvas.capsule(hole, (4.2, 5.5))
            if not patient.looks.natural:
                canvas.paint(where, canvas.soft(away), Tissue.CORTEX)
            canvas.paint(where, canvas.soft(away + 1.0), Tissue.FAT)
            where, away = canvas.capsule(hole, (1.8, 1.8))
            canvas.paint(where, canvas.soft(away), Tissue.NERVE, 0.9)
