"""The decision threshold: chosen on predictions, or given by beta alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecm_edge.base.errors import DatasetError
from ecm_edge.metrics.board import detection_points
from ecm_edge.metrics.counts import check_rows, criteria, fbeta

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ecm_edge.metrics.counts import Rows
    from ecm_edge.tasks.score import ScoreRule

Objective = Literal["f1", "fbeta_mean", "board_score"]
"""What a search may maximise."""

ThresholdRule = Literal["chosen", "by_beta", "even_odds"]
"""The source of a threshold: `choose_threshold`, `beta_threshold`, or the margin 0; the last two use no prediction."""

EVEN_ODDS = 0.0
"""The margin from which AF is at least as likely as not, for margins that are log-odds."""

_CANDIDATES = 400
_SMOOTH_SHARE = 0.025  # of the candidates, so of the segments: the width of the average over the objective
_TIE = 1e-9


def choose_threshold(
    labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike, rule: ScoreRule | None = None
) -> float:
    """The margin t with which `margin >= t` scores best: the board's points for Fβ and G, or mean Fβ without a rule.

    Candidates lie half-way between neighbouring quantiles of the margins. The objective is averaged over neighbouring
    candidates, so that a lucky spike does not win, and the middle of the best plateau is taken.

    Raises:
        DatasetError: only one class among the rows, so that any threshold is as good (besides `check_rows`).
    """
    rows = check_rows(labels, margins, subjects)
    if rows.positive.all() or not rows.positive.any():
        raise DatasetError(
            "a threshold is chosen on segments of both classes",
            f"{rows.positive.size} segments of one class",
            "Choose validation subjects so that both classes are there.",
        )
    thresholds = _candidates(rows.margins)
    return float(thresholds[_plateau_middle(_smooth(_objective(rows, thresholds, rule)))])


def beta_threshold(rule: ScoreRule | None = None) -> float:
    """The margin -ln β, which calls AF above a probability of 1 / (1 + β); it depends on no prediction.

    It is for margins that are log-odds, as those of a network trained on cross-entropy nearly are. It lies half-way
    between 0, which has the fewest errors, and -ln β², the best one for a classifier of high Fβ (Lipton et al. 2014,
    "Optimal thresholding of classifiers to maximize F1 measure", carried over to β). The threshold that scores best on
    some subjects depends on a few of them, and is often worse on other subjects than this one.

    >>> round(beta_threshold(), 3)
    -0.693
    """
    return -math.log(criteria(rule)[0])


def find_threshold(
    kind: ThresholdRule,
    labels: ArrayLike,
    margins: ArrayLike,
    subjects: ArrayLike,
    rule: ScoreRule | None = None,
) -> float:
    """The threshold of any kind; the other arguments and the errors are those of `choose_threshold`."""
    if kind == "even_odds":
        return EVEN_ODDS
    return beta_threshold(rule) if kind == "by_beta" else choose_threshold(labels, margins, subjects, rule)


def _candidates(margins: NDArray[np.float32]) -> NDArray[np.float64]:
    """(K,) ascending: one below all margins, then the middles between neighbouring quantiles.

    None is a margin itself: such a segment would flip by the rounding of the next form.
    """
    steps = np.unique(np.quantile(margins.astype(np.float64), np.linspace(0, 1, _CANDIDATES + 1), method="nearest"))
    below = steps[:1] - ((steps[-1] - steps[0]) or 1.0) / _CANDIDATES
    return np.concatenate([below, (steps[:-1] + steps[1:]) / 2])


def _objective(rows: Rows, thresholds: NDArray[np.float64], rule: ScoreRule | None) -> NDArray[np.float64]:
    """(K,): the objective at each threshold, from one count of segments by subject, label and threshold."""
    subjects, steps = len(rows.names), thresholds.size + 1
    passed = np.searchsorted(thresholds, rows.margins, "right")  # (N,) thresholds that this segment reaches
    cell = (rows.subject * 2 + rows.positive) * steps + passed
    reached = np.bincount(cell, minlength=subjects * 2 * steps).reshape(subjects, 2, steps)
    called = reached[:, :, ::-1].cumsum(axis=2)[:, :, ::-1][:, :, 1:]  # (S, 2, K) called AF at threshold k
    fp, tp = called[:, 0], called[:, 1]  # (S, K)
    beta, good_above = criteria(rule)
    values = fbeta(tp, fp, reached[:, 1].sum(axis=1, keepdims=True) - tp, beta)
    if rule is None:
        return np.asarray(values.mean(axis=0))
    missed = reached[:, 1].sum() - tp.sum(axis=0)
    pooled = fbeta(tp.sum(axis=0), fp.sum(axis=0), missed, beta)
    return detection_points(rule, values.mean(axis=0), (values > good_above).mean(axis=0), pooled)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over `_SMOOTH_SHARE` of the candidates around each; at the ends over fewer, on both sides alike."""
    total = np.concatenate([[0.0], values.cumsum()])
    index = np.arange(values.size)
    reach = np.minimum(np.minimum(index, values.size - 1 - index), int(_SMOOTH_SHARE * values.size / 2))
    return np.asarray((total[index + reach + 1] - total[index - reach]) / (2 * reach + 1))


def _plateau_middle(values: NDArray[np.float64]) -> int:
    """The middle index of the longest run of values that tie with the largest."""
    best = np.flatnonzero(values >= values.max() - _TIE)
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    longest = max(runs, key=len)
    return int(longest[len(longest) // 2])
