"""Segments that repeat another one, exactly or nearly. N segments, T samples."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.progress import doing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecm_edge.data.dataset import Dataset

NEAR = 0.999
"""Correlation from which two segments count as near duplicates; shifted copies are not looked for."""

_BLOCK = 1000
_NEIGHBOURS = 4
_AXES = 8
_SAMPLE = 512


@doing("look for duplicates")
def duplicates(dataset: Dataset) -> np.ndarray:
    """(p, 2) int64 pairs of rows, each row with the nearest ones that equal it or correlate with it above `NEAR`."""
    first, copies = exact(dataset)
    near = _near(dataset, np.unique(first))
    return np.concatenate([np.column_stack([first[copies], copies]), near])


def exact(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """For each row the first one with the same samples, (N,); and the rows that are not that one."""
    numbers = np.concatenate([_numbers(dataset.samples[part]) for part in parts(np.arange(dataset.header.segments))])
    first = np.arange(len(numbers))
    suspects = _repeated(numbers)
    found = [digests(dataset.samples[part]) for part in parts(suspects)]
    if found:
        first[suspects] = suspects[first_equal(np.concatenate(found))]
    return first, np.flatnonzero(first != np.arange(len(first)))


def _numbers(samples: np.ndarray) -> np.ndarray:
    """(n, T) float32 to (n,) uint64: equal where all samples of two rows are the same, and hardly ever elsewhere."""
    words = np.ascontiguousarray(samples, np.float32).view(np.uint32)
    factors = np.random.default_rng(0).integers(0, 2**64, words.shape[1], np.uint64) | np.uint64(1)
    numbers: np.ndarray = np.einsum("nt,t->n", words.astype(np.uint64), factors)  # modulo 2^64
    return numbers


def _repeated(numbers: np.ndarray) -> np.ndarray:
    """The rows, ascending, whose number another row has too."""
    _, group, count = np.unique(numbers, return_inverse=True, return_counts=True)
    return np.flatnonzero(count[group] > 1)


def digests(samples: np.ndarray) -> np.ndarray:
    """(n, T) to (n,) of 16 bytes: equal where all samples of two rows are the same."""
    return np.array([hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in samples], "V16")


def first_equal(of_rows: np.ndarray) -> np.ndarray:
    """(N,) int64: for each row the first one with the same digest, which may be itself."""
    _, place, group = np.unique(of_rows, return_index=True, return_inverse=True)
    first: np.ndarray = place[group]
    return first


def _near(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """(p, 2) pairs among distinct rows.

    Unit vectors that correlate above `NEAR` lie close together, and so do their projections. The projections on the few
    axes along which segments vary most give every candidate; the full vectors decide.
    """
    from scipy.spatial import cKDTree

    axes = _main_axes(_unit(dataset.samples[rows[:: max(1, len(rows) // _SAMPLE)]]))  # (T, a)
    low = np.concatenate([_projected(dataset.samples[part], axes) for part in parts(rows)])  # (n, a)
    _, neighbour = cKDTree(low).query(low, k=_NEIGHBOURS + 1, distance_upper_bound=np.sqrt(2 * (1 - NEAR)) + 1e-6)
    left, column = np.nonzero(neighbour < len(rows))  # a place without a neighbour holds len(rows)
    right = neighbour[left, column]
    candidates = np.unique(np.sort(rows[np.column_stack([left, right])[left != right]], axis=1), axis=0)
    agree = [_correlation(dataset, part) > NEAR for part in parts(candidates)]
    pairs: np.ndarray = candidates[np.concatenate([*agree, np.zeros(0, bool)])]
    return pairs


def parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    """The rows, a block that fits into memory at a time."""
    return (rows[first : first + _BLOCK] for first in range(0, len(rows), _BLOCK))


def _unit(samples: np.ndarray) -> np.ndarray:
    """(n, T) without mean and of length 1; a flat one stays zero."""
    centred = samples - samples.mean(axis=1, keepdims=True, dtype=np.float64)
    unit: np.ndarray = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-30)
    return unit


def _projected(samples: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """(n, a): `_unit` of (n, T) samples along (T, a) axes, to rounding, without a copy of them as unit vectors."""
    wide = samples.astype(np.float64)
    wide -= wide.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("nt,nt->n", wide, wide))
    projected: np.ndarray = wide @ axes / np.maximum(length, 1e-30)[:, None]
    return projected


def _main_axes(unit: np.ndarray) -> np.ndarray:
    """(T, a) orthonormal, a <= 8: the directions in which the (n, T) vary most."""
    axes: np.ndarray = np.linalg.svd(unit, full_matrices=False)[2][:_AXES].T
    return axes


def _correlation(dataset: Dataset, pairs: np.ndarray) -> np.ndarray:
    """(p,) of (p, 2) rows."""
    left, right = (_unit(dataset.samples[pairs[:, side]]) for side in (0, 1))
    correlation: np.ndarray = np.einsum("pt,pt->p", left, right)
    return correlation
