"""AFNet, the seed work's family: five valid convolutions of stride 2, squeeze-excite after the third and the fifth."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from ecm_edge.base.records import Record
from ecm_edge.candidate.networks.blocks import Activation, SqueezeExcite, activation, classifier

_KERNELS = (6, 5, 4, 4, 4)
_CHANNELS = (1, 2, 4, 8, 8)
_SQUEEZED = (2, 4)  # after the third and the fifth convolution
_STRIDE = 2
_REDUCTION = 4
_HIDDEN = 5

WIDTHS = ("channel_factor", "head_factor")
"""The parameters that `ecm-edge scale` multiplies."""

DEFAULTS = {"channel_factor": 2, "head_factor": 2}
"""The network that `ecm-edge train` takes unless told otherwise, a small one; it fits every board that ships."""

TRAINING = {"batch_size": 64}
"""The training that `ecm-edge train` takes for it unless told otherwise: it learns by the number of its steps.

Batches of 256 leave it with too few of them where a training has some thousand segments and few epochs.
"""


class Params(Record):
    """Widths are (1, 2, 4, 8, 8) x channel_factor and 5 x head_factor."""

    channel_factor: int = Field(ge=1, le=64)
    head_factor: int = Field(ge=1, le=64)
    activation: Activation = "silu"
    squeeze_excite: bool = True
    dropout: float = Field(default=0.5, ge=0, lt=1)


def build(params: Params, samples_per_segment: int) -> nn.Module:
    """(N, 1, T) -> (N, 2), T at least 98: convolution, activation, batch norm, five times; then two linear layers."""
    layers: list[nn.Module] = []
    inputs, length = 1, samples_per_segment
    for index, kernel in enumerate(_KERNELS):
        outputs = _CHANNELS[index] * params.channel_factor
        layers += [nn.Conv1d(inputs, outputs, kernel, _STRIDE), activation(params.activation), nn.BatchNorm1d(outputs)]
        if params.squeeze_excite and index in _SQUEEZED:
            layers.append(SqueezeExcite(outputs, reduction=_REDUCTION, act=params.activation))
        inputs, length = outputs, (length - kernel) // _STRIDE + 1
    head = classifier(inputs * length, _HIDDEN * params.head_factor, dropout=params.dropout, act=params.activation)
    return nn.Sequential(*layers, nn.Flatten(), head)
