"""Stage 1: whole series, or parts of them, with the slices that show each place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from models.augment import FIELD_CUT, SHIFT, Warp, field_of_view, looks
from models.data import STEP, Case
from node.inference.instance import reach_mm


@dataclass(frozen=True)
class SeriesBatch:
    """Stage 1: several series of different length, one after the other."""

    images: Tensor  # (slices of all series, 1, H/2, W/2)
    millimetres: tuple[Tensor, ...]  # of each series, (S, 1)
    targets: tuple[Tensor, ...]  # of each series, (S + 1, places), columns sum to 1; unknown: 0


def series_batch(cases: Sequence[Case], rng: np.random.Generator, count: int) -> SeriesBatch:
    """Draw whole series, or parts of them: a series may start and end anywhere."""
    images, millimetres, targets = [], [], []
    for case in rng.choice(np.array(cases, dtype=object), count):
        mm = case["mm"]
        keep = _kept(len(mm), rng)
        x = torch.from_numpy(case["images"][keep]).float()[:, None] / STEP
        x = F.avg_pool2d(x, 2)  # as `SliceFinder.forward` does
        warp = Warp.random(1, degrees=15, zoom=(0.8, 1.25), shift=SHIFT)
        same = Warp(warp.matrix.expand(len(x), 2, 2), warp.shift.expand(len(x), 2))
        x = same.images(x, x.shape[-1])
        # One look and one field for the whole series: one scanner made it in one scan.
        seen, _ = field_of_view(looks(x.transpose(0, 1), invert=0.1), FIELD_CUT)
        images.append(seen.transpose(0, 1))
        here = mm[keep] - (mm[keep].min() + mm[keep].max()) / 2
        millimetres.append(torch.from_numpy(here[:, None] / 100))
        targets.append(slice_target(case["distance"][keep], float(case["spacing"])))
    return SeriesBatch(torch.cat(images), tuple(millimetres), tuple(targets))


def _kept(count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose slices of a series: all, most, or those of one flank only."""
    slices, kind = np.arange(count), rng.random()
    if kind < 0.25:
        head, tail = rng.integers(0, max(2, count // 4), 2)
        return slices[head : count - tail]
    if kind < 0.4:
        part = int(rng.integers(min(4, count), max(5, count * 2 // 3)))
        return slices[:part] if rng.random() < 0.5 else slices[-part:]
    if kind < 0.5:
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
