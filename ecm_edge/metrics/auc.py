"""Area under the ROC curve, of all segments and of many resamples of their subjects.

AUC = U / (P Q), where U counts the pairs of an AF and another segment in which the AF one has the larger margin (a tie
counts half), and P and Q the segments of both kinds. In a resample a segment counts as often as its subject was drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.metrics.counts import check_rows, ratio

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ecm_edge.metrics.counts import Rows


def auc(labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike) -> float | None:
    """AUC over all segments, 0…1; None where only one class is there."""
    rows = check_rows(labels, margins, subjects)
    value = float(weighted_auc(rows, np.ones((1, len(rows.names))))[0])
    return None if np.isnan(value) else value


def weighted_auc(rows: Rows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """AUC of each resample, (R,); `weights` (R, S) are the times each subject is in it; NaN with one class.

    The memory taken beside the weights grows with the segments alone, however many subjects there are.
    """
    order = np.argsort(rows.margins)  # ascending, which makes the searches below quick
    positive = rows.positive[order]
    margins, subjects = rows.margins[order], rows.subject[order]
    owner, other = subjects[positive], subjects[~positive]  # (P,), (Q,)
    below, upto = (np.searchsorted(margins[~positive], margins[positive], side) for side in ("left", "right"))  # (P,)
    values = np.empty(len(weights))
    for r, weight in enumerate(weights):
        passed = np.concatenate([[0.0], np.cumsum(weight[other])])  # (Q + 1,) the negatives before each place
        wins = weight[owner] @ (passed[below] + passed[upto]) / 2
        values[r] = ratio(wins, weight[owner].sum() * passed[-1])
    return values
