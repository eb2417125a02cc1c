"""Area under the ROC curve, and that of resamples.

AUC = U / (P Q), where U counts the pairs of an AF and another segment in which the AF one has the larger margin (a tie
counts half). In a resample that takes subject s w[s] times, a pair counts as often as its subjects' times, multiplied.
Time and memory grow with segments and not with pairs of subjects, of which thousands of subjects have too many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.metrics.counts import check_rows, ratio

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ecm_edge.metrics.counts import Counts, Rows

_CELLS = 1 << 20  # of resamples by segments that are held in memory at a time


def auc(labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike) -> float | None:
    """AUC over all segments, 0…1; None where only one class is there."""
    rows = check_rows(labels, margins, subjects)
    if rows.positive.all() or not rows.positive.any():
        return None
    pairs = rows.positive.sum() * (~rows.positive).sum()
    return float(_wins(rows, np.ones((1, len(rows.names))))[0] / pairs)


def weighted_auc(rows: Rows, counts: Counts, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """AUC of each resample, (R,); `weights` (R, S) are the times each subject is in it; NaN with one class."""
    return ratio(_wins(rows, weights), (weights @ (counts.tp + counts.fn)) * (weights @ (counts.fp + counts.tn)))


def _wins(rows: Rows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """U of each resample, (R,); sums of whole numbers and halves, and so exact."""
    owner, margins = rows.subject[rows.positive], rows.margins[rows.positive]  # (P,)
    order = np.argsort(rows.margins[~rows.positive])
    others, other_owner = rows.margins[~rows.positive][order], rows.subject[~rows.positive][order]  # (Q,) ascending
    left, right = (np.searchsorted(others, margins, side) for side in ("left", "right"))  # (P,) others below, or equal
    step = max(1, _CELLS // len(rows.margins))
    wins = []
    for part in (weights[first : first + step] for first in range(0, len(weights), step)):
        below = np.zeros((len(part), len(others) + 1))
        np.cumsum(part[:, other_owner], axis=1, out=below[:, 1:])
        wins.append(np.einsum("rp,rp->r", part[:, owner], (below[:, left] + below[:, right]) / 2))
    return np.concatenate(wins)
