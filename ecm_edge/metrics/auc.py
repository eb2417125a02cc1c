"""Area under the ROC curve, with the pair counts by subject that let it be resampled quickly.

AUC = U / (P Q), where U counts the pairs of an AF and another segment in which the AF one has the larger margin (a tie
counts half). U is a sum over pairs of subjects, so a resample that takes subject s w[s] times has U(w) = w' U w.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.metrics.counts import check_rows, ratio

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ecm_edge.metrics.counts import Counts, Rows


def auc(labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike) -> float | None:
    """AUC over all segments, 0…1; None where only one class is there."""
    rows = check_rows(labels, margins, subjects)
    if rows.positive.all() or not rows.positive.any():
        return None
    pairs = rows.positive.sum() * (~rows.positive).sum()
    return float(ordered_pairs(rows).sum() / pairs)


def ordered_pairs(rows: Rows) -> NDArray[np.float64]:
    """U, (S, S): pairs of an AF segment of subject i and another of subject j with the AF margin larger, ties half."""
    subjects = len(rows.names)
    order = np.argsort(rows.margins[rows.positive])
    margins = rows.margins[rows.positive][order]  # (P,) ascending, which makes the searches below quick
    owner = rows.subject[rows.positive][order]  # (P,)
    pairs = np.zeros((subjects, subjects))
    for j in np.unique(rows.subject[~rows.positive]):
        others = np.sort(rows.margins[~rows.positive & (rows.subject == j)])
        below = np.searchsorted(others, margins, "left") + np.searchsorted(
            others, margins, "right"
        )  # (P,) twice the wins
        pairs[:, j] = np.bincount(owner, weights=below / 2, minlength=subjects)
    return pairs


def weighted_auc(pairs: NDArray[np.float64], counts: Counts, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """AUC of each resample, (R,); `weights` (R, S) are the times each subject is in it; NaN with one class."""
    wins = ((weights @ pairs) * weights).sum(axis=1)
    return ratio(wins, (weights @ (counts.tp + counts.fn)) * (weights @ (counts.fp + counts.tn)))
