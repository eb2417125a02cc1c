"""Objects that were compiled before: of one source text, one set of flags and one compiler, each is made once.

    key = SHA-256 of the preprocessed source, the flags, and the compiler's version and file
    <cache>/objects/<key>.o, and <key>.su where the compiler writes frames into a file beside it

The preprocessed text holds every header, the system's too, every macro and every line number, so that an object cannot
be stale; the folder that the source lies in, which is another one each time, does not count. Entries are whole or
absent, any number of processes may share them, and the oldest go when there are too many. The cache only saves time:
where it cannot be written, or a source cannot be preprocessed, everything is compiled as if it were not there.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ecm_edge.base import files, machine
from ecm_edge.base.errors import FirmwareError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MOST_BYTES = 256 * 1024 * 1024  # of all entries; a candidate leaves about one megabyte
_SWEPT_EVERY = 64  # new entries of this process
_FRAMES = ".su"

_making = [Lock() for _ in range(64)]  # threads that want the same object make it once
_counting = Lock()
_made = 0


def compiled(
    run: Callable[[Sequence[str]], None], identity: str, words: Sequence[str], source: Path, generated: Path, path: Path
) -> None:
    """Put the object of `source` at `path`: from the cache, or compiled now and kept for the next time.

    Args:
        run: runs the compiler with words after its name; raises FirmwareError where it fails.
        identity: which compiler that is.
        words: its flags.
        source: a C file.
        generated: the folder of the generated code, whose name does not count.
        path: of the object; its frames, where the compiler writes them to a file, lie beside it.

    Raises:
        FirmwareError: the compiler fails.
    """
    key = _key(run, identity, words, source, generated, path)
    if key is None:
        run([*words, "-c", str(source), "-o", str(path)])
        return
    entry = folder() / f"{key}.o"
    with _making[int(key[:8], 16) % len(_making)]:
        if _copied(entry, path):
            return
        run([*words, "-c", str(source), "-o", str(path)])
        _keep(path, entry)


def identity(command: Sequence[str], version: str) -> str:
    """A compiler by what it calls itself and by the size and the time of its file, which an upgrade changes."""
    program = Path(shutil.which(command[0]) or command[0]).resolve()
    stat = program.stat()
    return f"{version}; {program}, {stat.st_size} bytes, {stat.st_mtime_ns}"


def folder() -> Path:
    """Where the objects lie."""
    return machine.cache_folder() / "objects"


def _key(
    run: Callable[[Sequence[str]], None], identity: str, words: Sequence[str], source: Path, generated: Path, path: Path
) -> str | None:
    """The hash of all that decides the object; None where the preprocessor fails; the compiler will report why."""
    text = path.with_suffix(".i")
    try:
        run([*words, "-E", "-dD", str(source), "-o", str(text)])
        content = text.read_bytes().replace(bytes(generated), b".")
    except (FirmwareError, OSError):
        return None
    finally:
        text.unlink(missing_ok=True)
    flags = [word.replace(str(generated), ".") for word in words]
    return files.sha256_json([identity, flags, source.name, files.sha256_bytes(content)])


def _copied(entry: Path, path: Path) -> bool:
    """Copy an entry to `path` if it is there; another process may make or remove it at any time."""
    try:
        content = entry.read_bytes()  # first: it was made last
        frames = entry.with_suffix(_FRAMES)
        if frames.exists():
            path.with_suffix(_FRAMES).write_bytes(frames.read_bytes())
        path.write_bytes(content)
        os.utime(entry)  # the oldest go first
    except OSError:
        return False
    return True


def _keep(path: Path, entry: Path) -> None:
    """Make an entry of what was compiled; the object last, since it is what makes the entry count."""
    global _made  # noqa: PLW0603 - of the process, as the cache is
    frames = path.with_suffix(_FRAMES)
    with suppress(OSError, OutputError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        for file in (frames, path) if frames.exists() else (path,):
            files.write_atomic(entry.with_suffix(file.suffix), file.read_bytes())
        with _counting:
            _made += 1
            due = _made % _SWEPT_EVERY == 1
        if due:
            _sweep(entry.parent)


def _sweep(cache: Path) -> None:
    """Remove the entries that were used longest ago, until the others take no more than they may."""
    entries = sorted(((file.stat(), file) for file in cache.glob("*.o")), key=lambda each: -each[0].st_mtime_ns)
    total = 0
    for stat, file in entries:
        total += stat.st_size
        if total > _MOST_BYTES:
            file.unlink(missing_ok=True)
            file.with_suffix(_FRAMES).unlink(missing_ok=True)
