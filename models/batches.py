"""One random training batch for each stage: augmented inputs with their targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from models.augment import Warp, across_slices, field_of_view, looks
from models.data import STEP, Case
from node.inference.coordinate import STRIDE
from node.inference.instance import reach_mm
from node.inference.severity import CROP, REACH
from node.spine.anatomy import LEVELS, ConditionGroup

#: Stage 2: a slice within the first distance of a point shows it; beyond the second it does not.
#: A disc is seen, and can be named, as far as the vertebrae reach to the sides; whether a slice
#: shows the canal itself is for stage 1 to say.
SHOWS_MM = {
    ConditionGroup.CANAL: (20.0, 27.0),
    ConditionGroup.FORAMINAL: (7.0, 11.0),
    ConditionGroup.SUBARTICULAR: (4.5, 9.0),
}


#: How far a batch's images are moved, in half image widths; and the share of images that lose
#: edges of their field of view.
SHIFT, FIELD_CUT = 0.16, 0.4

#: Share of slices shown to stage 2 head down, so that it learns to find nothing in them: a header
#: that has it wrong would have every level named from the wrong end.
UPSIDE_DOWN = 0.04

#: Stage 1: share of sagittal series whose spine is bent to the side, so far (mm) and over so many
#: image heights: in a scoliosis no slice shows the canal of all levels.
BENT, BEND_MM, BEND_HEIGHTS = 0.4, 10.0, (0.7, 2.5)


def keys(stage: str) -> list[str]:
    """Return the arrays of a case that a stage needs."""
    return {
        "instance": ["images", "mm", "spacing", "distance", "points"],
        "coordinate": ["images", "distance", "points"],
        "severity": ["crops", "grade", "severity"],
    }[stage]


@dataclass(frozen=True)
class SeriesBatch:
    """Stage 1: several series of different length, one after the other."""

    images: Tensor  # (slices of all series, 1, H/2, W/2)
    millimetres: tuple[Tensor, ...]  # of each series, (S, 1)
    targets: tuple[Tensor, ...]  # of each series, (S + 1, places), columns sum to 1; unknown: 0


def series_batch(
    cases: Sequence[Case], group: ConditionGroup, rng: np.random.Generator, count: int
) -> SeriesBatch:
    """Draw whole series, or parts of them: a series may start and end anywhere."""
    images, millimetres, targets = [], [], []
    for case in rng.choice(np.array(cases, dtype=object), count):
        mm, distance = case["mm"], case["distance"]
        keep = _kept(len(mm), rng)
        x = torch.from_numpy(case["images"]).float()[:, None] / STEP
        x = F.avg_pool2d(x, 2)  # as `SliceFinder.forward` does
        if group is not ConditionGroup.SUBARTICULAR and rng.random() < BENT:
            x, distance = bent(x, case, rng)
        x = x[keep]
        warp = Warp.random(1, degrees=15, zoom=(0.8, 1.25), shift=SHIFT)
        same = Warp(warp.matrix.expand(len(x), 2, 2), warp.shift.expand(len(x), 2))
        x = same.images(x, x.shape[-1])
        # One look and one field for the whole series: one scanner made it in one scan.
        seen, _ = field_of_view(looks(x.transpose(0, 1), invert=0.1), FIELD_CUT)
        images.append(seen.transpose(0, 1))
        here = mm[keep] - (mm[keep].min() + mm[keep].max()) / 2
        millimetres.append(torch.from_numpy(here[:, None] / 100))
        targets.append(slice_target(distance[keep], float(case["spacing"])))
    return SeriesBatch(torch.cat(images), tuple(millimetres), tuple(targets))


def bent(
    x: Tensor, case: Case, rng: np.random.Generator
) -> tuple[Tensor, NDArray[np.floating[Any]]]:
    """Bend the spine of a sagittal series (S, 1, H/2, W/2) to the sides.

    Returns
    -------
    images : (S, 1, H/2, W/2)
    distance : (S, places)
        Of each slice from each place, mm, as in the case.
    """
    rows, spacing = x.shape[2], float(case["spacing"])
    wave, start = 2 * np.pi / rng.uniform(*BEND_HEIGHTS), rng.uniform(0, 2 * np.pi)
    shift = rng.uniform(0, BEND_MM) * np.sin(wave * np.arange(rows) / rows + start)
    at = np.nan_to_num(case["points"][..., 1].astype(float)) / 2
    row = np.clip(at, 0, rows - 1).astype(int)
    moved = across_slices(x, torch.from_numpy(shift / spacing).float())
    return moved, case["distance"] - shift[row]


def _kept(count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose slices of a series: all, most, or a few in a row, often those of one flank only."""
    slices, kind = np.arange(count), rng.random()
    if kind < 0.25:
        head, tail = rng.integers(0, max(2, count // 4), 2)
        return slices[head : count - tail]
    if kind < 0.45:
        part = int(rng.integers(min(3, count), max(5, count * 2 // 3)))
        start = (0, count - part, int(rng.integers(0, count - part + 1)))[rng.integers(3)]
        return slices[start : start + part]
    if kind < 0.55:
        return slices[rng.random(count) > 0.08]
    return slices


def slice_target(distance: np.ndarray, spacing: float) -> Tensor:
    """(S, places) mm of each slice from each point -> (S + 1, places) target probabilities.

    The column of a place that nobody labelled (NaN) is 0.
    """
    known = torch.from_numpy(~np.isnan(distance).any(axis=0)).float()
    away = torch.from_numpy(np.nan_to_num(np.abs(distance))).float()
    near = torch.softmax(-0.5 * (away / (0.4 * spacing)) ** 2, dim=0)
    shown = (away.amin(dim=0) <= reach_mm(spacing)).float()
    return torch.cat([near * shown, (1 - shown)[None]]) * known


@dataclass(frozen=True)
class PointBatch:
    """Stage 2: single slices."""

    images: Tensor  # (N, 1, H, W)
    targets: Tensor  # (N, heads, H/2 * W/2 + 1), rows sum to 1
    counts: Tensor  # (N, heads) 1 where the target is known


def point_batch(
    cases: Sequence[Case], group: ConditionGroup, rng: np.random.Generator, count: int
) -> PointBatch:
    """Draw slices, most of them near a level, warped, cut and changed in brightness."""
    images, points, shown = [], [], []
    for case in rng.choice(np.array(cases, dtype=object), count):
        distance = np.abs(case["distance"])
        index = _interesting(distance, SHOWS_MM[group][0], rng)
        images.append(case["images"][index])
        at, known = _heads(group, distance[index], case["points"][index])
        points.append(at)
        shown.append(known)
    x = torch.from_numpy(np.stack(images)).float()[:, None] / STEP
    size = x.shape[-1]
    warp = Warp.random(count, degrees=15, zoom=(0.8, 1.25), shift=SHIFT)
    x = looks(warp.images(x, size), invert=0.1)
    x, mask = field_of_view(x, FIELD_CUT)
    targets = warp.points(torch.from_numpy(np.stack(points)).float(), size)
    visible = torch.from_numpy(np.stack(shown)).float()
    visible[(visible > 0) & ~_inside(targets, mask)] = 0
    wrong = torch.rand(count) < UPSIDE_DOWN
    x[wrong] = x[wrong].flip(2)
    visible[wrong[:, None] & (visible > 0)] = 0
    return _with_any(group, PointBatch(x, _heat(targets, visible, size), (visible >= 0).float()))


def _inside(points: Tensor, mask: Tensor) -> Tensor:
    """Which points (N, P, 2) lie where the mask (N, H, W) is set."""
    size = mask.shape[-1]
    pixel = points.round().long()
    within = ((pixel >= 0) & (pixel < size)).all(dim=2)
    pixel = pixel.clamp(0, size - 1)
    return within & mask[torch.arange(len(points))[:, None], pixel[..., 1], pixel[..., 0]]


def _interesting(distance: np.ndarray, shows_mm: float, rng: np.random.Generator) -> int:
    nearest = np.nan_to_num(distance, nan=np.inf).min(axis=1)
    near = np.flatnonzero(nearest <= shows_mm)
    if len(near) and rng.random() < 0.8:
        # The slices that will be asked for most are drawn most.
        weight = np.exp(-nearest[near] / 8.0)
        return int(rng.choice(near, p=weight / weight.sum()))
    return int(rng.integers(len(distance)))


def _heads(
    group: ConditionGroup, distance: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The point of each head on one slice, and 1 shown, 0 not shown, -1 too close to call.

    What nobody labelled (NaN) may be there or not.
    """
    shows, beyond = SHOWS_MM[group]
    unlabelled = np.isnan(distance).reshape(len(group.sides), len(LEVELS))
    sided = np.where(unlabelled, np.inf, distance.reshape(unlabelled.shape))
    at = np.nan_to_num(points).reshape(len(group.sides), len(LEVELS), 2)
    if group is ConditionGroup.SUBARTICULAR:  # a head for each side, on the nearest level
        chosen = sided.argmin(axis=1)
        rows = np.arange(len(group.sides))
        near, at = sided[rows, chosen], at[rows, chosen]
        doubt = unlabelled.any(axis=1)
    else:  # a head for each level, on the nearer side
        chosen = sided.argmin(axis=0)
        columns = np.arange(len(LEVELS))
        near, at = sided[chosen, columns], at[chosen, columns]
        doubt = unlabelled.any(axis=0)
    return at, np.where(near <= shows, 1.0, np.where((near <= beyond) | doubt, -1.0, 0.0))


def _heat(at: Tensor, visible: Tensor, size: int, sigma: float = 1.0) -> Tensor:
    """Gaussians around points, or all mass on the last cell where there is none."""
    cells = torch.arange(size // STRIDE, dtype=torch.float32)
    cell = (at - (STRIDE - 1) / 2) / STRIDE  # the inverse of node.inference.coordinate.to_grid
    x = torch.exp(-0.5 * ((cells - cell[..., :1]) / sigma) ** 2)
    y = torch.exp(-0.5 * ((cells - cell[..., 1:]) / sigma) ** 2)
    heat = (y[..., :, None] * x[..., None, :]).flatten(2)
    heat = heat / heat.sum(dim=2, keepdim=True).clamp(min=1e-9)
    shown = (visible > 0).float()[..., None]
    return torch.cat([heat * shown, 1 - shown], dim=2)


def _with_any(group: ConditionGroup, batch: PointBatch) -> PointBatch:
    """Add the head "any level", the mean of the five; axial slices have none."""
    if group is ConditionGroup.SUBARTICULAR:
        return batch
    anywhere = batch.targets.mean(dim=1, keepdim=True)
    known = batch.counts.amin(dim=1, keepdim=True)
    return PointBatch(
        batch.images,
        torch.cat([batch.targets, anywhere], dim=1),
        torch.cat([batch.counts, known], dim=1),
    )


@dataclass(frozen=True, eq=False)
class Crops:
    """Stage 3: all graded crops of all cases.

    Attributes
    ----------
    images : (N, 5, 144, 144) uint8
    grade : (N,) 0 to 2
    severity : (N,) 0 to 1, NaN where only the grade is known
    """

    images: NDArray[np.uint8]
    grade: NDArray[np.intp]
    severity: NDArray[np.float32]

    @classmethod
    def of(cls, cases: Sequence[Case]) -> "Crops":
        """Gather what was both marked and graded."""
        crops, grade, severity = (
            np.concatenate([case[key][np.not_equal(case["grade"], -1)] for case in cases])
            for key in ("crops", "grade", "severity")
        )
        return cls(crops, grade, severity)


@dataclass(frozen=True)
class CropBatch:
    """Stage 3: crops with their grades and severities."""

    crops: Tensor  # (N, 3, 96, 96)
    grade: Tensor  # (N,) 0 to 2
    severity: Tensor  # (N,) 0 to 1, or NaN


def crop_batch(crops: Crops, rng: np.random.Generator, count: int) -> CropBatch:
    """Draw crops, off their point by what stages 1 and 2 may be off: some mm, and a slice."""
    chosen = rng.integers(len(crops.images), size=count)
    step = rng.choice([-1, 0, 0, 0, 1], size=count)
    layers = crops.images.shape[1] // 2 + step[:, None] + np.arange(-REACH, REACH + 1)
    x = torch.from_numpy(crops.images[chosen[:, None], layers]).float() / STEP
    warp = Warp.random(count, degrees=12, zoom=(0.85, 1.18), shift=3.5 / (CROP * 0.25))
    return CropBatch(
        looks(warp.images(x, CROP)),
        torch.from_numpy(crops.grade[chosen]).long(),
        torch.from_numpy(crops.severity[chosen]).float(),
    )


def middle(crops: NDArray[np.uint8]) -> Tensor:
    """Return the crops as the node makes them: (N, 5, 144, 144) uint8 -> (N, 3, 96, 96)."""
    edge = (crops.shape[-1] - CROP) // 2
    centre = crops.shape[1] // 2
    inner = crops[:, centre - REACH : centre + REACH + 1, edge : edge + CROP, edge : edge + CROP]
    return torch.from_numpy(inner).float() / STEP
