"""What lies in the canal and the foramina: fat, flavum, dural sac, cord, roots and nerves."""

import numpy as np
from numpy.typing import NDArray

from node.phantom.canvas import Canvas, Grain, Region, rounded
from node.phantom.contrast import Array, Tissue
from node.phantom.curve import Vector
from node.phantom.patient import Patient, foramen_centre, recess_offset
from node.spine.anatomy import Side


class Sac:
    """The dural sac as an ellipse at every place along the spine, mm.

    Attributes
    ----------
    s : (n,) float64
    front, back, half_width : (n,) float64
        The v of its anterior and posterior wall; half its width.
    effaced : (n,) float64
        0 to 1: how far the roots have taken the place of the CSF.
    """

    def __init__(self, patient: Patient) -> None:
        s = np.arange(patient.bodies[0].top, patient.sac_end + 12.0, 0.5)
        taper = patient.sac_taper(s)
        depth, width = patient.sac_depth * taper, patient.sac_half_width * taper
        fat = patient.epidural_fat(s)
        front, back = fat, fat + depth
        effaced = np.zeros_like(s)
        for disc in patient.discs:
            near = np.exp(-(((s - disc.s) / (0.5 * disc.height + 4.0)) ** 2))
            # From about 165 mm² to 100 mm² at moderate, 65 mm² at severe and 30 mm² at worst.
            narrowed = (0.9 + 9.0 * disc.canal) * patient.narrowing * near * taper
            front = front + narrowed * disc.front_share
            back = back - narrowed * (1 - disc.front_share)
            width = width * (1 - 0.38 * disc.canal * near)
            effaced = effaced + near * np.clip((disc.canal - 0.35) / 0.5, 0, 1)
        middle = 0.5 * (front + back)
        half = np.maximum(0.5 * (back - front), 0.9 * (taper > 0))
        self.s, self.effaced = s, np.clip(effaced, 0, 1)
        self.front, self.back, self.half_width = middle - half, middle + half, width
        self.end, self._triangle = patient.sac_end, patient.looks.triangle

    def at(self, s: NDArray[np.floating] | float) -> tuple[Vector, Vector, Vector]:
        """Return the middle, half depth and half width (mm) at places along the spine."""
        front, back, width = (
            np.asarray(np.interp(s, self.s, a)) for a in (self.front, self.back, self.half_width)
        )
        return 0.5 * (front + back), 0.5 * (back - front), width

    def outside(self, region: Region) -> Array:
        """Return the distance (mm) outside the sac, negative within it."""
        middle, depth, width = (a[:, None, None] for a in self.at(region.s.ravel()))
        dv, du = (region.v - middle) / (depth + 0.01), region.u / (width + 0.01)
        if self._triangle:
            du = du / (1 - self._triangle * np.clip(dv, -1, 1))
        norm = (np.abs(du) ** 2.2 + np.abs(dv) ** 2.2) ** (1 / 2.2)
        return np.asarray((norm - 1) * np.minimum(depth, width), dtype=np.float32)

    def area(self, s: float) -> float:
        """Return the cross-section in mm²."""
        _, depth, width = self.at(s)
        return float(np.pi * depth * width)


def paint_fat(canvas: Canvas, patient: Patient, grain: Grain) -> None:
    """Fill canal, recesses and foramina with fat; everything else is painted over it."""
    for k, body in enumerate(patient.bodies):
        hw, pw = body.canal_half_width, body.pedicle_width
        bottom = patient.bodies[k + 1].top if k + 1 < len(patient.bodies) else body.bottom
        region = canvas.region((body.top, -4.0, -hw - pw - 8), (bottom, 30.0, hw + pw + 8))
        du = np.abs(region.u)
        away = np.maximum(region.v - 25.0 + 0.35 * du, du - (hw + 0.8 * pw))
        if body.is_sacral:
            away = np.maximum(du - hw, region.v - 17.0)
        cover = np.clip(0.5 - away / 3.0, 0, 1)
        canvas.paint(region, cover, Tissue.FAT, 0.94 + 0.06 * grain.at(region))


def paint_sac(
    canvas: Canvas, patient: Patient, sac: Sac, grain: Grain, rng: np.random.Generator
) -> None:
    """Paint dura, CSF, cord with conus, and the roots of the cauda equina."""
    region = canvas.region((float(sac.s[0]), -1.0, -13.0), (sac.end, 24.0, 13.0))
    s = region.s.ravel()
    middle, depth, _ = (a[:, None, None].astype(np.float32) for a in sac.at(s))
    away = sac.outside(region)
    canvas.paint(region, canvas.soft(away - 0.5) * (depth > 0.8), Tissue.LIGAMENT)
    csf = canvas.soft(away) * (depth > 0.8)
    flow = patient.looks.pulsation
    pulsation = 1 - flow * np.sin(region.s / rng.uniform(9, 25) + rng.uniform(0, 6))
    if patient.looks.natural:
        pulsation = pulsation.clip(0, 1) * (1 - flow * np.clip(grain.at(region, 11), 0, 1))
    canvas.paint(region, csf, Tissue.CSF, pulsation)
    haze = np.exp(-(((region.v - middle - 0.5 * depth) / (0.36 * depth + 0.1)) ** 2))
    below = 1 / (1 + np.exp((patient.conus - 12 - region.s) / 6.0))
    above = 1 / (1 + np.exp((region.s - patient.discs[7].s) / 16.0))
    fibres = np.float32(rng.uniform(0.2, 0.5)) * haze * below * above
    canvas.paint(region, fibres * csf, Tissue.NERVE)
    canvas.paint(region, _roots(canvas, patient, sac, region, rng) * csf, Tissue.NERVE)
    gone = np.interp(s, sac.s, sac.effaced).astype(np.float32)[:, None, None]
    canvas.paint(region, np.float32(0.92) * gone * csf, Tissue.NERVE, 0.85)
    thin = np.clip((patient.conus - region.s) / 26.0, 0, 1) ** 0.55
    cord_v, cord_u = 3.3 * thin + 0.01, 4.6 * thin + 0.01
    lie = middle + 0.28 * depth
    away = (np.sqrt(((region.v - lie) / cord_v) ** 2 + (region.u / cord_u) ** 2) - 1) * cord_v
    canvas.paint(region, canvas.soft(away) * (thin > 0), Tissue.NERVE)


def _roots(
    canvas: Canvas, patient: Patient, sac: Sac, region: Region, rng: np.random.Generator
) -> Array:
    """Coverage of the cauda equina: threads from the conus, the last to leave lie in the middle."""
    cover = np.zeros((region.s.size, region.v.size, region.u.size), np.float32)
    s = region.s.ravel()
    if not s.size:
        return cover
    middle, depth, width = sac.at(s)
    v0, u0, h = float(region.v.ravel()[0]), float(region.u.ravel()[0]), canvas.spacing
    exits = [d.s - 6.0 for d in patient.discs[4:11]]
    for j, leave in enumerate(exits):
        for sign in (-1.0, 1.0):
            for _ in range(2 if j > 3 else 3):
                lateral = np.clip(0.92 - (leave - s) / 130.0, 0.12, 0.92) + rng.normal(0, 0.05)
                low = 0.25 + rng.normal(0, 0.14) + 0.25 * np.clip((leave - s) / 90, 0, 1)
                wave = 0.07 * np.sin(s / rng.uniform(10, 24) + rng.uniform(0, 6))
                v = middle + depth * np.clip(low - 0.9 * (lateral - 0.5) + wave, -0.7, 0.8)
                u = sign * width * np.clip(lateral + wave, 0.05, 0.95)
                on = (s > patient.conus - 18 + rng.uniform(0, 14)) & (s < leave)
                _stamp(
                    cover,
                    (v - v0) / h,
                    (u - u0) / h,
                    on,
                    patient.looks.roots * rng.uniform(0.65, 0.95) / h,
                )
    return cover


def _stamp(cover: Array, v: Vector, u: Vector, on: NDArray[np.bool_], radius: float) -> None:
    """Draw one thread of given radius (voxels) through a stack of cross-sections."""
    n = np.flatnonzero(on)
    iv, iu = np.rint(v[n]).astype(int), np.rint(u[n]).astype(int)
    for a in (-2, -1, 0, 1, 2):
        for b in (-2, -1, 0, 1, 2):
            pv, pu = iv + a, iu + b
            ok = (pv >= 0) & (pv < cover.shape[1]) & (pu >= 0) & (pu < cover.shape[2])
            away = np.hypot(pv - v[n], pu - u[n]) - radius
            value = np.clip(0.5 - away, 0, 1)[ok]
            at = (n[ok], pv[ok], pu[ok])
            cover[at] = np.maximum(cover[at], value)


def paint_flavum(canvas: Canvas, patient: Patient, k: int, grain: Grain | None) -> None:
    """Paint the ligamentum flavum between the laminae of vertebra ``k`` and the next.

    With a grain it is ragged and thins out, as in the wide population.
    """
    body, disc = patient.bodies[k], patient.discs[k]
    if body.is_sacral:
        return
    hw = body.canal_half_width
    thick = disc.flavum + disc.canal * (4.0 + 8.5 * (1 - disc.front_share))
    top, bottom = 0.5 * (body.bottom + body.pedicle_s) + 4, disc.s + 0.5 * disc.height + 7.0
    region = canvas.region((top - 2, 4.0, -hw - 4), (bottom + 2, 28.0, hw + 4))
    side = np.abs(region.u)
    for sign in (1.0, -1.0):
        worn = disc.recess[Side.LEFT if sign > 0 else Side.RIGHT]
        t = thick + 1.6 * worn
        # The V opens forward: its inner face is where the sac may reach.
        outer = 23.6 - 0.66 * side
        inside = outer - t * np.clip(1.15 - 0.02 * side, 0, None)
        away = np.maximum(inside - region.v, region.v - outer - 1.0)
        away = np.maximum(away, np.maximum(side - hw - 1.5, 0.9 - sign * region.u))
        middle = 0.5 * (top + bottom)
        if grain is None:
            away = np.maximum(away, np.abs(region.s - middle) - 0.5 * (bottom - top))
            canvas.paint(region, canvas.soft(away), Tissue.FLAVUM)
        else:
            _ragged_flavum(canvas, region, away, (middle, 0.5 * (bottom - top)), grain)


def _ragged_flavum(
    canvas: Canvas, region: Region, away: Array, along: tuple[float, float], grain: Grain
) -> None:
    """Paint a flavum that thins towards the laminae, of fibres, without sharp ends."""
    middle, half = along
    far = (region.s - middle) / half
    away = away + np.float32(2.0) * far**4 + np.float32(0.35) * grain.at(region, 3)
    away = rounded(away, np.abs(region.s - middle) - half - 1.5, 3.0)
    texture = np.clip(1 + np.float32(0.15) * grain.at(region, 8), 0.5, 1.5)
    canvas.paint(region, np.clip(0.5 - away / 1.4, 0, 1), Tissue.FLAVUM, texture)


def paint_recesses(canvas: Canvas, patient: Patient, sac: Sac, k: int) -> None:
    """Paint both lateral recesses at the disc below vertebra ``k``: fat and the traversing root."""
    body, disc = patient.bodies[k], patient.discs[k]
    for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
        worse = disc.recess[side]
        u = sign * recess_offset(body)
        reach = 0.5 * disc.height + 6.0
        depth, width = 3.0 - 2.6 * worse, 3.0 - 1.6 * worse
        v = 4.2 + 0.5 * worse
        # The facet's spur and the capsule close the recess from behind and outside.
        spur = (disc.s + 1, 8.0 - 1.2 * worse, u + sign * 2.0)
        region, away = canvas.blob(spur, (reach, 1.2 + 2.6 * worse, 1.5 + 2.6 * worse))
        canvas.paint(region, min(1.0, 2.5 * worse) * canvas.soft(away), Tissue.FLAVUM, 0.9)
        region, away = canvas.blob((disc.s, v, u), (reach, depth, width))
        # At the disc the sac lies beside the recess: the fat stays outside it.
        away = np.maximum(away, -sac.outside(region))
        canvas.paint(region, canvas.soft(away), Tissue.FAT, 0.95)
        flat = 1.0 - 0.55 * np.clip((worse - 0.35) / 0.5, 0, 1)
        root = (reach + 3, 1.55 * flat, 1.75 - 0.35 * (1 - flat))
        region, away = canvas.blob((disc.s, v, u - sign * 0.4 * worse), root)
        canvas.paint(region, canvas.soft(away), Tissue.NERVE)


def paint_foramina(canvas: Canvas, patient: Patient, k: int, grain: Grain | None) -> None:
    """Paint both foramina under the pedicles of vertebra ``k``: capsule, fat keyhole and root."""
    body, disc = patient.bodies[k], patient.discs[k]
    if body.is_sacral:
        return
    below = patient.bodies[k + 1]
    roof = body.pedicle_s + body.pedicle_half_height
    floor = below.pedicle_s - below.pedicle_half_height
    _, v, u = foramen_centre(body, disc)
    half = 0.5 * body.pedicle_width + 4.0
    for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
        worse = disc.foramen[side]
        room = floor - roof
        closed = (0.5 * (roof + floor), v + 0.5, sign * u)
        region, away = canvas.blob(closed, (0.46 * room, 6.0, half + 2))
        if grain is not None:  # up to the bones, with no rim of fat around it
            region, away = canvas.blob(closed, (0.54 * room, 7.0, half + 2))
            away = away + np.float32(0.8) * grain.at(region, 13)
        seen = float(np.clip(2.4 * (worse - 0.15), 0, 1))
        canvas.paint(region, seen * canvas.soft(away), Tissue.FIBROSIS)
        s = roof + 1.0 + (0.28 - 0.05 * worse) * room
        high, deep = (0.30 - 0.20 * worse) * room, 5.2 - 3.6 * worse
        region, away = canvas.blob((s, v, sign * u), (high, deep, half + 3))
        if grain is not None:
            away = away + np.float32(0.6) * grain.at(region, 19)
        canvas.paint(region, canvas.soft(away), Tissue.FAT, 0.97)
        keyhole = (s + 0.33 * room, v + 0.6, sign * u)
        size = (0.26 * room * (1 - 0.85 * worse), 3.4 * (1 - 0.9 * worse), half)
        if min(size) > 0.5:
            region, away = canvas.blob(keyhole, size)
            canvas.paint(region, canvas.soft(away), Tissue.FAT, 0.97)
        _nerve(canvas, (s, v, sign * u), worse, sign)


def _nerve(canvas: Canvas, centre: tuple[float, float, float], worse: float, sign: float) -> None:
    """The root from the sac through its ganglion in the foramen, then down and outward."""
    s, v, u = centre
    flat = 1.0 - 0.6 * float(np.clip((worse - 0.5) / 0.4, 0, 1))
    region, away = canvas.blob((s + 0.5, v, u), (2.9 * (0.5 + 0.5 * flat), 2.7 * flat, 7.5))
    canvas.paint(region, canvas.soft(away), Tissue.NERVE, 0.9)
    inner = (s - 8.0, v + 0.5, u - sign * 7.0)
    beyond = (s + 12.0, v - 6.0, u + sign * 13.0)
    for ends in ((inner, (s, v, u - sign * 3)), ((s + 1, v, u + sign * 5), beyond)):
        region, away = canvas.capsule(ends, (1.4 * flat, 1.7 * flat))
        canvas.paint(region, canvas.soft(away), Tissue.NERVE, 0.9)
