"""How often each segment is drawn in an epoch, so that sources, classes, rhythms and subjects of unlike size all count.

A data set is divided into sources, a source into classes, a class into rhythms and a rhythm into subjects. At each step
the share of a part of n segments is n^(1 - b) over the sum of that of all parts, with the balance b of that step: 0
leaves the shares as they are, 1 makes them equal. Segments without a label are a class of their own.

Shapes: N segments that are trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from ecm_edge.candidate.training_config import Sampling
    from ecm_edge.training.data import TrainingData


def draws(data: TrainingData, rows: NDArray[np.int64], sampling: Sampling) -> NDArray[np.float64]:
    """(N,) how often each of `rows` (N,) is drawn in an epoch, on average."""
    levels = [
        (data.train_sources, sampling.source),
        (data.train_labels.numpy(), sampling.label),
        (data.train_rhythms, sampling.rhythm),
        (data.train_subjects, sampling.subject),
    ]
    shares = balanced_shares([(np.asarray(values)[rows], balance) for values, balance in levels])
    return shares * (sampling.segments or len(rows))


def balanced_shares(levels: Sequence[tuple[NDArray[np.generic], float]]) -> NDArray[np.float64]:
    """(N,) the share of each segment, 1 in all, from (N,) parts and their balance at each step, the widest first.

    >>> halves = np.array([0, 0, 0, 1])
    >>> balanced_shares([(halves, 0.0)]).tolist(), balanced_shares([(halves, 1.0)])[3].tolist()
    ([0.25, 0.25, 0.25, 0.25], 0.5)
    """
    count = len(levels[0][0])
    share, whole = np.ones(count), np.zeros(count, np.int64)
    for values, balance in levels:
        _, code = np.unique(values, return_inverse=True)
        _, first, part = np.unique(whole * (code.max() + 1) + code, return_index=True, return_inverse=True)
        weight = np.bincount(part) ** (1 - balance)
        share *= (weight / np.bincount(whole[first], weight)[whole[first]])[part]
        whole = part
    return share / np.bincount(whole)[whole]


def draw(rows: Tensor, times: Tensor, generator: torch.Generator) -> Tensor:
    """One epoch's rows in a new order: each of `rows` (N,) as often as `times` (N,) says, up or down to a whole number.

    What is left of a number is drawn for all rows together, evenly along a new order, so that an epoch's length does
    not change.
    """
    order = torch.randperm(len(rows), generator=generator)
    reached = times[order].cumsum(0) + torch.rand(1, generator=generator, dtype=torch.float64)
    counts = reached.floor().diff(prepend=torch.zeros(1, dtype=torch.float64)).long()
    drawn = rows[order].repeat_interleave(counts)
    return drawn[torch.randperm(len(drawn), generator=generator)]
