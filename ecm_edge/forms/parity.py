"""How far two arrays of scores lie apart: the figures that users of such tools know.

N segments of S scores. With r the reference, p the other and e = r - p, over all N S values:
rmse = sqrt(mean(e^2)); mae = mean(|e|); l2r = |e| / |r|; mean and std of e; nse = 1 - sum(e^2) / sum((r - mean(r))^2)
(Nash-Sutcliffe); cos = r.p / (|r| |p|); max_abs = max(|e|). acc = share of segments whose labels agree.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.records import Record
from ecm_edge.forms.decision import TWO_SCORES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.forms.decision import Decision
    from ecm_edge.forms.onnx_model import Floats


class Parity(Record):
    """The figures of one comparison; all are absent if no segment was compared or a score is not finite.

    nse is also absent where the reference does not vary, cos and l2r where one side is all zeros.
    """

    segments: int
    label_flips: int
    non_finite: int
    acc: float | None = None
    rmse: float | None = None
    mae: float | None = None
    l2r: float | None = None
    mean: float | None = None
    std: float | None = None
    nse: float | None = None
    cos: float | None = None
    max_abs: float | None = None


def labels_of(scores: Floats, decision: Decision = TWO_SCORES) -> NDArray[np.int64]:
    """Labels (N,) of scores (N, S); of two 1 where scores[1] >= scores[0], a tie included, and 0 where one is NaN."""
    return decision.labels(scores)


def flipped(reference: Floats, other: Floats, decision: Decision = TWO_SCORES) -> NDArray[np.int64]:
    """Rows, ascending, whose label differs between two arrays of scores (N, S)."""
    return np.flatnonzero(labels_of(reference, decision) != labels_of(other, decision))


def compare(reference: Floats, other: Floats, decision: Decision = TWO_SCORES) -> Parity:
    """The figures for scores (N, S) of the reference and of the other form."""
    segments, flips = len(reference), len(flipped(reference, other, decision))
    non_finite = int(np.sum(~np.isfinite(reference)) + np.sum(~np.isfinite(other)))
    if not segments or non_finite:
        return Parity(segments=segments, label_flips=flips, non_finite=non_finite)
    r, p = reference.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    e = r - p
    squares, r_squares, p_squares, product = (float(np.sum(a * b)) for a, b in ((e, e), (r, r), (p, p), (r, p)))
    return Parity(
        segments=segments,
        label_flips=flips,
        non_finite=0,
        acc=1 - flips / segments,
        rmse=math.sqrt(squares / e.size),
        mae=float(np.abs(e).mean()),
        l2r=_ratio(math.sqrt(squares), math.sqrt(r_squares)),
        mean=float(e.mean()),
        std=float(e.std()),
        nse=_unless_none(_ratio(squares, float(np.sum((r - r.mean()) ** 2)))),
        cos=_ratio(product, math.sqrt(r_squares) * math.sqrt(p_squares)),
        max_abs=float(np.abs(e).max()),
    )


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def _unless_none(share: float | None) -> float | None:
    return None if share is None else 1 - share
