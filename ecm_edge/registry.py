"""A registry: one incumbent per target, every entry that ever was one, and the history of what was decided.

    <registry>/<target>/incumbent.json     the Event that made the incumbent what it is: the one truth
    <registry>/<target>/entries/<xx-yy>/   a candidate's files, and manifest.json with their hashes
    <registry>/<target>/history.jsonl      one Event a line; catches up with incumbent.json after a crash

Whatever the moment at which a process is killed, incumbent.json is the old one or the new one, whole, and the entry
that it names is complete: an entry is staged and renamed first, then incumbent.json is replaced, then history written.
"""

from __future__ import annotations

import fcntl
import shutil
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from ecm_edge import files
from ecm_edge.errors import CandidateError, RegistryError
from ecm_edge.records import Form, Gate, Latency, Provenance, Record, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST = "manifest.json"
INCUMBENT = "incumbent.json"
HISTORY = "history.jsonl"
ENTRIES = "entries"
_LOCK = ".lock"


class Manifest(Record):
    """What an entry is made of: `files` maps each name to its SHA-256, and binds model, configuration and verdicts.

    `entry` is its name without the number that tells equal names apart.
    """

    entry: str
    target: str
    form: Form
    model_file: str
    model_sha256: str
    config_sha256: str
    dataset_sha256: str
    synthetic: bool
    verdicts: dict[str, Verdict]
    latency_ms: Latency
    files: dict[str, str]
    provenance: Provenance


class Event(Record):
    """One decision. `replaces` is the entry that a rollback returns to; a refusal has no entry."""

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


class HistoryRecord(Record):
    """What was decided for one target, oldest first."""

    target: str
    incumbent: str | None
    events: list[Event]


@contextmanager
def locked(shelf: Path) -> Iterator[None]:
    """Hold the shelf <registry>/<target> alone, tidied of what a killed process left.

    Raises:
        RegistryError: another process holds it.
        OutputError: it cannot be written.
    """
    try:
        (shelf / ENTRIES).mkdir(parents=True, exist_ok=True)
        stream = (shelf / _LOCK).open("a")
    except OSError as problem:
        raise files.cannot_write(shelf, problem) from problem
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RegistryError(
                "one process at a time changes a registry", f"another one at {shelf}", "Try again when it has finished."
            ) from None
        _tidy(shelf)
        yield


def incumbent(shelf: Path) -> Event | None:
    """The event that made the incumbent, or None where there is none yet.

    Raises:
        RegistryError: incumbent.json is damaged.
    """
    path = shelf / INCUMBENT
    return Event.load(path, RegistryError) if path.exists() else None


def history(shelf: Path) -> list[Event]:
    """Every decision, oldest first, the incumbent's own included even if a crash kept it out of the file.

    Raises:
        RegistryError: a line is damaged.
    """
    path = shelf / HISTORY
    lines = path.read_bytes().splitlines() if path.exists() else []
    events = [_parse(line, number, path) for number, line in enumerate(lines, 1)]
    now = incumbent(shelf)
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


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a candidate or an entry by name, the manifest and hidden files aside."""
    return {
        path.name: files.sha256_file(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST and not path.name.startswith(".")
    }


def add_entry(shelf: Path, candidate: Path, manifest: Manifest) -> tuple[str, str]:
    """Copy a candidate's files into a new entry; the entry's name and its manifest's SHA-256.

    An entry with the same files, left by a killed process or promoted before, is used again.

    Raises:
        CandidateError: a file of the candidate is not the one that the manifest speaks of.
        OutputError: the registry cannot be written; there is no new entry.
    """
    for path in sorted((shelf / ENTRIES).glob(f"{manifest.entry}*")):
        if _same(path, manifest):
            return path.name, files.sha256_file(path / MANIFEST)
    folder = next(path for path in _names(shelf, manifest.entry) if not path.exists())
    with files.staged_folder(folder) as staged:
        for name in manifest.files:
            files.write_atomic(staged / name, (candidate / name).read_bytes())
        changed = [name for name, digest in hash_files(staged).items() if digest != manifest.files[name]]
        if changed:
            raise CandidateError(
                "a candidate stays as it was while it is promoted",
                f"{changed[0]} of {candidate} changed",
                "Promote it again when nothing writes to it.",
            )
        manifest.save(staged / MANIFEST)
    return folder.name, files.sha256_file(folder / MANIFEST)


def check_entry(shelf: Path, event: Event) -> Manifest:
    """The manifest of a promoted entry, if every file is what it was when the entry was promoted.

    Raises:
        RegistryError: the entry is gone, or a file was changed, removed or added.
    """
    folder = shelf / ENTRIES / str(event.entry)
    path = folder / MANIFEST
    if not path.is_file():
        raise _changed(folder, MANIFEST, "is missing")
    if files.sha256_file(path) != event.manifest_sha256:
        raise _changed(folder, MANIFEST, "changed")
    manifest = Manifest.load(path, RegistryError)
    found = hash_files(folder)
    for name in sorted(manifest.files.keys() | found.keys()):
        if name not in found:
            raise _changed(folder, name, "is missing")
        if found[name] != manifest.files.get(name):
            raise _changed(folder, name, "changed" if name in manifest.files else "was added")
    return manifest


def rollback(shelf: Path, date_utc: str, entry: str | None = None) -> Event:
    """Make an earlier entry the incumbent again: the one named, or the one that the incumbent replaced.

    Raises:
        RegistryError: there is no such entry, it is the incumbent already, or a file of it was changed.
    """
    with locked(shelf):
        now = incumbent(shelf)
        wanted = entry or (now.replaces if now else None)
        promoted = {event.entry: event for event in history(shelf) if event.event == "promoted"}
        if now is None or wanted not in promoted or wanted == now.entry:
            found = f"{entry} asked for" if entry else "no earlier entry"
            incumbent_now = f"the incumbent is {now.entry}" if now else "there is no incumbent"
            raise RegistryError(
                "a rollback goes to an earlier entry", f"{found}; {incumbent_now}", "`ecm-edge history` lists them."
            )
        target = promoted[wanted]
        check_entry(shelf, target)
        reason = f"rolled back from {now.entry}"
        event = target.model_copy(update={"event": "rolled back", "date_utc": date_utc, "reason": reason, "gates": []})
        install(shelf, event)
        return event


def _tidy(shelf: Path) -> None:
    """Remove half-staged entries, and let the history catch up with the incumbent."""
    for path in (shelf / ENTRIES).glob(".*"):
        shutil.rmtree(path, ignore_errors=True)
    now = incumbent(shelf)
    path = shelf / HISTORY
    lines = path.read_bytes().splitlines() if path.exists() else []
    if now and now not in [_parse(line, number, path) for number, line in enumerate(lines, 1)]:
        log(shelf, now)


def _parse(line: bytes, number: int, path: Path) -> Event:
    try:
        return Event.model_validate_json(line)
    except ValidationError:
        raise RegistryError(
            "a line of the history is one event", f"another thing on line {number} of {path}", "Restore the file."
        ) from None


def _names(shelf: Path, stem: str) -> Iterator[Path]:
    """Folders for entries of one name: xx-yy, xx-yy-2, xx-yy-3 and so on."""
    yield shelf / ENTRIES / stem
    yield from (shelf / ENTRIES / f"{stem}-{number}" for number in count(2))


def _same(folder: Path, manifest: Manifest) -> bool:
    """Whether an entry holds these files, unchanged, for this form."""
    try:
        known = Manifest.load(folder / MANIFEST, RegistryError)
    except RegistryError:
        return False
    return (known.form, known.files) == (manifest.form, manifest.files) and hash_files(folder) == manifest.files


def _changed(folder: Path, name: str, what: str) -> RegistryError:
    return RegistryError(
        "an entry stays as it was promoted", f"{name} of {folder} {what}", "Restore it, or roll back to another entry."
    )
