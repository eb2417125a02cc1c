"""Labels that a simple classifier, trained on the other subjects, contradicts. N segments, F features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.progress import track
from ecm_edge.base.records import Record
from ecm_edge.data.audit.duplicates import parts
from ecm_edge.data.audit.features import SHORTEST_S, SLOWEST_HZ, features

if TYPE_CHECKING:
    from ecm_edge.data.dataset import Dataset

CONFIDENT = 0.9
"""Predicted probability of the other class from which a label counts as contradicted."""

_FOLDS = 5
_MIN_ROWS = 40  # a leaf of the trees holds 20 rows; with fewer than two leaves nothing is learnt
_MIN_SHARE, _MIN_SEGMENTS = 0.25, 4


MANY = f"{_MIN_SEGMENTS} segments and {_MIN_SHARE:.0%} of them"
"""How many contradicted segments of one rhythm of a subject make a `Contradiction`, in words."""


class Contradiction(Record):
    """A subject's rhythm whose label out-of-fold predictions contradict with confidence in many segments."""

    subject: str
    rhythm: str
    label: int
    segments: int
    contradicted: int
    share: float


def out_of_fold(dataset: Dataset) -> np.ndarray | None:
    """(N,) probability of AF from a classifier that never saw the segment's subject.

    None if a fold would learn from too few rows, or from one class, or if the segments are too short to hold beats.
    Gradient boosting on the features of this package, folds by subject; rows without a label are only predicted.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import GroupKFold

    labels, groups = dataset.labels, np.array(dataset.table["subject"])
    folds = min(_FOLDS, len(np.unique(groups)))
    rate_hz, length = dataset.header.sampling_rate_hz, dataset.header.samples_per_segment
    if folds < 2 or rate_hz < SLOWEST_HZ or length < SHORTEST_S * rate_hz:  # noqa: PLR2004 - one to learn, one to test
        return None
    inputs = _all_features(dataset)
    probabilities = np.empty(len(labels))
    for learn, test in track(list(GroupKFold(folds).split(inputs, groups=groups)), "predict out of fold", folds):
        labelled = learn[labels[learn] >= 0]
        if len(labelled) < _MIN_ROWS or len(np.unique(labels[labelled])) < 2:  # noqa: PLR2004 - two classes
            return None
        model = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.1, random_state=0)
        model.fit(inputs[labelled], labels[labelled])
        probabilities[test] = model.predict_proba(inputs[test])[:, 1]
    return probabilities


def _all_features(dataset: Dataset) -> np.ndarray:
    """(N, F)."""
    blocks = list(parts(np.arange(dataset.header.segments)))
    rate_hz = dataset.header.sampling_rate_hz
    tracked = track(blocks, "find beats", len(blocks))
    return np.concatenate([features(dataset.samples[rows], rate_hz) for rows in tracked])


def contradicted(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(N,) bool: the other class is predicted with confidence; a row without a label contradicts nothing."""
    of_positive = (labels == 1) & (probabilities <= 1 - CONFIDENT)
    of_negative = (labels == 0) & (probabilities >= CONFIDENT)
    against: np.ndarray = np.logical_or(of_positive, of_negative)
    return against


def contradictions(dataset: Dataset, probabilities: np.ndarray) -> list[Contradiction]:
    """By subject and rhythm, those where at least a quarter (and 4) of the segments are contradicted."""
    table, header = dataset.table, dataset.header
    against = contradicted(dataset.labels, probabilities)
    keys = table["subject"].astype(np.int64) * len(header.rhythms) + table["rhythm"]
    each = [_contradiction(dataset, np.flatnonzero(keys == key), against) for key in np.unique(keys[against])]
    many = [one for one in each if one.contradicted >= max(_MIN_SEGMENTS, _MIN_SHARE * one.segments)]
    return sorted(many, key=lambda one: -one.share)


def _contradiction(dataset: Dataset, rows: np.ndarray, against: np.ndarray) -> Contradiction:
    """The rows of one subject and rhythm, summed up."""
    first, number = rows[0], int(against[rows].sum())
    return Contradiction(
        subject=dataset.header.subjects[dataset.table["subject"][first]],
        rhythm=dataset.header.rhythms[dataset.table["rhythm"][first]],
        label=int(dataset.labels[first]),
        segments=len(rows),
        contradicted=number,
        share=round(number / len(rows), 4),
    )


def auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve over the rows with a label."""
    from sklearn.metrics import roc_auc_score

    labelled = labels >= 0
    return round(float(roc_auc_score(labels[labelled], probabilities[labelled])), 4)
