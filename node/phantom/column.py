"""Vertebrae and discs: the bony column, painted in spine coordinates."""

import numpy as np

from node.phantom.canvas import Canvas, Grain, Region
from node.phantom.contrast import Array, Tissue
from node.phantom.patient import Body, Disc, Patient
from node.spine.anatomy import Side

_RIM = 0.9  # thickness of cortex and endplate, mm


def outline(v: Array, u: Array, half_width: float, depth: float) -> tuple[Array, Array]:
    """Return the distance (mm) outside a vertebra's cross-section, and the relative radius.

    The outline is a superellipse whose back is hollow; 1 is its rim.

    Parameters
    ----------
    v, u : arrays that broadcast
        mm from the posterior wall, from the midline.
    half_width, depth : float
        mm.
    """
    hollow = 0.055 * depth * np.exp(-((u / (0.5 * half_width)) ** 2))
    dv = (v + hollow * (v > -depth / 2) + depth / 2) / (depth / 2)
    du = u / half_width
    norm = (np.abs(du) ** 2.35 + np.abs(dv) ** 2.35) ** (1 / 2.35) + np.float32(1e-4)
    radius = np.sqrt((du * half_width) ** 2 + (dv * depth / 2) ** 2)
    return (radius - radius / norm).astype(np.float32), norm.astype(np.float32)


def paint_disc(canvas: Canvas, disc: Disc, grain: Grain) -> None:
    """Paint a disc with its bulges; bodies painted later cut it to the disc space."""
    reach = disc.height / 2 + 5.0
    w = disc.half_width + 8.0
    region = canvas.region((disc.s - reach, -disc.depth - 6, -w), (disc.s + reach, 12.0, w))
    away, norm = outline(region.v, region.u, disc.half_width, disc.depth)
    away = away + 0.4 - _bulge(disc, region)
    half = disc.height / 2 + 2.2 + 0.45 * disc.osteophyte * (norm > 0.85)
    thick = half - np.float32(0.75) * np.clip(away + 1.5, 0, None)
    cover = canvas.soft(np.maximum(away, np.abs(region.s - disc.s) - thick))
    texture = 1 + 0.10 * grain.at(region)
    canvas.paint(region, cover, Tissue.ANNULUS, texture)
    _nucleus(canvas, disc, region, away, texture)


def _nucleus(canvas: Canvas, disc: Disc, region: Region, away: Array, texture: Array) -> None:
    """Inner annulus and nucleus: bright in a young disc, with the dark cleft of an older one."""
    if disc.height < 2.0:
        return
    ds = np.abs(region.s - disc.s)
    inner = np.maximum(away + 4.0, (ds - 0.42 * disc.height) * 2)
    dv = (region.v + 0.46 * disc.depth) / (0.33 * disc.depth)
    du = region.u / (0.60 * disc.half_width)
    dome = 0.40 * disc.height * (1 - 0.35 * np.clip(du**2 + dv**2, 0, 1))
    core = np.maximum((np.sqrt(du**2 + dv**2) - 1) * 0.3 * disc.depth, (ds - dome) * 1.6)
    wet = disc.water
    cleft = 1 - 0.55 * wet * np.exp(-((ds / 0.9) ** 2)) * (wet < 0.9)
    edge = np.clip(0.5 - inner / 3.0, 0, 1) * np.float32(0.45 * wet + 0.12)
    canvas.paint(region, edge, Tissue.NUCLEUS, texture)
    canvas.paint(region, np.clip(0.5 - core / 2.5, 0, 1) * cleft * wet, Tissue.NUCLEUS, texture)


def _bulge(disc: Disc, region: Region) -> Array:
    """How far (mm) the disc stands out, by direction; posterior parts follow the findings."""
    u, v = region.u, region.v
    back = np.clip((v + 0.35 * disc.depth) / (0.3 * disc.depth), 0, 1)
    out = disc.bulge * np.ones_like(u * v)
    out += back * 5.4 * disc.canal * disc.front_share * np.exp(-((u / 7.0) ** 2))
    out += np.clip(-(v + 0.75 * disc.depth) / 4, 0, 1) * 0.8 * disc.osteophyte
    for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
        recess = np.exp(-(((sign * u - 9.5) / 4.0) ** 2)) * disc.recess[side]
        foramen = np.exp(-(((sign * u - 18.0) / 5.0) ** 2)) * disc.foramen[side]
        out += back * (3.4 * recess + 4.2 * foramen)
    return np.asarray(out, dtype=np.float32)


def paint_body(
    canvas: Canvas,
    body: Body,
    around: tuple[Disc | None, Disc | None],
    grains: tuple[Grain, Grain],
    rng: np.random.Generator,
) -> None:
    """Paint a vertebral body: cortex, marrow, basivertebral vein, endplate changes.

    Parameters
    ----------
    canvas : Canvas
    body : Body
    around : the disc above and the disc below
    grains : fine and broad texture of the marrow
    rng : numpy Generator
    """
    w = body.half_width + 7.0
    region = canvas.region((body.top - 2, -body.depth - 9, -w), (body.bottom + 2, 7.0, w))
    if not all(n.stop > n.start for n in region.at):
        return
    v = region.v + body.slip
    away, norm = outline(v, region.u, body.half_width, body.depth)
    middle, half = (body.top + body.bottom) / 2, (body.bottom - body.top) / 2
    level = (region.s - middle) / half
    waist = (0.5 if body.is_sacral else 2.0) * (1 - np.clip(level**2, 0, 1))
    hollow = (0.0 if body.is_sacral else rng.uniform(0.6, 1.9)) * (1 - np.clip(norm, 0, 1) ** 2)
    ends = np.maximum(body.top + 0.7 * hollow - region.s, region.s - body.bottom + hollow)
    spurs = _spurs(around, region, v, level)
    shape = np.maximum(away + waist - spurs, ends)
    canvas.paint(region, canvas.soft(shape), Tissue.CORTEX)
    # The chemical shift along the readout makes one endplate look thicker than the other.
    rim = np.maximum(away + waist - spurs + 0.8, ends + _RIM)
    fine, broad = grains
    spread = rng.uniform(0.06, 0.16)
    texture = 1 + spread * fine.at(region) + 0.8 * spread * broad.at(region)
    marrow = canvas.soft(rim)
    canvas.paint(region, marrow, Tissue.MARROW, np.clip(texture, 0.4, 1.9))
    _vein(canvas, body, region, marrow, middle)
    _endplate_change(canvas, around, region, marrow, grains[1])
    if rng.random() < 0.06 and not body.is_sacral:
        _haemangioma(canvas, body, rng)


def _spurs(
    around: tuple[Disc | None, Disc | None], region: Region, v: Array, level: Array
) -> Array:
    """Marginal osteophytes: the rim flares towards worn discs, most in front."""
    out = np.zeros_like(level * v)
    for disc, sign in zip(around, (-1.0, 1.0), strict=True):
        if disc is not None:
            flare = np.clip(sign * level - 0.45, 0, 0.6) ** 2 / 0.36
            front = 0.35 + 0.65 * np.clip(-(v + 0.5 * disc.depth) / (0.4 * disc.depth), 0, 1)
            out = out + disc.osteophyte * flare * front
    return np.asarray(out + 0 * region.u[:, :, :1], dtype=np.float32)


def _vein(canvas: Canvas, body: Body, region: Region, marrow: Array, middle: float) -> None:
    """The basivertebral vein: a bright wedge that opens to the back at mid height."""
    if body.is_sacral:
        return
    deep = np.clip((region.v + 0.42 * body.depth) / (0.42 * body.depth), 0, 1)
    height = 0.6 + 2.0 * deep
    cover = np.exp(-(((region.s - middle) / height) ** 2)) * deep**0.7
    cover = cover * np.exp(-((region.u / (2.0 + 5.0 * deep)) ** 2))
    canvas.paint(region, np.float32(0.7) * cover * marrow, Tissue.FLUID, np.float32(0.55))


def _endplate_change(
    canvas: Canvas,
    around: tuple[Disc | None, Disc | None],
    region: Region,
    marrow: Array,
    grain: Grain,
) -> None:
    """Modic type 1 (oedema) or type 2 (fat) beside a worn disc."""
    for disc, sign in zip(around, (1.0, -1.0), strict=True):
        if disc is None or disc.modic == 0.0:
            continue
        near = sign * (region.s - disc.s) - disc.height / 2
        reach = 3.0 + 5.0 * abs(disc.modic) + 1.5 * grain.at(region)
        cover = np.clip((reach - near) / 3.0, 0, 1) * marrow * min(1.0, 0.4 + abs(disc.modic))
        canvas.paint(region, cover, Tissue.OEDEMA if disc.modic > 0 else Tissue.FAT, 0.85)


def _haemangioma(canvas: Canvas, body: Body, rng: np.random.Generator) -> None:
    centre = (
        rng.uniform(body.top + 8, body.bottom - 8),
        rng.uniform(-0.7, -0.3) * body.depth,
        rng.uniform(-0.5, 0.5) * body.half_width,
    )
    radius = float(rng.uniform(2.5, 6.0))
    region, away = canvas.blob(centre, (radius, radius, radius))
    canvas.paint(region, 0.8 * canvas.soft(away), Tissue.FAT)


def paint_arch(canvas: Canvas, patient: Patient, k: int, grains: tuple[Grain, Grain]) -> None:
    """Paint pedicles, articular processes, laminae and the spinous process of vertebra ``k``."""
    body = patient.bodies[k]
    if body.is_sacral:
        return
    disc_above, disc_below = patient.discs[k - 1], patient.discs[k]
    scale, hw, pw = patient.scale, body.canal_half_width, body.pedicle_width
    ps, slip = body.pedicle_s, -body.slip
    fine = grains[0]
    for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
        _pedicle(canvas, body, sign, fine)
        worn = max(disc_below.recess[side], 0.6 * disc_below.foramen[side])
        # Inferior articular process, behind the superior one of the vertebra below.
        pars = (ps + 3, 12.5 + slip, sign * (hw + 2.5))
        knee = (body.bottom - 2, 18.0 + slip, sign * (hw + 1.0))
        tip = (disc_below.s + 8.5 * scale, 19.5 + slip, sign * (hw + 1.5))
        _bone(canvas, (pars, knee), (3.8 * scale, 4.2 * scale), fine)
        _bone(canvas, (knee, tip), (4.4 * scale, (4.2 + 0.8 * worn) * scale), fine)
        worn = max(disc_above.recess[side], 0.8 * disc_above.foramen[side])
        root = (ps, 10.0, sign * (hw + 0.55 * pw))
        tip = (disc_above.s - 5.5 * scale, 13.0 - 1.0 * worn, sign * (hw + 4.5))
        _bone(canvas, (root, tip), (4.4 * scale, (3.6 + 0.8 * worn) * scale), fine)
        _facet_gap(canvas, disc_above, (hw, scale), sign)
        if body.name[0] == "L":
            ends = ((ps, 8.5, sign * (hw + pw)), (ps - 1, 11.0, sign * 44.0))
            _bone(canvas, ends, (4.0 * scale, 2.6 * scale), fine)
    _lamina(canvas, body, scale, fine)
    _spinous(canvas, body, scale, fine)


def _bone(
    canvas: Canvas,
    ends: tuple[tuple[float, float, float], tuple[float, float, float]],
    radii: tuple[float, float],
    grain: Grain,
) -> None:
    region, away = canvas.capsule(ends, radii)
    canvas.paint(region, canvas.soft(away), Tissue.CORTEX)
    texture = 1 + 0.12 * grain.at(region)
    canvas.paint(region, canvas.soft(away + 1.2), Tissue.MARROW, texture)


def _pedicle(canvas: Canvas, body: Body, sign: float, grain: Grain) -> None:
    half, pw = body.pedicle_half_height, body.pedicle_width / 2
    centre = sign * (body.canal_half_width + pw)
    ps, slip = body.pedicle_s, -body.slip
    region = canvas.region(
        (ps - half - 2, -9.0, min(centre - pw, centre + pw) - 2),
        (ps + half + 2, 14.0, max(centre - pw, centre + pw) + 2),
    )
    ds, du = (region.s - ps) / half, (region.u - centre) / pw
    norm = np.sqrt(ds**2 + du**2) + np.float32(1e-4)
    away = np.maximum((norm - 1) * min(half, pw), np.abs(region.v - slip - 2.0) - 10.5)
    canvas.paint(region, canvas.soft(away), Tissue.CORTEX)
    # The marrow of the pedicle runs on into the body: only its sides have a cortex.
    marrow = np.maximum((norm - 1) * min(half, pw) + 1.0, np.abs(region.v - slip - 1.0) - 10.0)
    canvas.paint(region, canvas.soft(marrow), Tissue.MARROW, 1 + 0.12 * grain.at(region))


def _facet_gap(canvas: Canvas, disc: Disc, size: tuple[float, float], sign: float) -> None:
    """Cartilage and a little fluid between the articular processes."""
    hw, scale = size
    ends = (
        (disc.s - 4.0 * scale, 16.6, sign * (hw + 1.2)),
        (disc.s + 5.0 * scale, 16.6, sign * (hw + 1.2)),
    )
    region, away = canvas.capsule(ends, (4.5, 4.5))
    du = sign * region.u - (hw + 2.8)
    joint = np.abs((region.v - 16.8) + 0.55 * du) - 0.5
    cover = 0.8 * canvas.soft(np.maximum(away, joint))
    canvas.paint(region, cover, Tissue.CARTILAGE)


def _lamina(canvas: Canvas, body: Body, scale: float, grain: Grain) -> None:
    """The plate from the articular processes to the midline, sloping back to the feet."""
    hw, slip = body.canal_half_width, -body.slip
    middle = 0.35 * body.pedicle_s + 0.65 * body.bottom
    half = 8.5 * scale
    region = canvas.region(
        (middle - half - 2, 11.0 + slip, -hw - 3), (middle + half + 2, 30.0 + slip, hw + 3)
    )
    side = np.abs(region.u)
    plate = 24.5 + slip - 0.62 * side + 0.22 * (region.s - middle)
    away = np.maximum(np.abs(region.v - plate) - 2.6, np.abs(region.s - middle) - half)
    away = np.maximum(away, side - hw - 2)
    canvas.paint(region, canvas.soft(away), Tissue.CORTEX)
    canvas.paint(region, canvas.soft(away + 1.1), Tissue.MARROW, 1 + 0.12 * grain.at(region))


def _spinous(canvas: Canvas, body: Body, scale: float, grain: Grain) -> None:
    """The plate behind the laminae, thicker at its tip."""
    slip = -body.slip
    length = {"L5": 17.0, "L4": 24.0}.get(body.name, 27.0) * scale
    half = {"L5": 7.5}.get(body.name, 10.5) * scale
    middle = 0.35 * body.pedicle_s + 0.65 * body.bottom + 2.0
    start = 24.0 + slip
    region = canvas.region(
        (middle - half - 4, start, -7.0), (middle + half + 12, start + length + 3, 7.0)
    )
    far = (region.v - start) / length
    slope = 0.9 if body.name[0] == "T" else 0.28
    ds = np.abs(region.s - middle - slope * length * far) - half * (0.78 + 0.22 * far)
    away = np.maximum(ds, np.abs(region.u) - (2.4 + 1.8 * np.clip(far, 0, 1) ** 3))
    corner = np.maximum(region.v - start - length, 0) + 0.0 * far
    away = np.maximum(away, corner - 0.3 + 0.06 * np.clip(ds + 4, 0, None) ** 2)
    canvas.paint(region, canvas.soft(away), Tissue.CORTEX)
    canvas.paint(region, canvas.soft(away + 1.1), Tissue.MARROW, 1 + 0.12 * grain.at(region))
