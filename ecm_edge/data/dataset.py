"""A data set: a folder of segments with subject, rhythm, episode and fixed split of each.

    dataset.json   DatasetHeader: what the arrays mean, and their hashes
    samples.npy    (N, T) float32, C order
    table.npy      (N,) structured: name, subject, rhythm, episode, split

N segments, T samples a segment. A row is the index of a segment in both arrays, 0 to N - 1. The arrays are mapped into
memory, so opening takes the same time at any size. The folder is written under a temporary name and renamed: it is
whole or absent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, PositiveInt

from ecm_edge import tasks
from ecm_edge.base import contents, files
from ecm_edge.base.errors import DatasetError
from ecm_edge.base.names import did_you_mean, path_meant
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Record
from ecm_edge.data.arrays import check_finite, check_indices, map_array
from ecm_edge.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

HEADER_FILE = "dataset.json"
SAMPLES_FILE = "samples.npy"
TABLE_FILE = "table.npy"

BLANK_RHYTHM = ""

_DIGITS = 1000  # of a number within a name; Python refuses one of more than 4,300
_FASTEST_HZ = 1e6

UNSTATED = "unstated"
"""The unit of samples of which no one says what they are."""

Blank = Literal["negative", "drop"]
"""What a blank rhythm counts as: a negative (the contest's rule), or as no label at all."""


def as_utf8(text: str) -> str:
    """The text with bytes that are not UTF-8 escaped."""
    return text.encode(errors="backslashreplace").decode()


Utf8 = Annotated[str, AfterValidator(as_utf8)]


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


LICENCE_UNSTATED = "not stated"
"""Stands where whoever imported the recordings did not say what licence they are under."""


class Source(Record):
    """The format of the recordings, the options they were read with, and their licence, None where it is not stated."""

    format: str
    options: dict[str, str] = Field(default_factory=dict)
    licence: Utf8 | None = Field(default=None, exclude_if=lambda value: value is None)


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

    sampling_rate_hz: float = Field(gt=0, le=_FASTEST_HZ)
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
    and `leads` and `rates_hz`, which count the recordings by the lead that was read and by their own sampling rate.
    """

    format: Literal["ecm-edge-dataset"] = "ecm-edge-dataset"
    version: Literal[1] = 1
    segments: PositiveInt
    subjects: list[str] = Field(fail_fast=True)
    rhythms: list[str] = Field(fail_fast=True)
    left_out: list[LeftOut] = Field(fail_fast=True)
    notes: list[Note] = Field(default_factory=list, fail_fast=True)
    leads: dict[str, int] = Field(default_factory=dict)
    rates_hz: dict[str, int] = Field(default_factory=dict)
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
    used; `left_out` those that are left out by rule. `origins` are the recordings that begin in this block. `notes` are
    on recordings whose last segments came by now.
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
    notes: Sequence[Note] = ()


@dataclass(frozen=True)
class Dataset:
    """An open data set. `samples` is (N, T) float32 and `table` (N,) structured; both are memory-mapped, read-only."""

    folder: Path
    header: DatasetHeader
    samples: np.ndarray
    table: np.ndarray

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int8: 1 positive, 0 negative, -1 no label (a blank rhythm under `blank="drop"`).

        Raises:
            DatasetError: the table has an index that points nowhere.
        """
        check_indices(self.table, self._bounds, self.folder / TABLE_FILE)
        by_rhythm = np.array([self.header.label(rhythm) for rhythm in self.header.rhythms], np.int8)
        labels: np.ndarray = by_rhythm[self.table["rhythm"]]
        return labels

    @property
    def _bounds(self) -> dict[str, tuple[int, int]]:
        """The lowest value and the end of each index of the table."""
        header = self.header
        lists = {"subject": header.subjects, "rhythm": header.rhythms}
        return {name: (0, len(texts)) for name, texts in lists.items()} | {"split": (-1, len(header.splits))}

    def names(self, rows: np.ndarray) -> list[str]:
        """The names of these rows."""
        return [name.decode(errors="backslashreplace") for name in self.table["name"][rows]]

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
        chosen = set(subjects)
        unknown = sorted(chosen - set(self.header.subjects), key=natural_key)
        if unknown:
            raise DatasetError(
                "subjects must be in the data set",
                f"{unknown[0]!r} in {self.folder}",
                f"{did_you_mean(unknown[0], self.header.subjects)}`ecm-edge data info` lists its subjects.",
            )
        wanted = np.array([name in chosen for name in self.header.subjects])
        rows: np.ndarray = np.flatnonzero((self.labels >= 0) & wanted[self.table["subject"]])
        return rows


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key that puts S2 before S10.

    >>> sorted(["S10", "S2", "a"], key=natural_key)
    ['S2', 'S10', 'a']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple(
        (0, int(part)) if part.isascii() and part.isdigit() and len(part) < _DIGITS else (1, part) for part in parts
    )


def open_dataset(folder: Path) -> Dataset:
    """Open a data set; its arrays are mapped, not read, and their hashes not checked (`check_content` does).

    Raises:
        DatasetError: not a data set, a header that changed, or arrays that do not have the header's shapes.
    """
    if not (folder / HEADER_FILE).is_file():
        raise DatasetError(
            "a data set is a folder that `ecm-edge data import` or `data synth` made",
            f"no {HEADER_FILE} in {folder} ({contents.of_path(folder)})",
            f"{path_meant(folder)}Check the path and the order of the arguments. `ecm-edge data import` reads "
            "recordings, `ecm-edge data synth` makes synthetic ones.",
        )
    header = DatasetHeader.load(folder / HEADER_FILE, DatasetError)
    if header.content_sha256 != content_sha256(header, header.subjects, header.rhythms, header.sha256):
        raise _changed(folder, [HEADER_FILE])
    samples, table = map_array(folder / SAMPLES_FILE), map_array(folder / TABLE_FILE)
    expected = (header.segments, header.samples_per_segment)
    if (
        samples.shape != expected
        or samples.dtype != np.float32
        or table.shape != expected[:1]
        or table.dtype != table_type(max(1, table.dtype.itemsize - _INDEX_BYTES))
    ):
        raise DatasetError(
            f"the arrays of {folder} hold {expected[0]} float32 segments of {expected[1]} samples and their table",
            f"samples {samples.shape} {samples.dtype}, table {table.shape} {table.dtype}",
            "Import or make it again.",
        )
    return Dataset(folder, header, samples, table)


@doing("check the data set")
def check_content(dataset: Dataset, arrays: Collection[str] = (SAMPLES_FILE, TABLE_FILE)) -> None:
    """Recompute the hashes of a data set's arrays; reads all of them.

    Raises:
        DatasetError: an array has changed since it was written, or holds what no import writes.
    """
    recorded = dataset.header.sha256
    changed = [name for name in arrays if files.sha256_file(dataset.folder / name) != recorded.get(name)]
    if changed:
        raise _changed(dataset.folder, changed)
    if TABLE_FILE in arrays:
        check_indices(dataset.table, dataset._bounds, dataset.folder / TABLE_FILE)  # noqa: SLF001 - of this module
    if SAMPLES_FILE in arrays:
        check_finite(dataset.samples, dataset.folder / SAMPLES_FILE)


def _changed(folder: Path, names: Sequence[str]) -> DatasetError:
    return DatasetError(
        "a data set stays as it was written", f"{', '.join(names)} of {folder} changed", "Import or make it again."
    )


_INDEX_TYPES = {"subject": "<i4", "rhythm": "<i2", "episode": "<i8", "split": "i1"}
_INDEX_BYTES = sum(np.dtype(kind).itemsize for kind in _INDEX_TYPES.values())


def table_type(name_bytes: int) -> np.dtype[np.void]:
    """The type of a row whose name has so many bytes."""
    return np.dtype([("name", f"S{name_bytes}"), *_INDEX_TYPES.items()])


def content_sha256(meaning: Description, subjects: list[str], rhythms: list[str], sha256: dict[str, str]) -> str:
    """The hash of all that gives the arrays their meaning, and of the arrays by their own hashes."""
    fields = meaning.model_dump(include=set(Description.model_fields) - {"source", "task", "sources"})
    task = meaning.task.meaning()
    if task != tasks.default().meaning():  # the first task came without this record: its data sets keep their hashes
        fields["task"] = task
    if meaning.sources:
        fields["sources"] = [one.model_dump(include={"name", "content_sha256", "subjects"}) for one in meaning.sources]
    return files.sha256_json({**fields, "subjects": subjects, "rhythms": rhythms, "sha256": sha256})
