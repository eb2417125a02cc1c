"""Which windows adjoin in time: a passage is consecutive windows of one recording.

An import names a window by its recording and its start, as in `A00243+15s`. So a passage is a whole recording where no
window of it is missing. Segments that came as files of their own have no such names: there a passage is an episode.

n windows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.data.recordings.windows import TOLERANCE_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset

_STARTED = re.compile(r"(.+)\+(\d+(?:\.\d+)?)s")


def passages(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the number of the passage of each of (n,) ascending rows, counted from 0."""
    subject, episode = dataset.table["subject"][rows], dataset.table["episode"][rows]
    recording, start_s = _starts(dataset.names(rows))
    next_s = start_s[:-1] + dataset.header.samples_per_segment / dataset.header.sampling_rate_hz
    follows = (recording[1:] == recording[:-1]) & (np.abs(start_s[1:] - next_s) < TOLERANCE_S)
    joined = (subject[1:] == subject[:-1]) & (follows | (episode[1:] == episode[:-1]))
    return np.concatenate([np.zeros(min(1, len(rows)), np.int64), np.cumsum(~joined)])


def _starts(names: list[str]) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """(n,) the recording of each name, and (n,) where in it the window starts, in seconds; NaN if it does not say."""
    found = [_STARTED.fullmatch(name) for name in names]
    recordings = [match[1] if match else "" for match in found]
    return np.array(recordings, np.str_), np.array([float(match[2]) if match else np.nan for match in found])
