"""What a training reads: the segments of a split, and what teachers give to it.

Shapes: N segments, V validation segments, T samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ecm_edge.training.mapped import Samples


@dataclass(frozen=True)
class TrainingData:
    """The segments of a split, shared by every candidate that is trained on it.

    Samples are in the data set's memory map (`load_data`) or in memory; all else is in memory.
    """

    train_samples: Samples  # (N, 1, T) float32
    train_labels: Tensor  # (N,) int64, 0 or 1; -1 where there is none
    train_blank: np.ndarray  # (N,) bool: the rhythm of the segment is blank
    train_subjects: np.ndarray  # (N,) str
    train_rhythms: np.ndarray  # (N,) int
    train_sources: np.ndarray  # (N,) int: of a merged data set
    train_episodes: np.ndarray  # (N,) int: two windows in a row of one record have the same number
    train_passages: np.ndarray  # (N,) int: segments of one number are one part of a recording, and adjoin in it
    validation_samples: Samples  # (V, 1, T) float32; V may be 0
    validation_labels: np.ndarray  # (V,) int8, 0 or 1
    validation_subjects: np.ndarray  # (V,) str
    validation_sources: np.ndarray  # (V,) int: of a merged data set


@dataclass(frozen=True)
class Teaching:
    """What teachers give to a training, empty if it uses none; `distill.teaching` makes it.

    ensemble: networks in evaluation mode, trained on the same subjects; they answer every changed batch, for `distill`.
    unseen:   (n,) float32 probabilities of AF for the n labelled segments, of teachers that have not seen the segment's
              subject, for `doubted`.
    """

    ensemble: tuple[nn.Module, ...] = ()
    unseen: Tensor | None = None


NOT_TAUGHT = Teaching()
