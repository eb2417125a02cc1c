"""Residual dilated convolutions at one low rate: a temporal convolutional network whose outputs see several beats."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from ecm_edge.networks.blocks import (
    Pool,
    PooledParams,
    convolution,
    decimation,
    dilated_stack,
    pooled_classifier,
)

WIDTHS = ("channels",)
"""The parameters that `ecm-edge scale` multiplies."""


class Params(PooledParams):
    """`stem_depth` strided convolutions, then `depth` residual blocks, each of twice the dilation of the one before."""

    channels: int = Field(ge=2, le=128)
    depth: int = Field(ge=1, le=8)
    kernel: int = Field(ge=1, le=31)
    stem_depth: int = Field(default=2, ge=1, le=5)
    stride: int = Field(default=4, ge=1, le=8)
    separable: bool = False


def build(params: Params, samples_per_segment: int) -> nn.Module:
    """(N, 1, T) -> (N, 2)."""
    del samples_per_segment  # pooling makes the head independent of T
    kernel, act, width = params.kernel | 1, params.activation, params.channels  # an odd kernel keeps the rate exact
    widths = [1] + [width] * params.stem_depth
    stem = [
        convolution(inputs, width, kernel=kernel, stride=params.stride, dilation=1, act=act, separable=inputs > 1)
        for inputs in widths[:-1]
    ]
    dilated = dilated_stack(
        width,
        [1 << index for index in range(params.depth)],
        kernel=kernel,
        act=act,
        separable=params.separable,
        squeeze_excite=params.squeeze_excite,
    )
    head = pooled_classifier(width, params)
    return nn.Sequential(decimation(params.decimation), *stem, dilated, Pool(params.pooling), head)
