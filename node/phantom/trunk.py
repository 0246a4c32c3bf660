"""Everything around the column: skin, fat, muscles, vessels, kidneys, bowel, pelvis.

Painted coarsely in anatomical coordinates: here a canvas's ``s`` is -z, its ``v`` is y and its
``u`` is x (mm).
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from node.phantom.canvas import Canvas, Grain, Region
from node.phantom.contrast import Array, Tissue
from node.phantom.curve import Vector
from node.phantom.patient import Patient

#: Fine, drawn out along the body, and broad texture.
Grains = tuple[Grain, Grain, Grain]


class Landmarks:
    """Where the spine, the back and the belly are at every height (mm).

    Attributes
    ----------
    h : (n,) float64
        -z, the canvas's first axis.
    x, y : (n,) float64
        The curve of the spine.
    back, fascia, belly : (n,) float64
        y of the skin of the back, of the fascia under its fat, of the skin of the belly.
    """

    def __init__(self, patient: Patient, canvas: Canvas, rng: np.random.Generator) -> None:
        self.h = canvas.low[0] + canvas.steps[0] * np.arange(canvas.shape[0])
        path, discs = patient.curve.path, patient.discs
        self.x = np.interp(self.h, -path[:, 2], path[:, 0])
        self.y = np.interp(self.h, -path[:, 2], path[:, 1])
        self.level = np.interp(
            self.h, [-patient.curve.to_anatomy(d.s, 0, 0)[2] for d in discs], np.arange(len(discs))
        )
        # Tips of the spinous processes: far behind at L3, near at the sacrum.
        tip = (
            np.interp(self.level, (0, 3, 6, 7, 8, 9, 10), (48, 51, 54, 52, 46, 40, 34))
            * patient.scale
        )
        smooth = 14.0 / canvas.steps[0]
        self.fascia = gaussian_filter1d(self.y + tip, smooth, mode="nearest")
        fat = patient.skin_fat * np.interp(self.level, (0, 4, 8, 10), (0.55, 0.7, 1.5, 1.7))
        self.back = gaussian_filter1d(self.fascia + fat, smooth, mode="nearest")
        depth = rng.normal(125, 14) + 1.2 * patient.skin_fat
        wave = 6 * np.sin(self.h / rng.uniform(40, 70) + rng.uniform(0, 6))
        self.belly = gaussian_filter1d(np.full_like(self.h, self.y.mean()) - depth + wave, smooth)
        self.belly_fat = 0.9 * patient.skin_fat

    def at(self, region: Region, values: Vector) -> Array:
        """Return a landmark for the rows of a region, shaped to broadcast."""
        return values[region.at[0]].astype(np.float32)[:, None, None]

    def height(self, patient: Patient, s: float) -> float:
        """Return h of a place along the spine."""
        return -float(patient.curve.to_anatomy(s, 0, 0)[2])


def paint_trunk(
    canvas: Canvas, patient: Patient, grains: Grains, rng: np.random.Generator
) -> Landmarks:
    """Paint the whole coarse canvas; return the landmarks (the scanner's coil follows the back)."""
    marks = Landmarks(patient, canvas, rng)
    _skin_and_fat(canvas, marks, grains)
    _bowel(canvas, marks, patient, grains, rng)
    _kidneys_and_liver(canvas, marks, patient, grains, rng)
    _front_muscles(canvas, marks, patient, grains, rng)
    _back_muscles(canvas, marks, patient, grains)
    _pelvis(canvas, patient, grains)
    _vessels(canvas, marks, patient, rng)
    return marks


def _whole(canvas: Canvas) -> Region:
    low = canvas.low
    ends = zip(low, canvas.steps, canvas.shape, strict=True)
    high = tuple(a + step * n for a, step, n in ends)
    return canvas.region(low, (high[0], high[1], high[2]))


def _skin_and_fat(canvas: Canvas, marks: Landmarks, grains: Grains) -> None:
    region = _whole(canvas)
    dx = region.u - marks.at(region, marks.x)
    rounding = dx**2 / np.float32(420.0)
    furrow = np.float32(4.0) * np.exp(-((dx / 9.0) ** 2))
    outside = np.maximum(
        region.v - marks.at(region, marks.back) + rounding + furrow,
        marks.at(region, marks.belly) + rounding - region.v,
    )
    # Septa: thin darker sheets where slow noise crosses zero.
    septa = grains[2].map(lambda n: 1 - 0.3 * np.exp(-((n / 0.06) ** 2)) + 0.03 * np.roll(n, 7))
    texture = septa.at(region) * (canvas.soft(outside + 1.8))
    rim = canvas.soft(outside) - canvas.soft(outside + 1.8)
    for channel, fat, skin in zip(
        canvas.channels, canvas.table[Tissue.FAT], canvas.table[Tissue.SKIN], strict=True
    ):
        channel[:] = texture * fat + skin * rim


def _streaked(
    canvas: Canvas,
    region: Region,
    away: Array,
    grains: Grains,
    *,
    fatty: float,
    shift: int = 0,
    patchy: bool = False,
) -> None:
    """Paint a muscle with a dark rim and fat between its bundles, drawn out along the body.

    ``patchy`` lets the fat gather in places, as it does in worn muscles.
    """
    fine, drawn, broad = grains
    away = away + np.float32(0.8) * broad.at(region, shift)
    share: Array | float = fatty
    if patchy:
        share = np.float32(fatty) * np.clip(0.8 + 0.9 * broad.at(region, shift + 29), 0.1, 2.4)
    canvas.paint(region, np.float32(0.6) * canvas.soft(away - 0.4), Tissue.LIGAMENT, 1.1)
    canvas.paint(region, canvas.soft(away + 0.7), Tissue.MUSCLE, 1 + 0.10 * fine.at(region))
    sheets = np.abs(drawn.at(region, shift) + np.float32(0.25) * fine.at(region, shift))
    width = 0.06 + 0.5 * share
    streaks = np.clip(1.3 - sheets / width, 0, 1) * (0.45 + 0.4 * share)
    canvas.paint(region, streaks * canvas.soft(away + 1.2), Tissue.FAT)


@dataclass(frozen=True)
class _Bundle:
    """A muscle of the back: at which levels its middle lies where, and how wide it is, mm.

    ``front`` is its depth behind the spine's curve, ``power`` how square it is, ``fatty`` its
    share of the patient's fat, ``shift`` its place in the texture.
    """

    centre: tuple[tuple[float, ...], tuple[float, ...]]
    width: tuple[tuple[float, ...], tuple[float, ...]]
    front: float
    fatty: float
    shift: int
    power: float = 2.6

    def reach(self) -> tuple[float, float]:
        """Return the least and the greatest distance (mm) from the midline, with room to spare."""
        wide = max(self.width[1]) + 7
        return min(self.centre[1]) - wide, max(self.centre[1]) + wide


#: Erector spinae and multifidus.
_PLAIN = (
    _Bundle(
        ((0, 5, 8, 10), (30, 35, 38, 30)),
        ((0, 4, 7, 8.5, 10), (17, 22, 23, 15, 6)),
        *(12.0, 0.75, 0),
    ),
    _Bundle(
        ((0, 5, 8, 10), (10, 12, 15, 14)),
        ((0, 4, 7, 8.5, 11), (9, 12, 15.5, 15, 9)),
        *(16.0, 1.0, 13),
    ),
)
#: Iliocostalis, longissimus and multifidus, with fat between them.
_NATURAL = (
    _Bundle(
        ((0, 5, 8, 10), (45, 53, 54, 44)),
        ((0, 4, 7, 8.5, 10), (11, 15, 15, 8, 3)),
        *(13.0, 0.6, 0, 2.2),
    ),
    _Bundle(
        ((0, 5, 8, 10), (24, 29, 32, 27)),
        ((0, 4, 7, 8.5, 10), (11, 14, 14, 10, 5)),
        *(12.0, 0.85, 21, 2.3),
    ),
    _Bundle(
        ((0, 5, 8, 10), (9, 10, 14, 14)),
        ((0, 4, 7, 8.5, 11), (8, 11, 14.5, 15, 9)),
        *(15.0, 1.15, 13, 2.1),
    ),
)


def _back_muscles(canvas: Canvas, marks: Landmarks, patient: Patient, grains: Grains) -> None:
    """Multifidus beside the spinous processes, erector spinae outside it, on both sides."""
    low = canvas.low
    high = canvas.low[0] + canvas.steps[0] * canvas.shape[0]
    level = marks.level
    for sign, shift in ((1.0, 0), (-1.0, 37)):
        for bundle in _NATURAL if patient.looks.natural else _PLAIN:
            inner, outer = bundle.reach()
            sides = sign * inner + float(marks.x.min()), sign * outer + float(marks.x.max())
            if sign < 0:
                sides = sign * outer + float(marks.x.min()), sign * inner + float(marks.x.max())
            region = canvas.region(
                (low[0], float(marks.y.min()) + 4, max(sides[0], -72.0 if sign < 0 else -12.0)),
                (high, float(marks.fascia.max()) + 3, min(sides[1], 12.0 if sign < 0 else 72.0)),
            )
            dx = sign * (region.u - marks.at(region, marks.x))
            y = region.v - marks.at(region, marks.y)
            room = marks.at(region, marks.fascia - marks.y)
            under = y - room + 1.5 + dx**2 / np.float32(330.0)
            mid = 0.5 * (room + bundle.front)
            half = np.maximum(0.5 * (room - bundle.front) + 1.0, 3.0)
            wide = marks.at(region, np.interp(level, *bundle.width))
            centre = np.interp(level, *bundle.centre)
            ex, power = np.abs(dx - marks.at(region, centre)) / wide, bundle.power
            norm = (ex**power + (np.abs(y - mid) / half) ** power) ** np.float32(1 / power)
            away = np.maximum((norm - 1) * np.minimum(wide, half), under)
            away = np.maximum(away, 0.7 - dx)
            fatty = bundle.fatty * patient.fatty_muscle
            _streaked(
                canvas,
                region,
                away,
                grains,
                fatty=fatty,
                shift=shift + bundle.shift,
                patchy=patient.looks.natural,
            )


def _front_muscles(
    canvas: Canvas,
    marks: Landmarks,
    patient: Patient,
    grains: Grains,
    rng: np.random.Generator,
) -> None:
    """Psoas, quadratus lumborum, crura, and the muscles of the belly's wall."""
    l1, l5 = marks.height(patient, patient.bodies[4].top), marks.height(patient, patient.discs[8].s)
    big = rng.uniform(0.8, 1.2)
    for sign, shift in ((1.0, 5), (-1.0, 51)):
        x0 = float(marks.x.mean())
        region = canvas.region(
            (l1, float(marks.y.min()) - 45, -95.0 + x0 if sign < 0 else 8.0 + x0),
            (canvas.low[0] + 999, float(marks.y.max()) + 8, -8.0 + x0 if sign < 0 else 95.0 + x0),
        )
        t = np.clip((region.s - l1) / (l5 - l1), 0, 1.5)
        dx = sign * (region.u - marks.at(region, marks.x)) - (25.0 + 18.0 * t)
        dy = region.v - marks.at(region, marks.y) + 9.0 + 8.0 * t + 22 * np.clip(t - 1, 0, 1)
        rx, ry = (5.0 + 14.0 * np.clip(t, 0, 1)) * big, (7.0 + 14.0 * np.clip(t, 0, 1.1)) * big
        norm = np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2)
        away = (norm - 1) * np.minimum(rx, ry)
        fatty = 0.2 * patient.fatty_muscle
        _streaked(canvas, region, away, grains, fatty=fatty, shift=shift)
        t = np.clip((region.s - l1) / (l5 - l1), 0, 1)
        region = canvas.region(
            (l1 + 10, float(marks.y.min()) - 10, -95.0 if sign < 0 else 35.0),
            (l5 - 5, float(marks.y.max()) + 30, -35.0 if sign < 0 else 95.0),
        )
        dx = (sign * (region.u - marks.at(region, marks.x)) - 64.0) / 19.0
        dy = (region.v - marks.at(region, marks.y) - 16.0) / 9.0
        _streaked(canvas, region, (np.sqrt(dx**2 + dy**2) - 1) * 9, grains, fatty=fatty)
    belly = marks.belly_fat
    region = canvas.region(
        canvas.low, (canvas.low[0] + 999, float(marks.belly.max()) + belly + 45, 200)
    )
    dx = region.u - marks.at(region, marks.x)
    deep = region.v - marks.at(region, marks.belly) - belly - dx**2 / np.float32(300.0)
    away = np.maximum(np.abs(deep) - 5.0, 5.0 - np.abs(dx))
    _streaked(canvas, region, away, grains, fatty=0.15)


def _vessels(canvas: Canvas, marks: Landmarks, patient: Patient, rng: np.random.Generator) -> None:
    """Aorta on the left, vena cava on the right, their branches below L4; crura above."""
    split = marks.height(patient, patient.bodies[7].bottom) + rng.uniform(-8, 8)
    bodies = patient.bodies
    depth = np.interp(
        marks.h,
        [marks.height(patient, 0.5 * (b.top + b.bottom)) for b in bodies],
        [b.depth for b in bodies],
    )
    size = rng.uniform(0.85, 1.2)
    for tissue, x, radius, ahead in (
        (Tissue.FLOW, 9.0, 9.0, 11.0),
        (Tissue.FLOW, -14.0, 10.0, 9.0),
    ):
        r = radius * size
        spread = 0.55 * np.clip(gaussian_filter1d(np.clip(marks.h - split, 0, 90), 6), 0, 90)
        cx = marks.x + x + np.sign(x) * spread * 0.9
        cy = marks.y - depth - ahead + 0.1 * spread
        region = canvas.region(
            (canvas.low[0], float(cy.min()) - 14, float(cx.min()) - 16),
            (canvas.low[0] + 999, float(cy.max()) + 14, float(cx.max()) + 16),
        )
        shrink = marks.at(region, r * (1 - 0.38 / (1 + np.exp(-(marks.h - split - 6) / 4.0))))
        dx, dy = region.u - marks.at(region, cx), region.v - marks.at(region, cy)
        away = np.sqrt(dx**2 + dy**2) - shrink
        canvas.paint(region, canvas.soft(away), Tissue.MUSCLE)
        canvas.paint(region, canvas.soft(away + 1.3), tissue, rng.uniform(0.5, 4.0))


def _kidneys_and_liver(
    canvas: Canvas,
    marks: Landmarks,
    patient: Patient,
    grains: Grains,
    rng: np.random.Generator,
) -> None:
    middle = marks.height(patient, patient.bodies[5].top)
    y = float(np.interp(middle, marks.h, marks.y))
    x = float(np.interp(middle, marks.h, marks.x))
    region, away = canvas.blob((middle - 85, y - 70, x - 62), (95.0, 62.0, 70.0))
    canvas.paint(region, canvas.soft(away), Tissue.MUSCLE, 1.5 + 0.12 * grains[0].at(region))
    for sign, drop in ((1.0, -8.0), (-1.0, 6.0)):
        centre = (middle + drop + rng.normal(0, 6), y - 14 + rng.normal(0, 4), x + sign * 66)
        region, away = canvas.blob(centre, (48.0, 25.0, 24.0), margin=12)
        canvas.paint(region, np.clip(0.5 - (away - 9) / 4, 0, 1), Tissue.FAT)
        canvas.paint(region, canvas.soft(away), Tissue.KIDNEY, 1 + 0.06 * grains[2].at(region))
        sinus = (centre[0], centre[1] - 6, centre[2] - sign * 9)
        region, away = canvas.blob(sinus, (22.0, 9.0, 8.0))
        canvas.paint(region, 0.8 * canvas.soft(away + 2 * grains[2].at(region)), Tissue.FAT)


def _bowel(
    canvas: Canvas,
    marks: Landmarks,
    patient: Patient,
    grains: Grains,
    rng: np.random.Generator,
) -> None:
    """Loops of gut with gas, fluid or stool, and strands in the fat between them."""
    broad = grains[2]
    y0, y1 = float(marks.belly.mean()) + marks.belly_fat + 12, float(marks.y.mean()) - 58
    h0, h1 = canvas.low[0], canvas.low[0] + canvas.steps[0] * canvas.shape[0]
    region = canvas.region((h0, y0 - 10, -999), (h1, y1 + 12, 999))
    inside = np.clip((region.v - y0 + 6) / 8, 0, 1) * np.clip((y1 + 12 - region.v) / 8, 0, 1)
    tissue = np.clip(0.15 + 0.35 * broad.at(region), 0, 0.65) * inside
    canvas.paint(region, tissue, Tissue.VISCUS, 0.9)
    pelvis = marks.height(patient, patient.bodies[9].bottom)
    natural = patient.looks.natural
    for _ in range(90 if natural else 56):
        radius = float(rng.uniform(5, 15) if natural else rng.uniform(6, 17))
        h = float(rng.uniform(h0, h1))
        limit = float(np.interp(h, marks.h, marks.y)) - (36 if h > pelvis else 58)
        centre = (h, rng.uniform(y0 + 8, max(limit, y0 + 20)), rng.uniform(-95, 95))
        radii = tuple(radius * rng.uniform(0.7, 1.8, 3))
        region, away = canvas.blob(centre, (radii[0], radii[1], radii[2]))
        away = away + (3.0 if natural else 1.5) * broad.at(region, 17)
        canvas.paint(region, canvas.soft(away), Tissue.VISCUS, 0.9)
        content = (Tissue.AIR, Tissue.FLUID, Tissue.VISCUS, Tissue.MUSCLE)[int(rng.integers(4))]
        stain: Array | float = float(rng.uniform(0.6, 1.1))
        if natural:  # stool and folds: nothing in a gut is of one kind
            stain = stain * np.clip(0.75 + 0.3 * grains[0].at(region, 3), 0.1, 1.3)
        wall = rng.uniform(1.0, 2.5) if natural else 2.5
        canvas.paint(region, canvas.soft(away + wall), content, stain)


def _pelvis(canvas: Canvas, patient: Patient, grains: Grains) -> None:
    """Iliac bones beside the sacrum."""
    curve = patient.curve
    for sign in (1.0, -1.0):
        x, y, z = curve.to_anatomy(patient.discs[8].s + 16, 8.0, sign * 66)
        region, away = canvas.blob((-z + 22, y + 2, x + sign * 6), (44.0, 36.0, 24.0))
        slab = np.abs((region.u - x) * sign * 0.75 + (region.v - y) * -0.6) - 7.0
        bone = np.maximum(away, slab)
        canvas.paint(region, canvas.soft(bone), Tissue.CORTEX)
        canvas.paint(region, canvas.soft(bone + 1.5), Tissue.MARROW, 1 + 0.1 * grains[0].at(region))
