"""Labels that a simple classifier, trained on the other subjects, contradicts.

N segments, n of them looked at, F features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.progress import track
from ecm_edge.base.records import Record
from ecm_edge.data.audit.duplicates import parts
from ecm_edge.data.audit.features import SHORTEST_S, SLOWEST_HZ, features

if TYPE_CHECKING:
    from ecm_edge.data.dataset import Dataset, DatasetHeader

CONFIDENT = 0.9
"""Predicted probability of the other class from which a label counts as contradicted."""

LOOKED_AT = 100_000
"""Segments, evenly over the data set, whose labels are checked where it has more."""

_FOLDS = 5
_MIN_ROWS = 40  # a leaf of the trees holds 20 rows; with fewer than two leaves nothing is learnt
_MIN_SHARE, _MIN_SEGMENTS = 0.25, 4


MANY = f"{_MIN_SEGMENTS} segments and {_MIN_SHARE:.0%} of them"
"""How many contradicted segments of one rhythm of a subject make a `Contradiction`, in words."""


class Contradiction(Record):
    """A subject's rhythm whose label out-of-fold predictions contradict with confidence in many segments.

    `segments` are those that were looked at; `share` is of these.
    """

    subject: str
    rhythm: str
    label: int
    segments: int
    contradicted: int
    share: float


def out_of_fold(dataset: Dataset) -> np.ndarray | None:
    """(N,) probability of AF from a classifier that never saw the segment's subject; NaN for what is not looked at.

    None if a fold would learn from too few rows, or from one class, or if the segments are too short to hold beats.
    Gradient boosting on the features of this package, folds by subject; rows without a label are only predicted.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import GroupKFold

    rows = looked_at(dataset.header.segments)
    labels, groups = dataset.labels[rows], dataset.table["subject"][rows]
    folds = min(_FOLDS, len(np.unique(groups)))
    rate_hz, length = dataset.header.sampling_rate_hz, dataset.header.samples_per_segment
    if folds < 2 or rate_hz < SLOWEST_HZ or length < SHORTEST_S * rate_hz:  # noqa: PLR2004 - one to learn, one to test
        return None
    inputs = _features(dataset, rows)
    probabilities = np.empty(len(labels))
    for learn, test in track(list(GroupKFold(folds).split(inputs, groups=groups)), "predict out of fold", folds):
        labelled = learn[labels[learn] >= 0]
        if len(labelled) < _MIN_ROWS or len(np.unique(labels[labelled])) < 2:  # noqa: PLR2004 - two classes
            return None
        model = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.1, random_state=0)
        model.fit(inputs[labelled], labels[labelled])
        probabilities[test] = model.predict_proba(inputs[test])[:, 1]
    of_all = np.full(dataset.header.segments, np.nan)
    of_all[rows] = probabilities
    return of_all


def looked_at(segments: int) -> np.ndarray:
    """(n,) int64, ascending: the rows whose labels are checked."""
    return np.arange(segments) if segments <= LOOKED_AT else np.linspace(0, segments - 1, LOOKED_AT).astype(np.int64)


def _features(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """(n, F)."""
    blocks = list(parts(rows))
    rate_hz = dataset.header.sampling_rate_hz
    tracked = track(blocks, "find beats", len(blocks))
    return np.concatenate([features(dataset.samples[block], rate_hz) for block in tracked])


def contradicted(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(N,) bool: the other class is predicted with confidence; a row without a label contradicts nothing."""
    of_positive = (labels == 1) & (probabilities <= 1 - CONFIDENT)
    of_negative = (labels == 0) & (probabilities >= CONFIDENT)
    against: np.ndarray = np.logical_or(of_positive, of_negative)
    return against


def contradictions(dataset: Dataset, probabilities: np.ndarray) -> list[Contradiction]:
    """By subject and rhythm, those where at least a quarter (and 4) of the segments are contradicted."""
    table, header = dataset.table, dataset.header
    seen = ~np.isnan(probabilities)
    against = contradicted(dataset.labels, probabilities)[seen]
    keys, group, sizes = np.unique(
        table["subject"][seen].astype(np.int64) * len(header.rhythms) + table["rhythm"][seen],
        return_inverse=True,
        return_counts=True,
    )
    numbers = np.bincount(group, against).astype(np.int64)
    many = np.flatnonzero(numbers >= np.maximum(_MIN_SEGMENTS, _MIN_SHARE * sizes))
    each = [_contradiction(header, int(keys[one]), int(sizes[one]), int(numbers[one])) for one in many]
    return sorted(each, key=lambda one: -one.share)


def _contradiction(header: DatasetHeader, key: int, segments: int, contradicted: int) -> Contradiction:
    """The segments of one subject and rhythm, summed up."""
    subject, rhythm = divmod(key, len(header.rhythms))
    return Contradiction(
        subject=header.subjects[subject],
        rhythm=header.rhythms[rhythm],
        label=header.label(header.rhythms[rhythm]),
        segments=segments,
        contradicted=contradicted,
        share=round(contradicted / segments, 4),
    )


def auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve over the rows with a label and a probability."""
    from sklearn.metrics import roc_auc_score

    labelled = (labels >= 0) & ~np.isnan(probabilities)
    return round(float(roc_auc_score(labels[labelled], probabilities[labelled])), 4)
