"""The decision threshold as a part of the last bias, so that the label is AF where scores[1] >= scores[0].

`ecm_edge.metrics.find_threshold` gives it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from ecm_edge.base.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING = 1e-4  # of the largest score, and at least of 1


def fold_threshold(network: nn.Module, threshold: float, probe: Tensor) -> nn.Module:
    """A copy of the network whose label is 1 iff the original's scores[1] - scores[0] >= threshold.

    `threshold` is taken off the second bias of the last linear layer; a tie still counts as AF.

    Args:
        network: (N, 1, T) samples to (N, 2) scores, in evaluation mode.
        threshold: a margin.
        probe: samples (n, 1, T) on which the layer is checked to be the one that gives the scores.

    Raises:
        ModelError: the network does not end in a linear layer of two scores with a bias.
    """
    folded = copy.deepcopy(network)
    with torch.no_grad():
        score_layer(folded).bias[1] -= threshold
        before, after = network(probe), folded(probe)  # (n, 2)
    off = (after - before + torch.tensor([0.0, threshold])).abs().max()
    if off > _ROUNDING * max(1.0, float(before.abs().max())):
        raise _not_last("a last Linear whose bias is not added to the scores themselves")
    return folded


def score_layer(network: nn.Module, scores: int = 2) -> nn.Linear:
    """The last linear layer of a network, which gives its scores.

    Raises:
        ModelError: there is none, or it has another number of outputs or no bias.
    """
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linears or linears[-1].out_features != scores or linears[-1].bias is None:
        raise _not_last(repr(linears[-1]) if linears else "no Linear")
    return linears[-1]


def _not_last(found: str) -> ModelError:
    return ModelError(
        "a threshold is folded into the bias of a last Linear of two outputs", found, "End the network in Linear(…, 2)."
    )
