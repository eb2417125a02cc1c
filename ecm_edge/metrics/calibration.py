"""Calibration: whether segments that are given a probability of 0.8 are positive eight times of ten.

The probability is that of margins that are log-odds, with no threshold taken off. S subjects, R sets of weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.records import Drawable, Interval, Record
from ecm_edge.metrics.counts import check_rows, ratio
from ecm_edge.metrics.resample import interval, weights_for_subjects

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from ecm_edge.base.plots import Colours
    from ecm_edge.metrics.counts import Rows

BINS = 10


class ReliabilityBin(Record):
    """The segments whose probability lies in [low, high), in the last bin 1 included.

    `predicted` is their mean probability and `observed` the share of them that is positive; None without a segment.
    """

    low: float
    high: float
    predicted: float | None
    observed: float | None
    segments: int
    subjects: int


class Calibration(Drawable):
    """How far probabilities agree with labels.

    brier:          the mean squared difference of probability and label, 0 at best, with its 95 % interval.
    skill:          1 less brier over the Brier score of the base rate, p (1 - p); 1 at best, 0 where the base rate does
                    as well; None with one class.
    base_rate:      p, the share of segments that is positive.
    expected_error: the mean of |predicted - observed| over the bins, each weighed by its segments.
    """

    brier: Interval
    skill: Interval | None
    base_rate: float
    expected_error: float
    bins: list[ReliabilityBin]

    KEYS = ("brier", "skill", "expected_error")

    def draw(self, axes: Axes, colours: Colours) -> None:
        """The observed share of positive segments against the predicted probability; the share of all segments behind.

        A curve below the dotted line: fewer segments are positive than the probability says.
        """
        from ecm_edge.base import plots

        filled = [one for one in self.bins if one.segments]
        shares = [one.segments / sum(one.segments for one in filled) for one in filled]
        widths = [one.high - one.low for one in filled]
        lows = [one.low for one in filled]
        axes.bar(lows, shares, widths, align="edge", color=colours.band, label="share of all segments")
        axes.plot([0, 1], [0, 1], color=colours.muted, linewidth=1, linestyle=plots.DOTTED, label="calibrated")
        points = [(b.predicted, b.observed) for b in filled if b.predicted is not None and b.observed is not None]
        axes.plot(*zip(*points, strict=True), "o-", color=colours.blue, label="observed", clip_on=False)
        plots.unit_square(axes, "predicted probability", "observed share")


def calibrate(labels: ArrayLike, log_odds: ArrayLike, subjects: ArrayLike) -> Calibration:
    """The calibration of log-odds (N,), given the labels (N,) and the subjects (N,); raises as `check_rows`."""
    rows = check_rows(labels, log_odds, subjects)
    predicted = probability(rows.margins)
    bins = _bins(rows, predicted)
    gaps = [
        abs(b.predicted - b.observed) * b.segments for b in bins if b.predicted is not None and b.observed is not None
    ]
    return Calibration.model_validate(
        _brier(rows, predicted)
        | {"base_rate": rows.positive.mean(), "expected_error": sum(gaps) / predicted.size, "bins": bins}
    )


def probability(log_odds: ArrayLike) -> NDArray[np.float64]:
    """The probability of log-odds, of any size and shape.

    >>> probability([0.0, -1000.0]).tolist()
    [0.5, 0.0]
    """
    return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(log_odds, np.float64))))


def _brier(rows: Rows, predicted: NDArray[np.float64]) -> dict[str, Interval | None]:
    """The Brier score and its skill, with intervals by resampling subjects."""
    weights = weights_for_subjects(len(rows.names))  # (R, S)
    segments = weights @ np.bincount(rows.subject)  # (R,)
    base = weights @ np.bincount(rows.subject, rows.positive) / segments
    draws = weights @ np.bincount(rows.subject, (predicted - rows.positive) ** 2) / segments
    return {"brier": interval(draws), "skill": interval(1 - ratio(draws, base * (1 - base)))}


def _bins(rows: Rows, predicted: NDArray[np.float64]) -> list[ReliabilityBin]:
    edges = np.linspace(0, 1, BINS + 1)
    place = np.searchsorted(edges[1:-1], predicted, "right")  # (N,) 0 to BINS - 1
    return [
        _bin(low, high, predicted[place == b], rows.positive[place == b], rows.subject[place == b])
        for b, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    ]


def _bin(
    low: float, high: float, predicted: NDArray[np.float64], positive: NDArray[np.bool_], subject: NDArray[np.intp]
) -> ReliabilityBin:
    return ReliabilityBin(
        low=round(low, 3),
        high=round(high, 3),
        predicted=float(predicted.mean()) if predicted.size else None,
        observed=float(positive.mean()) if predicted.size else None,
        segments=predicted.size,
        subjects=len(np.unique(subject)),
    )
