"""How good are slices, points and grades: small functions on arrays, and intervals by study."""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Figures = dict[str, float]

#: Sample weights of the grades in RSNA 2024.
WEIGHTS = np.array([1.0, 2.0, 4.0])

#: A probability of zero costs as much as this one.
LEAST = 1e-15


class Bin(TypedDict):
    """Answers of similar confidence: how sure they were on average, and how often right."""

    confidence: float
    accuracy: float
    count: int


def slices(errors: Floats) -> Figures:
    """Return mean absolute error and the share within one slice; ``errors`` in slices."""
    off = np.abs(errors)
    return {"mae": _mean(off), "within_1": _mean(off <= 1)}


def millimetres(errors: Floats) -> Figures:
    """Return median and 90th percentile of distances, mm."""
    if not len(errors):
        return {"median_mm": float("nan"), "p90_mm": float("nan")}
    median, p90 = np.percentile(errors, (50, 90))
    return {"median_mm": float(median), "p90_mm": float(p90)}


def grades(truth: Ints, probabilities: Floats) -> Figures:
    """Return what can be said of grades.

    ``sensitivity_moderate`` counts moderate or worse as positive, ``..._severe`` severe; the answer
    is the likeliest grade. ``weighted_log_loss`` is the competition's for one condition.

    Parameters
    ----------
    truth : (N,) 0 normal/mild, 1 moderate, 2 severe
    probabilities : (N, 3)
    """
    if not len(truth):
        return {}
    guess = probabilities.argmax(axis=1)
    loss = -np.log(np.clip(probabilities[np.arange(len(truth)), truth], LEAST, 1.0))
    weight = WEIGHTS[truth]
    figures = {
        "accuracy": _mean(guess == truth),
        "macro_f1": macro_f1(truth, guess),
        "kappa": quadratic_kappa(truth, guess),
        "log_loss": _mean(loss),
        "weighted_log_loss": float(np.sum(weight * loss) / np.sum(weight)),
        "ece": ece(reliability(truth, probabilities)),
    }
    for least, name in ((1, "moderate"), (2, "severe")):
        positive, called = truth >= least, guess >= least
        figures[f"auc_{name}"] = auc(positive, probabilities[:, least:].sum(axis=1))
        figures[f"sensitivity_{name}"] = _mean(called[positive])
        figures[f"specificity_{name}"] = _mean(~called[~positive])
    return figures


def any_severe(study: Ints, truth: Ints, probabilities: Floats, times: Ints | None = None) -> float:
    """Return the competition's fourth term: whether any level's canal is severe.

    A study counts with the weight of its worst grade; its prediction is the largest probability of
    severe over its levels.

    Parameters
    ----------
    study, truth : (N,)
        Study number and grade of every canal finding.
    probabilities : (N, 3)
    times : (N,), optional
        How often each finding's study counts; once when left out.
    """
    losses, weights = [], []
    for number in np.unique(study):
        here = study == number
        p = np.clip(probabilities[here, 2].max(), LEAST, 1 - LEAST)
        losses.append(-np.log(p if (truth[here] == 2).any() else 1 - p))
        weights.append(WEIGHTS[truth[here]].max() * (1 if times is None else times[here].max()))
    return float(np.average(losses, weights=weights)) if losses else float("nan")


def confusion(truth: Ints, guess: Ints) -> Ints:
    """Return the (3, 3) counts, truth in rows."""
    table = np.zeros((3, 3), dtype=np.intp)
    np.add.at(table, (truth, guess), 1)
    return table


def macro_f1(truth: Ints, guess: Ints) -> float:
    """Mean F1 over the grades that truth or answers have."""
    table = confusion(truth, guess)
    either = table.sum(axis=0) + table.sum(axis=1)
    return float(np.mean(2 * np.diag(table)[either > 0] / either[either > 0]))


def quadratic_kappa(truth: Ints, guess: Ints) -> float:
    """Cohen's kappa with quadratic weights; 0 when chance explains everything."""
    table = confusion(truth, guess) / max(len(truth), 1)
    weight = (np.arange(3)[:, None] - np.arange(3)[None, :]) ** 2
    chance = table.sum(axis=1)[:, None] * table.sum(axis=0)[None, :]
    expected = float((weight * chance).sum())
    return 1 - float((weight * table).sum()) / expected if expected > 0 else 0.0


def auc(positive: NDArray[np.bool_], score: Floats) -> float:
    """Area under the ROC curve from ranks, ties counting half; NaN when one class is missing."""
    ups, downs = score[positive], score[~positive]
    if not len(ups) or not len(downs):
        return float("nan")
    ordered = np.sort(downs)
    below = np.searchsorted(ordered, ups, side="left")
    upto = np.searchsorted(ordered, ups, side="right")
    return float(np.mean((below + upto) / 2) / len(downs))


def reliability(truth: Ints, probabilities: Floats, bins: int = 10) -> list[Bin]:
    """Group answers by the probability of the grade given, in ``bins`` equal steps from 0 to 1."""
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    which = np.clip((sure * bins).astype(np.intp), 0, bins - 1)
    return [
        Bin(
            confidence=round(float(sure[which == k].mean()), 4),
            accuracy=round(float(right[which == k].mean()), 4),
            count=int(np.sum(which == k)),
        )
        for k in np.unique(which)
    ]


def ece(bins: Sequence[Bin]) -> float:
    """Expected calibration error: how far confidence and accuracy are apart, on average."""
    total = sum(b["count"] for b in bins)
    gaps = sum(b["count"] * abs(b["confidence"] - b["accuracy"]) for b in bins)
    return round(gaps / max(total, 1), 4)


def intervals(
    study: Ints, figures: Callable[[Ints], Figures], rounds: int = 200
) -> dict[str, tuple[float, float]]:
    """Return 95 % bootstrap intervals: whole studies are drawn, because their rows are alike.

    Parameters
    ----------
    study : (N,)
        The study of each row.
    figures : callable
        From row numbers, with repetitions, to figures.
    rounds : int
    """
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(study == number) for number in np.unique(study)]
    drawn: dict[str, list[float]] = {}
    for _ in range(rounds if rows else 0):
        chosen = rng.integers(len(rows), size=len(rows))
        for name, value in figures(np.concatenate([rows[k] for k in chosen])).items():
            drawn.setdefault(name, []).append(value)
    return {name: _middle_95(values) for name, values in drawn.items()}


def _middle_95(values: Sequence[float]) -> tuple[float, float]:
    known = np.array(values)[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def _mean(values: NDArray[np.generic]) -> float:
    return float(np.mean(values.astype(np.float64))) if len(values) else float("nan")
