"""Which rows of the training part are trained on. A row that is left out here is still scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ecm_edge.base.errors import CandidateError, DatasetError
from ecm_edge.training.mapped import in_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ecm_edge.candidate.training_config import TrainingConfig
    from ecm_edge.training.data import TrainingData


@dataclass(frozen=True)
class TrainedRows:
    """Rows of the training part, of which there are N.

    rows:     those that are trained on, ascending.
    quiet:    how many were left out only because they are quiet.
    softened: (N,) bool: trained on, with the answer of a teacher that contradicts the label.
    """

    rows: NDArray[np.int64]
    quiet: int
    softened: NDArray[np.bool_]


def trained_rows(data: TrainingData, training: TrainingConfig, seed: int, unseen: Tensor | None = None) -> TrainedRows:
    """Rows that are trained on: the configured share of episodes, without what the configuration leaves out.

    That is blank rhythms, doubted labels, quiet windows and what has no label.

    Args:
        data: the training part.
        training: says what is left out.
        seed: draws the share.
        unseen: (n,) probabilities of AF for the labelled rows, from teachers that have not seen the segment's subject.

    Raises:
        CandidateError: labels are to be doubted, and not every labelled segment has a teacher's answer.
        DatasetError: what is left of the labelled rows is of one class only.
    """
    labels = data.train_labels.numpy()
    labelled = labels >= 0
    used = np.where(labelled, ~data.train_blank | training.train_on_blank, training.unlabelled)
    for part in (labelled, ~labelled):
        used[part] &= in_share(data.train_subjects[part], data.train_episodes[part], training.data_share, seed)
    doubted = _doubted(labels, training, unseen)
    if training.doubted == "drop":
        used &= ~doubted
    quiet = used & quiet_rows(data, training.quiet_below)
    used &= ~quiet
    rows = np.flatnonzero(used)
    positive, count = int((labels[rows] == 1).sum()), int(labelled[rows].sum())
    if not 0 < positive < count:
        raise DatasetError(
            "training needs positive and negative segments",
            f"{positive} positive of {count} that are trained on",
            "Import more subjects, or train on blank rhythms.",
        )
    return TrainedRows(rows, int(quiet.sum()), used & doubted & (training.doubted == "soften"))


def windows_per_epoch(training: TrainingConfig, rows: int) -> int:
    """How many windows a network sees in an epoch of a training on so many rows."""
    return (training.sampling.segments or rows) * training.bag_windows


def by_row(labels: NDArray[np.int64], unseen: Tensor) -> NDArray[np.float32]:
    """(N,) the teachers' answers, which only labelled rows have; NaN elsewhere."""
    answers = np.full(len(labels), np.nan, np.float32)
    answers[labels >= 0] = unseen.numpy()
    return answers


def _doubted(labels: NDArray[np.int64], training: TrainingConfig, unseen: Tensor | None) -> NDArray[np.bool_]:
    """(N,) whether a teacher contradicts the label; nowhere if that is not asked for."""
    if training.doubted == "keep":
        return np.zeros(len(labels), bool)
    labelled = int((labels >= 0).sum())
    if unseen is None or len(unseen) != labelled:
        found = "none" if unseen is None else f"{len(unseen)} answers for {labelled} segments"
        raise CandidateError("doubted needs a teacher's answers", found, "Make them with `ecm_edge.training.distill`.")
    return contradicted(labels, by_row(labels, unseen), training.doubt_above)


def quiet_rows(data: TrainingData, below: float) -> NDArray[np.bool_]:
    """(N,) whether a window's deviation is below this share of the median of its passage's windows.

    A hand that lets go of a hand-held recorder gives such windows. A passage of one window has none.
    """
    if not below:
        return np.zeros(len(data.train_labels), bool)
    deviation = torch.cat([block[:, 0].std(1) for block in in_blocks(data.train_samples)]).numpy()
    order = np.lexsort((deviation, data.train_passages))
    _, first, place, size = np.unique(
        data.train_passages[order], return_index=True, return_inverse=True, return_counts=True
    )
    ordered = deviation[order]
    median = (ordered[first + (size - 1) // 2] + ordered[first + size // 2]) / 2  # of each passage
    quiet = np.empty(len(order), bool)
    quiet[order] = ordered < below * median[place]
    return quiet


def in_share(subjects: NDArray[np.str_], episodes: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """(N,) whether a segment is of the drawn episodes: `share` of each subject's, rounded up.

    With the same seed a smaller share is a part of a larger one.
    """
    _, first, episode = np.unique(episodes, return_index=True, return_inverse=True)
    _, subject, sizes = np.unique(subjects[first], return_inverse=True, return_counts=True)  # of each episode
    order = np.lexsort((np.random.default_rng(seed).random(len(first)), subject))
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(first), np.int64)  # of an episode in its subject's order
    place[order] = np.arange(len(first)) - np.repeat(starts, sizes)
    return np.asarray((place < np.ceil(share * sizes)[subject])[episode])


def contradicted(labels: NDArray[np.int64], probabilities: NDArray[np.float32], above: float) -> NDArray[np.bool_]:
    """(N,) whether the class that a segment is not labelled with has a probability above `above`; NaN is not."""
    return np.asarray(np.where(labels == 1, 1 - probabilities, probabilities) > above)
