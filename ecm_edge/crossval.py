"""Out-of-fold scores of one configuration: every subject is answered by a network that has never seen it.

In each fold the stopping and the threshold are chosen on validation subjects drawn from that fold's training part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ecm_edge import metrics, splits, train
from ecm_edge.metrics import Scores
from ecm_edge.records import Record
from ecm_edge.splits import Split

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.candidate import CandidateConfig
    from ecm_edge.dataset import Dataset
    from ecm_edge.targets import Target

FOLDS = "folds.json"


class Fold(Record):
    """One fold: who was in which part, and what was chosen inside of it."""

    split: Split
    best_epoch: int
    threshold: float
    test_segments: int


class CrossValidationRecord(Record):
    """Scores over all subjects, each out of its fold; every fold's threshold is folded in, so margins are cut at 0."""

    config_sha256: str
    dataset_sha256: str
    synthetic: bool
    folds: list[Fold]
    scores: Scores
    train_seconds: float


def cross_validate(
    config: CandidateConfig,
    dataset: Dataset,
    target: Target,
    *,
    count: int,
    tell: Callable[[Fold], None] = lambda _: None,
) -> CrossValidationRecord:
    """Train the configuration once for each of `count` folds and score the answers together.

    Args:
        config: its own split is not used.
        dataset: every labelled subject is tested once.
        target: its scoring rule, if any, chooses the thresholds.
        count: folds, from 2 to the number of subjects.
        tell: called after every fold.

    Raises:
        DatasetError: as `splits.folds`.
    """
    margins = np.full(len(dataset.labels), np.nan, np.float32)  # (N,)
    folds: list[Fold] = []
    train_seconds = 0.0
    for split in splits.folds(dataset, count=count, seed=config.seed):
        trained = train.fit(
            config.model_copy(update={"split": split}), train.load_data(dataset, split), rule=target.score
        )
        rows = dataset.rows_of(split.test)
        samples = torch.from_numpy(np.ascontiguousarray(dataset.samples[rows])).unsqueeze(1)
        scores = train.predict(trained.network, samples, torch.device("cpu")).numpy()  # (n, 2)
        margins[rows] = scores[:, 1] - scores[:, 0]
        best = trained.record.best
        folds.append(Fold(split=split, best_epoch=best.epoch, threshold=best.threshold, test_segments=len(rows)))
        train_seconds += trained.record.seconds
        tell(folds[-1])
    rows = np.flatnonzero(dataset.labels >= 0)
    return CrossValidationRecord(
        config_sha256=config.sha256,
        dataset_sha256=config.dataset_sha256,
        synthetic=config.synthetic,
        folds=folds,
        scores=metrics.evaluate(
            dataset.labels[rows],
            margins[rows],
            np.array(dataset.subject_names(rows)),
            np.array(dataset.header.rhythms)[dataset.table["rhythm"][rows]],
            target.score,
        ),
        train_seconds=train_seconds,
    )
