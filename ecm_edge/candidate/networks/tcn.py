"""Residual dilated convolutions at one low rate: a temporal convolutional network whose outputs see several beats."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from ecm_edge.candidate.networks.beat_times import SideBySide, times_branch
from ecm_edge.candidate.networks.blocks import (
    Pool,
    PooledParams,
    convolution,
    dilated_stack,
    front_end,
    pooled_classifier,
)

WIDTHS = ("channels", "stem_channels", "first_channels")
"""The parameters that `ecm-edge scale` multiplies."""

DEFAULTS = {
    "normalize": True,
    "first_channels": 8,
    "first_kernel": 7,
    "first_stride": 4,
    "stem_depth": 3,
    "stem_channels": 16,
    "kernel": 9,
    "stride": 2,
    "channels": 16,
    "depth": 4,
    "block_kernel": 5,
    "separable": True,
    "pooling": "mean_max_std",
}
"""The network that `ecm-edge train` takes by default: the smaller reference model, which fits every board."""


class Params(PooledParams):
    """`stem_depth` strided convolutions, then `depth` residual blocks, each of twice the dilation of the one before.

    The stem ends in `channels`, which the blocks keep. What is not given follows another field, so that `channels`,
    `kernel` and `stride` alone describe a network of one width, one kernel and one stride.
    """

    channels: int = Field(ge=2, le=128)
    depth: int = Field(ge=1, le=8)
    kernel: int = Field(ge=1, le=31)
    stem_depth: int = Field(default=2, ge=1, le=5)
    stride: int = Field(default=4, ge=1, le=8)
    stem_channels: int | None = Field(default=None, ge=2, le=128, description="of the stem before its end: as channels")
    first_channels: int | None = Field(default=None, ge=2, le=128, description="of its first: as stem_channels")
    first_kernel: int | None = Field(default=None, ge=1, le=63, description="of the stem's first: as kernel")
    first_stride: int | None = Field(default=None, ge=1, le=16, description="of the stem's first: as stride")
    block_kernel: int | None = Field(default=None, ge=1, le=31, description="of the residual blocks: as kernel")
    separable: bool = False
    times_channels: int = Field(
        default=0, ge=0, le=64, description="of a branch that sees beats only as times; 0: none"
    )
    times_depth: int = Field(default=4, ge=1, le=6, description="residual blocks of that branch")


def build(params: Params, samples_per_segment: int) -> nn.Module:
    """(N, 1, T) -> (N, 2)."""
    del samples_per_segment  # pooling makes the head independent of T
    act, width, further = params.activation, params.channels, params.stem_depth - 1
    stem_width = params.stem_channels or width
    widths = [1, *[params.first_channels or stem_width, *[stem_width] * further][:further], width]
    kernels = [params.first_kernel or params.kernel, *[params.kernel] * further]
    strides = [params.first_stride or params.stride, *[params.stride] * further]
    stem = [  # an odd kernel keeps the rate exact
        convolution(inputs, outputs, kernel=kernel | 1, stride=stride, dilation=1, act=act, separable=inputs > 1)
        for inputs, outputs, kernel, stride in zip(widths[:-1], widths[1:], kernels, strides, strict=True)
    ]
    dilated = dilated_stack(
        width,
        [1 << index for index in range(params.depth)],
        kernel=(params.block_kernel or params.kernel) | 1,
        act=act,
        separable=params.separable,
        squeeze_excite=params.squeeze_excite,
    )
    head = pooled_classifier(width + params.times_channels, params)
    shape = [*stem, dilated, Pool(params.pooling)]
    if params.times_channels == 0:
        return nn.Sequential(front_end(params), *shape, head)
    times = times_branch(params.times_channels, params.times_depth, act, params.pooling)
    return nn.Sequential(front_end(params), SideBySide(nn.Sequential(*shape), times), head)
