"""A new data set from blocks of segments: the arrays are written as the blocks come, the table and the header last."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ecm_edge.base import files
from ecm_edge.base.errors import DatasetError
from ecm_edge.data.dataset import (
    HEADER_FILE,
    SAMPLES_FILE,
    TABLE_FILE,
    UNSTATED,
    DatasetHeader,
    Note,
    as_utf8,
    content_sha256,
    natural_key,
    table_type,
)
from ecm_edge.data.reasons import in_one, of_left_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ecm_edge.data.dataset import Description, LeftOut, SegmentBlock

_REASONS_SHOWN = 10


def write_dataset(
    folder: Path,
    description: Description,
    blocks: Iterable[SegmentBlock],
    *,
    notes: Sequence[Note] = (),
    leads: Mapping[str, int] | None = None,
) -> DatasetHeader:
    """Write the blocks, in their order, as a new data set; memory stays at one block and the table.

    The same description and blocks give the same bytes and `content_sha256`. An error raised by `blocks` passes
    through and leaves nothing behind. `notes` and `leads` are what is known besides the origins in the blocks.

    Raises:
        OutputError: `folder` exists or cannot be written, or the disk is full.
        DatasetError: the blocks hold no segment at all.
    """
    with files.staged_folder(folder) as staged:
        table = _Table(notes=list(notes), leads=Counter(leads or {}))
        segments = _write_samples(staged / SAMPLES_FILE, description.samples_per_segment, table.adding(blocks))
        if not segments:
            raise DatasetError("a data set holds at least one segment", "none", _why_none(table.left_out))
        subjects = sorted(table.subjects, key=natural_key)
        rhythms = sorted(table.rhythms)
        _write_table(staged / TABLE_FILE, table, subjects, rhythms, description.splits)
        if UNSTATED in table.units:  # one recording without a unit leaves the data set without one
            description = description.model_copy(update={"unit": UNSTATED})
        sha256 = {name: files.sha256_file(staged / name) for name in (SAMPLES_FILE, TABLE_FILE)}
        header = DatasetHeader(
            **dict(description),
            segments=segments,
            subjects=subjects,
            rhythms=rhythms,
            left_out=table.left_out,
            notes=table.notes,
            leads=dict(table.leads),
            rates_hz=dict(table.rates_hz),
            sha256=sha256,
            content_sha256=content_sha256(description, subjects, rhythms, sha256),
        )
        header.save(staged / HEADER_FILE)
    return header


def _why_none(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return "Point to a folder with recordings."
    return f"Everything was left out: {in_one(of_left_out(left_out), _REASONS_SHOWN)}."


@dataclass
class _Column:
    """A column of strings as indices into the distinct ones, in the order in which they came."""

    values: list[int] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)

    def extend(self, texts: Iterable[str]) -> None:
        self.values.extend(self.index.setdefault(text, len(self.index)) for text in texts)

    def into(self, order: Sequence[str]) -> np.ndarray:
        """(N,) indices into `order` instead; -1 for what is not in it."""
        places = {text: place for place, text in enumerate(order)}
        mapping = np.array([places.get(text, -1) for text in self.index], np.int64)
        mapped: np.ndarray = mapping[np.array(self.values, np.int64)]
        return mapped


@dataclass
class _Table:
    """The table while segments are being added."""

    names: list[bytes] = field(default_factory=list)
    subject: _Column = field(default_factory=_Column)
    rhythm: _Column = field(default_factory=_Column)
    episode: _Column = field(default_factory=_Column)
    split: _Column = field(default_factory=_Column)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    leads: Counter[str] = field(default_factory=Counter)
    rates_hz: Counter[str] = field(default_factory=Counter)
    units: set[str] = field(default_factory=set)

    @property
    def subjects(self) -> list[str]:
        return list(self.subject.index)

    @property
    def rhythms(self) -> list[str]:
        return list(self.rhythm.index)

    def adding(self, blocks: Iterable[SegmentBlock]) -> Iterator[np.ndarray]:
        """The (n, T) samples of each block, after its rows were added to the table."""
        for block in blocks:
            self.names.extend(name.encode(errors="backslashreplace") for name in block.names)
            self.subject.extend(map(as_utf8, block.subjects))
            self.rhythm.extend(block.rhythms)
            self.episode.extend(block.episodes)
            self.split.extend(block.splits)
            self.left_out.extend((*block.problems, *block.left_out))
            self.notes.extend(block.notes)
            for origin in block.origins:
                self.rates_hz.update([f"{origin.sampling_rate_hz:g}"])
                self.leads.update([origin.lead] if origin.lead else [])
                self.units.add(origin.unit)
                self.notes.extend(Note(name=origin.name, text=text) for text in origin.notes)
            yield block.samples


def _write_samples(path: Path, samples_per_segment: int, blocks: Iterable[np.ndarray]) -> int:
    """Write the blocks as one (N, T) array; returns N."""
    segments = 0
    with files.new_file(path) as stream:
        _write_npy_header(stream, (0, samples_per_segment))
        for block in blocks:
            if block.shape[1:] != (samples_per_segment,):
                raise DatasetError(
                    f"segments have {samples_per_segment} samples", f"a block of {block.shape}", "Cut them alike."
                )
            if not np.isfinite(block).all():
                raise DatasetError("segments are finite", "NaN or infinite samples in a block", "Leave those out.")
            stream.write(np.ascontiguousarray(block, "<f4").data)
            segments += len(block)
        stream.seek(0)
        _write_npy_header(stream, (segments, samples_per_segment))
    return segments


def _write_npy_header(stream: BinaryIO, shape: tuple[int, int]) -> None:
    """NumPy pads its header so that the first axis can grow in place (`numpy.lib.format`)."""
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _write_table(path: Path, table: _Table, subjects: list[str], rhythms: list[str], splits: list[str]) -> None:
    rows = np.zeros(len(table.names), table_type(max(map(len, table.names))))
    rows["name"] = table.names
    rows["subject"] = table.subject.into(subjects)
    rows["rhythm"] = table.rhythm.into(rhythms)
    rows["episode"] = table.episode.values
    rows["split"] = table.split.into(splits)
    with files.new_file(path) as stream:
        np.save(stream, rows, allow_pickle=False)
