"""How bad each of the 25 findings is: drawn with the prevalence and the links of real patients.

Severity runs from 0 to 1 and drives the anatomy; the grade is where it falls between two
thresholds, at which the anatomy crosses the published definitions:

- canal: dural sac about 100 mm² and 65 mm² (Schönström 1988), CSF partly and wholly lost
  (Schizas 2010);
- foramen: perineural fat lost on all sides, then the root itself flattened (Lee 2010 grades 2, 3);
- subarticular: recess about 3.5 mm deep with the root touched, then below 2 mm with it squeezed.

Prevalence: RSNA 2024 training table, counts of normal/mild, moderate and severe.
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr

from node.spine.anatomy import LEVELS, Condition, ConditionGroup, FindingKey, Grade

#: Severity at which moderate and severe begin.
MODERATE, SEVERE = 0.40, 0.70

PREVALENCE: dict[ConditionGroup, tuple[tuple[int, int, int], ...]] = {
    ConditionGroup.CANAL: (
        (1886, 67, 21),
        (1770, 151, 53),
        (1622, 230, 122),
        (1482, 237, 255),
        (1904, 51, 19),
    ),
    ConditionGroup.FORAMINAL: (
        (1900, 63, 8),
        (1792, 170, 9),
        (1517, 413, 41),
        (1206, 629, 135),
        (1264, 508, 198),
    ),
    ConditionGroup.SUBARTICULAR: (
        (1685, 102, 26),
        (1566, 249, 78),
        (1323, 454, 196),
        (889, 623, 461),
        (1404, 403, 160),
    ),
}
BALANCED = (36, 32, 32)

#: Shares of the variance common to the patient, to the level and to both sides of one level.
_SHARED: dict[ConditionGroup, tuple[float, float, float]] = {
    ConditionGroup.CANAL: (0.33, 0.52, 0.0),
    ConditionGroup.FORAMINAL: (0.31, 0.12, 0.20),
    ConditionGroup.SUBARTICULAR: (0.32, 0.42, 0.06),
}

#: Neighbouring levels wear together.
_NEIGHBOURS = 0.35 ** np.abs(np.subtract.outer(np.arange(len(LEVELS)), np.arange(len(LEVELS))))


def grade(severity: float) -> Grade:
    """Return the grade of a severity between 0 and 1."""
    if severity >= SEVERE:
        return Grade.SEVERE
    return Grade.MODERATE if severity >= MODERATE else Grade.NORMAL_MILD


def draw(rng: np.random.Generator, *, balanced: bool) -> dict[FindingKey, float]:
    """Draw the severities of one patient.

    Parameters
    ----------
    rng : numpy Generator
    balanced : bool
        About as many of each grade at every level instead of real prevalence.
    """
    patient = rng.standard_normal()
    at_level = rng.multivariate_normal(np.zeros(len(LEVELS)), _NEIGHBOURS)
    severities: dict[FindingKey, float] = {}
    for group in ConditionGroup:
        both_sides = rng.standard_normal(len(LEVELS))
        p, q, r = _SHARED[group]
        for side in group.sides:
            own = rng.standard_normal(len(LEVELS))
            for k, level in enumerate(LEVELS):
                latent = (
                    np.sqrt(p) * patient
                    + np.sqrt(q) * at_level[k]
                    + np.sqrt(r) * both_sides[k]
                    + np.sqrt(1 - p - q - r) * own[k]
                )
                counts = BALANCED if balanced else PREVALENCE[group][k]
                severities[group.condition(side), level] = _severity(float(latent), counts)
    return {(c, lv): severities[c, lv] for c in Condition for lv in LEVELS}


def _severity(latent: float, counts: tuple[int, int, int]) -> float:
    """Place a standard normal variable in the grades and spread it evenly inside each."""
    edges = np.cumsum([0, *counts]) / sum(counts)
    place = float(ndtr(latent))
    return float(np.interp(place, edges, (0.0, MODERATE, SEVERE, 1.0)))


def complete(
    given: Mapping[FindingKey, float], drawn: dict[FindingKey, float]
) -> dict[FindingKey, float]:
    """Return the drawn severities with the given ones in their place.

    Raises
    ------
    ValueError
        A given severity is outside 0 to 1 or not one of the 25 findings.
    """
    for key, value in given.items():
        if key not in drawn or not 0 <= value <= 1:
            raise ValueError(f"severity {value} of {key} is not between 0 and 1 of a known finding")
    return {key: float(given.get(key, value)) for key, value in drawn.items()}
