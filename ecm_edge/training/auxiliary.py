"""An auxiliary output: while a network is trained, it also says how much the RR intervals of a segment vary.

A network that has to answer this cannot judge by the shape of beats alone. The output is a third one of the last linear
layer and is cut off after training, so that the network that is exported has two scores.

N segments, T samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from ecm_edge.base.errors import ModelError
from ecm_edge.training.beats import find_beats, rr_variation
from ecm_edge.training.threshold_in_bias import score_layer

if TYPE_CHECKING:
    from torch import Tensor

_SCORES = 2
_UNIT = 0.1  # a variation of 10 % is 1, so that the loss is of the size of a cross-entropy


def widen(network: nn.Module, probe: Tensor) -> None:
    """Give the network a third score, in place; it is 0 before training, and the other two stay.

    Args:
        network: (N, 1, T) samples to (N, 2) scores.
        probe: samples (n, 1, T) on which the layer is checked to be the one that gives the scores.

    Raises:
        ModelError: the network does not end in a linear layer of two scores with a bias.
    """
    layer = score_layer(network)
    before = _answers(network, probe)
    _replace(layer, F.pad(layer.weight, (0, 0, 0, 1)), F.pad(layer.bias, (0, 1)))
    try:
        after = _answers(network, probe)
    except Exception as problem:  # whatever a user's network raises is bad input here
        raise _not_last(str(problem).splitlines()[0]) from problem
    if after.shape != (len(probe), _SCORES + 1) or not torch.allclose(after[:, :_SCORES], before, atol=1e-4):
        raise _not_last(f"{tuple(after.shape)} scores, of which the first two should stay")


def narrow(network: nn.Module) -> None:
    """Take the third score away again, in place."""
    layer = score_layer(network, _SCORES + 1)
    _replace(layer, layer.weight[:_SCORES], layer.bias[:_SCORES])


def variation_loss(predicted: Tensor, samples: Tensor, sampling_rate_hz: float) -> Tensor:
    """How far the predicted variation of RR intervals is off: the mean Huber loss over segments with enough beats.

    Args:
        predicted: (N,) standard deviation of the intervals over their mean, in tenths.
        samples: (N, 1, T) as the network sees them; beats are looked for in these.
        sampling_rate_hz: of the samples.
    """
    with torch.no_grad():
        variation, known = rr_variation(*find_beats(samples, sampling_rate_hz))
    off = F.smooth_l1_loss(predicted, variation / _UNIT, reduction="none")
    return torch.where(known, off, 0.0).sum() / known.sum().clamp(min=1)


def _answers(network: nn.Module, samples: Tensor) -> Tensor:
    """What the network says in evaluation mode; it is left in the mode that it was in."""
    training = network.training
    with torch.no_grad():
        answers: Tensor = network.eval()(samples)
    network.train(training)
    return answers


def _not_last(found: str) -> ModelError:
    return ModelError(
        "an auxiliary output is a third one of a last Linear, which gives the scores",
        found,
        "End the network in Linear(…, 2), or set training.auxiliary = 0.",
    )


def _replace(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Give the layer copies of these as its parameters."""
    layer.weight, layer.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    layer.out_features = len(weight)
