"""Segments of any shape, from an array file or made of noise: to compare or calibrate a model without a data set.

FILE.npy   (N, …): N segments of the shape of the model's input
FILE.npz   the same as `samples`, with or without `labels` (N,), integers from 0
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base import contents, files
from ecm_edge.base.errors import DatasetError
from ecm_edge.base.names import path_meant
from ecm_edge.forms.decision import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.forms.onnx_model import Classifier, Floats

SAMPLES, LABELS = "samples", "labels"
MOST_BYTES = 2 << 30
"""Of all segments, as float32."""

_SEED = 0
_HINT = "Save it with `numpy.savez(FILE, samples=…, labels=…)`, or `numpy.save`."


@dataclass(frozen=True, eq=False)
class Samples:
    """N segments for a model, (N, T), their labels (N,) if they have any, and where they come from.

    `sha256` is the file's; of noise it is that of its bytes.
    """

    name: str
    sha256: str
    values: Floats
    labels: NDArray[np.int64] | None = None
    synthetic: bool = False

    @property
    def names(self) -> list[str]:
        """What each segment is called in reports."""
        return [f"{self.name}[{row}]" for row in range(len(self.values))]

    def at_most(self, count: int | None) -> Samples:
        """So many of them, evenly spread; all where there are fewer, or where `count` is None."""
        if count is None or count >= len(self.values):
            return self
        rows = np.arange(count) * len(self.values) // max(count, 1)
        labels = None if self.labels is None else self.labels[rows]
        return Samples(self.name, self.sha256, self.values[rows], labels, self.synthetic)


def noise(count: int, classifier: Classifier) -> Samples:
    """Seeded standard normal noise, or all bytes alike for a model that takes bytes: the same every time.

    Raises:
        DatasetError: more than `MOST_BYTES`.
    """
    size = (count, classifier.samples_per_segment)
    _check_size(size[0] * size[1] * 4, "noise")
    draw, integers = np.random.default_rng(_SEED), classifier.input_integers
    if integers is None:
        values = draw.standard_normal(size).astype(np.float32)
    else:
        limits, meaning = np.iinfo(integers[0]), integers[1]
        values = meaning.real(draw.integers(limits.min, limits.max + 1, size))
    return Samples("noise", files.sha256_bytes(values.tobytes()), values, synthetic=True)


def read(path: Path, classifier: Classifier) -> Samples:
    """The segments of a .npy or .npz file, as float32; bytes of the type that a model takes as what they stand for.

    Raises:
        DatasetError: no such file, no array of numbers in it, another shape than the model's input, a value that is
            not finite, or labels that are no classes of the model.
    """
    values, labels = _arrays(path)
    _check_size(values.size * 4, str(path))
    _check_shape(values, classifier, path)
    with np.errstate(over="ignore"):
        flat = _real(np.asarray(values).reshape(len(values), classifier.samples_per_segment), classifier)
    if not len(flat):
        raise DatasetError("samples hold one segment at least", f"none in {path}", _HINT)
    if not np.isfinite(flat).all():
        row = int(np.argmin(np.isfinite(flat).all(axis=1)))
        raise DatasetError("segments are finite float32", f"one that is not, row {row} of {path}", "Mend or drop it.")
    checked = None if labels is None else _checked(labels, len(flat), classifier.decision.classes, path)
    return Samples(path.name, files.sha256_file(path), flat, checked)


def _real(values: np.ndarray, classifier: Classifier) -> Floats:
    integers = classifier.input_integers
    if integers is not None and values.dtype == integers[0]:
        return integers[1].real(values)
    return values.astype(np.float32)


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    rule = "samples are a NumPy array, .npy or .npz"
    if not path.is_file():
        hint = f"{path_meant(path)}Check the path. {_HINT}"
        raise DatasetError(rule, f"{contents.of_path(path)} at {path}", hint)
    try:
        if not zipfile.is_zipfile(path):
            return _mapped(path), None
        _check_size(sum(entry.file_size for entry in zipfile.ZipFile(path).infolist()), str(path))
        with np.load(path, allow_pickle=False) as held:
            return _array(held, _name(held.files, path)), _array(held, LABELS) if LABELS in held.files else None
    except DatasetError:
        raise
    except Exception as problem:  # noqa: BLE001 - headers are read as Python text: bytes of chance may raise anything
        words = " ".join(str(problem).split())[:200] or type(problem).__name__
        if "magic string" in words:
            words = "a file of another kind"
        raise DatasetError(rule, f"{words} at {path}", _HINT) from None


def _array(held: Mapping[str, object], name: str) -> np.ndarray:
    """An entry of a .npz file; NumPy gives the bytes of one that is no array."""
    found = held[name]
    if not isinstance(found, np.ndarray):
        raise TypeError(f"no array in {name!r}")
    return found


def _name(names: Sequence[str], path: Path) -> str:
    if SAMPLES not in names and len(names) != 1:
        raise DatasetError(f"a .npz file has an array {SAMPLES!r}", f"{', '.join(names)} in {path}", _HINT)
    return SAMPLES if SAMPLES in names else names[0]


def _mapped(path: Path) -> np.ndarray:
    array: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    _check_size(array.size * 4, str(path))
    return array


def _check_size(size: int, place: str) -> None:
    if size > MOST_BYTES:
        raise DatasetError(f"samples take at most {MOST_BYTES:,} bytes", f"{size:,} in {place}", "Give fewer segments.")


def _check_shape(values: np.ndarray, classifier: Classifier, path: Path) -> None:
    """Axes of one value count for nothing: (N, T) and (N, 1, T) fit an input of (1, 1, T)."""
    wanted = classifier.input_shape
    fits = values.ndim > 0 and values.dtype.kind in "fiub" and _longer(values.shape[1:]) == _longer(wanted)
    if not fits:
        raise DatasetError(
            f"samples for {classifier.path.name} are numbers of N x {text_of(_longer(wanted) or [1])}",
            f"{text_of(values.shape)} of {values.dtype} in {path}",
            "Give segments of the shape of the model's input, or export the model for these.",
        )


def _longer(shape: Sequence[int]) -> list[int]:
    return [length for length in shape if length != 1]


def _checked(labels: np.ndarray, count: int, classes: int, path: Path) -> NDArray[np.int64]:
    whole = labels.dtype.kind in "iub" and labels.size == count
    between = f" from {int(labels.min())} to {int(labels.max())}" if whole and count else ""
    if not whole or (count and not 0 <= int(labels.min()) <= int(labels.max()) < classes):
        raise DatasetError(
            f"labels are integers from 0 to {classes - 1}, one a segment",
            f"{text_of(labels.shape)} of {labels.dtype}{between} for {count} segments in {path}",
            "Number the classes from 0 on, as the model's scores are, in an array of integers.",
        )
    return labels.reshape(-1).astype(np.int64)
