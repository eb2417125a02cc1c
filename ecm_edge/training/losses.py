"""Losses on scores: (N, 2) scores and (N,) probabilities of AF, which labels of 0 and 1 are, to one number."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from ecm_edge.metrics import BETA

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_BETA_SQUARED = BETA**2
_EPSILON = 1e-6


def cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """The mean negative log-likelihood; two scores are one logit, their difference."""
    return F.binary_cross_entropy_with_logits(scores[:, 1] - scores[:, 0], targets)


def focal(scores: Tensor, targets: Tensor, *, focus: float = 2.0) -> Tensor:
    """Cross-entropy weighted by (1 - p)^focus, p being the probability given to the right class; its mean over targets.

    `focus` is the gamma of Lin et al. 2017, "Focal loss for dense object detection".
    """
    margins = scores[:, 1] - scores[:, 0]  # (N,)
    if_positive = torch.sigmoid(-margins) ** focus * F.softplus(-margins)
    if_negative = torch.sigmoid(margins) ** focus * F.softplus(margins)
    return torch.lerp(if_negative, if_positive, targets).mean()


def soft_fbeta(scores: Tensor, targets: Tensor) -> Tensor:
    """1 - F2 over the batch, probabilities for decisions, plus half the cross-entropy, which keeps it from stalling."""
    probability = torch.softmax(scores, 1)[:, 1]  # (N,)
    true_positive = (probability * targets).sum()
    false_positive = (probability * (1 - targets)).sum()
    false_negative = ((1 - probability) * targets).sum()
    weighted = (1 + _BETA_SQUARED) * true_positive
    fbeta = weighted / (weighted + _BETA_SQUARED * false_negative + false_positive + _EPSILON)
    return 1 - fbeta + 0.5 * cross_entropy(scores, targets)


def labelled(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(n, 2) scores and (n,) labels of what has a label; where there is none it is NaN."""
    known = ~labels.isnan()
    return scores[known], labels[known]


def loss_function(name: str, *, focus: float = 2.0) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a training configuration's name; `focus` is that of the focal one."""
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "cross_entropy": cross_entropy,
        "focal": partial(focal, focus=focus),
        "soft_fbeta": soft_fbeta,
    }
    return losses[name]
