"""Stage 1: whole series, or parts of them, with the slices that show each place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from models.augment import FIELD_CUT, SHIFT, Warp, across_slices, field_of_view, looks
from models.data import STEP, Case
from node.inference.instance import reach_mm
from node.spine.anatomy import ConditionGroup

#: Share of sagittal series whose spine is bent to the side, so far (mm) and over so many
#: image heights: in a scoliosis no slice shows the canal of all levels.
BENT, BEND_MM, BEND_HEIGHTS = 0.4, 10.0, (0.7, 2.5)


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
