"""Stage 3: crops around points, with their grades."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.augment import Warp, looks
from models.data import STEP, Case
from node.inference.severity import CROP, REACH


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
