"""What a scanner does to a true picture: fat out of place, ghosts, ringing, few phase lines."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from node.phantom.contrast import Array

#: Hz by which fat precesses more slowly, for each tesla (3.5 ppm of 42.58 MHz/T).
FAT_HZ_PER_TESLA = 149.0


@dataclass(frozen=True)
class Artefacts:
    """The artefacts of one series; the defaults leave a picture alone but for mild filtering.

    Attributes
    ----------
    fat_shift : float
        Chemical shift, acquired pixels.
    readout : int
        Axis of the readout: 0 along the columns (head to foot, or front to back), 1 along the
        rows. Fat moves along it, ghosts at right angles to it.
    ghosts : float
        Phase error (radians) of a periodic motion such as breathing or a pulse.
    ghost_cycles : float
        Cycles of that motion over k-space: the ghosts' distance in shares of the field of view
        is this divided by the number of lines.
    filter : float
        How much k-space is damped at its edge: 0 rings (Gibbs), 1 is smooth.
    phase_lines : float
        Share of the phase encoding lines that were acquired; the rest is zero.
    mottle : float
        Standard deviation of a fine grain in every tissue, relative: vessels, septa and fibres
        that are too small to be painted.
    """

    fat_shift: float = 0.0
    readout: int = 0
    ghosts: float = 0.0
    ghost_cycles: float = 0.0
    filter: float = 0.5
    phase_lines: float = 1.0
    mottle: float = 0.0


#: The plain population's.
UNTOUCHED = Artefacts()


def draw_artefacts(
    rng: np.random.Generator, *, strength: float, resolution: float, sagittal: bool
) -> Artefacts:
    """Draw the artefacts of one series of the wide population.

    Parameters
    ----------
    rng : numpy Generator
    strength : float
        Of the field, tesla.
    resolution : float
        Acquired pixel size, mm.
    sagittal : bool
    """
    # 100 to 350 Hz a pixel are usual bandwidths of a fast spin echo of the spine.
    bandwidth = float(rng.uniform(100, 350)) * min(1.0, resolution + 0.3)
    moves = rng.random() < 0.35
    return Artefacts(
        fat_shift=float(rng.choice([-1.0, 1.0])) * FAT_HZ_PER_TESLA * strength / bandwidth,
        # Phase runs head to foot in most sagittal spines, so that the belly's ghosts miss them.
        readout=int(rng.random() < (0.65 if sagittal else 0.5)),
        ghosts=float(rng.uniform(0.03, 0.25)) if moves else 0.0,
        ghost_cycles=float(rng.uniform(4, 60)),
        filter=float(rng.uniform(0.0, 1.0)),
        phase_lines=float(rng.choice([1.0, 0.9, 0.8, 0.7, 0.6])),
        mottle=float(rng.uniform(0.01, 0.08)),
    )


def mottled(signal: Array, artefacts: Artefacts, rng: np.random.Generator) -> Array:
    """Return a picture (rows, columns) with the fine grain of tissue, two pixels wide."""
    if not artefacts.mottle:
        return signal
    grain = gaussian_filter(rng.standard_normal(signal.shape, dtype=np.float32), 0.8)
    grain *= np.float32(artefacts.mottle / grain.std())
    return np.asarray(signal * np.clip(1 + grain, 0, None))


def shift_fat(signal: Array, fat: Array, artefacts: Artefacts) -> Array:
    """Return a picture with its fat moved along the readout.

    Parameters
    ----------
    signal, fat : (rows, columns) float32
        All signal, and the fat's part in it.
    artefacts : Artefacts
    """
    whole = int(np.floor(artefacts.fat_shift))
    part = np.float32(artefacts.fat_shift - whole)
    near, far = (_moved(fat, whole + k, artefacts.readout) for k in (0, 1))
    return np.asarray(np.clip(signal + (1 - part) * near + part * far - fat, 0, None))


def _moved(image: Array, by: int, axis: int) -> Array:
    """Move a picture by whole pixels; what comes in at the edge is more of the edge."""
    index = np.clip(np.arange(image.shape[axis]) - by, 0, image.shape[axis] - 1)
    return np.asarray(image.take(index, axis))


def spoil(space: NDArray[np.complex64], artefacts: Artefacts) -> NDArray[np.complex64]:
    """Return centred k-space as the scanner filled it: damped, ghosted, cut short."""
    weights = []
    for axis, count in enumerate(space.shape):
        lines = taper(count, artefacts.filter).astype(np.complex64)
        place = np.arange(count) - count // 2
        if axis != artefacts.readout:
            if artefacts.ghosts:
                turn = 2 * np.pi * artefacts.ghost_cycles * place / count
                # Slow drift makes ghosts of many distances, fading.
                turn = turn + 1.5 * np.sin(2 * np.pi * 1.7 * place / count)
                lines = lines * np.exp(1j * artefacts.ghosts * np.sin(turn))
            lines = lines * (np.abs(place) <= artefacts.phase_lines * count / 2)
        weights.append(lines.astype(np.complex64))
    return space * (weights[0][:, None] * weights[1])


def taper(count: int, strength: float) -> Array:
    """Return a filter against ringing: 1 in the middle of k-space, falling to its edge."""
    k = np.abs(np.arange(count) - count // 2) / (count / 2)
    return (1 - strength * np.clip((k - 0.4) / 0.6, 0, 1) ** 2).astype(np.float32)
