"""The answers of the networks of a cross-validation to changed segments: each subject's by the one of its fold.

n segments, T samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ecm_edge.training import epochs, fold_networks, out_of_fold

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.evaluate.disturbances import Samples
    from ecm_edge.evaluate.disturbed import Answer
    from ecm_edge.training.out_of_fold import CrossValidationRecord


def by_folds(folder: Path, config: CandidateConfig, dataset: Dataset, record: CrossValidationRecord) -> Answer:
    """Answers by the network of the fold of each row's subject, less the threshold of that fold.

    Args:
        folder: the candidate's.
        config: the one that lies there.
        dataset: the one that it was made from.
        record: the one that lies there.

    Raises:
        CandidateError: as `fold_networks.load`.
    """
    networks = fold_networks.load(folder, config, record)

    def answer(samples: Samples, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        fold = out_of_fold.fold_of(rows, dataset, record.assignment.folds)  # (n,)
        margins = np.zeros(len(rows), np.float32)
        for number in np.unique(fold):
            own = fold == number
            tensor = torch.from_numpy(samples[own].astype(np.float32)).unsqueeze(1)  # (m, 1, T)
            scores = epochs.predict(networks[number], tensor, torch.device("cpu")).numpy()
            with np.errstate(invalid="ignore", over="ignore"):
                margins[own] = scores[:, 1] - scores[:, 0] - np.float32(record.folds[number].threshold)
        return margins

    return answer


def difference(given: NDArray[np.float32], known: NDArray[np.float32]) -> float:
    """The largest difference of margins (n,) from the known ones, each relative to the known one where that is above 1.

    Infinite where a margin is not finite.
    """
    off = np.abs(given - known) / np.maximum(1, np.abs(known))
    return float(off.max()) if np.isfinite(off).all() else float("inf")
