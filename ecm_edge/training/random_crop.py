"""Random crop: each time, a training segment is cut from another place of the passage of the recording around it.

Windows side by side are one of many ways to cut a recording. Cut at a random place, and in half of the cases read
somewhat slower or faster, it gives other beats, in other places and at other rates. The ratios of its RR intervals
stay, and no sample has to be repeated at an edge. The option is called `recut`. How far a passage reaches is known from
`passages`: a whole recording where its windows are all there, the two halves of an episode in the contest's files.

Shapes: N segments, n of them in a batch, T samples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ecm_edge.training.interpolation import interpolated

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ecm_edge.training.mapped import Samples

_OTHER_TEMPO = 0.5  # of the segments


class RandomCrop:
    """Cuts batches out of the passages of a training part.

    It cuts from neighbours of one passage and one label that are trained on. A row that stands alone, because those
    beside it are missing, of the other class or left out of the training, gives itself, or a part of it where it is to
    be slowed.

    Args:
        samples: (N, 1, T) float32, rows as in a data set: those of a passage adjoin in time.
        passages: (N,) of each row.
        labels: (N,) of each row.
        rows: those that are trained on.
        tempo: half of the segments are read slower or faster by a factor of up to 1 + tempo, where their passage has as
            much.
    """

    def __init__(
        self,
        samples: Samples,
        passages: NDArray[np.int64],
        labels: NDArray[np.int64],
        rows: NDArray[np.int64],
        tempo: float,
    ) -> None:
        used = np.zeros(len(labels), bool)
        used[rows] = True
        first, count = _runs(passages, labels, used)
        self._length = samples.shape[2]
        self._samples = samples
        self._first = torch.from_numpy(first).unsqueeze(1)  # (N, 1) row of a row's run
        self._last = torch.from_numpy(count * self._length - 1).unsqueeze(1)  # (N, 1) sample of the run
        self._tempo = tempo

    def __call__(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """(n,) rows -> (n, 1, T): the recording's own samples, linear between them where the tempo is another."""
        last, shape = self._last[rows], (len(rows), 1)
        rate = torch.ones(shape)
        if self._tempo:
            drawn = torch.exp(math.log1p(self._tempo) * (2 * torch.rand(shape, generator=generator) - 1))
            rate = torch.where(torch.rand(shape, generator=generator) < _OTHER_TEMPO, drawn, rate)
            rate = torch.minimum(rate, last / (self._length - 1))
        start = torch.rand(shape, generator=generator) * (last - rate * (self._length - 1))
        start = torch.where(rate == 1, start.round(), start)
        places = torch.arange(self._length) * rate + start
        return self.read(self._first[rows], places, last).unsqueeze(1)

    def read(self, first: Tensor, places: Tensor, last: Tensor) -> Tensor:
        """(n, T) values at ascending `places` (n, T) of runs: row `first` to sample `last`, (n, 1) each.

        Only the rows of a run that hold the places are read.
        """
        ends = places[:, [0, -1]].clamp(min=0).minimum(last)  # as `interpolated` reads them
        begin, end = (ends.floor().minimum(last - 1).long() // self._length).unbind(1)  # (n,) rows of the run
        most = int((end - begin).max()) + 2  # the sample after the last place may be in the next row
        near = begin.unsqueeze(1) + torch.arange(most)
        read = self._samples[(first + near.minimum(last // self._length)).view(-1)]  # (n x most, 1, T)
        start = (torch.arange(len(places)) * most - begin).unsqueeze(1) * self._length
        return interpolated(read.view(-1), start, places, last)


def _runs(
    passages: NDArray[np.int64], labels: NDArray[np.int64], used: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N,) the first row of each row's run, and (N,) how many rows the run has.

    A run is neighbours of one passage and one label that are trained on, or a row that stands alone.
    """
    joined = (passages[1:] == passages[:-1]) & (labels[1:] == labels[:-1]) & used[1:] & used[:-1]
    begins = np.flatnonzero(np.concatenate([[True], ~joined]))
    sizes = np.diff(begins, append=len(passages))
    return np.repeat(begins, sizes), np.repeat(sizes, sizes)
