"""Files that are whole or absent: temporary name, then rename; hashes and canonical JSON."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecm_edge.base import faults
from ecm_edge.base.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_READ_BYTES = 1 << 20
_LOCK = ".lock"
_UNFINISHED = ".unfinished"
_REPLACED = ".replaced"
_SCRATCH = "ecm-edge-"
_REMEDIES = {
    errno.ENOSPC: "Free some space, or choose another place.",
    errno.EDQUOT: "Free some space, or choose another place.",
    errno.ENOENT: "Make its folder first (`mkdir -p`), or choose another place.",
    errno.EISDIR: "A folder is there: give the name of a file.",
    errno.ENOTDIR: "A part of the path is a file: choose another place.",
    errno.EEXIST: "A part of the path is a file: choose another place.",
    errno.EACCES: "You have no right to write there: choose another place.",
    errno.EROFS: "Nothing can be written there: choose another place.",
}
"""What to do where a path cannot be written, by the system's reason."""


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` under a temporary name beside `path`, flush it to disk, and rename it.

    What a killed process left of the same file is removed first.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full; `path` is as it was.
    """
    with _written(path, content) as temporary:
        faults.point("write.rename", path)
        temporary.replace(path)


def write_new(path: Path, content: bytes) -> None:
    """The same for a file that must not be there yet, not even since a moment ago; raises as `write_atomic`, too."""
    with _written(path, content) as temporary:
        faults.point("write.rename", path)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise OutputError(
                "an output file must be new", f"{path}, which another process made meanwhile", "Choose another name."
            ) from None


@contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    """The content in a temporary file beside `path`, which the block gives its name; nothing else stays behind."""
    try:
        _remove_abandoned(path)
        faults.point("write.open", path)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
    except OSError as problem:
        raise cannot_write(path, problem) from problem
    try:
        with os.fdopen(handle, "wb") as stream:
            _lock(handle)  # until it has its name: nobody takes it for abandoned
            faults.point("write.content", path)
            stream.write(content)
            stream.flush()
            faults.point("write.fsync", path)
            os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
            yield Path(temporary)
        sync_folder(path.parent)
    except OSError as problem:
        raise cannot_write(path, problem) from problem
    finally:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A new file to write in a staged folder, which is what makes it whole or absent; flushed to disk at the end."""
    faults.point("write.open", path)
    with path.open("xb") as stream:
        faults.point("write.content", path)
        yield stream
        stream.flush()
        faults.point("write.fsync", path)
        os.fsync(stream.fileno())


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there yet.

    Raises:
        OutputError: it cannot be made.
    """
    if folder.is_dir():
        return
    try:
        faults.point("folder.make", folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise cannot_write(folder, problem) from problem


def check_new(folder: Path) -> None:
    """Check that nothing is there of this name.

    Raises:
        OutputError: something is.
    """
    if os.path.lexists(folder):
        raise OutputError(
            "an output folder must be new", f"{folder} exists", "Choose another name, or remove it first."
        )


@contextmanager
def staged_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside `folder` that becomes `folder` when the block ends without an error.

    `folder` must not exist yet, unless it is to be replaced: then it stays as it is until the new one is whole. On any
    error, an interrupt included, nothing stays behind. What a killed process left of the same folder is removed first.

    Raises:
        OutputError: `folder` exists, or cannot be written, or somebody else made it meanwhile.
    """
    if not replace:
        check_new(folder)
    make_folder(folder.parent)
    try:
        _remove_abandoned(folder)
        _restore_replaced(folder)
        faults.point("stage.make", folder)
        temporary, handle = _make_staged(folder)
    except OSError as problem:
        raise cannot_write(folder, problem) from problem
    try:
        yield temporary
        temporary.chmod(0o755)
        with _out_of_the_way(folder) if replace and folder.is_dir() else nullcontext():
            _rename(temporary, folder)
    except OSError as problem:
        raise cannot_write(folder, problem) from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def _make_staged(folder: Path) -> tuple[Path, int]:
    """A new temporary folder, and the handle that locks it: the lock goes with the process, however it ends."""
    while True:
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=_UNFINISHED))
        handle = os.open(temporary, os.O_RDONLY)
        _lock(handle)
        if temporary.is_dir():
            return temporary, handle
        os.close(handle)  # removed by another process before it was locked


def _lock(handle: int) -> None:
    """Hold a temporary file or folder, so that no other process takes it for abandoned."""
    with suppress(OSError):  # a file system without locks: there nothing is ever taken for abandoned
        fcntl.flock(handle, fcntl.LOCK_EX)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files and folders of `path` that no living process locks."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????{_UNFINISHED}"):
        _remove_unlocked(left)


def _remove_unlocked(left: Path) -> None:
    with suppress(OSError):  # held by a process, or not ours
        handle = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        finally:
            os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make what was renamed in a folder last through a power cut; not every file system can."""
    with suppress(OSError):
        faults.point("folder.fsync", folder)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in the system's place for temporary ones, while the block runs; those of killed processes are removed.

    The lock goes with the process: no process removes a folder that another one still uses.
    """
    place = Path(tempfile.gettempdir())
    for left in place.glob(f"{_SCRATCH}????????{_UNFINISHED}"):
        with suppress(OSError):
            if left.lstat().st_uid == os.geteuid():
                _remove_unlocked(left)
    while True:
        folder = Path(tempfile.mkdtemp(dir=place, prefix=_SCRATCH, suffix=_UNFINISHED))
        with suppress(FileNotFoundError):
            handle = os.open(folder, os.O_RDONLY)
            _lock(handle)
            if folder.is_dir():
                break
            os.close(handle)  # removed by another process before it was locked
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def remove_abandoned(parent: Path) -> None:
    """Remove what killed processes left half-written in a folder, and nothing that a living one still writes."""
    for name in {left.name[1 : -len(_UNFINISHED) - 9] for left in parent.glob(f".*{_UNFINISHED}")}:
        _remove_abandoned(parent / name)
    for name in {left.name[1 : -len(_REPLACED) - 9] for left in parent.glob(f".*{_REPLACED}")}:
        _restore_replaced(parent / name)


def _restore_replaced(folder: Path) -> None:
    """Where a process was killed between two renames, put the old folder back; remove it where the new one is there."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.????????{_REPLACED}"):
        if folder.exists():
            shutil.rmtree(left, ignore_errors=True)
        elif any(left.iterdir()):
            left.replace(folder)


@contextmanager
def _out_of_the_way(folder: Path) -> Iterator[None]:
    """The folder under another name while the block puts a new one in its place; it is back if that fails."""
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=_REPLACED))
    faults.point("stage.aside", folder)
    folder.replace(old)
    try:
        yield
    except BaseException:
        old.replace(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _rename(temporary: Path, folder: Path) -> None:
    try:
        faults.point("stage.rename", folder)
        temporary.replace(folder)
        sync_folder(folder.parent)
    except OSError as problem:
        if problem.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
        raise OutputError(
            "an output folder must be new", f"{folder}, which another process made meanwhile", "Choose another name."
        ) from None


def _open_lock(path: Path) -> int:
    """Open or make a lock; a pipe at its place is not waited for, and no link is followed."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process while the block runs; the lock goes with the process, however it ends.

    Raises:
        OutputError: another process holds it, or it cannot be written.
    """
    try:
        faults.point("lock.open", folder)
        stream = os.fdopen(_open_lock(folder / _LOCK), "a")
    except OSError as problem:
        raise cannot_write(folder, problem) from problem
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                "one process at a time works in a folder", f"another one at {folder}", "Try again when it has finished."
            ) from None
        yield


def resolved(path: Path) -> Path:
    """The path with its links followed; as it is where they go round."""
    try:
        return path.resolve()
    except RuntimeError:  # so Python says it before 3.13
        return path.absolute()


def check_file(path: Path) -> None:
    """Refuse a path at which no file can be written, before the work for it is done.

    Raises:
        OutputError: a folder is there, or the folder that it would lie in is not.
    """
    if path.is_dir():
        raise cannot_write(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    if not path.parent.is_dir():
        raise cannot_write(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))


def cannot_write(path: Path, problem: OSError) -> OutputError:
    """The error for a path that could not be written, with the system's own reason."""
    found = problem.strerror or str(problem)
    return OutputError(f"{path} must be writable", found, _REMEDIES.get(problem.errno or 0, "Choose another place."))


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes; a pipe or a device is not even opened.

    Raises:
        OSError: no such file, one that cannot be read, none of the usual kind, or a larger one (`errno.EFBIG`).
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    content = b""
    if found.st_size <= limit or stat.S_ISDIR(found.st_mode):  # opening a folder raises the system's own reason
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    if max(found.st_size * stat.S_ISREG(found.st_mode), len(content)) > limit:
        raise OSError(errno.EFBIG, f"Larger than {limit:,} bytes", str(path))
    return content


def read_or_nothing(path: Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes; b"" where there is none that can be read."""
    try:
        return read_bounded(path, limit)
    except OSError:
        return b""


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, read a mebibyte at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sha256_bytes(content: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """SHA-256 of a value's canonical JSON: sorted keys, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
