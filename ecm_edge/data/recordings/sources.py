"""What lies in a folder of recordings, before a reader opens it: what a reader would pass over without a word."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.errors import RecordingError
from ecm_edge.base.names import path_meant
from ecm_edge.data.dataset import HEADER_FILE, SAMPLES_FILE, LeftOut
from ecm_edge.data.recordings.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ecm_edge.data.recordings.formats import Format

_OF_A_SYSTEM = re.compile(r"(^|/)(\.[^/]*|Thumbs\.db|desktop\.ini|__MACOSX)(/|$)", re.IGNORECASE)
_OF_A_SYSTEM_REASON = "hidden, or an operating system's own file: no recording"


@dataclass(frozen=True)
class Contents:
    """The suffixes of the files under a folder, with their numbers, and the folders that cannot be read."""

    suffixes: Counter[str] = field(default_factory=Counter)
    problems: tuple[LeftOut, ...] = ()


def look(source: Path, out: Path) -> Contents:
    """The contents of a folder of recordings; links to folders are not followed.

    Raises:
        RecordingError: no folder, a data set, or a folder in which the new data set `out` would lie.
    """
    if source.is_file():
        raise RecordingError(
            "recordings are read from a folder", f"a file, {source}", f"Give its folder: {source.parent}."
        )
    if not source.is_dir():
        raise RecordingError(
            "recordings are read from a folder", f"no folder at {source}", f"{path_meant(source)}Check the path."
        )
    if (source / HEADER_FILE).is_file() and (source / SAMPLES_FILE).is_file():
        raise RecordingError(
            "recordings are read from a folder of recordings",
            f"a data set at {source}",
            "It is imported already: `ecm-edge data info` shows it.",
        )
    if files.resolved(source) in files.resolved(out).parents:
        raise RecordingError(
            "a data set is made outside of the folder of recordings, which may be read again",
            f"{out} in {source}",
            "Choose another place for it.",
        )
    return _walk(source)


def check_format(contents: Contents, file_format: Format, source: Path) -> None:
    """Refuse a folder that has no file of the format, but files of another one.

    Raises:
        RecordingError: with the format that the files look like.
    """
    there = {name for name, entry in FORMATS.items() if any(suffix in contents.suffixes for suffix in entry.suffixes)}
    wanted = FORMATS[file_format]
    if not contents.suffixes and not contents.problems:
        raise RecordingError(
            "recordings are read from a folder of recordings", f"no file in {source}", "Check the path."
        )
    if wanted.any_suffix or file_format in there or not there:
        return
    suffixes = {suffix for entry in FORMATS.values() for suffix in entry.suffixes}
    suffix = max(suffixes, key=lambda each: (contents.suffixes[each], each))
    like = " or ".join(f"--format {name}" for name, entry in FORMATS.items() if suffix in entry.suffixes)
    raise RecordingError(
        f"{file_format} recordings have files that end in {' or '.join(wanted.suffixes)}",
        f"none in {source}, but {contents.suffixes[suffix]:,} that end in {suffix}",
        f"They look like {like}.",
    )


def of_a_system(name: str) -> bool:
    """Whether a path within a folder is hidden, or is a file that an operating system leaves there by itself.

    >>> of_a_system("._x.csv"), of_a_system("a/Thumbs.db"), of_a_system("a/x.csv")
    (True, True, False)
    """
    return bool(_OF_A_SYSTEM.search(name))


def told_apart(problems: Iterable[LeftOut]) -> tuple[list[LeftOut], list[LeftOut]]:
    """The problems without the files of operating systems; and those, which stop no import."""
    real, others = [], []
    for one in problems:
        if of_a_system(one.name):
            others.append(LeftOut(name=one.name, reason=_OF_A_SYSTEM_REASON))
        else:
            real.append(one)
    return real, others


def _walk(source: Path) -> Contents:
    problems: list[LeftOut] = []

    def unreadable(problem: OSError) -> None:
        name = os.path.relpath(problem.filename, source)
        problems.append(LeftOut(name=name, reason=f"a folder that cannot be read: {problem.strerror}"))

    suffixes: Counter[str] = Counter()
    for _, folders, names in os.walk(source, onerror=unreadable):
        folders[:] = [name for name in folders if not of_a_system(name)]
        suffixes.update(os.path.splitext(name)[1].lower() for name in names if not of_a_system(name))  # noqa: PTH122 - 50,000 of them
    return Contents(suffixes, tuple(problems))
