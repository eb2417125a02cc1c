"""Depthwise-separable convolutions, each stage at a fraction of the rate and wider than the one before."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from ecm_edge.candidate.networks.blocks import (
    Pool,
    PooledParams,
    SqueezeExcite,
    convolution,
    front_end,
    pooled_classifier,
)

WIDTHS = ("channels", "widest")
"""The parameters that `ecm-edge scale` multiplies."""

DEFAULTS = {"channels": 6, "depth": 4, "kernel": 5}
"""The network that `ecm-edge train` takes unless told otherwise, a small one; it fits every board that ships."""


class Params(PooledParams):
    """`channels` is the width of the first stage; each further one is `growth` times as wide, at most `widest`."""

    channels: int = Field(ge=2, le=128)
    depth: int = Field(ge=1, le=10)
    kernel: int = Field(ge=1, le=63)
    stride: int = Field(default=2, ge=1, le=8)
    growth: float = Field(default=1.5, ge=1, le=4)
    widest: int = Field(default=64, ge=2, le=512)
    separable: bool = True


def build(params: Params, samples_per_segment: int) -> nn.Module:
    """(N, 1, T) -> (N, 2): decimation, a full stem, `depth` stages, pooling over time, linear."""
    del samples_per_segment  # pooling makes the head independent of T
    kernel, act, width = params.kernel | 1, params.activation, params.channels  # an odd kernel keeps the rate exact
    layers = [
        front_end(params),
        convolution(1, width, kernel=kernel, stride=params.stride, dilation=1, act=act, separable=False),
    ]
    for _ in range(params.depth):
        wider = max(2, min(params.widest, round(width * params.growth)))
        layers.append(
            convolution(
                width, wider, kernel=kernel, stride=params.stride, dilation=1, act=act, separable=params.separable
            )
        )
        if params.squeeze_excite:
            layers.append(SqueezeExcite(wider, reduction=4, act=act))
        width = wider
    head = pooled_classifier(width, params)
    return nn.Sequential(*layers, Pool(params.pooling), head)
