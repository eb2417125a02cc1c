"""Samples of a split that stay in the data set's memory map: only what is asked for is read.

Processes on one machine share the pages of a map, and the system drops those that it needs for something else. So a
training takes the same memory for a data set of any size.

Shapes: N rows of a split, T samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecm_edge.data.dataset import Dataset

_BLOCK = 1024  # rows; 5 MB of five seconds at 250 Hz


@dataclass(frozen=True)
class MappedSamples:
    """(N, 1, T) float32 samples, to be indexed as a tensor of them.

    mapped: the (M, T) samples of a data set.
    rows:   (N,) those of its rows that are meant.
    """

    mapped: np.ndarray
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, 1, T)."""
        return len(self.rows), 1, self.mapped.shape[1]

    def __len__(self) -> int:
        """N."""
        return len(self.rows)

    def __getitem__(self, index: Any) -> Tensor:  # noqa: ANN401 - a number of things index a tensor
        """What a tensor gives for a slice, numbers of rows or a mask, and for further axes; a copy in memory."""
        first, *others = index if isinstance(index, tuple) else (index,)
        wanted = self.rows[first.numpy() if isinstance(first, Tensor) else first]
        read = torch.from_numpy(np.take(self.mapped, wanted, axis=0)).unsqueeze(1)
        return read[(slice(None), *others)]


Samples = Tensor | MappedSamples
"""(N, 1, T) float32, in memory or in a memory map."""


def mapped_samples(dataset: Dataset, rows: np.ndarray) -> MappedSamples:
    """(n, 1, T) samples of (n,) rows of a data set, as a network takes them."""
    return MappedSamples(np.asarray(dataset.samples), rows)


def in_blocks(samples: Samples) -> Iterator[Tensor]:
    """(N, 1, T) samples as tensors in memory, (n, 1, T) each, in order; an empty one where N is 0."""
    return (samples[start : start + _BLOCK] for start in range(0, max(1, len(samples)), _BLOCK))
