"""The scores of margins for rows of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.metrics.evaluate import evaluate
from ecm_edge.targets import score_rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.metrics.evaluate import Scores
    from ecm_edge.targets import Target


def score_rows(margin: NDArray[np.float32], dataset: Dataset, rows: NDArray[np.int64], target: Target | None) -> Scores:
    """The scores of these rows' margins (n,), with beta and G's limit from the rule of their task on the target."""
    rule = score_rule(target, dataset.header.task)
    rhythms = np.array(dataset.header.rhythms)[dataset.table["rhythm"][rows]]
    labels, subjects = dataset.labels[rows], np.array(dataset.subject_names(rows))
    return evaluate(labels, margin, subjects, rhythms, rule)
