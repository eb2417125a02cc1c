"""A branch that sees beats only as times: what is trained gets pulses.

They have nothing of a beat's size and little of its shape: a broad QRS has 3 steps where a narrow one has 2. A pulse
stands where the slope of a segment is steepest within the shortest time that two beats can be apart. Nothing in this is
trained. Times are said for 250 Hz; the counts of samples are the same at every rate.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecm_edge.candidate.networks.blocks import Activation, Pool, Pooling, convolution, dilated_stack

STEP = 4  # samples: 16 ms
_CAP = 16.0  # of the energy, in means of the segment: no artefact outweighs the beats
_SMOOTH = 5  # steps, twice: one hump a beat, whether its QRS is narrow or broad
_TIP = 0.97  # of the largest energy around: from here on a pulse rises, and is 1 at the largest
_BEAT = (0.3, 0.6)  # of the usual beat's energy: below the first it is no beat, such as a T wave, from the second it is
_FLOOR = 1e-3  # of energies in means of the segment
_SQUARED_FLOOR = 1e-10  # of a mean square: far below the noise of any electrode, even in volts

_KERNEL, _STRIDE, _BLOCK_KERNEL = 9, 4, 5  # of the layers that read the pulses


class BeatTimes(nn.Module):
    """Pulses from 0 to 1, 1 to 4 steps wide, where beats are: (N, 1, T) -> (N, 1, T // STEP - 9), T at least 40.

    The energy is the square of what changes within a step, in means of the segment, which takes away the unit. A pulse
    is where it is as large as anywhere within 240 ms, as no two beats are closer, and at least about half of what it
    reaches within each second. A flat segment has none.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, T) -> (N, 1, T // STEP - 9)."""
        steps = x.shape[2] // STEP
        whole = x[:, :, : steps * STEP]
        by_step = whole.unflatten(2, (steps, STEP))  # type: ignore[no-untyped-call] # torch leaves it untyped
        levels = by_step.mean(3)  # an operator that int8 does not round
        slope = levels[:, :, 1:] - levels[:, :, :-1]
        square = slope * slope
        energy = torch.clamp(square / (square.mean(2, keepdim=True) + _SQUARED_FLOOR), 0.0, _CAP)
        energy = F.avg_pool1d(F.avg_pool1d(energy, _SMOOTH, 1), _SMOOTH, 1)
        # The largest of 31 steps is that of 5 sevens, that of 63 steps the largest of three such: fewer comparisons.
        around = F.max_pool1d(F.max_pool1d(F.pad(energy, (31, 31)), 7, 1), 5, 1, dilation=6)  # 16 steps longer, twice
        usual = F.max_pool1d(around, 3, 15, dilation=16).mean(2, keepdim=True)
        largest = around[:, :, 16:-16]
        return _ramp(energy / (largest + _FLOOR), _TIP, 1.0) * _ramp(energy / (usual + _FLOOR), *_BEAT)


def _ramp(x: Tensor, low: float, high: float) -> Tensor:
    """0 up to `low`, 1 from `high` on, a line between."""
    return torch.clamp((x - low) / (high - low), 0.0, 1.0)


class SideBySide(nn.Module):
    """Several views of one input, each of which gives features: (N, C, T) -> (N, all features)."""

    def __init__(self, *views: nn.Module) -> None:
        super().__init__()
        self.views = nn.ModuleList(views)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) -> (N, all features)."""
        return torch.cat([view(x) for view in self.views], 1)


def times_branch(channels: int, depth: int, act: Activation, pooling: Pooling) -> nn.Sequential:
    """(N, 1, T) -> (N, `channels` x number of statistics): a strided convolution over the pulses, then dilated blocks.

    With `depth` 4 a feature sees 4 s of 5, and thus several beats.
    """
    return nn.Sequential(
        BeatTimes(),
        convolution(1, channels, kernel=_KERNEL, stride=_STRIDE, dilation=1, act=act, separable=False),
        dilated_stack(
            channels,
            [1 << index for index in range(depth)],
            kernel=_BLOCK_KERNEL,
            act=act,
            separable=True,
            squeeze_excite=False,
        ),
        Pool(pooling),
    )
