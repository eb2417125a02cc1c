"""Whether the files of a shelf fit together, and what is wrong where they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ecm_edge.base.errors import EcmEdgeError, RegistryError
from ecm_edge.base.records import Record
from ecm_edge.registry import events
from ecm_edge.registry.events import HISTORY, LATEST, Event, Line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INCUMBENT = "incumbent.json"
ENTRIES = "entries"
LOCK = ".lock"
_ENTRIES_OF_A_HISTORY = 2

_RESTORE = (
    "Restore the shelf from a copy. Without one, move the shelf away and promote the entry that was in use anew: "
    "`ecm-edge promote OLD_SHELF/entries/ENTRY`."
)
_REPAIR = "`ecm-edge registry check REGISTRY --repair` writes it again."


class Finding(Record):
    """One thing that is wrong with a registry: its name, where, what was found, and what to do.

    `damage` stops the commands that would rely on it; a `note` does not. `repairable`: `--repair` mends it, and loses
    nothing.
    """

    name: str
    kind: Literal["damage", "note"] = "damage"
    where: str
    found: str
    remedy: str
    repairable: bool = False

    KEYS = ("name", "where", "found")


@dataclass(frozen=True)
class Shelf:
    """What the files of a shelf say. `latest` is the line that the history has to end with, where one is on record."""

    lines: list[Line]
    latest: Line | None
    incumbent: Event | None

    @property
    def installed(self) -> Event | None:
        """The last event in the history that made an incumbent."""
        return next((line.event for line in reversed(self.lines) if line.event.entry is not None), None)

    @property
    def unfinished(self) -> Line | None:
        """The line that a killed process announced and that the history has not got yet."""
        latest, before = self.latest, self.lines[-1].sha256 if self.lines else events.NOTHING
        return latest if latest and latest.event.previous_sha256 == before else None

    @property
    def decided(self) -> list[Event]:
        """Every decision that holds: those of the history, and an unfinished one that changed the incumbent or none."""
        each, last = [line.event for line in self.lines], self.unfinished
        holds = last is not None and (last.event.entry is None or last.event == self.incumbent)
        return [*each, last.event] if last and holds else each


def read_shelf(shelf: Path) -> Shelf:
    """Read the files of a shelf; none of them has to be there.

    Raises:
        RegistryError: one of them is damaged.
    """
    path = shelf / INCUMBENT
    now = Event.load(path, RegistryError) if path.exists() else None
    return Shelf(events.read_lines(shelf), events.latest_line(shelf), now)


def refuse_damage(shelf: Path) -> None:
    """Refuse a shelf whose files do not fit together.

    Raises:
        RegistryError: with the first thing that is wrong.
    """
    for finding in findings(shelf):
        if finding.kind == "damage":
            hint = f"{finding.remedy} `ecm-edge registry check {shelf.parent}` says all that is wrong."
            raise RegistryError("the files of a registry fit together", f"{finding.found}, in {finding.where}", hint)


def findings(shelf: Path) -> Iterator[Finding]:
    """What is wrong with the history and the incumbent of a shelf; its entries are not looked into."""
    links = list(_links(shelf))
    yield from links
    if links:
        return
    try:
        found = read_shelf(shelf)
    except EcmEdgeError as problem:
        yield Finding(name="unreadable", where=str(shelf), found=problem.found, remedy=_RESTORE)
        return
    yield from _gone_history(shelf, found)
    broken = list(_broken_history(shelf, found))
    yield from broken
    yield from _misfit(shelf, found, sound=not broken)


def _links(shelf: Path) -> Iterator[Finding]:
    for path in (shelf, *(shelf / name for name in (INCUMBENT, HISTORY, LATEST, ENTRIES, LOCK))):
        if path.is_symlink():
            remedy = "Put the file or folder itself in its place: links are not followed in a registry."
            yield Finding(name="link", where=str(path), found=f"{path.name} is a link", remedy=remedy)


def entries_of(shelf: Path) -> list[Path]:
    """What lies in a shelf's folder of entries, by name, but for what is hidden."""
    folder = shelf / ENTRIES
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _gone_history(shelf: Path, found: Shelf) -> Iterator[Finding]:
    """Several entries and no decision. One alone is what a first promotion leaves that was killed."""
    if found.lines or found.latest or found.incumbent or (number := len(entries_of(shelf))) < _ENTRIES_OF_A_HISTORY:
        return
    what = f"{number} entries, and neither {HISTORY} nor {LATEST} nor {INCUMBENT}"
    yield Finding(name="history_gone", where=str(shelf), found=what, remedy=_RESTORE)


def _broken_history(shelf: Path, found: Shelf) -> Iterator[Finding]:
    """What the lines say about themselves: each follows the one before it, and the last is the one on record."""
    lines, latest, path = found.lines, found.latest, str(shelf / HISTORY)
    number = events.first_unchained(lines)
    if number is not None:
        what = f"line {number} does not follow the line before it: a line was changed, moved, added or removed"
        yield Finding(name="history_chain", where=path, found=what, remedy=_RESTORE)
    if latest is None:
        if any(line.event.previous_sha256 for line in lines):
            fits = number is None and found.incumbent == found.installed
            yield Finding(
                name="latest_missing",
                where=str(shelf / LATEST),
                found=f"no {LATEST}, which says what the history ends with",
                remedy=f"{_REPAIR} Lines that were cut off at the end of the history cannot be known then.",
                repairable=fits,
            )
        return
    emptied = not lines and (shelf / HISTORY).exists()
    ends = bool(lines) and lines[-1].content == latest.content
    if emptied or not (ends or found.unfinished):
        what = "the history is empty" if emptied else f"the history does not end with the line in {LATEST}"
        yield Finding(name="history_cut", where=path, found=what, remedy=_RESTORE)


def _misfit(shelf: Path, found: Shelf, *, sound: bool) -> Iterator[Finding]:
    """The incumbent is what the last event in the history made, or an unfinished one."""
    now, installed, unfinished = found.incumbent, found.installed, found.unfinished
    if now == installed or (unfinished and now == unfinished.event):
        return
    where = str(shelf / INCUMBENT)
    derivable = sound and installed is not None and (now is None or found.latest is not None)
    remedy = _REPAIR if derivable else _RESTORE
    if now is None and installed is not None:
        what = f"no {INCUMBENT}, and a history whose incumbent is {installed.entry}"
        yield Finding(name="incumbent_missing", where=where, found=what, remedy=remedy, repairable=derivable)
    elif now is not None:
        made = f"of which {installed.entry} is the incumbent" if installed else "which has no incumbent"
        what = f"the incumbent {now.entry} and a history {made}: they do not fit"
        yield Finding(name="incumbent_misfit", where=where, found=what, remedy=remedy, repairable=derivable)
