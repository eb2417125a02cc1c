"""The merge: data sets of several sources as one new data set, in which each subject is of one source.

parts       the sets, with the names that their sources, subjects and rhythms get
agreement   what the sets have to agree in, and what the user states where they do not
twins       segments of two sets that have the same samples

Samples are copied a block at a time. Twins are told: one recording in training and in test makes figures too good.
Copies that are not exact are for `data.audit`.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import DatasetError
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Record
from ecm_edge.data.dataset import Blank, LeftOut, Note, SegmentBlock, open_dataset
from ecm_edge.data.dataset_writer import write_dataset
from ecm_edge.data.info import SourceCounts, counts
from ecm_edge.data.merge import agreement, twins
from ecm_edge.data.merge.agreement import MEANINGS, MergeRules
from ecm_edge.data.merge.parts import named_apart
from ecm_edge.data.merge.twins import Duplicate
from ecm_edge.data.rhythms import RhythmCount

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from ecm_edge.data.dataset import Dataset, Description, SourceSet
    from ecm_edge.data.merge.parts import Part


class MergeRecord(Record):
    """What a merge made. `renamed` has the former name of each subject whose name stands in an earlier set as well.

    `duplicates` are in the data set, or left out if `duplicates_dropped`. `notes` are what the merge decided; the
    header keeps them beside those of the sets.
    """

    dataset: str
    task: str
    segments: int
    subjects: int
    sources: list[SourceCounts]
    renamed: dict[str, str]
    labels: list[RhythmCount]
    splits: dict[str, int]
    blank: Blank
    unit: str
    synthetic: bool
    duplicates: list[Duplicate]
    duplicates_dropped: bool
    notes: list[Note]
    content_sha256: str
    seconds: float


@doing("merge data sets")
def merge(datasets: Sequence[Dataset], out: Path, rules: MergeRules | None = None) -> MergeRecord:
    """Merge data sets, in this order, into a new one at `out`; their sources are kept, those of merged sets as well.

    Window, sampling rate and band have to be the same. Positive rhythms, units and the rule of blank rhythms have to
    agree, or `rules` state them. Fixed splits are kept if all sets have those names. One synthetic set makes the whole
    synthetic. The task is that of the first set.

    Raises:
        DatasetError: fewer than two sets, one of them twice, changed since it was written, or not in agreement; a rule
            that names no rhythm of the sets; a set of which duplicates leave nothing.
        OutputError: `out` exists or cannot be written.
    """
    begin_s = time.perf_counter()
    rules = rules or MergeRules()
    agreement.check_sets(datasets)
    agreement.check_rules(datasets, rules)
    parts = named_apart(datasets, dict(rules.mapping))
    description = agreement.describe(parts, rules)
    pairs = twins.twins(parts)
    duplicates = twins.by_subject(parts, description, pairs)
    notes = [*agreement.notes(parts, description), *twins.notes(duplicates, dropped=rules.drop_duplicates)]
    kept = _kept(parts, pairs[:, 0] if rules.drop_duplicates else pairs[:0, 0])
    description = description.model_copy(update={"sources": _sources(parts, kept)})
    blocks = (block for part, keep in zip(parts, kept, strict=True) for block in _blocks(part, keep, description))
    leads = sum((Counter(part.dataset.header.leads) for part in parts), Counter[str]())
    write_dataset(out, description, blocks, notes=[*notes, *_own_notes(parts)], leads=leads)
    dataset = open_dataset(out)
    counted = counts(dataset)
    return MergeRecord(
        dataset=str(out),
        task=description.task.name,
        segments=counted.segments,
        subjects=len(counted.subjects),
        sources=counted.sources,
        renamed={new: old for part in parts for old, new in part.subjects.items() if new != old},
        labels=_labels(description, parts, counted.subjects),
        splits=counted.splits,
        blank=description.blank,
        unit=description.unit,
        synthetic=description.synthetic,
        duplicates=duplicates,
        duplicates_dropped=rules.drop_duplicates,
        notes=notes,
        content_sha256=dataset.header.content_sha256,
        seconds=round(time.perf_counter() - begin_s, 3),
    )


def _kept(parts: Sequence[Part], dropped: np.ndarray) -> list[np.ndarray]:
    """For each set (n,) bool: the segments that go into the merged set."""
    sizes = [part.dataset.header.segments for part in parts]
    keep = np.ones(sum(sizes), bool)
    keep[dropped] = False
    return np.split(keep, np.cumsum(sizes)[:-1])


def _sources(parts: Sequence[Part], kept: Sequence[np.ndarray]) -> list[SourceSet]:
    """The sources with the subjects that have a segment left."""
    sources = []
    for part, keep in zip(parts, kept, strict=True):
        if not keep.any():
            rule, found = "every set has segments that no earlier one has", f"none in {part.title}"
            raise DatasetError(rule, found, "Leave that set out.")
        left = {part.subject_names[place] for place in np.unique(part.dataset.table["subject"][keep])}
        sources += [_only(source, left) for source in part.sources]
    return sources


def _only(source: SourceSet, left: Collection[str]) -> SourceSet:
    renamed = {subject: former for subject, former in source.renamed.items() if subject in left}
    subjects = [subject for subject in source.subjects if subject in left]
    return source.model_copy(update={"subjects": subjects, "renamed": renamed})


def _blocks(part: Part, keep: np.ndarray, description: Description) -> Iterator[SegmentBlock]:
    """The segments that are kept; what was left out stands in the first block."""
    table, header, title = part.dataset.table, part.dataset.header, part.title
    left_out = [one.model_copy(update={"name": part.of_source(one.name)}) for one in header.left_out]
    left_out += _dropped(part, keep)
    for start, stop in part.pieces():
        chosen = start + np.flatnonzero(keep[start:stop])
        rows = table[chosen]
        yield SegmentBlock(
            samples=part.samples(start, stop)[chosen - start],
            names=part.dataset.names(chosen),
            subjects=[part.subject_names[place] for place in rows["subject"]],
            rhythms=[part.rhythms[header.rhythms[place]] for place in rows["rhythm"]],
            episodes=[f"{title} {place}" for place in rows["episode"]],
            splits=[header.splits[place] if description.splits and place >= 0 else "" for place in rows["split"]],
            left_out=left_out,
        )
        left_out = []


def _dropped(part: Part, keep: np.ndarray) -> list[LeftOut]:
    """The duplicates that are not kept, by subject."""
    numbers = np.bincount(part.dataset.table["subject"][~keep], minlength=len(part.subject_names))
    reason = "an earlier set has segments with the same samples"
    return [
        LeftOut(name=f"{part.source_of[subject]}/{subject}", reason=reason, windows=int(number))
        for subject, number in zip(part.subject_names, numbers, strict=True)
        if number
    ]


def _own_notes(parts: Sequence[Part]) -> Iterator[Note]:
    for part in parts:
        for note in part.dataset.header.notes:
            yield note.model_copy(update={"name": part.of_source(note.name)})


def _labels(
    description: Description, parts: Sequence[Part], by_subject: Mapping[str, Mapping[str, int]]
) -> list[RhythmCount]:
    """Every rhythm of the merged set, the positive ones first."""
    segments: Counter[str] = Counter()
    subjects: Counter[str] = Counter()
    for found in by_subject.values():
        segments.update(found)
        subjects.update(found.keys())
    written = {(new, old) for part in parts for old, new in part.rhythms.items()}
    return [
        RhythmCount(
            rhythm=rhythm,
            written_as=sorted(old for new, old in written if new == rhythm),
            meaning=MEANINGS[description.label(rhythm)],
            segments=segments[rhythm],
            subjects=subjects[rhythm],
        )
        for rhythm in sorted(segments, key=lambda code: (-description.label(code), code))
    ]
