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
    linears = [module for module in folded.modules() if isinstance(module, nn.Linear)]
    if not linears or linears[-1].out_features != 2 or linears[-1].bias is None:  # noqa: PLR2004 - two scores
        raise _not_last(repr(linears[-1]) if linears else "no Linear")
    with torch.no_grad():
        linears[-1].bias[1] -= threshold
        before, after = network(probe), folded(probe)  # (n, 2)
    off = (after - before + torch.tensor([0.0, threshold])).abs().max()
    if off > _ROUNDING * max(1.0, float(before.abs().max())):
        raise _not_last("a last Linear whose bias is not added to the scores themselves")
    return folded


def _not_last(found: str) -> ModelError:
    return ModelError(
        "a threshold is folded into the bias of a last Linear of two outputs", found, "End the network in Linear(…, 2)."
    )
