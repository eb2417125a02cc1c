"""A registry: one incumbent per target, every entry that ever was one, and the history of what was decided.

    <registry>/<target>/incumbent.json     the Event that made the incumbent what it is: the one truth
    <registry>/<target>/entries/<xx-yy>/   a candidate's files, and manifest.json with their hashes
    <registry>/<target>/history.jsonl      one Event a line; catches up with incumbent.json after a crash

Whatever the moment at which a process is killed, incumbent.json is the old one or the new one, whole, and the entry
that it names is complete: an entry is staged and renamed first, then incumbent.json is replaced, then history written.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import RootModel, ValidationError

from ecm_edge.base import contents, files
from ecm_edge.base.errors import RegistryError
from ecm_edge.base.names import did_you_mean, path_meant
from ecm_edge.base.records import Gate, Record
from ecm_edge.base.shown import Tables
from ecm_edge.metrics import GainParts
from ecm_edge.registry.entries import Manifest, check_entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INCUMBENT = "incumbent.json"
HISTORY = "history.jsonl"
ENTRIES = "entries"


class Event(Record):
    """One decision. `entry` is the incumbent that it made, and `replaces` the entry that a rollback returns to.

    A refusal makes none; its `replaces` is the incumbent that stayed. `source` is the one that the decision is about,
    and `parts` what the difference to the incumbent is due to, where there was a comparison.
    """

    event: Literal["promoted", "refused", "rolled back"]
    date_utc: str
    reason: str
    candidate: str
    model_sha256: str
    synthetic: bool
    entry: str | None
    manifest_sha256: str | None
    replaces: str | None
    gates: list[Gate]
    source: str | None = None
    parts: GainParts | None = None


class HistoryRecord(Record):
    """What was decided for one target, oldest first."""

    target: str
    incumbent: str | None
    events: list[Event]

    TABLES: ClassVar[Tables] = {"events": ("date_utc", "event", "entry", "replaces", "candidate", "reason")}


class RegistryHistory(Record):
    """What was decided for every target of a registry, by the target's name."""

    shelves: list[HistoryRecord]


class AnyHistory(RootModel[HistoryRecord | RegistryHistory]):
    """What `ecm-edge history` prints: of one target, or of all."""


def shelf_of(registry: Path, target: str) -> Path:
    """The folder of one target in a registry."""
    return registry / target


def shelves(registry: Path) -> list[str]:
    """The targets that a registry has a shelf of, by name.

    Raises:
        RegistryError: there is no registry: no folder, or one without any shelf.
    """
    if not registry.is_dir():
        hint = f"{path_meant(registry)}`ecm-edge promote` makes one."
        raise RegistryError("a registry is a folder", f"{contents.of_path(registry)} at {registry}", hint)
    found = sorted(path.name for path in registry.iterdir() if _is_shelf(path))
    if not found:
        rule = f"a registry has a folder for each target, with {HISTORY} or {ENTRIES} in it"
        hint = "Name the folder that was given to `ecm-edge promote --registry`; it makes one."
        raise RegistryError(rule, f"no such folder in {registry}{_shelf_above(registry)}", hint)
    return found


def _is_shelf(path: Path) -> bool:
    return (path / ENTRIES).is_dir() or (path / HISTORY).is_file() or (path / INCUMBENT).is_file()


def _shelf_above(registry: Path) -> str:
    """What the folder is, where it is the shelf of one target."""
    return f", which is itself the shelf of {registry.name} in {registry.parent}" if _is_shelf(registry) else ""


def history_record(shelf: Path, target: str) -> HistoryRecord:
    """The history of a target; empty where the registry has nothing on it yet.

    Raises:
        RegistryError: there is no registry, or it is damaged.
    """
    shelves(shelf.parent)
    now = incumbent(shelf)
    return HistoryRecord(target=target, incumbent=now.entry if now else None, events=history(shelf))


def check_registry(registry: Path) -> None:
    """Refuse a folder to promote into that holds other things than a registry; a new or an empty one becomes one.

    Raises:
        RegistryError: a file, or a folder with something in it and no shelf.
    """
    if registry.exists() and not (registry.is_dir() and not any(registry.iterdir())):
        shelves(registry)


def whole_history(registry: Path) -> RegistryHistory:
    """The history of every target; raises as `history_record`."""
    return RegistryHistory(shelves=[history_record(shelf_of(registry, name), name) for name in shelves(registry)])


@contextmanager
def locked(shelf: Path) -> Iterator[None]:
    """Hold the shelf <registry>/<target> alone, tidied of what a killed process left.

    Raises:
        OutputError: another process holds it, or it cannot be written.
        RegistryError: it is damaged.
    """
    files.make_folder(shelf / ENTRIES)
    with files.locked(shelf):
        _tidy(shelf)
        yield


def incumbent(shelf: Path) -> Event | None:
    """The event that made the incumbent, or None where there is none yet.

    Raises:
        RegistryError: incumbent.json is damaged.
    """
    path = shelf / INCUMBENT
    return Event.load(path, RegistryError) if path.exists() else None


def entry_of(shelf: Path, event: Event) -> tuple[Path, Manifest]:
    """The folder and the manifest of the entry that an event names, unchanged since; raises as `check_entry`."""
    folder = shelf / ENTRIES / str(event.entry)
    return folder, check_entry(folder, event.manifest_sha256)


def history(shelf: Path) -> list[Event]:
    """Every decision, oldest first, the incumbent's own included even if a crash kept it out of the file.

    Raises:
        RegistryError: a line is damaged.
    """
    events, now = _logged(shelf), incumbent(shelf)
    return events if now is None or now in events else [*events, now]


def log(shelf: Path, event: Event) -> None:
    """Append a decision to the history; the file is replaced as a whole, so no line is ever torn."""
    path = shelf / HISTORY
    before = path.read_bytes() if path.exists() else b""
    files.write_atomic(path, before + event.model_dump_json().encode() + b"\n")


def install(shelf: Path, event: Event) -> None:
    """Make the event's entry the incumbent, then log it."""
    event.save(shelf / INCUMBENT)
    log(shelf, event)


def rollback(shelf: Path, date_utc: str, entry: str | None = None) -> Event:
    """Make an earlier entry the incumbent again: the one named, or the one that the incumbent replaced.

    Raises:
        RegistryError: there is no such entry, it is the incumbent already, or a file of it was changed.
    """
    if not shelf.is_dir():
        hint = f"{path_meant(shelf)}`ecm-edge promote` makes one."
        raise RegistryError("a rollback needs a registry", f"nothing at {shelf}", hint)
    with locked(shelf):
        now = incumbent(shelf)
        wanted = entry or (now.replaces if now else None)
        promoted = {event.entry: event for event in history(shelf) if event.event == "promoted"}
        if now is None or wanted not in promoted or wanted == now.entry:
            asked_for = f"{entry} asked for" if entry else "no earlier entry"
            incumbent_now = f"the incumbent is {now.entry}" if now else "there is no incumbent"
            others = [name for name in promoted if name and now and name != now.entry]
            hint = f"{did_you_mean(entry or '', others)}`ecm-edge history` lists them."
            raise RegistryError("a rollback goes to an earlier entry", f"{asked_for}; {incumbent_now}", hint)
        target = promoted[wanted]
        entry_of(shelf, target)
        reason = f"rolled back from {now.entry}"
        event = target.model_copy(
            update={"event": "rolled back", "date_utc": date_utc, "reason": reason, "gates": [], "parts": None}
        )
        install(shelf, event)
        return event


def _tidy(shelf: Path) -> None:
    """Remove half-staged entries, and let the history catch up with the incumbent."""
    for path in (shelf / ENTRIES).glob(".*"):
        shutil.rmtree(path, ignore_errors=True)
    now = incumbent(shelf)
    if now and now not in _logged(shelf):
        log(shelf, now)


def _logged(shelf: Path) -> list[Event]:
    path = shelf / HISTORY
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [_parse(line, number, path) for number, line in enumerate(lines, 1)]


def _parse(line: bytes, number: int, path: Path) -> Event:
    try:
        return Event.model_validate_json(line)
    except ValidationError:
        raise RegistryError(
            "a line of the history is one event", f"another thing on line {number} of {path}", "Restore the file."
        ) from None
