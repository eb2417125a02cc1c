"""The numbers of segments of a data set: by rhythm, split, label and subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ecm_edge.base.records import Record
from ecm_edge.data.dataset import SAMPLES_FILE, TABLE_FILE, DatasetHeader, check_content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.data.dataset import Dataset


class SourceCounts(Record):
    """One source of a merged data set: its segments, its subjects, and its segments by label.

    `format` and `licence` are those of its recordings, `content_sha256` that of the whole set before the merge.
    """

    source: str
    format: str
    licence: str | None = None
    content_sha256: str
    segments: int
    subjects: int
    labels: dict[str, int]


class Counts(Record):
    """Numbers of segments: by rhythm, by fixed split, by label ("positive", "negative", "none"), and by subject.

    `sources` has those of a merged data set.
    """

    segments: int
    episodes: int
    labels: dict[str, int]
    rhythms: dict[str, int]
    splits: dict[str, int]
    subjects: dict[str, dict[str, int]]
    sources: list[SourceCounts] = Field(default_factory=list)


class InfoRecord(Record):
    """A data set's header and counts; `content_checked` is true if the hashes were recomputed, and agreed."""

    dataset: str
    header: DatasetHeader
    counts: Counts
    content_checked: bool


def info(dataset: Dataset, *, check: bool = False) -> InfoRecord:
    """Count a data set, whose table must be unchanged; with `check` the samples are read and hashed as well.

    Raises:
        DatasetError: what was read has changed since it was written.
    """
    check_content(dataset, (SAMPLES_FILE, TABLE_FILE) if check else (TABLE_FILE,))
    return InfoRecord(dataset=str(dataset.folder), header=dataset.header, counts=counts(dataset), content_checked=check)


def counts(dataset: Dataset) -> Counts:
    """The numbers of segments of a data set."""
    header, table = dataset.header, dataset.table
    labels = dataset.labels
    subjects: dict[str, dict[str, int]] = {subject: {} for subject in header.subjects}
    keys = table["subject"].astype(np.int64) * len(header.rhythms) + table["rhythm"]
    for key, number in zip(*np.unique(keys, return_counts=True), strict=True):
        subject, rhythm = divmod(int(key), len(header.rhythms))
        subjects[header.subjects[subject]][header.rhythms[rhythm]] = int(number)
    return Counts(
        segments=header.segments,
        episodes=len(np.unique(table["episode"])),
        labels=_by_label(labels),
        rhythms=_named(header.rhythms, np.bincount(table["rhythm"], minlength=len(header.rhythms))),
        splits=_named(header.splits, np.bincount(table["split"] + 1, minlength=len(header.splits) + 1)[1:]),
        subjects=subjects,
        sources=_by_source(dataset),
    )


def _by_source(dataset: Dataset) -> list[SourceCounts]:
    of_rows = dataset.sources[dataset.table["subject"]]  # (N,)
    return [
        SourceCounts(
            source=source.name,
            format=source.source.format,
            licence=source.source.licence,
            content_sha256=source.content_sha256,
            segments=int(np.sum(of_rows == place)),
            subjects=len(source.subjects),
            labels=_by_label(dataset.labels[of_rows == place]),
        )
        for place, source in enumerate(dataset.header.sources)
    ]


def _by_label(labels: np.ndarray) -> dict[str, int]:
    return _named(["none", "negative", "positive"], np.bincount(labels + 1, minlength=3))


def _named(names: Sequence[str], numbers: np.ndarray) -> dict[str, int]:
    return {name: int(number) for name, number in zip(names, numbers, strict=True)}
