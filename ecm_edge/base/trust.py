"""Which commands that stand in a file may be run: those of the package, of a folder that the user marked, and no other.

A file can name what would run on this machine: a compiler, an emulator, a network's factory. Whoever reads such a file
calls `found` with these commands as text and with the file. Whoever runs one calls `check` with the same text first.
What no trusted file said, and what the user did not type, is refused: a reader that forgets `found` runs nothing.
"""

from __future__ import annotations

import json
import os
import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PACKAGE = Path(__file__).parents[1]
_LARGEST_BYTES = 1 << 20
LIST_VARIABLE = "ECM_EDGE_TRUST"
"""Names the file with the marked folders, in place of the one in the user's configuration folder."""
PASSED_VARIABLE = "ECM_EDGE_TRUSTED_COMMANDS"
"""Holds what a search lets its own worker processes run, as a JSON list."""

_allowed: set[str] = set()
_said_by: dict[str, str] = {}
_everything: list[bool] = []


@contextmanager
def of_one_command() -> Iterator[None]:
    """In the block nothing is allowed yet; what was allowed before is so again afterwards."""
    before = set(_allowed), dict(_said_by), list(_everything)
    for state in (_allowed, _said_by, _everything):
        state.clear()
    try:
        yield
    finally:
        for state in (_allowed, _said_by, _everything):
            state.clear()
        _allowed.update(before[0])
        _said_by.update(before[1])
        _everything.extend(before[2])


def allow_everything() -> None:
    """The user gave `--trust`."""
    _everything.append(True)


def typed(commands: Iterable[str]) -> None:
    """The user typed these, or a Python program gave them as arguments."""
    _allowed.update(commands)


def given(commands: Iterable[str]) -> None:
    """These stand in a record that a Python program gave; what was read from a file stays what it is."""
    _allowed.update(command for command in commands if command not in _said_by)


def found(commands: Iterable[str], source: Path | str) -> None:
    """These stand in a file, which has to be trusted if they are to run; a text names what is no file."""
    if isinstance(source, Path) and is_trusted(source):
        _allowed.update(commands)
    _said_by.update({command: str(source) for command in commands if command not in _allowed})


def check(commands: Iterable[str]) -> None:
    """Check that these may be run.

    Raises:
        TrustError: one may not; it is named with the file that it stands in.
    """
    if _everything:
        return
    passed = json.loads(os.environ.get(PASSED_VARIABLE, "[]"))
    refused = [command for command in commands if command not in _allowed and command not in passed]
    if refused:
        raise _refusal(refused)


def _refusal(refused: list[str]) -> TrustError:
    places = dict.fromkeys(_said_by.get(command, "a record that no trusted file holds") for command in refused)
    files_of = [Path(place).parent for place in places if Path(place).exists()]
    mark = f"mark its folder once by `ecm-edge trust {shlex.quote(str(files_of[0]))}`, or " if files_of else ""
    return TrustError(
        "a file from elsewhere runs nothing",
        f"{'; '.join(refused)} in {', '.join(places)}, which would be run",
        f"If you know what it does, {mark}add --trust to the command.",
    )


def passed_on() -> dict[str, str]:
    """The environment by which a process of ours may run what this one may."""
    commands = _allowed | set(_said_by) if _everything else _allowed
    return {PASSED_VARIABLE: json.dumps(sorted(commands))}


def is_trusted(path: Path) -> bool:
    """Whether a file is the package's, or lies in a marked folder; a link counts as what it leads to."""
    real = files.resolved(path)
    return any(real.is_relative_to(folder) for folder in (_PACKAGE, *map(Path, marked())))


def list_file() -> Path:
    """The file that lists the marked folders, one a line."""
    chosen = os.environ.get(LIST_VARIABLE)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(chosen) if chosen else home / "ecm-edge" / "trusted"


def marked() -> list[str]:
    """The folders that the user marked, as absolute paths without links."""
    try:
        lines = files.read_bounded(list_file(), _LARGEST_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [line for line in lines if Path(line).is_absolute()]
