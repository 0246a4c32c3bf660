"""Stage 2: slices with the points that they show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.augment import FIELD_CUT, SHIFT, Warp, field_of_view, looks
from models.data import STEP, Case
from node.inference.coordinate import STRIDE
from node.inference.extent import SEEN_MM
from node.spine.anatomy import LEVELS, ConditionGroup

#: A slice within the first distance of a point shows it; beyond the second it does not.
#: A disc is seen, and can be named, as far as the vertebrae reach to the sides; the slice of the
#: canal itself is in the middle of that (`node.inference.extent`).
SHOWS_MM = {
    ConditionGroup.CANAL: (SEEN_MM[ConditionGroup.CANAL], 27.0),
    ConditionGroup.FORAMINAL: (SEEN_MM[ConditionGroup.FORAMINAL], 11.0),
    ConditionGroup.SUBARTICULAR: (4.5, 9.0),
}

#: Share of slices shown head down, so that it learns to find nothing in them: a header
#: that has it wrong would have every level named from the wrong end.
UPSIDE_DOWN = 0.04


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
