"""Figures of merit against hand calculation and against other people's code."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from models import metrics

RNG = np.random.default_rng(4)
TRUTH = RNG.integers(0, 3, 60)
ANSWERS = RNG.dirichlet((1, 1, 1), 60)


def test_weighted_log_loss_by_hand() -> None:
    """Two rows: a normal with 0.5 (weight 1) and a severe with 0.25 (weight 4)."""
    found = metrics.grades(np.array([0, 2]), np.array([[0.5, 0.3, 0.2], [0.5, 0.25, 0.25]]))
    expected = (1 * np.log(2) + 4 * np.log(4)) / 5
    assert found["weighted_log_loss"] == pytest.approx(expected)
    assert found["log_loss"] == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert found["sensitivity_severe"] == 0
    assert found["specificity_moderate"] == 1


def test_any_severe_by_hand() -> None:
    """A study with a severe level (weight 4, best guess 0.5) and a normal one (weight 1, 0.2)."""
    study = np.array([7, 7, 9, 9])
    truth = np.array([0, 2, 0, 0])
    severe = np.array([0.5, 0.1, 0.2, 0.0])
    answers = np.stack([1 - severe, 0 * severe, severe], axis=1)
    expected = (4 * np.log(2) - np.log(0.8)) / 5
    assert metrics.any_severe(study, truth, answers) == pytest.approx(expected)


def test_auc_is_the_rank_statistic_of_scipy() -> None:
    """Ties included: the area is U over the number of pairs."""
    score = np.round(ANSWERS[:, 1:].sum(axis=1), 1)
    ups, downs = score[TRUTH >= 1], score[TRUTH < 1]
    expected = mannwhitneyu(ups, downs).statistic / (len(ups) * len(downs))
    assert metrics.auc(TRUTH >= 1, score) == pytest.approx(expected)


def test_kappa_and_f1_by_their_definitions() -> None:
    """Written out pair by pair and grade by grade."""
    guess = ANSWERS.argmax(axis=1)
    observed = np.mean([(a - b) ** 2 for a, b in zip(TRUTH, guess, strict=True)])
    chance = np.mean([(a - b) ** 2 for a in TRUTH for b in guess])
    assert metrics.quadratic_kappa(TRUTH, guess) == pytest.approx(1 - observed / chance)
    scores = []
    for grade in range(3):
        hits = sum(a == b == grade for a, b in zip(TRUTH, guess, strict=True))
        precision, recall = hits / np.sum(guess == grade), hits / np.sum(grade == TRUTH)
        scores.append(2 * precision * recall / (precision + recall))
    assert metrics.macro_f1(TRUTH, guess) == pytest.approx(np.mean(scores))


def test_known_answers() -> None:
    """Perfect agreement is 1, a constant has no kappa, a reversed score is 0, one class is NaN."""
    truth = np.array([0, 1, 2, 0, 1, 2])
    assert metrics.quadratic_kappa(truth, truth) == 1
    assert metrics.quadratic_kappa(truth, np.zeros(6, dtype=int)) == 0
    assert metrics.auc(truth >= 1, -truth.astype(float)) == 0
    assert np.isnan(metrics.auc(truth >= 0, truth.astype(float)))


def test_calibration_error_by_hand() -> None:
    """Four answers of 0.8, two of them right: off by 0.3; two of 0.6, both right: off by 0.4."""
    sure = np.array([0.8] * 4 + [0.6] * 2)
    answers = np.stack([sure, (1 - sure) / 2, (1 - sure) / 2], axis=1)
    bins = metrics.reliability(np.array([0, 0, 1, 2, 0, 0]), answers)
    assert [b["count"] for b in bins] == [2, 4]
    assert metrics.ece(bins) == pytest.approx((4 * 0.3 + 2 * 0.4) / 6, abs=1e-4)


def test_intervals_draw_whole_studies() -> None:
    """Ten equal rows of one study say no more than one: the interval is that of two studies."""
    study = np.repeat([0, 1], 10)
    values = study.astype(float)
    low, high = metrics.intervals(study, lambda rows: {"mean": float(values[rows].mean())})["mean"]
    assert (low, high) == (0, 1)
