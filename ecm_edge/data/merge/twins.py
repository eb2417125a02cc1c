"""Segments of two sets of a merge that have the same samples. N segments over all sets, in their order."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.records import Record
from ecm_edge.data.audit.duplicates import digests, first_equal
from ecm_edge.data.dataset import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.data.dataset import Description
    from ecm_edge.data.merge.parts import Part


class Duplicate(Record):
    """Segments of a subject that have the samples of another subject's in an earlier set.

    `other_label` is the number of those whose label differs.
    """

    source: str
    subject: str
    first_source: str
    first_subject: str
    segments: int
    other_label: int


def twins(parts: Sequence[Part]) -> np.ndarray:
    """(p, 2) int64: each row whose samples an earlier set has, ascending, and the first row that has them."""
    of_rows = np.concatenate([digests(part.samples(*piece)) for part in parts for piece in part.pieces()])  # (N,)
    first = first_equal(of_rows)
    of_set = np.repeat(np.arange(len(parts)), [part.dataset.header.segments for part in parts])
    later = np.flatnonzero(of_set[first] != of_set)
    return np.column_stack([later, first[later]])


def by_subject(parts: Sequence[Part], description: Description, pairs: np.ndarray) -> list[Duplicate]:
    """The twins by subject and earlier subject, those with the most segments first."""
    if not len(pairs):
        return []
    sources = {subject: name for part in parts for subject, name in part.source_of.items()}
    subjects = [subject for part in parts for subject in part.subject_names]
    starts = np.cumsum([0, *(len(part.subject_names) for part in parts)])
    of_rows = np.concatenate(
        [part.dataset.table["subject"] + start for part, start in zip(parts, starts, strict=False)]
    )
    labels = np.concatenate([_labels(part, description) for part in parts])
    keys = [(int(later), int(earlier)) for later, earlier in of_rows[pairs]]
    unlike = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    others = Counter(key for key, differs in zip(keys, unlike, strict=True) if differs)
    return [
        Duplicate(
            source=sources[subjects[later]],
            subject=subjects[later],
            first_source=sources[subjects[earlier]],
            first_subject=subjects[earlier],
            segments=number,
            other_label=others[later, earlier],
        )
        for (later, earlier), number in Counter(keys).most_common()
    ]


def _labels(part: Part, description: Description) -> np.ndarray:
    """(n,) what the segments of a set count as in the merged set."""
    by_rhythm = np.array([description.label(part.rhythms[code]) for code in part.dataset.header.rhythms], np.int8)
    labels: np.ndarray = by_rhythm[part.dataset.table["rhythm"]]
    return labels


def notes(duplicates: Sequence[Duplicate], *, dropped: bool) -> list[Note]:
    """By pair of sources, how many segments are in both."""
    numbers: Counter[tuple[str, str]] = Counter()
    for one in duplicates:
        numbers[one.source, one.first_source] += one.segments
    fate = "left out" if dropped else "kept"
    return [
        Note(name=source, text=f"{number} segments have the samples of segments of {first}; they are {fate}")
        for (source, first), number in numbers.items()
    ]
