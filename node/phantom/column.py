"""Vertebrae and discs: the bony column, painted in spine coordinates."""

import numpy as np

from node.phantom.canvas import Canvas, Grain, Region, rounded
from node.phantom.contrast import Array, Tissue
from node.phantom.patient import Body, Disc
from node.phantom.population import Looks
from node.spine.anatomy import Side


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
    hollow = 0.035 * depth * np.exp(-((u / (0.5 * half_width)) ** 2))
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
    dv = (region.v + 0.46 * disc.depth) / (0.36 * disc.depth)
    du = region.u / (0.64 * disc.half_width)
    round_ = np.clip(du**2 + dv**2, 0, 1)
    # A lens: the endplates hollow out over its middle.
    inner = np.maximum(away + 3.5, (ds - 0.46 * disc.height - 1.5 * (1 - round_)) * 2)
    dome = 0.48 * disc.height * (1 - 0.8 * round_**1.5) + 1.6 * (1 - round_)
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
    *,
    looks: Looks,
    front_loss: float,
) -> None:
    """Paint a vertebral body: cortex, marrow, basivertebral vein, endplate changes.

    Parameters
    ----------
    canvas : Canvas
    body : Body
    around : the disc above and the disc below
    grains : fine and broad texture of the marrow
    rng : numpy Generator
    looks : Looks
    front_loss : float
        Share of its front height lost to a fracture.
    """
    w = body.half_width + 7.0
    region = canvas.region((body.top - 2, -body.depth - 9, -w), (body.bottom + 2, 7.0, w))
    if not all(n.stop > n.start for n in region.at):
        return
    narrow = np.clip((region.s - body.top) / (body.bottom - body.top), 0, 1)
    narrow = 1 + (body.taper - 1) * narrow if body.taper != 1.0 else np.float32(1)
    v = region.v + body.slip
    away, norm = outline(v / narrow, region.u / narrow, body.half_width, body.depth)
    away = away * narrow
    middle, half = (body.top + body.bottom) / 2, (body.bottom - body.top) / 2
    level = (region.s - middle) / half
    waist = (0.5 if body.is_sacral else looks.waist) * (1 - np.clip(level**2, 0, 1))
    deep = 0.0 if body.is_sacral else rng.uniform(*looks.hollow)
    hollow = deep * (1 - np.clip(norm, 0, 1) ** 2)
    if front_loss:
        sunk = np.clip(-v / body.depth, 0, 1) ** 0.8 * 2 * half * front_loss
        hollow = hollow + sunk
    ends = np.maximum(body.top + 0.7 * hollow - region.s, region.s - body.bottom + hollow)
    spurs = _spurs(around, region, v, level)
    fine, broad = grains
    away = away + waist - spurs + np.float32(0.4) * broad.at(region, 31)
    shape = rounded(away, ends)
    canvas.paint(region, canvas.soft(shape), Tissue.CORTEX)
    # The chemical shift along the readout makes one endplate look thicker than the other.
    rim = rounded(away + looks.rim, ends + looks.plate)
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
