"""Which rows of the training part are trained on. A row that is left out here is still scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import CandidateError, DatasetError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ecm_edge.candidate.training_config import TrainingConfig
    from ecm_edge.training.data import TrainingData


def trained_rows(
    data: TrainingData, training: TrainingConfig, seed: int, unseen: Tensor | None = None
) -> NDArray[np.int64]:
    """Ascending rows of the training part: the configured share of episodes, without blank rhythms and doubted labels.

    Args:
        data: the training part.
        training: says what is left out.
        seed: draws the share.
        unseen: (N,) probabilities of AF, from teachers that have not seen the segment's subject.

    Raises:
        CandidateError: doubted labels are to be dropped, and not every segment has a teacher's answer.
        DatasetError: what is left is of one class only.
    """
    labels = data.train_labels.numpy()
    if training.doubted == "drop" and (unseen is None or len(unseen) != len(labels)):
        found = "none" if unseen is None else f"{len(unseen)} answers for {len(labels)} segments"
        raise CandidateError("doubted needs a teacher's answers", found, "Make them with `ecm_edge.training.distill`.")
    used = ~data.train_blank | training.train_on_blank
    used &= in_share(data.train_subjects, data.train_episodes, training.data_share, seed)
    if training.doubted == "drop" and unseen is not None:
        used &= ~contradicted(labels, unseen.numpy(), training.doubt_above)
    rows = np.flatnonzero(used)
    positive = int(labels[rows].sum())
    if not 0 < positive < len(rows):
        raise DatasetError(
            "training needs positive and negative segments",
            f"{positive} positive of {len(rows)} that are trained on",
            "Import more subjects, or train on blank rhythms.",
        )
    return rows


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
    """(N,) whether the class that a segment is not labelled with has a probability above `above`."""
    return np.asarray(np.where(labels == 1, 1 - probabilities, probabilities) > above)
