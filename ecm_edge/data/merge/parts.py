"""The sets of a merge, with the names that their sources, subjects and rhythms have in the merged set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ecm_edge.data.arrays import read_rows
from ecm_edge.data.dataset import SourceSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from ecm_edge.data.dataset import Dataset

_BLOCK = 1000


@dataclass(frozen=True)
class Part:
    """One of the sets. `subjects` and `rhythms` map its names to those of the merged set."""

    dataset: Dataset
    sources: list[SourceSet]
    subjects: dict[str, str]
    rhythms: dict[str, str]

    @property
    def title(self) -> str:
        """The names of its sources."""
        return "+".join(source.name for source in self.sources)

    @cached_property
    def source_of(self) -> dict[str, str]:
        """The source of each subject, by the subject's name in the merged set."""
        return {subject: source.name for source in self.sources for subject in source.subjects}

    @cached_property
    def subject_names(self) -> list[str]:
        """(S,) in the order of the header, the names in the merged set."""
        return [self.subjects[name] for name in self.dataset.header.subjects]

    def of_source(self, name: str) -> str:
        """The name of a recording, led by its source; a set that was merged itself has done that."""
        return name if self.dataset.header.sources else f"{self.title}/{name}"

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Start and stop of consecutive rows that fit into memory."""
        segments = self.dataset.header.segments
        return ((start, min(start + _BLOCK, segments)) for start in range(0, segments, _BLOCK))

    def samples(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, T) float32."""
        return read_rows(self.dataset.samples, start, stop)


def named_apart(datasets: Sequence[Dataset], mapping: Mapping[str, str]) -> list[Part]:
    """The sets, every source and subject with a name of its own: where a name stands twice the first one keeps it.

    A later source `af` becomes `af-2`, and the subject `S1` of a later source `af-2` becomes `af-2:S1`.
    """
    parts: list[Part] = []
    taken_sources: set[str] = set()
    taken_subjects: set[str] = set()
    for dataset in datasets:
        sources: list[SourceSet] = []
        subjects: dict[str, str] = {}
        for source in dataset.header.sources or [_as_source(dataset)]:
            name = _free_source(source.name, taken_sources)
            here = {subject: _free_subject(subject, name, taken_subjects) for subject in source.subjects}
            there = {here[subject]: source.renamed.get(subject, subject) for subject in source.subjects}
            renamed = {subject: former for subject, former in there.items() if subject != former}
            sources.append(source.model_copy(update={"name": name, "subjects": list(there), "renamed": renamed}))
            subjects |= here
        rhythms = {code: mapping.get(code, code) for code in dataset.header.rhythms}
        parts.append(Part(dataset, sources, subjects, rhythms))
    return parts


def _as_source(dataset: Dataset) -> SourceSet:
    header = dataset.header
    return SourceSet(
        name=dataset.folder.resolve().name or "data",
        content_sha256=header.content_sha256,
        source=header.source,
        subjects=header.subjects,
    )


def _free_source(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free


def _free_subject(name: str, source: str, taken: set[str]) -> str:
    while name in taken:
        name = f"{source}:{name}"
    taken.add(name)
    return name
