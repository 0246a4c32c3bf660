"""Tissues and the spin-echo signal each gives.

Relaxation times are round numbers of the usual 1.5 T literature (for instance Stanisz 2005, de
Bazelaire 2004); fat has the long effective T2 it shows in a fast spin-echo train.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Tissue(IntEnum):
    """What a voxel is made of; the value is the row of `PROPERTIES`."""

    AIR = 0
    FAT = 1
    SKIN = 2
    MUSCLE = 3
    LIGAMENT = 4
    CORTEX = 5
    MARROW = 6
    ANNULUS = 7
    NUCLEUS = 8
    CSF = 9
    NERVE = 10
    FLAVUM = 11
    CARTILAGE = 12
    FLOW = 13
    VISCUS = 14
    KIDNEY = 15
    FLUID = 16
    OEDEMA = 17
    FIBROSIS = 18


#: Proton density (relative), T1 (ms), T2 (ms).
PROPERTIES: dict[Tissue, tuple[float, float, float]] = {
    Tissue.AIR: (0.0, 1000.0, 50.0),
    Tissue.FAT: (0.90, 260.0, 128.0),
    Tissue.SKIN: (0.60, 600.0, 35.0),
    Tissue.MUSCLE: (0.85, 1000.0, 42.0),
    Tissue.LIGAMENT: (0.40, 900.0, 28.0),
    Tissue.CORTEX: (0.10, 800.0, 15.0),
    Tissue.MARROW: (0.68, 560.0, 78.0),
    Tissue.ANNULUS: (0.68, 950.0, 34.0),
    Tissue.NUCLEUS: (0.86, 1250.0, 108.0),
    Tissue.CSF: (1.00, 3200.0, 1500.0),
    Tissue.NERVE: (0.78, 950.0, 88.0),
    Tissue.FLAVUM: (0.58, 900.0, 38.0),
    Tissue.CARTILAGE: (0.75, 1000.0, 55.0),
    Tissue.FLOW: (0.10, 1200.0, 40.0),
    Tissue.VISCUS: (0.85, 800.0, 58.0),
    Tissue.KIDNEY: (0.88, 1050.0, 88.0),
    Tissue.FLUID: (0.95, 2800.0, 500.0),
    Tissue.OEDEMA: (0.85, 1150.0, 105.0),
    Tissue.FIBROSIS: (0.62, 900.0, 46.0),
}


@dataclass(frozen=True)
class Weighting:
    """The timing of a (fast) spin echo: TR, TE and, for STIR, TI; all in ms.

    ``suppression`` is the share of the fat's signal that a fat saturation takes.
    """

    repetition: float
    echo: float
    inversion: float | None = None
    suppression: float = 0.0

    def signal(self, density: float, t1: float, t2: float) -> float:
        """Return the magnitude signal of one tissue."""
        recovery = 1 - np.exp(-self.repetition / t1)
        if self.inversion is not None:
            recovery = abs(1 - 2 * np.exp(-self.inversion / t1) + np.exp(-self.repetition / t1))
        return float(density * recovery * np.exp(-self.echo / t2))


def signals(
    weightings: tuple[Weighting, ...],
    rng: np.random.Generator,
    *,
    fatty: float,
    jitter: float,
    strength: float = 1.5,
) -> Array:
    """Return the signal of every tissue in every weighting, jittered for one patient.

    Parameters
    ----------
    weightings : tuple of Weighting
    rng : numpy Generator
    fatty : float
        Fat fraction of the marrow, 0 to 1.
    jitter : float
        Standard deviation of the log of each tissue's density and relaxation times.
    strength : float
        Of the field, tesla: T1 grows with its cube root, fat's less (Bottomley 1984).

    Returns
    -------
    (tissues, weightings) float32
    """
    table = np.zeros((len(Tissue), len(weightings)))
    for tissue, (density, t1, t2) in PROPERTIES.items():
        f = np.exp(rng.normal(0, jitter, 3))
        slower = (strength / 1.5) ** (0.12 if tissue is Tissue.FAT else 0.33)
        for k, w in enumerate(weightings):
            table[tissue, k] = w.signal(density * f[0], t1 * slower * f[1], t2 * f[2])
    table[Tissue.FAT] *= [1 - w.suppression for w in weightings]
    marrow = table[Tissue.MARROW]
    table[Tissue.MARROW] = marrow + fatty * (0.8 * table[Tissue.FAT] - marrow)
    return table.astype(np.float32)


def randomised(table: Array, rng: np.random.Generator, share: float) -> Array:
    """Mix the signals with random ones, so that networks cannot lean on contrast alone.

    Air stays dark, and CSF stays apart from nerve: where the two look alike, nobody can grade.

    Parameters
    ----------
    table : (tissues, weightings) float32
    rng : numpy Generator
    share : float
        Of the random part, 0 to 1.
    """
    top = table.max(axis=0)
    mixed = (1 - share) * table + share * top * rng.uniform(0.03, 1.0, table.shape)
    mixed[Tissue.AIR] = table[Tissue.AIR]
    nerve = mixed[Tissue.NERVE]
    gap = mixed[Tissue.CSF] - nerve
    down = (gap < 0) & (nerve > 0.32 * top)
    gap = np.where(down, -1, 1) * np.maximum(np.abs(gap), 0.3 * top)
    mixed[Tissue.CSF] = np.clip(nerve + gap, 0, None)
    return np.asarray(mixed, dtype=np.float32)


def fat_shares(fatty: float) -> Array:
    """Return (tissues, 1): what share of the pure fat's signal each tissue's fat gives."""
    shares = np.zeros((len(Tissue), 1), np.float32)
    shares[Tissue.FAT], shares[Tissue.MARROW] = 1.0, 0.8 * fatty
    return shares
