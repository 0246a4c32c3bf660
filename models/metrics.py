"""How good are slices, points and grades: small functions on arrays."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def slices(errors: Floats) -> dict[str, float]:
    """Return mean absolute error and the share within one slice; ``errors`` in slices."""
    return {"mae": _mean(np.abs(errors)), "within_1": _mean(np.abs(errors) <= 1)}


def millimetres(errors: Floats) -> dict[str, float]:
    """Return median and 90th percentile of distances, mm."""
    if not len(errors):
        return {"median_mm": float("nan"), "p90_mm": float("nan")}
    median, p90 = np.percentile(errors, (50, 90))
    return {"median_mm": round(float(median), 2), "p90_mm": round(float(p90), 2)}


def grades(truth: NDArray[np.intp], probabilities: Floats) -> dict[str, float]:
    """Return accuracy, macro F1, quadratic kappa, log loss and AUC of moderate or worse.

    Parameters
    ----------
    truth : (N,) 0 normal/mild, 1 moderate, 2 severe
    probabilities : (N, 3)
    """
    guess = probabilities.argmax(axis=1)
    own = np.clip(probabilities[np.arange(len(truth)), truth], 1e-6, 1.0)
    return {
        "accuracy": _mean(guess == truth),
        "macro_f1": round(macro_f1(truth, guess), 4),
        "kappa": round(quadratic_kappa(truth, guess), 4),
        "log_loss": _mean(-np.log(own)),
        "auc": round(auc(truth >= 1, 1 - probabilities[:, 0]), 4),
    }


def macro_f1(truth: NDArray[np.intp], guess: NDArray[np.intp]) -> float:
    """Mean F1 over the three grades; a grade that neither side has counts 0."""
    scores = []
    for grade in range(3):
        both = float(np.sum((truth == grade) & (guess == grade)))
        either = float(np.sum(truth == grade) + np.sum(guess == grade))
        scores.append(2 * both / either if either else 0.0)
    return float(np.mean(scores))


def quadratic_kappa(truth: NDArray[np.intp], guess: NDArray[np.intp]) -> float:
    """Cohen's kappa with quadratic weights; 0 when chance explains everything."""
    table = np.zeros((3, 3))
    np.add.at(table, (truth, guess), 1)
    table /= max(table.sum(), 1.0)
    weight = (np.arange(3)[:, None] - np.arange(3)[None, :]) ** 2
    chance = table.sum(axis=1)[:, None] * table.sum(axis=0)[None, :]
    expected = float((weight * chance).sum())
    return 1 - float((weight * table).sum()) / expected if expected > 0 else 0.0


def auc(positive: NDArray[np.bool_], score: Floats) -> float:
    """Area under the ROC curve from ranks, ties counting half; 0.5 when one class is missing."""
    ups, downs = score[positive], score[~positive]
    if not len(ups) or not len(downs):
        return 0.5
    ordered = np.sort(downs)
    below = np.searchsorted(ordered, ups, side="left")
    upto = np.searchsorted(ordered, ups, side="right")
    return float(np.mean((below + upto) / 2) / len(downs))


def _mean(values: NDArray[np.generic]) -> float:
    return round(float(np.mean(values.astype(np.float64))), 4) if len(values) else float("nan")
