"""The list of folders that the user marked as trusted: shown and changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.errors import TrustError
from ecm_edge.base.records import Record
from ecm_edge.base.trust import list_file, marked

if TYPE_CHECKING:
    from pathlib import Path


class TrustRecord(Record):
    """The folders whose files may name commands, and the file that lists them."""

    folders: list[str]
    listed_in: str

    KEYS = ("listed_in",)


def show() -> TrustRecord:
    """The folders that are marked."""
    return TrustRecord(folders=marked(), listed_in=str(list_file()))


def mark(folder: Path, *, remove: bool = False) -> TrustRecord:
    """Trust every file below a folder from now on, or no more with `remove`.

    Args:
        folder: it exists; a link counts as what it leads to.
        remove: a folder that was marked; it need not exist any more.

    Raises:
        TrustError: no such folder, or one that is not marked.
        OutputError: the list cannot be written.
    """
    real = str(folder.resolve())
    known = marked()
    if remove and real not in known:
        raise TrustError("a folder to remove is marked", real, "`ecm-edge trust --list` shows those that are.")
    if not remove and (not folder.is_dir() or not real.isprintable()):
        raise TrustError("what is marked is a folder with a printable name", repr(real), "Check the path.")
    place = list_file()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise files.cannot_write(place, problem) from problem
    with files.locked(place.parent):
        kept = [line for line in marked() if line != real]
        lines = sorted(kept if remove else [*kept, real])
        files.write_atomic(place, "".join(f"{line}\n" for line in lines).encode())
    return show()
