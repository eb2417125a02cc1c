"""Fault points: places at which a test lets this program be killed, or a write fail.

Every step that changes a disk has a point before it. Points do nothing, unless ECM_EDGE_FAULT says what:

    NAME:kill        the process is killed at the point of that name, as by `kill -9`
    NAME:ENOSPC      the system's error "No space left on device" is raised there, each time; EIO and EACCES likewise
    NAME:stop        the process stops there until it gets SIGCONT
    NAME:kill:3      only the third time
    list:FILE        the name of every point that is reached is appended to the file

A name is a step and the file that it is about: `write.rename/incumbent.json`; of a temporary folder, what it becomes,
or `ecm-edge` where it goes again.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING

from ecm_edge.base.errors import EcmEdgeError

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "ECM_EDGE_FAULT"
KILL, STOP = "kill", "stop"
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES}
_SIGNALS = {KILL: signal.SIGKILL, STOP: signal.SIGSTOP}
_LIST = "list:"
_FORMAT = re.compile(rf"(?P<name>.+?):(?P<what>{'|'.join((KILL, STOP, *ERRORS))})(?::(?P<time>[1-9]\d*))?")

_TEMPORARY = re.compile(r"\.?(.+)[.-]\w{8}\.unfinished")

_reached: Counter[str] = Counter()
_counting = Lock()


def point(step: str, path: Path) -> None:
    """The next statement is `step` and changes `path`.

    Raises:
        OSError: the error that ECM_EDGE_FAULT asks for.
        EcmEdgeError: ECM_EDGE_FAULT cannot be read.
    """
    asked = os.environ.get(VARIABLE)
    if asked:
        temporary = _TEMPORARY.fullmatch(path.name)
        _act(f"{step}/{temporary[1] if temporary else path.name}", asked, path)


def _act(name: str, asked: str, path: Path) -> None:
    if asked.startswith(_LIST):
        _append(asked.removeprefix(_LIST), name)
        return
    fault = _FORMAT.fullmatch(asked)
    if fault is None:
        hint = f"Unset {VARIABLE}; it is for tests."
        raise EcmEdgeError(f"{VARIABLE} is NAME:WHAT with kill, stop, ENOSPC, EIO or EACCES, or list:FILE", asked, hint)
    if fault["name"] != name:
        return
    with _counting:
        _reached[name] += 1
        time = _reached[name]
    if fault["time"] not in {None, str(time)}:
        return
    if fault["what"] in _SIGNALS:
        os.kill(os.getpid(), _SIGNALS[fault["what"]])
        return
    number = ERRORS[fault["what"]]
    raise OSError(number, os.strerror(number), str(path))


def _append(file: str, name: str) -> None:
    """One line, in one write, so that threads and processes do not mix theirs."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, f"{name}\n".encode())
    finally:
        os.close(handle)
