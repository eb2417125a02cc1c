"""Recordings that are imported twice: the same samples under two names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ecm_edge.data.dataset import Note, SegmentBlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_OF_ONE = "imported twice: the same samples under two names"
_OF_TWO = "imported twice: the same samples under two subjects, which no split by subject keeps apart"


@dataclass
class _Repeats:
    """The first name and subject of all samples so far, by their hash: Python's own has 64 bits and is the fastest."""

    first: dict[int, tuple[str, str]] = field(default_factory=dict)

    def notes(self, name: str, subject: str, digest: int) -> list[Note]:
        """A note if the samples came before under another name."""
        earlier, of = self.first.setdefault(digest, (name, subject))
        if earlier == name:
            return []
        return [Note(name=f"{name} = {earlier}", text=_OF_ONE if of == subject else _OF_TWO)]

    def of_segments(self, block: SegmentBlock) -> list[Note]:
        """The notes on single segments."""
        digests = (hash(row.tobytes()) for row in block.samples)
        each = zip(block.names, block.subjects, digests, strict=True)
        return [note for name, subject, digest in each for note in self.notes(name, subject, digest)]


class _Running:
    """The recording that is being read, and the hash of its segments up to now."""

    def __init__(self, name: str) -> None:
        self.name, self.subject, self.digest = name, "", 0

    def add(self, block: SegmentBlock) -> None:
        if len(block.samples):
            self.subject = block.subjects[0]
            self.digest = hash((self.digest, block.samples.tobytes()))

    def ended(self, repeats: _Repeats) -> list[Note]:
        return repeats.notes(self.name, self.subject, self.digest) if self.subject else []


def with_repeats(blocks: Iterable[SegmentBlock]) -> Iterator[SegmentBlock]:
    """The blocks, with a note on each recording whose labelled segments are those of an earlier one.

    A block with `origins` begins a recording; without any, as in the contest's form, each segment is compared.
    """
    repeats, running, block = _Repeats(), None, None
    for block in blocks:
        notes: list[Note] = []
        if block.origins:
            notes = running.ended(repeats) if running else []
            running = _Running(block.origins[-1].name)
        if running:
            running.add(block)
        else:
            notes = repeats.of_segments(block)
        yield replace(block, notes=[*block.notes, *notes]) if notes else block
    if block and running and (notes := running.ended(repeats)):
        yield SegmentBlock(block.samples[:0], (), (), (), (), (), notes=notes)
