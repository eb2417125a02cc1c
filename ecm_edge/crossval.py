"""Out-of-fold scores of one configuration: every subject is answered by a network that has never seen it.

In each fold the stopping and the threshold are chosen on validation subjects drawn from that fold's training part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ecm_edge import epochs, splits, train
from ecm_edge.candidate import check_dataset
from ecm_edge.metrics import Scores
from ecm_edge.records import Record
from ecm_edge.score import score_rows
from ecm_edge.splits import Split
from ecm_edge.tables import track

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.candidate import CandidateConfig
    from ecm_edge.dataset import Dataset
    from ecm_edge.targets import Target
    from ecm_edge.train import TrainingRecord

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


def cross_validate(config: CandidateConfig, dataset: Dataset, target: Target, *, count: int) -> CrossValidationRecord:
    """Train the configuration once for each of `count` folds and score the answers together.

    Args:
        config: its own split is not used.
        dataset: the one whose hash the configuration names; every labelled subject is tested once.
        target: its scoring rule, if any, chooses the thresholds.
        count: folds, from 2 to the number of subjects.

    Raises:
        CandidateError: the configuration was made for another data set, or training gave no finite loss.
        DatasetError: as `splits.folds`.
    """
    check_dataset(config, dataset)
    parts = splits.folds(dataset, count=count, seed=config.seed)
    margins = np.full(len(dataset.labels), np.nan, np.float32)  # (N,)
    folds: list[Fold] = []
    train_seconds = 0.0
    for split in track(parts, "training folds", len(parts)):
        record, rows, answers = _fold(config, dataset, target, split)
        margins[rows] = answers
        best = record.best
        folds.append(Fold(split=split, best_epoch=best.epoch, threshold=best.threshold, test_segments=len(rows)))
        train_seconds += record.seconds
    labelled = np.flatnonzero(dataset.labels >= 0)
    return CrossValidationRecord(
        config_sha256=config.sha256,
        dataset_sha256=config.dataset_sha256,
        synthetic=config.synthetic,
        folds=folds,
        scores=score_rows(margins[labelled], dataset, labelled, target),
        train_seconds=train_seconds,
    )


def _fold(
    config: CandidateConfig, dataset: Dataset, target: Target, split: Split
) -> tuple[TrainingRecord, NDArray[np.int64], NDArray[np.float32]]:
    """How one fold was trained, the rows (n,) of its test subjects, and their margins (n,)."""
    data = train.load_data(dataset, split)
    trained = train.fit(config.model_copy(update={"split": split}), data, rule=target.score)
    rows = dataset.rows_of(split.test)
    samples = torch.from_numpy(np.ascontiguousarray(dataset.samples[rows])).unsqueeze(1)  # (n, 1, T)
    scores = epochs.predict(trained.network, samples, torch.device("cpu")).numpy()  # (n, 2)
    return trained.record, rows, scores[:, 1] - scores[:, 0]
