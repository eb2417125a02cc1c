"""A registry: one incumbent per target, every entry that ever was one, and the history of what was decided.

    <registry>/policy.toml                 who may promote what; need not be there (`policy.py`)
    <registry>/<target>/incumbent.json     the Event that made the incumbent what it is
    <registry>/<target>/entries/<xx-yy>/   a candidate's files, and manifest.json with their hashes
    <registry>/<target>/history.jsonl      one Event a line, each bound to the one before it
    <registry>/<target>/latest.json        the line that the history ends with

Whatever the moment at which a process is killed, incumbent.json is the old one or the new one, whole, and the entry
that it names is complete: an entry is staged and renamed first, then latest.json is written, then incumbent.json is
replaced, then the history. A decision holds from the moment that incumbent.json names it. The next command completes
the history, or drops a latest.json that nothing followed. Any other difference between these files is damage, which
every command refuses (`wholeness.py`).
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import RootModel

from ecm_edge.base import contents, files
from ecm_edge.base.errors import RegistryError
from ecm_edge.base.names import did_you_mean, is_name, path_meant
from ecm_edge.base.records import Record
from ecm_edge.base.shown import Tables
from ecm_edge.registry import events, signatures
from ecm_edge.registry.entries import Manifest, check_entry
from ecm_edge.registry.events import HISTORY, LATEST, Event
from ecm_edge.registry.policy import POLICY, check_rollback, load_policy
from ecm_edge.registry.wholeness import ENTRIES, INCUMBENT, Shelf, read_shelf, refuse_damage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
    """The targets that a registry has a shelf of, by name; a folder whose name no target can have is none.

    Raises:
        RegistryError: there is no registry: no folder, or one without any shelf.
    """
    if not registry.is_dir():
        hint = f"{path_meant(registry)}`ecm-edge promote` makes one."
        raise RegistryError("a registry is a folder", f"{contents.of_path(registry)} at {registry}", hint)
    found = sorted(path.name for path in registry.iterdir() if is_name(path.name) and _is_shelf(path))
    if not found:
        rule = f"a registry has a folder for each target, with {HISTORY} or {ENTRIES} in it"
        hint = "Name the folder that was given to `ecm-edge promote --registry`; it makes one."
        raise RegistryError(rule, f"no such folder in {registry}{_shelf_above(registry)}", hint)
    return found


def misnamed(registry: Path) -> list[Path]:
    """Folders with the files of a shelf and with a name that no target can have."""
    return sorted(path for path in registry.iterdir() if not is_name(path.name) and _is_shelf(path))


def _is_shelf(path: Path) -> bool:
    return (path / ENTRIES).is_dir() or any((path / name).is_file() for name in (HISTORY, INCUMBENT, LATEST))


def _shelf_above(registry: Path) -> str:
    """What the folder is, where it is the shelf of one target."""
    return f", which is itself the shelf of {registry.name} in {registry.parent}" if _is_shelf(registry) else ""


def history_record(shelf: Path, target: str) -> HistoryRecord:
    """The history of a target; empty where the registry has nothing on it yet.

    Raises:
        RegistryError: there is no registry, or it is damaged.
    """
    shelves(shelf.parent)
    found = _whole(shelf)
    now = found.incumbent
    return HistoryRecord(target=target, incumbent=now.entry if now else None, events=found.decided)


def check_registry(registry: Path) -> None:
    """Refuse a folder to promote into that holds other things than a registry; a new or an empty one becomes one.

    Raises:
        RegistryError: a file, or a folder with something else than a policy in it and no shelf.
    """
    if registry.exists() and not (registry.is_dir() and all(path.name == POLICY for path in registry.iterdir())):
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
    refuse_damage(shelf)
    files.make_folder(shelf / ENTRIES)
    with files.locked(shelf):
        tidy(shelf, _whole(shelf))
        yield


def _whole(shelf: Path) -> Shelf:
    """What the files of a shelf say; raises RegistryError where they do not fit together."""
    refuse_damage(shelf)
    return read_shelf(shelf)


def incumbent(shelf: Path) -> Event | None:
    """The event that made the incumbent, or None where there is none yet.

    Raises:
        RegistryError: the shelf is damaged.
    """
    return _whole(shelf).incumbent


def entry_of(shelf: Path, event: Event) -> tuple[Path, Manifest]:
    """The folder and the manifest of the entry that an event names, unchanged since; raises as `check_entry`."""
    folder = shelf / ENTRIES / str(event.entry)
    return folder, check_entry(folder, event.manifest_sha256)


def history(shelf: Path) -> list[Event]:
    """Every decision, oldest first, the incumbent's own included even if a crash kept it out of the file.

    Raises:
        RegistryError: the shelf is damaged.
    """
    return _whole(shelf).decided


def log(shelf: Path, event: Event) -> Event:
    """Append a decision to the history, and make its entry the incumbent if it has one; the event as it stands there.

    A refusal that says what the last line says already is not written again.
    """
    lines = events.read_lines(shelf)
    if event.entry is None and lines and _same_decision(lines[-1].event, event):
        return lines[-1].event
    line = events.following(lines, event)
    events.announce(shelf, line)
    if line.event.entry is not None:
        line.event.save(shelf / INCUMBENT)
    events.append(shelf, lines, line)
    return line.event


def _same_decision(one: Event, other: Event) -> bool:
    undated = {"date_utc": "", "previous_sha256": None}
    return one.model_copy(update=undated) == other.model_copy(update=undated)


def rollback(shelf: Path, date_utc: str, entry: str | None = None) -> Event:
    """Make an earlier entry the incumbent again: the one named, or the one that the last promotion replaced.

    To say it again changes nothing: the event that made the incumbent what it is comes back.

    Raises:
        RegistryError: there is no such entry, the shelf is damaged, a file of the entry was changed, or the registry's
            policy forbids it.
    """
    if not shelf.is_dir():
        hint = f"{path_meant(shelf)}`ecm-edge promote` makes one."
        raise RegistryError("a rollback needs a registry", f"nothing at {shelf}", hint)
    with locked(shelf):
        now = incumbent(shelf)
        promoted = [event for event in history(shelf) if event.event == "promoted"]
        target = _rolled_back_to(now, promoted, entry)
        folder, _ = entry_of(shelf, target)
        check_rollback(load_policy(shelf.parent), folder.name, signed=signatures.is_signed(folder))
        if now is None or target.entry == now.entry:
            return target
        reason = f"rolled back from {now.entry}"
        event = target.model_copy(
            update={"event": "rolled back", "date_utc": date_utc, "reason": reason, "gates": [], "parts": None}
        )
        return log(shelf, event)


def _rolled_back_to(now: Event | None, promoted: list[Event], entry: str | None) -> Event:
    """The event whose entry is to be the incumbent; that of the incumbent itself where there is nothing to do."""
    if now and (entry == now.entry or (entry is None and promoted and now.entry != promoted[-1].entry)):
        return now
    wanted = entry or (promoted[-1].replaces if promoted else None)
    known = {event.entry: event for event in promoted}
    if now is None or wanted not in known:
        asked_for = f"{entry} asked for" if entry else "no earlier entry"
        incumbent_now = f"the incumbent is {now.entry}" if now else "there is no incumbent"
        others = [name for name in known if name and now and name != now.entry]
        hint = f"{did_you_mean(entry or '', others)}`ecm-edge history` lists them."
        raise RegistryError("a rollback goes to an earlier entry", f"{asked_for}; {incumbent_now}", hint)
    return known[wanted]


def tidy(shelf: Path, found: Shelf) -> None:
    """Remove what a killed process left in a shelf that is held and whole, and complete the history."""
    for path in left_over(shelf):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if found.unfinished is None:
        return
    if found.unfinished.event in found.decided:
        events.append(shelf, found.lines, found.unfinished)
    elif found.lines and found.lines[-1].event.previous_sha256:
        events.announce(shelf, found.lines[-1])
    else:
        (shelf / LATEST).unlink()


def left_over(shelf: Path) -> list[Path]:
    """What a process that was killed, or one that still writes, has half-written in a shelf."""
    own = [path for name in (INCUMBENT, HISTORY, LATEST) for path in shelf.glob(f".{name}.*")]
    return sorted([*(shelf / ENTRIES).glob(".*"), *own])
