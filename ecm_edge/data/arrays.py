"""Arrays of a data set that somebody else may have written: mapped, never unpickled, and checked before use."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from ecm_edge.base.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BLOCK = 1000  # segments
_FAULT_LETTERS = 200


def map_array(path: Path) -> np.ndarray:
    """The array of a .npy file, mapped into memory, read-only.

    Raises:
        DatasetError: no regular file, or no array: what its header says has to fit the file.
    """
    if not path.is_file():  # a pipe would never end
        raise _no_array(path, "no regular file")
    try:
        array: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except Exception as problem:  # noqa: BLE001 - the header is read as Python text: bytes of chance may raise anything
        words = " ".join(str(problem).split()) or type(problem).__name__
        raise _no_array(path, words[:_FAULT_LETTERS]) from None
    return array


def _no_array(path: Path, fault: str) -> DatasetError:
    return DatasetError(f"{path.name} is a NumPy array", f"{fault} at {path}", "Import or make the data set again.")


def read_rows(mapped: np.ndarray, start: int, stop: int) -> np.ndarray:
    """(stop - start, T) rows of a mapped (N, T) array, read from its file: touched pages of a map count as memory."""
    array = cast("np.memmap[tuple[int, int], np.dtype[np.float32]]", mapped)
    count, offset = (stop - start) * array.shape[1], array.offset + start * array.strides[0]
    return np.fromfile(str(array.filename), array.dtype, count, offset=offset).reshape(-1, array.shape[1])


def check_indices(table: np.ndarray, bounds: Mapping[str, tuple[int, int]], path: Path) -> None:
    """Refuse a table with an index that points nowhere; `bounds` are (lowest, end) of each column.

    Raises:
        DatasetError: with the column and the first such row.
    """
    for column, (low, end) in bounds.items():
        wrong = np.flatnonzero((table[column] < low) | (table[column] >= end))
        if len(wrong):
            raise DatasetError(
                f"the {column} of every row is one of the {end} in the header",
                f"index {table[column][wrong[0]]} in row {wrong[0]} of {path}",
                "Import or make the data set again.",
            )


def check_finite(samples: np.ndarray, path: Path) -> None:
    """Refuse mapped (N, T) samples that are NaN or infinite.

    Raises:
        DatasetError: with the first such row.
    """
    for first in range(0, len(samples), _BLOCK):
        finite = np.isfinite(read_rows(samples, first, min(first + _BLOCK, len(samples)))).all(axis=1)
        if not finite.all():
            row = first + int(np.argmin(finite))
            raise DatasetError(
                "segments are finite", f"NaN or infinite samples in row {row} of {path}", "Import or make it again."
            )
