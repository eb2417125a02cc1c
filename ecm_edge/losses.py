"""Losses on scores: (N, 2) scores and (N,) labels of 0 or 1 to one number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from ecm_edge.metrics import BETA

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_BETA_SQUARED = BETA**2
_FOCUS = 2.0  # gamma of Lin et al. 2017, "Focal loss for dense object detection"
_EPSILON = 1e-6


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """The mean negative log-likelihood."""
    return F.cross_entropy(scores, labels)


def focal(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy weighted by (1 - p)^2, p being the probability given to the right class."""
    losses = F.cross_entropy(scores, labels, reduction="none")  # (N,)
    return ((1 - torch.exp(-losses)) ** _FOCUS * losses).mean()


def soft_fbeta(scores: Tensor, labels: Tensor) -> Tensor:
    """1 - F2 over the batch, probabilities for decisions, plus half the cross-entropy, which keeps it from stalling."""
    probability = torch.softmax(scores, 1)[:, 1]  # (N,)
    positive = labels.to(probability.dtype)
    true_positive = (probability * positive).sum()
    false_positive = (probability * (1 - positive)).sum()
    false_negative = ((1 - probability) * positive).sum()
    weighted = (1 + _BETA_SQUARED) * true_positive
    fbeta = weighted / (weighted + _BETA_SQUARED * false_negative + false_positive + _EPSILON)
    return 1 - fbeta + 0.5 * F.cross_entropy(scores, labels)


def loss_function(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a training configuration's name."""
    return {"cross_entropy": cross_entropy, "focal": focal, "soft_fbeta": soft_fbeta}[name]
