"""What was decided, and the files that it is written in: each line of a history is bound to the line before it.

    history.jsonl   every decision, oldest first, one Event a line
    latest.json     the line that the history ends with; written first, so that lines cut off at its end are noticed

`previous_sha256` of a line is the SHA-256 of the bytes of the line before, without its line feed; of the first line it
is 64 zeros. Lines of earlier versions have none. They are accepted up to the first line that has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from ecm_edge.base import files
from ecm_edge.base.errors import RegistryError
from ecm_edge.base.records import Gate, Name, Record, first_fault
from ecm_edge.metrics import GainParts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HISTORY = "history.jsonl"
LATEST = "latest.json"
NOTHING = "0" * 64
"""Stands for the hash of the line before the first one."""

_LARGEST_BYTES = 1 << 26


class Event(Record):
    """One decision. `entry` is the incumbent that it made, and `replaces` the entry that a rollback returns to.

    A refusal makes none; its `replaces` is the incumbent that stayed. `source` is the one that the decision is about,
    and `parts` what the difference to the incumbent is due to, where there was a comparison. The hashes are those of
    the board's and the task's descriptions as they were then; absent in decisions of earlier versions.
    """

    event: Literal["promoted", "refused", "rolled back"]
    date_utc: str
    reason: str
    candidate: str
    model_sha256: str
    synthetic: bool
    entry: Name | None
    manifest_sha256: str | None
    replaces: Name | None
    gates: list[Gate]
    source: str | None = None
    parts: GainParts | None = None
    target_sha256: str | None = None
    task_sha256: str | None = None
    previous_sha256: str | None = None


@dataclass(frozen=True)
class Line:
    """One line of a history: its bytes, without the line feed, and what they say."""

    content: bytes
    event: Event

    @property
    def sha256(self) -> str:
        """What the next line names as the one before it."""
        return files.sha256_bytes(self.content)


def read_lines(shelf: Path) -> list[Line]:
    """The lines of the history, oldest first; none where there is no such file.

    Raises:
        RegistryError: it cannot be read, or a line is no event.
    """
    path = shelf / HISTORY
    content = _content(path)
    return [_parse(line, f"line {n} of {path}") for n, line in enumerate(_split(content), 1)] if content else []


def latest_line(shelf: Path) -> Line | None:
    """The line that the history has to end with; None in a shelf of an earlier version; raises as `read_lines`."""
    path = shelf / LATEST
    content = _content(path)
    return None if content is None else _parse(content.removesuffix(b"\n"), str(path))


def following(lines: Sequence[Line], event: Event) -> Line:
    """The event as the line that comes next."""
    chained = event.model_copy(update={"previous_sha256": lines[-1].sha256 if lines else NOTHING})
    return Line(chained.model_dump_json().encode(), chained)


def announce(shelf: Path, line: Line) -> None:
    """Write down which line comes next, before anything else is changed."""
    files.write_atomic(shelf / LATEST, line.content + b"\n")


def append(shelf: Path, lines: Sequence[Line], line: Line) -> None:
    """Write the history with one more line; the file is replaced as a whole, so no line is ever torn."""
    files.write_atomic(shelf / HISTORY, b"".join(one.content + b"\n" for one in (*lines, line)))


def first_unchained(lines: Sequence[Line]) -> int | None:
    """The number, from 1, of the first line that does not follow the line before it; None where each does."""
    chained, before = False, NOTHING
    for number, line in enumerate(lines, 1):
        named = line.event.previous_sha256
        if (named or chained) and named != before:
            return number
        chained, before = chained or named is not None, line.sha256
    return None


def _content(path: Path) -> bytes | None:
    try:
        return files.read_bounded(path, _LARGEST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as problem:
        rule = f"{path.name} is a file of at most {_LARGEST_BYTES:,} bytes"
        raise RegistryError(rule, f"{problem.strerror} at {path}", "Restore the file from a copy.") from None


def _split(content: bytes) -> list[bytes]:
    return content.removesuffix(b"\n").split(b"\n")


def _parse(line: bytes, place: str) -> Line:
    try:
        return Line(line, Event.model_validate_json(line))
    except ValidationError as problem:
        rule = "a line of the history is one event"
        found = f"{first_fault(problem)}, in {place}"
        raise RegistryError(rule, found, "Restore the file from a copy.") from None
