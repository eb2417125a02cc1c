"""Validation figures of a merged data set: means over its sources, so that a large one hides no other.

V validation segments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_over_sources(
    labels: NDArray[np.int8],
    margins: NDArray[np.float32],
    subjects: NDArray[np.str_],
    sources: NDArray[np.intp],
    criteria: tuple[float, float],
) -> dict[str, float]:
    """F1, mean Fβ and G of (V,) margins that are cut at 0: those of the one source, or means over several.

    The mean Fβ over subjects without a positive segment counts no false alarm. So among several sources the Fβ of one
    with such subjects is pooled over its segments, and it has no part in G, unless no source has another. A source
    without any positive segment has no part at all.

    Args:
        labels: (V,) 0 or 1.
        margins: (V,).
        subjects: (V,) names.
        sources: (V,) numbers.
        criteria: beta, and the Fβ above which a subject counts for G.
    """
    beta, good_above = criteria
    known = sources[labels == 1] if labels.any() else sources
    each = [sources == source for source in np.unique(known)]
    positive = np.isin(subjects, np.unique(subjects[labels == 1]))  # the segment's subject has a positive one
    by_subject = [bool(positive[rows].all()) or len(np.unique(sources)) == 1 for rows in each]
    fbeta = [
        (metrics.fbeta_mean if whole else metrics.fbeta_pooled)(labels[rows], margins[rows], subjects[rows], beta)
        for rows, whole in zip(each, by_subject, strict=True)
    ]
    good = [
        metrics.g(labels[rows], margins[rows], subjects[rows], beta, good_above)
        for rows, whole in zip(each, by_subject, strict=True)
        if whole or not any(by_subject)
    ]
    f1 = [metrics.f1(labels[rows], margins[rows], subjects[rows]) for rows in each]
    return {"f1": float(np.mean(f1)), "fbeta_mean": float(np.mean(fbeta)), "g": float(np.mean(good))}
