"""Training segments cut anew, every time they are drawn, from the stretch of recording that adjoining ones make up.

The two halves of a 10 s episode are one cut of it among many. Cut anywhere, and read somewhat slower or faster, it
gives other beats, in other places and at other rates, and all of them are the recording's own: the ratios of its RR
intervals stay, and nothing has to be repeated at an edge.

Shapes: N segments, n of them in a batch, T samples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ecm_edge.augment import interpolated

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_OTHER_TEMPO = 0.5  # of the segments


class Recutter:
    """Cuts batches out of the stretches of a training part.

    Args:
        samples: (N, 1, T) float32, by episode and in the order of time.
        first: (N,) the row at which each row's stretch begins, as `stretches` finds it.
        count: (N,) how many rows it has.
        tempo: half of the segments are read slower or faster by a factor of up to 1 + tempo.
    """

    def __init__(self, samples: Tensor, first: NDArray[np.int64], count: NDArray[np.int64], tempo: float) -> None:
        self._length = samples.shape[2]
        self._flat = samples.reshape(-1)
        self._begin = torch.from_numpy(first * self._length)
        self._last = torch.from_numpy(count * self._length - 1).unsqueeze(1)
        self._tempo = tempo

    def __call__(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """(n,) rows -> (n, 1, T); linear between samples. A stretch that is too short is read in whole, and slower."""
        count = len(rows)
        last = self._last[rows]
        rate = torch.ones(count, 1)
        if self._tempo:
            drawn = torch.exp(math.log1p(self._tempo) * (2 * torch.rand(count, 1, generator=generator) - 1))
            rate = torch.where(torch.rand(count, 1, generator=generator) < _OTHER_TEMPO, drawn, rate)
        span = torch.minimum(rate * (self._length - 1), last)  # (n, 1) of the stretch, in samples
        start = torch.rand(count, 1, generator=generator) * (last - span)
        places = torch.arange(self._length) * (span / (self._length - 1)) + start
        return interpolated(self._flat, self._begin[rows].unsqueeze(1), places, last).unsqueeze(1)


def stretches(
    episodes: NDArray[np.int64], labels: NDArray[np.int64], used: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that adjoin in time: (N,) where each row's stretch begins, and (N,) how many rows it has.

    Args:
        episodes: (N,) of each row; the segments of one come one after the other and in order.
        labels: (N,) a stretch has one.
        used: (N,) whether it is trained on; a row that is not is a stretch of its own.
    """
    joined = (episodes[1:] == episodes[:-1]) & (labels[1:] == labels[:-1]) & used[1:] & used[:-1]
    begins = np.flatnonzero(np.concatenate([[True], ~joined]))  # (S,) of S stretches
    sizes = np.diff(begins, append=len(episodes))
    return np.repeat(begins, sizes), np.repeat(sizes, sizes)
