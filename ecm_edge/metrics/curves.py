"""ROC and precision-recall curves of all segments together, and the point on them at which the model answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.records import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 200
"""A record holds at most so many points of a curve, evenly spaced along it."""


class CurvePoint(Record):
    """The answers if every segment with at least this margin is called positive; all figures 0…1."""

    margin: float
    sensitivity: float
    specificity: float
    precision: float


class Curves(Record):
    """Both curves: `points` from the highest margin to the lowest.

    `at_threshold` is the point at which the model answers, margin 0; None where it calls no segment positive.
    `base_rate` is the share of segments that is positive. `auc` is the area under the ROC curve, and
    `average_precision` the mean precision over the sensitivity.
    """

    points: list[CurvePoint]
    at_threshold: CurvePoint | None
    base_rate: float
    auc: float
    average_precision: float


def curves(labels: NDArray[np.int64], margins: NDArray[np.float32]) -> Curves | None:
    """The curves of labels (N,) 0 or 1 and finite margins (N,); None where only one class is there."""
    positive = labels == 1  # (N,)
    if positive.all() or not positive.any():
        return None
    order = np.argsort(-margins, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(margins[order]) != 0, True))  # (K,) the last segment of each margin
    tp = np.cumsum(positive[order])[ends]  # (K,)
    fp = ends + 1 - tp
    sensitivity, alarms = tp / positive.sum(), fp / (~positive).sum()
    precision = tp / (tp + fp)

    def at(k: int) -> CurvePoint:
        return CurvePoint(
            margin=float(margins[order[ends[k]]]),
            sensitivity=float(sensitivity[k]),
            specificity=float(1 - alarms[k]),
            precision=float(precision[k]),
        )

    called = int((margins[order[ends]] >= 0).sum())
    return Curves(
        points=[at(int(k)) for k in _spread(sensitivity + alarms)],
        at_threshold=at(called - 1).model_copy(update={"margin": 0.0}) if called else None,
        base_rate=float(positive.mean()),
        auc=float(np.trapezoid(np.append(0, sensitivity), np.append(0, alarms))),
        average_precision=float(np.diff(sensitivity, prepend=0) @ precision),
    )


def _spread(length: NDArray[np.float64]) -> NDArray[np.intp]:
    """Places of at most `POINTS` points, both ends among them, given how long the curve is up to each."""
    wanted = np.linspace(length[0], length[-1], POINTS)
    return np.unique(np.minimum(np.searchsorted(length, wanted), len(length) - 1))
