"""95 % intervals by resampling subjects, and not segments, since the segments of one subject are alike.

Dimensions: S subjects; R sets of weights. The first takes every subject once; each other one is a resample.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecm_edge.base.errors import DatasetError
from ecm_edge.base.records import Interval, Record
from ecm_edge.metrics.board import detection_points, normalise
from ecm_edge.metrics.counts import count_by_subject, criteria, fbeta, figures, ratio

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ecm_edge.metrics.counts import Counts
    from ecm_edge.tasks.score import ScoreRule

RESAMPLES = 1000

PairedStatistic = Literal[
    "accuracy",
    "precision",
    "recall",
    "f1",
    "specificity",
    "npv",
    "fbeta_mean",
    "fbeta_pooled",
    "g",
    "detection_points",
    "pooled_points",
]
"""`detection_points` are those of a board's rule for its Fβ and G, `pooled_points` those for the Fβ of all segments."""

Cut = tuple["ArrayLike", "ArrayLike"]
"""Margins (N,) before a threshold was taken off, and after it."""

_SEED = 20240  # fixed: the same rows always give the same interval
_DEFINED_SHARE = 0.95  # an interval over fewer defined resamples would not be one of 95 %


class GainParts(Record):
    """A difference of two models in two parts, whose sum it is.

    network:   the difference at even odds, where each side calls positive what it finds at least as likely as not.
    threshold: the rest: what the first side's threshold changes from even odds, less what the second side's does.
    """

    network: Interval
    threshold: Interval


@lru_cache(maxsize=4)  # of thousands of subjects they take longer than a figure, and a comparison has many figures
def subject_weights(subjects: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """(1 + resamples, S), read-only: the times each subject is taken; row 0 takes each once, for the figure itself."""
    drawn = np.random.default_rng(_SEED).multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples)
    weights = np.vstack([np.ones(subjects), drawn])
    weights.flags.writeable = False
    return weights


def interval(draws: NDArray[np.float64]) -> Interval | None:
    """The figure draws[0] with the 2.5 % and 97.5 % quantiles of the others; None where the figure is undefined.

    The ends are absent where more than 5 % of the resamples are undefined.
    """
    if np.isnan(draws[0]):
        return None
    defined = draws[1:][~np.isnan(draws[1:])]
    if defined.size == 0 or defined.size < _DEFINED_SHARE * (draws.size - 1):
        return Interval(value=float(draws[0]))
    low, high = np.quantile(defined, (0.025, 0.975))
    return Interval(value=float(draws[0]), low=float(low), high=float(high))


def resampled(
    counts: Counts, weights: NDArray[np.float64], beta: float, good_above: float
) -> dict[str, NDArray[np.float64]]:
    """Every pooled figure, Fβ by subject and pooled, and G for each row of weights, (R,)."""
    tp, fp, tn, fn = (weights @ part for part in (counts.tp, counts.fp, counts.tn, counts.fn))
    pooled = figures(tp, fp, tn, fn) | {"fbeta_pooled": fbeta(tp, fp, fn, beta)}
    by_subject = fbeta(counts.tp, counts.fp, counts.fn, beta)  # (S,)
    share = weights / weights.sum(axis=1, keepdims=True)
    return pooled | {"fbeta_mean": share @ by_subject, "g": share @ (by_subject > good_above)}


def averaged(counts: Counts, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Every figure averaged over the subjects in which it is defined, for each row of weights, (R,)."""
    by_subject = figures(counts.tp, counts.fp, counts.tn, counts.fn)
    return {
        name: ratio(weights @ np.nan_to_num(values), weights @ ~np.isnan(values)) for name, values in by_subject.items()
    }


def paired_difference(
    labels: ArrayLike,
    margins_a: ArrayLike,
    margins_b: ArrayLike,
    subjects: ArrayLike,
    statistic: PairedStatistic = "fbeta_mean",
    *,
    rule: ScoreRule | None = None,
) -> Interval:
    """Challenger less incumbent (a - b) on the same rows; both sides see the same resampled subjects.

    `detection_points` needs a rule. With one subject the interval's ends are absent.

    Raises:
        DatasetError: the statistic is undefined on these rows (besides what `check_rows` raises).
    """
    a, b = (_draws(labels, margins, subjects, statistic, rule) for margins in (margins_a, margins_b))
    return _defined(a - b, statistic)


def paired_parts(
    labels: ArrayLike,
    margins_a: Cut,
    margins_b: Cut,
    subjects: ArrayLike,
    statistic: PairedStatistic = "fbeta_mean",
    *,
    rule: ScoreRule | None = None,
) -> GainParts:
    """`paired_difference` of margins after their thresholds, in two parts; raises as it does.

    Each side gives its margins before its threshold was taken off, which even odds cut at 0, and after it.
    """
    (a_before, a), (b_before, b) = (
        [_draws(labels, margins, subjects, statistic, rule) for margins in side] for side in (margins_a, margins_b)
    )
    network = a_before - b_before
    return GainParts(network=_defined(network, statistic), threshold=_defined(a - b - network, statistic))


def _draws(
    labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike, statistic: PairedStatistic, rule: ScoreRule | None
) -> NDArray[np.float64]:
    """(1 + R,) the statistic, and that of each resample; equal subjects give equal resamples."""
    counts = count_by_subject(labels, margins, subjects)
    return _statistic(counts, weights_for(counts), statistic, rule)


def _defined(draws: NDArray[np.float64], statistic: PairedStatistic) -> Interval:
    difference = interval(draws)
    if difference is None:
        raise DatasetError(
            f"both models must have a {statistic}",
            "0 / 0 for one of them",
            "Choose another statistic, or more subjects.",
        )
    return difference


def weights_for(counts: Counts) -> NDArray[np.float64]:
    """The weights for these subjects; no resamples where there is one subject, since they would all be the same."""
    return weights_for_subjects(len(counts.subjects))


def weights_for_subjects(subjects: int) -> NDArray[np.float64]:
    """The weights for so many subjects; no resamples of one."""
    return subject_weights(subjects, RESAMPLES if subjects > 1 else 0)


def _statistic(
    counts: Counts, weights: NDArray[np.float64], name: PairedStatistic, rule: ScoreRule | None
) -> NDArray[np.float64]:
    values = resampled(counts, weights, *criteria(rule))
    if name not in ("detection_points", "pooled_points"):
        return values[name]
    if rule is None:
        raise DatasetError(
            "detection points need the rule of a board", "a target without one", "Compare fbeta_mean instead."
        )
    if name == "pooled_points":
        of_fbeta = [term for term in (rule.fbeta, rule.fbeta_pooled) if term]
        return np.asarray(sum(term.weight * normalise(term, values["fbeta_pooled"]) for term in of_fbeta))
    return detection_points(rule, values["fbeta_mean"], values["g"], values["fbeta_pooled"])
