"""What lies at a path, in words: for the message about a path that holds something else than was asked for."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.names import is_name
from ecm_edge.base.parsing import json_of

if TYPE_CHECKING:
    from pathlib import Path

SHELF = "incumbent.json"
FOLDERS = {
    "dataset.json": "a data set",
    "manifest.json": "an entry of a registry, or a bundle",
    "candidate.json": "a candidate",
    "search.json": "a run of `ecm-edge search`",
    SHELF: "the shelf of a registry, whose entries are in its folder entries,",
}
"""The folders that this program makes, by the file that each has; the first one found counts."""

_STARTS = {
    b"\x89HDF": "a Keras or HDF5 file; convert the model with tf2onnx and give the ONNX file",
    b"PK\x03\x04": "a ZIP archive, as PyTorch (.pt), Keras (.keras) and spreadsheets (.xlsx) are; export the model as "
    "ONNX, or unpack the archive",
    b"\x80": "a pickle, as old PyTorch files are; load it in PyTorch and export the model as ONNX",
    b"\x93NUMPY": "a NumPy array; a model is exported as ONNX, and segments go to --samples",
    b"version https://git-lfs": "a pointer of Git LFS in place of the file; run `git lfs pull`",
    b"<": "a page of HTML or XML in place of the file; download it again",
    b"{": "JSON; give the ONNX file",
}
_FLATBUFFER, _SAFETENSORS = b"TFL3", b'{"'
_LARGEST_BYTES = 1 << 24  # of incumbent.json
_ENTRIES = 10_000  # of a folder, counted at most


def of_path(path: Path) -> str:
    """Such as "nothing", "a file", "a data set", "an empty folder", "a folder with 12 .csv files".

    A folder that cannot be read is "a folder".
    """
    if not path.is_dir():
        return "a file" if path.exists() else "nothing"
    for name, words in FOLDERS.items():
        if (path / name).is_file():
            return words
    try:
        return _of_folder([entry.suffix for entry in islice(path.iterdir(), _ENTRIES) if not entry.is_dir()], path)
    except OSError:
        return "a folder"


def incumbent_of(shelf: Path) -> Path | None:
    """The folder of the entry in use, where the path is the shelf of a registry; None elsewhere."""
    try:
        name = json_of(files.read_bounded(shelf / SHELF, _LARGEST_BYTES))["entry"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    entry = shelf / "entries" / str(name)
    return entry if is_name(str(name)) and entry.is_dir() and not entry.is_symlink() else None


def _of_folder(suffixes: list[str], path: Path) -> str:
    if not suffixes:
        return "a folder without files" if any(path.iterdir()) else "an empty folder"
    suffix, count = Counter(suffixes).most_common(1)[0]
    return f"a folder with {count} {suffix or 'other'} file{'s' if count > 1 else ''}"


def of_bytes(content: bytes) -> str:
    """What a file that is no ONNX model looks like by its first bytes, and what to do; empty where nothing tells."""
    if content[4:8] == _FLATBUFFER:
        return "a TensorFlow Lite file; convert the model with tf2onnx (--tflite) and give the ONNX file"
    if content[8:10] == _SAFETENSORS:
        return "weights in safetensors, without the network; give the candidate's folder, or export the model as ONNX"
    text = content.lstrip()[:100]
    known = (words for start, words in _STARTS.items() if text.startswith(start))
    return next(known, "") if content else "an empty file; export the model again"
