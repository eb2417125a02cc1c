"""Names that lead nowhere else, and names that are close to one that is not known: what a hint begins with."""

from __future__ import annotations

import re
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LONGEST_FILE_NAME = 1024
NAME = r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$"
FILE_NAME = r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*(/[^./\\\x00-\x1f][^/\\\x00-\x1f]*)*$"

"""Patterns of a name of one folder or file, and of the path of a file within a folder; nothing hidden in either."""

_MOST_NAMES = 10_000  # of a folder, say; to compare more takes seconds
_LONGEST = 256
_CLOSE = 0.6  # of difflib: 1 for equal names
_SHORT = 4  # such a name begins with the letter of the one that was meant: of three letters, two in common say little


def is_name(text: str) -> bool:
    """Whether a text is a name of one folder or file.

    >>> is_name("97-83"), is_name("../97-83"), is_name(".."), is_name("")
    (True, False, False, False)
    """
    return re.fullmatch(NAME, text) is not None


def is_file_name(text: str) -> bool:
    """Whether a text is the path of a file within a folder.

    >>> is_file_name("firmware/int8/host.elf"), is_file_name("/etc/passwd"), is_file_name("a/../../b")
    (True, False, False)
    """
    return re.fullmatch(FILE_NAME, text) is not None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the known name that is closest, and a space behind it; empty where none is close.

    Capitals count for nothing.

    >>> did_you_mean("chanels", ["channels", "kernel"])
    "Did you mean 'channels'? "
    >>> did_you_mean("esp32", ["host"]), did_you_mean("reg", ["ecg"])
    ('', '')
    """
    close = _closest(name, known)
    return f"Did you mean {close!r}? " if close else ""


def _closest(name: str, known: Iterable[str]) -> str | None:
    by_plain = {word.lower(): word for word in islice(known, _MOST_NAMES)}
    plain = name.lower()
    likely = [word for word in by_plain if len(plain) > _SHORT or word[:1] == plain[:1]]
    close = get_close_matches(plain, likely, n=1, cutoff=_CLOSE) if len(name) <= _LONGEST else []
    return by_plain[close[0]] if close else None


def or_known(name: str, known: Iterable[str], kind: str) -> str:
    """The same question, and the list of all that is known.

    >>> or_known("chanels", ["channels", "kernel"], "parameters")
    "Did you mean 'channels'? The parameters are channels, kernel."
    """
    every = list(known)
    return f"{did_you_mean(name, every)}The {kind} are {', '.join(every)}." if every else ""


def path_meant(path: Path) -> str:
    """The same question for a path that is not there: in the folder that is there, a name close to the missing one."""
    try:
        missing = path
        while missing.parent != missing and not missing.parent.is_dir():
            missing = missing.parent
        if missing.exists():
            return ""
        beside = [other.name for other in islice(missing.parent.iterdir(), _MOST_NAMES)]
    except (OSError, ValueError):  # a folder that cannot be read, a name that is too long or that no file can have
        return ""
    hidden = missing.name.startswith(".")
    close = _closest(missing.name, (name for name in beside if hidden or not name.startswith(".")))
    return f"Did you mean {str(missing.parent / close / path.relative_to(missing))!r}? " if close else ""
