"""The parts that several families share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ecm_edge.base.records import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

Activation = Literal["relu", "silu", "hardswish", "leaky_relu", "gelu"]
Pooling = Literal["mean", "max", "mean_max", "mean_max_std"]


class PooledParams(Record):
    """What the families share whose head sees statistics over time.

    With `normalize` the network first gives every segment mean 0 and standard deviation 1, so that neither the unit nor
    the gain of the recording matters; `decimation` then averages so many samples into one.
    """

    normalize: bool = False
    squeeze_excite: bool = False
    pooling: Pooling = "mean_max"
    hidden: int = Field(default=0, ge=0, le=256)
    activation: Activation = "relu"
    decimation: int = Field(default=1, ge=1, le=8)
    dropout: float = Field(default=0.1, ge=0, lt=1)


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
}
_VARIANCE_FLOOR = 1e-5
_SEGMENT_FLOOR = 1e-5  # of a standard deviation in mV: below the noise of any electrode, even in volts


def activation(name: Activation) -> nn.Module:
    """A fresh activation layer."""
    return _ACTIVATIONS[name]()


def front_end(params: PooledParams) -> nn.Module:
    """(N, 1, T) -> (N, 1, T // decimation): what is done to a segment before the first convolution, if anything.

    It has no parameters and is one module, so that the names of a network's weights do not depend on it.
    """
    normalize = Normalize() if params.normalize else nn.Identity()
    return nn.Sequential(normalize, nn.AvgPool1d(params.decimation)) if params.decimation > 1 else normalize


def normalized(x: Tensor, axis: int) -> Tensor:
    """Mean 0 and standard deviation 1 along the axis of time; a flat segment gives zeros, to the bit.

    Values are taken relative to the segment's first, so that one pass gives mean and mean square safely: as one value
    is 0, the variance is at least 1/T of the squared mean. In the int8 form that one value is rounded; hence the
    absolute value. Operators are those that stay float32 in it.
    """
    x = x - x.narrow(axis, 0, 1)
    mean, square = x.mean(axis, keepdim=True), (x * x).mean(axis, keepdim=True)
    deviation = torch.sqrt(torch.abs(square - mean * mean)) + _SEGMENT_FLOOR
    return (x - mean) / deviation  # both in one pass of the firmware, since `deviation` comes first


class Normalize(nn.Module):
    """Gives every segment of (N, C, T) mean 0 and standard deviation 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) -> (N, C, T)."""
        return normalized(x, 2)


def convolution(
    inputs: int, outputs: int, *, kernel: int, stride: int, dilation: int, act: Activation, separable: bool
) -> nn.Sequential:
    """(N, inputs, T) -> (N, outputs, ceil(T / stride)): convolution, batch norm, activation; `kernel` must be odd.

    A separable one is depthwise along time, then pointwise across channels.
    """
    padding = dilation * (kernel - 1) // 2
    if separable:
        layers: list[nn.Module] = [
            nn.Conv1d(inputs, inputs, kernel, stride, padding, dilation, groups=inputs, bias=False),
            nn.BatchNorm1d(inputs),
            nn.Conv1d(inputs, outputs, 1, bias=False),
        ]
    else:
        layers = [nn.Conv1d(inputs, outputs, kernel, stride, padding, dilation, bias=False)]
    return nn.Sequential(*layers, nn.BatchNorm1d(outputs), activation(act))


class SqueezeExcite(nn.Module):
    """Scales each channel of (N, C, T) by a gate computed from the channels' means."""

    def __init__(self, channels: int, *, reduction: int, act: Activation) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv1d(channels, hidden, 1)
        self.act = activation(act)
        self.excite = nn.Conv1d(hidden, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) -> (N, C, T)."""
        gate: Tensor = self.gate(self.excite(self.act(self.squeeze(x.mean(2, keepdim=True)))))
        return x * gate


class Residual(nn.Module):
    """x + f(x); f keeps the shape and ends in an activation or a gate."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) -> (N, C, T)."""
        inner: Tensor = self.inner(x)
        return x + inner


def dilated_stack(
    channels: int, dilations: Sequence[int], *, kernel: int, act: Activation, separable: bool, squeeze_excite: bool
) -> nn.Sequential:
    """Residual blocks that widen what an output sees, at constant rate: (N, C, T) -> (N, C, T)."""

    def block(dilation: int) -> nn.Module:
        conv = convolution(channels, channels, kernel=kernel, stride=1, dilation=dilation, act=act, separable=separable)
        return Residual(nn.Sequential(conv, SqueezeExcite(channels, reduction=4, act=act)) if squeeze_excite else conv)

    return nn.Sequential(*(block(dilation) for dilation in dilations))


class Pool(nn.Module):
    """Statistics over time, side by side: (N, C, T) -> (N, C x number of statistics)."""

    def __init__(self, pooling: Pooling) -> None:
        super().__init__()
        self.statistics = pooling.split("_")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) -> (N, C x number of statistics)."""
        return torch.cat(statistics(x, self.statistics, 2), 1)


def statistics(x: Tensor, names: Sequence[str], axis: int) -> list[Tensor]:
    """One tensor for each of `mean`, `max` and `std`, without the axis of time along which they are taken."""
    mean = x.mean(axis)
    made = {"mean": lambda: mean, "max": lambda: x.amax(axis), "std": lambda: _std(x, mean, axis)}
    return [made[name]() for name in names]


def _std(x: Tensor, mean: Tensor, axis: int) -> Tensor:
    centred = x - mean.unsqueeze(axis)
    return torch.sqrt((centred * centred).mean(axis) + _VARIANCE_FLOOR)


def classifier(features: int, hidden: int, *, dropout: float, act: Activation) -> nn.Sequential:
    """(N, features) -> (N, 2); with `hidden` 0 there is one linear layer only."""
    if hidden == 0:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(features, 2))
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(features, hidden), activation(act), nn.Linear(hidden, 2))


def pooled_classifier(channels: int, params: PooledParams) -> nn.Sequential:
    """(N, features that `Pool` makes of so many channels) -> (N, 2)."""
    features = channels * len(Pool(params.pooling).statistics)
    return classifier(features, params.hidden, dropout=params.dropout, act=params.activation)
