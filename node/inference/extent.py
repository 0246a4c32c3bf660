"""How far to both sides a level is seen: the slice in the middle of that is the level's own.

Stage 1 looks at a whole series and leans to one slice for all levels, which a curved spine does not
have. Stage 2 was taught to see a level in every slice within a fixed distance of it; where that
begins and where it ends is told by each level's own neighbourhood.
"""

import numpy as np
from numpy.typing import NDArray

from node.spine.anatomy import ConditionGroup

#: Stage 2 sees a level in slices up to this far from its point, mm.
SEEN_MM = {ConditionGroup.CANAL: 20.0, ConditionGroup.FORAMINAL: 7.0}

#: How softly that ends, mm, and how often it is wrong anywhere.
SOFT_MM, MISTAKEN = 2.0, 0.05

#: Slices nearer to each other than this show much the same, and do not count as often, mm.
INDEPENDENT_MM = 4.0


def centred(
    weights: NDArray[np.float64],
    seen: NDArray[np.float64],
    millimetres: NDArray[np.float64],
    seen_mm: float,
) -> NDArray[np.float64]:
    """Return how much each slice counts for a level, after a look at where it is seen.

    Bayes' rule: stage 1 is the prior; the likelihood of a slice is that of seeing the level as far
    as `seen_mm` to its sides and no farther. A series that ends before tells nothing of that side.

    Parameters
    ----------
    weights : (slices,) float64
        Stage 1's probabilities.
    seen : (slices,) float64
        Probability, by stage 2, that a slice sees the level.
    millimetres : (slices,) float64
        Positions of the slices along their normal, mm.
    seen_mm : float
        One of `SEEN_MM`.

    Returns
    -------
    (slices,) float64
        With the sum of `weights`; zero where they are.
    """
    distance = np.abs(millimetres[:, None] - millimetres)  # (own slice, other slice)
    expected = 1 / (1 + np.exp(np.clip((distance - seen_mm) / SOFT_MM, -50, 50)))
    expected = MISTAKEN + (1 - 2 * MISTAKEN) * expected
    likelihood = (seen * np.log(expected) + (1 - seen) * np.log(1 - expected)).sum(axis=1)
    gap = float(np.median(np.abs(np.diff(millimetres)))) if len(millimetres) > 1 else np.inf
    likelihood *= min(1.0, gap / INDEPENDENT_MM)
    posterior = weights * np.exp(likelihood - likelihood[weights > 0].max(initial=-np.inf))
    total = posterior.sum()
    return np.asarray(posterior * (weights.sum() / total)) if total > 0 else weights
