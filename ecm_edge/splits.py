"""Splits of a data set by subject, and never by segment: two segments of one subject are nearly one segment.

train:      what the weights are fitted to, and what quantisation is calibrated on.
validation: early stopping, the decision threshold and the search's objective.
test:       the reported figures; touched by score, promote and report only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import model_validator

from ecm_edge.errors import DatasetError
from ecm_edge.records import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.dataset import Dataset

_FEWEST_SUBJECTS = 3
_FEWEST_FOLDS = 2


class Split(Record):
    """Names of subjects, each in one part only."""

    train: list[str]
    validation: list[str]
    test: list[str]

    @model_validator(mode="after")
    def _disjoint(self) -> Split:
        everyone = [*self.train, *self.validation, *self.test]
        if len(set(everyone)) != len(everyone):
            raise ValueError("a subject stands in two parts of the split")
        return self


def holdout(dataset: Dataset, *, seed: int, validation_share: float = 0.2, test_share: float = 0.2) -> Split:
    """Subjects drawn into test, validation and train, each part mixed alike in how much AF its subjects have.

    Raises:
        DatasetError: fewer than three subjects, or one class only.
    """
    order = _spread_by_af_share(dataset, seed)
    test = _every(order, test_share)
    rest = [name for name in order if name not in test]
    validation = _every(rest, validation_share / (1 - test_share))
    train = [name for name in rest if name not in validation]
    return _checked(dataset, Split(train=sorted(train), validation=sorted(validation), test=sorted(test)))


def folds(dataset: Dataset, *, count: int, seed: int, validation_share: float = 0.2) -> list[Split]:
    """`count` splits whose test parts cover every subject once; validation is drawn from each fold's training subjects.

    Raises:
        DatasetError: fewer subjects than folds, or a fold whose training part holds one class only.
    """
    order = _spread_by_af_share(dataset, seed)
    if not _FEWEST_FOLDS <= count <= len(order):
        raise DatasetError(
            "folds lie between 2 and the number of subjects",
            f"{count} folds for {len(order)} subjects",
            "Ask for fewer folds.",
        )
    splits = []
    for index in range(count):
        test = order[index::count]
        rest = [name for name in order if name not in test]
        validation = _every(rest, validation_share)
        train = [name for name in rest if name not in validation]
        splits.append(_checked(dataset, Split(train=sorted(train), validation=sorted(validation), test=sorted(test))))
    return splits


def fixed(dataset: Dataset, *, seed: int, validation_share: float = 0.2) -> Split:
    """The data set's own `train` and `test` parts, by subject; validation is drawn from the training subjects.

    Raises:
        DatasetError: the data set has no such parts, or a subject stands in both.
    """
    parts = dataset.header.splits
    if not {"train", "test"} <= set(parts):
        raise DatasetError(
            "a fixed split needs the parts train and test",
            f"parts {parts}",
            "Import with --split train=FILE --split test=FILE.",
        )
    test, rest = (_subjects_in(dataset, parts.index(part)) for part in ("test", "train"))
    if both := sorted(set(test) & set(rest)):
        raise DatasetError(
            "a split is by subject",
            f"{len(both)} subjects in train and in test, first {both[0]!r}",
            "Use the default split instead.",
        )
    order = [name for name in _spread_by_af_share(dataset, seed) if name in rest]
    validation = _every(order, validation_share)
    return _checked(
        dataset, Split(train=sorted(set(rest) - set(validation)), validation=sorted(validation), test=sorted(test))
    )


def _subjects_in(dataset: Dataset, part: int) -> list[str]:
    codes = np.unique(dataset.table["subject"][dataset.table["split"] == part])
    return [dataset.header.subjects[code] for code in codes]


def _spread_by_af_share(dataset: Dataset, seed: int) -> list[str]:
    """Subjects ordered by their share of AF, ties shuffled by `seed`, so that every nth of them is a fair draw."""
    labels = dataset.labels  # (N,)
    used = labels >= 0
    counts = np.bincount(dataset.table["subject"][used], minlength=len(dataset.header.subjects))
    positives = np.bincount(dataset.table["subject"][used], weights=labels[used], minlength=len(counts))
    present = np.flatnonzero(counts)
    if len(present) < _FEWEST_SUBJECTS:
        raise DatasetError(
            "a split by subject needs at least three subjects",
            f"{len(present)} in {dataset.folder}",
            "Import more subjects.",
        )
    share = positives[present] / counts[present]
    jitter = np.random.default_rng(seed).permutation(len(present))
    return [dataset.header.subjects[code] for code in present[np.lexsort((jitter, share))]]


def _every(order: Sequence[str], share: float) -> list[str]:
    """At least one of `order`, evenly spread along it: `share` of them."""
    count = max(1, round(share * len(order)))
    places = ((np.arange(count) + 0.5) * len(order) / count).astype(int)
    return [order[place] for place in places]


def _checked(dataset: Dataset, split: Split) -> Split:
    """The split, if its training part holds both classes."""
    labels = dataset.labels[dataset.rows_of(split.train)]
    if not 0 < labels.sum() < len(labels):
        raise DatasetError(
            "training needs segments with AF and without",
            f"{int(labels.sum())} of {len(labels)} training segments with AF in {dataset.folder}",
            "Import subjects of both kinds.",
        )
    return split
