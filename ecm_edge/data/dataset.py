"""A data set: a folder of segments with subject, rhythm, episode and fixed split of each.

    dataset.json   DatasetHeader: what the arrays mean, and their hashes
    samples.npy    (N, T) float32, C order
    table.npy      (N,) structured: name, subject, rhythm, episode, split

N segments, T samples a segment. A row is the index of a segment in both arrays, 0 to N - 1. The arrays are mapped into
memory, so opening takes the same time at any size. The folder is written under a temporary name and renamed: it is
whole or absent.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import numpy as np
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from ecm_edge import tasks
from ecm_edge.base import files
from ecm_edge.base.errors import DatasetError
from ecm_edge.base.records import Record
from ecm_edge.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

HEADER_FILE = "dataset.json"
SAMPLES_FILE = "samples.npy"
TABLE_FILE = "table.npy"

BLANK_RHYTHM = ""

UNSTATED = "unstated"
"""The unit of samples of which no one says what they are."""

Blank = Literal["negative", "drop"]
"""What a blank rhythm counts as: a negative (the contest's rule), or as no label at all."""


def _as_utf8(text: str) -> str:
    """The text with bytes that are not UTF-8 escaped."""
    return text.encode(errors="backslashreplace").decode()


Utf8 = Annotated[str, AfterValidator(_as_utf8)]


class LeftOut(Record):
    """Something of the source that is not in the data set, and why.

    `windows` is the number of windows of the recording `name` that are lost; 0 stands for a file, or for less than a
    window. `reason` has no number of its own, so that equal reasons can be counted.
    """

    name: Utf8
    reason: Utf8
    windows: int = 0


class Note(Record):
    """Something that a reader of the data set has to know of a recording that is in it."""

    name: Utf8
    text: Utf8


@dataclass(frozen=True)
class Origin:
    """What is known of one recording: the lead that was read, its rate, its unit, and what is to be told of it.

    `unit` is the unit of the samples as they are in the data set, or `UNSTATED`.
    """

    name: str
    lead: str
    sampling_rate_hz: float
    unit: str
    notes: tuple[str, ...] = ()


class Source(Record):
    """The format of the recordings and the options they were read with."""

    format: str
    options: dict[str, str] = Field(default_factory=dict)


class SourceSet(Record):
    """One of the data sets that a data set was merged from.

    `subjects` are its subjects, by their names here; `renamed` has the name there of each one that was renamed.
    `content_sha256` is that of the whole set.
    """

    name: str
    content_sha256: str
    source: Source
    subjects: list[str]
    renamed: dict[str, str] = Field(default_factory=dict)


class Description(Record):
    """The meaning of the segments, decided before the first one is read.

    `unit` is that of a sample, or `UNSTATED`. `splits` names the fixed splits, [] if there are none. `task` is the one
    that the segments were made for; its `positive` are the `positive_rhythms`. `sources` are those of a merged data
    set, and each of its subjects is of one of them; [] if it was not merged.
    """

    sampling_rate_hz: PositiveFloat
    samples_per_segment: PositiveInt
    unit: str
    splits: list[str] = Field(default_factory=list)
    positive_rhythms: list[str] = Field(default_factory=lambda: tasks.default().positive)
    blank: Blank = "negative"
    synthetic: bool = False
    source: Source
    task: Task = Field(default_factory=tasks.default)
    sources: list[SourceSet] = Field(default_factory=list)

    def label(self, rhythm: str) -> int:
        """What a rhythm counts as: 1 positive, 0 negative, -1 no label."""
        if rhythm == BLANK_RHYTHM and self.blank == "drop":
            return -1
        return int(rhythm in self.positive_rhythms)


class DatasetHeader(Description):
    """`dataset.json`. `subjects` and `rhythms` (a blank one is "") are what the table's indices point into.

    `content_sha256` binds both arrays and every field that changes their meaning; not `source`, `left_out`, `notes`,
    and `leads`, which counts the recordings by the lead that was read.
    """

    format: Literal["ecm-edge-dataset"] = "ecm-edge-dataset"
    version: Literal[1] = 1
    segments: PositiveInt
    subjects: list[str]
    rhythms: list[str]
    left_out: list[LeftOut]
    notes: list[Note] = Field(default_factory=list)
    leads: dict[str, int] = Field(default_factory=dict)
    sha256: dict[str, str]
    content_sha256: str

    @property
    def source_sha256(self) -> list[str]:
        """The `content_sha256` of each source; [] if the data set was not merged."""
        return [source.content_sha256 for source in self.sources]


@dataclass(frozen=True)
class SegmentBlock:
    """Some consecutive segments on their way into a data set.

    `episodes` are keys: equal strings mean two windows in a row of one record; where both are there, they come
    one after the other. `splits` holds "" for none. `problems` are the files or windows of this block that cannot be
    used; `left_out` those that are left out by rule. `origins` are the recordings that begin in this block.
    """

    samples: np.ndarray  # (n, T) float32
    names: Sequence[str]
    subjects: Sequence[str]
    rhythms: Sequence[str]
    episodes: Sequence[str]
    splits: Sequence[str]
    problems: Sequence[LeftOut] = ()
    left_out: Sequence[LeftOut] = ()
    origins: Sequence[Origin] = ()


@dataclass(frozen=True)
class Dataset:
    """An open data set. `samples` is (N, T) float32 and `table` (N,) structured; both are memory-mapped, read-only."""

    folder: Path
    header: DatasetHeader
    samples: np.ndarray
    table: np.ndarray

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int8: 1 positive, 0 negative, -1 no label (a blank rhythm under `blank="drop"`)."""
        by_rhythm = np.array([self.header.label(rhythm) for rhythm in self.header.rhythms], np.int8)
        labels: np.ndarray = by_rhythm[self.table["rhythm"]]
        return labels

    def names(self, rows: np.ndarray) -> list[str]:
        """The names of these rows."""
        return [name.decode() for name in self.table["name"][rows]]

    def subject_names(self, rows: np.ndarray) -> list[str]:
        """The subject of each of these rows."""
        return [self.header.subjects[index] for index in self.table["subject"][rows]]

    @cached_property
    def sources(self) -> np.ndarray:
        """(S,) for each subject the place of its source in `header.sources`; 0 where the data set was not merged."""
        places = {subject: place for place, source in enumerate(self.header.sources) for subject in source.subjects}
        return np.array([places.get(subject, 0) for subject in self.header.subjects], np.intp)

    def source_names(self, rows: np.ndarray) -> list[str]:
        """The source of each of these rows; "" where the data set was not merged."""
        names = [source.name for source in self.header.sources] or [""]
        return [names[place] for place in self.sources[self.table["subject"][rows]]]

    def rows_of(self, subjects: Collection[str]) -> np.ndarray:
        """(n,) int64, ascending: the labelled rows of these subjects.

        Raises:
            DatasetError: a subject that is not in the data set.
        """
        unknown = sorted(set(subjects) - set(self.header.subjects), key=natural_key)
        if unknown:
            raise DatasetError(
                "subjects must be in the data set",
                f"{unknown[0]!r} in {self.folder}",
                "`ecm-edge data info` lists its subjects.",
            )
        wanted = np.isin(self.header.subjects, list(subjects))
        rows: np.ndarray = np.flatnonzero(wanted[self.table["subject"]] & (self.labels >= 0))
        return rows


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key that puts S2 before S10.

    >>> sorted(["S10", "S2", "a"], key=natural_key)
    ['S2', 'S10', 'a']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(part)) if part.isascii() and part.isdigit() else (1, part) for part in parts)


def open_dataset(folder: Path) -> Dataset:
    """Open a data set; its arrays are mapped, not read, and their hashes not checked (`check_content` does).

    Raises:
        DatasetError: not a data set, a header that changed, or arrays that do not have the header's shapes.
    """
    if not (folder / HEADER_FILE).is_file():
        raise DatasetError(
            "a data set is a folder that `ecm-edge data import` or `data synth` made",
            f"no {HEADER_FILE} in {folder}",
            "Check the path, or make it.",
        )
    header = DatasetHeader.load(folder / HEADER_FILE, DatasetError)
    if header.content_sha256 != _content_sha256(header, header.subjects, header.rhythms, header.sha256):
        raise _changed(folder, [HEADER_FILE])
    samples, table = _map(folder / SAMPLES_FILE), _map(folder / TABLE_FILE)
    expected = (header.segments, header.samples_per_segment)
    if (
        samples.shape != expected
        or samples.dtype != np.float32
        or table.shape != expected[:1]
        or table.dtype != _table_type(max(1, table.dtype.itemsize - _INDEX_BYTES))
    ):
        raise DatasetError(
            f"the arrays of {folder} hold {expected[0]} float32 segments of {expected[1]} samples and their table",
            f"samples {samples.shape} {samples.dtype}, table {table.shape} {table.dtype}",
            "Import or make it again.",
        )
    return Dataset(folder, header, samples, table)


def check_content(dataset: Dataset, arrays: Collection[str] = (SAMPLES_FILE, TABLE_FILE)) -> None:
    """Recompute the hashes of a data set's arrays; reads all of them.

    Raises:
        DatasetError: an array has changed since it was written.
    """
    recorded = dataset.header.sha256
    changed = [name for name in arrays if files.sha256_file(dataset.folder / name) != recorded.get(name)]
    if changed:
        raise _changed(dataset.folder, changed)


def _changed(folder: Path, names: Sequence[str]) -> DatasetError:
    return DatasetError(
        "a data set stays as it was written", f"{', '.join(names)} of {folder} changed", "Import or make it again."
    )


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
            sha256=sha256,
            content_sha256=_content_sha256(description, subjects, rhythms, sha256),
        )
        header.save(staged / HEADER_FILE)
    return header


_INDEX_TYPES = {"subject": "<i4", "rhythm": "<i2", "episode": "<i8", "split": "i1"}
_INDEX_BYTES = sum(np.dtype(kind).itemsize for kind in _INDEX_TYPES.values())


def _table_type(name_bytes: int) -> np.dtype[np.void]:
    """The type of a row whose name has so many bytes."""
    return np.dtype([("name", f"S{name_bytes}"), *_INDEX_TYPES.items()])


def _map(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise DatasetError(
            f"{path.name} is a NumPy array", f"{problem} at {path}", "Import or make the data set again."
        ) from None
    return array


def _content_sha256(meaning: Description, subjects: list[str], rhythms: list[str], sha256: dict[str, str]) -> str:
    fields = meaning.model_dump(include=set(Description.model_fields) - {"source", "task", "sources"})
    task = meaning.task.meaning()
    if task != tasks.default().meaning():  # the first task came without this record: its data sets keep their hashes
        fields["task"] = task
    if meaning.sources:
        fields["sources"] = [one.model_dump(include={"name", "content_sha256", "subjects"}) for one in meaning.sources]
    return files.sha256_json({**fields, "subjects": subjects, "rhythms": rhythms, "sha256": sha256})


def _why_none(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return "Point to a folder with recordings."
    first = left_out[0]
    return f"{len(left_out)} were left out, the first being {first.name}: {first.reason}."


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
            self.names.extend(name.encode() for name in block.names)
            self.subject.extend(block.subjects)
            self.rhythm.extend(block.rhythms)
            self.episode.extend(block.episodes)
            self.split.extend(block.splits)
            self.left_out.extend((*block.problems, *block.left_out))
            for origin in block.origins:
                self.leads.update([origin.lead] if origin.lead else [])
                self.units.add(origin.unit)
                self.notes.extend(Note(name=origin.name, text=text) for text in origin.notes)
            yield block.samples


def _write_samples(path: Path, samples_per_segment: int, blocks: Iterable[np.ndarray]) -> int:
    """Write the blocks as one (N, T) array; returns N."""
    segments = 0
    with path.open("wb") as stream:
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
        stream.flush()
        os.fsync(stream.fileno())
    return segments


def _write_npy_header(stream: BinaryIO, shape: tuple[int, int]) -> None:
    """NumPy pads its header so that the first axis can grow in place (`numpy.lib.format`)."""
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _write_table(path: Path, table: _Table, subjects: list[str], rhythms: list[str], splits: list[str]) -> None:
    rows = np.zeros(len(table.names), _table_type(max(map(len, table.names))))
    rows["name"] = table.names
    rows["subject"] = table.subject.into(subjects)
    rows["rhythm"] = table.rhythm.into(rhythms)
    rows["episode"] = table.episode.values
    rows["split"] = table.split.into(splits)
    with path.open("wb") as stream:
        np.save(stream, rows, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
