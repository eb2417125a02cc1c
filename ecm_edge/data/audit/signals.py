"""Segments that are flat or clipped for a while. n segments, T samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.data.audit.duplicates import parts

if TYPE_CHECKING:
    from ecm_edge.data.dataset import Dataset

FLAT_S, FLAT_SHARE = 1.0, 0.01
CLIPPED_S, CLIPPED_SHARE = 0.032, 1e-4
ECG_MV = 0.1, 10.0
"""The least and the most that half of the segments of ECG data span."""


def faults(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are flat, and those that are clipped, both int64 and ascending.

    Flat: within `FLAT_SHARE` of the segment's range for `FLAT_S`. Clipped: at the segment's highest or lowest value
    (within `CLIPPED_SHARE` of its range) for `CLIPPED_S`; a signal filtered after it was clipped no longer shows it.
    """
    rate_hz = dataset.header.sampling_rate_hz
    masks = [marks(dataset.samples[rows], rate_hz) for rows in parts(np.arange(dataset.header.segments))]
    flat, clipped = (np.flatnonzero(np.concatenate(column)) for column in zip(*masks, strict=True))
    return flat, clipped


def spans(dataset: Dataset) -> np.ndarray:
    """(N,) float64: from the lowest to the highest sample of each segment, in the data set's unit."""
    blocks = parts(np.arange(dataset.header.segments))
    return np.concatenate([np.ptp(dataset.samples[rows].astype(np.float64), axis=1) for rows in blocks])


def marks(samples: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """(n,) flat and (n,) clipped of (n, T); a time that is longer than a segment, or no two samples, is never found."""
    with np.errstate(over="ignore"):  # the range of the largest numbers is infinite
        high, low = samples.max(axis=1, keepdims=True), samples.min(axis=1, keepdims=True)  # (n, 1)
        extent = high - low
        flat = _is_flat(samples, round(FLAT_S * rate_hz), FLAT_SHARE * extent)
        top = samples >= high - CLIPPED_SHARE * extent
        bottom = samples <= low + CLIPPED_SHARE * extent
    length = round(CLIPPED_S * rate_hz)
    return flat, _has_run(top, length) | _has_run(bottom, length)


def _is_flat(samples: np.ndarray, size: int, most: np.ndarray) -> np.ndarray:
    """(n,): whether `size` samples in a row of (n, T) lie within `most` (n, 1)."""
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    flat = np.zeros(len(samples), bool)
    if not 1 < size <= samples.shape[1]:
        return flat
    able = np.flatnonzero(_has_even_piece(samples, (size + 1) // 2, most))
    if not len(able):
        return flat
    inner = slice(size // 2, samples.shape[1] - size // 2)
    spread = maximum_filter1d(samples[able], size, axis=1) - minimum_filter1d(samples[able], size, axis=1)
    flat[able] = (spread[:, inner] <= most[able]).any(axis=1)
    return flat


def _has_even_piece(samples: np.ndarray, size: int, most: np.ndarray) -> np.ndarray:
    """(n,): whether one of the pieces of `size`, side by side in (n, T), lies within `most` (n, 1).

    Any 2 x `size` - 1 samples in a row have such a piece in them: a row without one has no such samples, which is
    quickly seen.
    """
    pieces = samples[:, : samples.shape[1] // size * size].reshape(len(samples), -1, size)
    even: np.ndarray = (pieces.max(axis=2) - pieces.min(axis=2) <= most).any(axis=1)
    return even


def _has_run(mask: np.ndarray, length: int) -> np.ndarray:
    """(n,): whether a row of (n, T) holds `length` true values in a row.

    >>> _has_run(np.array([[True, True, False, True], [True, False, True, True]]), 3).tolist()
    [False, False]
    """
    if not 1 < length <= mask.shape[1]:
        return np.zeros(len(mask), bool)
    runs: np.ndarray = np.count_nonzero(mask, axis=1) >= length  # the few that can have one
    windows = np.lib.stride_tricks.sliding_window_view(mask[runs], length, axis=1)
    runs[runs] = np.any(np.all(windows, axis=2), axis=1)
    return runs
