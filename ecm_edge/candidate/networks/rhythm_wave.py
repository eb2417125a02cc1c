"""Sees both signs of AF: the shape of the atrial wave, from a fast stem, and the rhythm, from dilated blocks behind it.

The stem's outputs see about a quarter of a second at a rate that keeps P and f waves; their statistics go straight to
the head. Dilated residual blocks at a lower rate let further outputs see several beats; theirs go to the head as well.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from ecm_edge.candidate.networks.blocks import (
    Pool,
    PooledParams,
    Pooling,
    convolution,
    dilated_stack,
    front_end,
    pooled_classifier,
)

_STEM_STRIDES = (2, 2, 2)

WIDTHS = ("wave_channels", "rhythm_channels")
"""The parameters that `ecm-edge scale` multiplies."""

DEFAULTS = {"wave_channels": 8, "rhythm_channels": 16, "depth": 3, "decimation": 2}
"""The network that `ecm-edge train` takes unless told otherwise, a small one; it fits every board that ships."""


class Params(PooledParams):
    """Widths of the wave stem and of the rhythm blocks, and how many of the latter."""

    wave_channels: int = Field(ge=2, le=96)
    rhythm_channels: int = Field(ge=2, le=128)
    depth: int = Field(ge=1, le=6)
    kernel: int = Field(default=9, ge=3, le=31)
    rhythm_kernel: int = Field(default=5, ge=3, le=15)
    rhythm_stride: int = Field(default=2, ge=1, le=4)
    separable: bool = True
    pooling: Pooling = "mean_max_std"
    decimation: int = Field(default=1, ge=1, le=4)


class RhythmWave(nn.Module):
    """Two pooled views, one head."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        kernel, act, wave, rhythm = params.kernel | 1, params.activation, params.wave_channels, params.rhythm_channels
        widths = (1, max(2, wave // 2), wave, wave)
        stem = [
            convolution(inputs, outputs, kernel=kernel, stride=stride, dilation=1, act=act, separable=inputs > 1)
            for inputs, outputs, stride in zip(widths[:-1], widths[1:], _STEM_STRIDES, strict=True)
        ]
        self.stem = nn.Sequential(front_end(params), *stem)
        self.rhythm = nn.Sequential(
            convolution(
                wave,
                rhythm,
                kernel=params.rhythm_kernel | 1,
                stride=params.rhythm_stride,
                dilation=1,
                act=act,
                separable=params.separable,
            ),
            dilated_stack(
                rhythm,
                [1 << index for index in range(params.depth)],
                kernel=params.rhythm_kernel | 1,
                act=act,
                separable=params.separable,
                squeeze_excite=params.squeeze_excite,
            ),
        )
        self.pool = Pool(params.pooling)
        self.head = pooled_classifier(wave + rhythm, params)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, T) -> (N, 2)."""
        wave = self.stem(x)  # (N, C, T / 8)
        rhythm = self.rhythm(wave)  # (N, C, T / 16)
        scores: Tensor = self.head(torch.cat([self.pool(wave), self.pool(rhythm)], 1))
        return scores


def build(params: Params, samples_per_segment: int) -> nn.Module:
    """(N, 1, T) -> (N, 2)."""
    del samples_per_segment  # pooling makes the head independent of T
    return RhythmWave(params)
