"""A beat finder for whole batches: QRS complexes are where the slope has most energy.

It is for what a training does to segments or asks about them, fast and on any device; `data.beats` measures. Neither
the unit, an offset nor the sign of the samples matters. Shapes: N segments, T samples, K places for beats.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_SLOPE_S = 0.016  # over which the slope is taken
_ENERGY_S = 0.06  # two means of this length, one after the other, so that a complex has one peak
_REFRACTORY_S = 0.22  # on both sides of a beat nothing else is one
_LEVEL_S = 1.5  # the longest RR interval: in any piece of this length there is a beat
_STEP_S = 0.1  # between such pieces
_OF_LEVEL = 0.4  # of the height of an ordinary beat
_OF_MEDIAN = 1.8  # of the median height, which in noise alone is nearly that of its peaks

FEWEST_BEATS = 3
"""Two intervals: with fewer beats nothing is known about their variation."""


def find_beats(batch: Tensor, sampling_rate_hz: float) -> tuple[Tensor, Tensor]:
    """Where the QRS complexes of each segment are.

    A complex within 60 ms of an edge is not found. A flat segment has none. In noise as strong as the beats some are
    missed and others are made up.

    Args:
        batch: (N, 1, T) samples.
        sampling_rate_hz: of the samples.

    Returns:
        (N, K) int64 sample numbers, ascending, those of the beats first and T - 1 behind them; and (N, K) bool, which
        of them are beats. K depends on T and the rate only: as many as fit in.
    """
    length = batch.shape[2]
    apart, edge = _odd(2 * _REFRACTORY_S * sampling_rate_hz), max(1, round(_ENERGY_S * sampling_rate_hz))
    height = _height(batch, sampling_rate_hz)  # (N, T)
    highest = F.max_pool1d(height.unsqueeze(1), apart, 1, apart // 2).squeeze(1)
    peak = (height == highest) & (height > _threshold(height, sampling_rate_hz))
    place = torch.arange(length, device=batch.device)
    peak &= (place >= edge) & (place < length - edge)
    most = min(length, 2 * length // apart + 2)  # K
    places = torch.where(peak, place, length)
    found = places.topk(most, dim=1, largest=False).values.sort(1).values  # (N, K)
    equals = found.diff(dim=1, prepend=found.new_full((len(found), 1), -length)) <= apart // 2  # of one height
    found = found.masked_fill(equals, length).sort(1).values
    return found.clamp(max=length - 1), found < length


def rr_variation(positions: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The standard deviation of each segment's RR intervals over their mean; what `find_beats` gives is its arguments.

    Returns:
        (N,) float32, 0 where it is not known; and (N,) bool, whether it is: `FEWEST_BEATS` or more were found.
    """
    interval = positions.diff(dim=1).float()  # (N, K - 1)
    known = valid[:, 1:].float()
    count = known.sum(1)
    mean = (interval * known).sum(1) / count.clamp(min=1)
    variance = ((interval - mean.unsqueeze(1)) ** 2 * known).sum(1) / count.clamp(min=1)
    enough = count >= FEWEST_BEATS - 1
    return torch.where(enough, variance.sqrt() / mean.clamp(min=1), 0.0), enough


def _height(batch: Tensor, rate_hz: float) -> Tensor:
    """(N, T): the root of the slope's energy around each sample."""
    step = min(max(1, round(_SLOPE_S * rate_hz)), batch.shape[2])
    width = _odd(_ENERGY_S * rate_hz)
    slope = F.pad(batch[:, :, step:] - batch[:, :, :-step], (step // 2, step - step // 2))  # (N, 1, T)
    energy = slope * slope
    for _ in range(2):
        energy = F.avg_pool1d(energy, width, 1, width // 2)
    return energy.squeeze(1).clamp_min(0).sqrt()


def _threshold(height: Tensor, rate_hz: float) -> Tensor:
    """(N, 1): what a beat is higher than. An ordinary beat is as high as the median over pieces that have one."""
    length = height.shape[1]
    piece, step = min(length, round(_LEVEL_S * rate_hz)), max(1, round(_STEP_S * rate_hz))
    level = F.max_pool1d(height.unsqueeze(1), piece, step).squeeze(1).median(1, keepdim=True).values
    return torch.maximum(_OF_LEVEL * level, _OF_MEDIAN * height.median(1, keepdim=True).values)


def _odd(samples: float) -> int:
    """The odd number of samples next to a length, at least 1."""
    return 2 * math.floor(samples / 2) + 1
