"""Several windows of one passage as one thing, where a label is that of a recording and need not hold for each window.

The mean of the margins asks the windows together, so that one without the rhythm may be negative. The largest margin
asks whether any of them has the rhythm: one is enough in a positive recording, and none may have it in a negative one
(multiple instance learning, Dietterich et al. 1997).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ecm_edge.candidate.training_config import TrainingConfig


def pooled(scores: Tensor, training: TrainingConfig) -> Tensor:
    """(n x k, 2) scores of n bags of k windows each, one bag after the other, -> (n, 2) scores of the bags.

    A bag's margin is the mean of its windows' margins or the largest of them, as the training says.
    """
    windows = training.bag_windows
    if windows == 1:
        return scores
    bags = scores.view(-1, windows, 2)
    if training.bag == "mean":
        return bags.mean(1)
    loudest = (bags[:, :, 1] - bags[:, :, 0]).argmax(1)  # (n,)
    return bags[torch.arange(len(bags), device=bags.device), loudest]
