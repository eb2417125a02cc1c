"""Everything that is wrong with a registry, and the repair of what can be repaired without a loss.

Safe to repair: incumbent.json and latest.json where a history that is whole says what they hold, and what a killed
process left half-written. Nothing else is changed: lines of a history and files of an entry cannot be made again.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from ecm_edge.base import files
from ecm_edge.base.errors import EcmEdgeError, RegistryError
from ecm_edge.base.names import is_name
from ecm_edge.base.numbers import counted
from ecm_edge.base.records import Record, Verdict
from ecm_edge.base.shown import Tables
from ecm_edge.registry import events, registry, signatures
from ecm_edge.registry.entries import PAPERS
from ecm_edge.registry.events import HISTORY, LATEST
from ecm_edge.registry.policy import POLICY, load_policy
from ecm_edge.registry.wholeness import ENTRIES, INCUMBENT, Finding, entries_of, findings, read_shelf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ecm_edge.registry.events import Event

_CLOCK = "Set the clock of the machine that promotes. The order of the lines is the order of the decisions."


class RegistryCheck(Record):
    """What `ecm-edge registry check` found. PASS: whole, whatever the notes say. FAIL: damaged.

    `repaired` says what `--repair` did; `findings` are those that remain.
    """

    verdict: Verdict
    registry: str
    shelves: int
    entries: int
    repaired: list[str]
    findings: list[Finding]

    KEYS = ("registry", "verdict")
    TABLES: ClassVar[Tables] = {"findings": ("name", "kind", "where", "found", "remedy", "repairable")}


def check(folder: Path, *, repair: bool = False, key: Path | None = None) -> RegistryCheck:
    """Look at every file of a registry.

    Args:
        folder: the registry.
        repair: whether to write again what can be, and to remove what killed processes left.
        key: a public key, whose owner has to have signed every entry; without one no signature is looked at.

    Raises:
        RegistryError: there is no registry, or the key cannot be used.
        OutputError: with `repair`, another process holds a shelf, or it cannot be written.
    """
    shelves = [registry.shelf_of(folder, name) for name in registry.shelves(folder)]
    repaired = [line for shelf in shelves for line in _repair(shelf)] if repair else []
    found = [finding for shelf in shelves for finding in of_shelf(shelf)]
    found = [*_policy(folder, shelves), *_misnamed(folder), *found]
    found += [finding for shelf in shelves for finding in _signatures(shelf, key)] if key else _not_looked_at(shelves)
    return RegistryCheck(
        verdict=Verdict.FAIL if any(finding.kind == "damage" for finding in found) else Verdict.PASS,
        registry=str(folder),
        shelves=len(shelves),
        entries=sum(len(entries_of(shelf)) for shelf in shelves),
        repaired=repaired,
        findings=found,
    )


def of_shelf(shelf: Path) -> list[Finding]:
    """Everything that is wrong with one shelf, its entries included."""
    found = list(findings(shelf))
    if any(finding.name == "link" for finding in found):
        return found
    left = [*_left_over(shelf)]
    try:
        decided = [line.event for line in events.read_lines(shelf)]
    except RegistryError:
        return found + left
    return [*found, *_unfinished(shelf, found), *_clock(shelf, decided), *_of_entries(shelf, decided), *left]


def notes(shelf: Path) -> list[str]:
    """What a command on a shelf that is not refused should still tell, a line each: entries, and the clock."""
    told = [finding for finding in of_shelf(shelf) if finding.name.startswith(("entry_", "clock"))]
    return [f"{finding.found}, in {finding.where}. {finding.remedy}" for finding in told]


def _misnamed(folder: Path) -> Iterator[Finding]:
    for path in registry.misnamed(folder):
        what = f"the folder {path.name!r}, with the files of a shelf and with a name that no target can have"
        remedy = "Move it away, or give it the target's name back."
        yield Finding(name="shelf_name", where=str(folder), found=what, remedy=remedy)


def _policy(folder: Path, shelves: Sequence[Path]) -> Iterator[Finding]:
    """The policy can be read, and the incumbents have the signatures that it asks for; whose, `_signatures` does."""
    try:
        policy = load_policy(folder)
    except RegistryError as problem:
        yield Finding(name="policy", where=str(folder / POLICY), found=problem.found, remedy=problem.hint)
        return
    for shelf in shelves if policy.require_signature else ():
        for path in _unsigned_incumbent(shelf):
            what = f"no signature of the incumbent, which {POLICY} requires"
            remedy = "Promote it anew with `--sign KEY`: its folder is a candidate. Or roll back to a signed entry."
            yield Finding(name="unsigned", where=str(path), found=what, remedy=remedy)


def _unsigned_incumbent(shelf: Path) -> Iterator[Path]:
    try:
        now = read_shelf(shelf).incumbent
    except RegistryError:  # `of_shelf` says so
        return
    if now and now.entry and not signatures.is_signed(path := shelf / ENTRIES / now.entry):
        yield path


def _unfinished(shelf: Path, found: Sequence[Finding]) -> Iterator[Finding]:
    """A line that a killed process announced; the next command completes it, or drops it."""
    if found or read_shelf(shelf).unfinished is None:
        return
    remedy = "The next `ecm-edge promote` or `rollback` completes it, and so does --repair."
    yield Finding(
        name="unfinished",
        kind="note",
        where=str(shelf / LATEST),
        found="a decision that a process began to write and did not finish",
        remedy=remedy,
        repairable=True,
    )


def _clock(shelf: Path, decided: Sequence[Event]) -> Iterator[Finding]:
    """A line is not dated before the one before it."""
    for number, (before, after) in enumerate(pairwise(decided), 2):
        if after.date_utc < before.date_utc:
            what = f"line {number} is of {after.date_utc}, and the line before it of {before.date_utc}"
            yield Finding(name="clock", kind="note", where=str(shelf / HISTORY), found=what, remedy=_CLOCK)


def _signatures(shelf: Path, key: Path) -> Iterator[Finding]:
    """Every entry is signed by the owner of a key."""
    signatures.check_public_key(key)
    for path in entries_of(shelf):
        if path.is_dir() and not path.is_symlink() and (wrong := signatures.check(path, key)):
            remedy = f"Rely on no file of it. Its candidate, promoted again with `--sign`, is signed by {key}'s owner."
            yield Finding(name="signature", where=str(path), found=wrong, remedy=remedy)


def _not_looked_at(shelves: Sequence[Path]) -> list[Finding]:
    """Signatures of which no key was given, and the papers that they alone vouch for."""
    signed = [path for shelf in shelves for path in entries_of(shelf) if signatures.is_signed(path)]
    if not signed:
        return []
    several = len(signed) > 1
    what = f"{counted(len(signed), 'signature')} that {'were' if several else 'was'} not verified"
    remedy = f"Give the public key: --key KEY. The signature alone vouches for what is in {PAPERS}/."
    return [Finding(name="signature_not_run", kind="note", where=str(signed[0]), found=what, remedy=remedy)]


def _of_entries(shelf: Path, decided: Sequence[Event]) -> Iterator[Finding]:
    """Every entry that was promoted is there as it was then, and there are no others."""
    promoted = {event.entry: event for event in decided if event.event == "promoted"}
    for event in promoted.values():
        yield from _of_entry(shelf, event)
    for path in entries_of(shelf):
        if path.name not in promoted:
            yield _unknown(path)


def _unknown(path: Path) -> Finding:
    """What lies among the entries and is in no line of the history."""
    remedy = "A promotion that was killed leaves such a folder, and uses it again. Else it may be removed."
    if is_name(path.name) and path.is_dir() and not path.is_symlink():
        what = "a folder that no line of the history names"
        return Finding(name="unknown_entry", kind="note", where=str(path), found=what, remedy=remedy)
    what = f"{path.name!r}, which is no entry"
    return Finding(name="entry_name", where=str(path.parent), found=what, remedy="Move it out of the registry.")


def _of_entry(shelf: Path, event: Event) -> Iterator[Finding]:
    where = str(shelf / ENTRIES / str(event.entry))
    try:
        _, manifest = registry.entry_of(shelf, event)
    except EcmEdgeError as problem:
        yield Finding(name="entry_changed", where=where, found=problem.found, remedy=problem.hint)
        return
    if (manifest.target, manifest.model_sha256) != (shelf.name, event.model_sha256):
        what = (
            f"an entry of {manifest.target} with the model {manifest.model_sha256[:12]}…, which its line does not name"
        )
        yield Finding(name="entry_of_another", where=where, found=what, remedy="Restore the shelf from a copy.")


def _left_over(shelf: Path) -> Iterator[Finding]:
    for path in registry.left_over(shelf):
        remedy = "The next `ecm-edge promote` or `rollback` removes it, and so does --repair."
        what = "what a process leaves that was killed, or still writes"
        yield Finding(name="left_over", kind="note", where=str(path), found=what, remedy=remedy, repairable=True)


def _repair(shelf: Path) -> list[str]:
    """Repair what is safe to repair; what was done, a line each."""
    found = of_shelf(shelf)
    if not any(finding.repairable for finding in found):
        return []
    if any(finding.name == "link" for finding in found):
        return []
    with files.locked(shelf):
        return [*_derive(shelf), *_tidy(shelf)]


def _derive(shelf: Path) -> list[str]:
    """Write incumbent.json and latest.json where the history says what they hold."""
    done = []
    for finding in findings(shelf):
        if not finding.repairable:
            continue
        now = read_shelf(shelf)
        if finding.name == "latest_missing":
            events.announce(shelf, now.lines[-1])
            done.append(f"wrote {shelf / LATEST} from the last line of the history")
        elif now.installed:
            now.installed.save(shelf / INCUMBENT)
            done.append(f"wrote {shelf / INCUMBENT} from the history: the incumbent is {now.installed.entry}")
    return done


def _tidy(shelf: Path) -> list[str]:
    """Remove what is left over, and complete the history, in a shelf that is whole."""
    if any(finding.kind == "damage" for finding in findings(shelf)):
        return []
    now, left = read_shelf(shelf), [f"removed {path}" for path in registry.left_over(shelf)]
    registry.tidy(shelf, now)
    return [*left, *(["completed the history"] if now.unfinished else [])]
