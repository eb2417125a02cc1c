"""Which compiler a target is built with, and how a tool that fails is reported."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from ecm_edge.base import machine
from ecm_edge.base.errors import FirmwareError
from ecm_edge.targets import commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecm_edge.targets import Target

_HOST_COMPILERS = ("cc", "gcc", "clang")
_TIMEOUT_S = 300.0
_NOISE = ("warning:", "note:", "In file included")


def compiler(name: str) -> list[str]:
    """The command of a target's C compiler: the words before its arguments.

    Args:
        name: "zig", "cc", or a program's name or path.

    Raises:
        FirmwareError: it is not installed.
    """
    if name == "zig":
        return [str(_zig()), "cc"]
    paths = [path for word in (_HOST_COMPILERS if name == "cc" else (name,)) if (path := shutil.which(word))]
    if not paths:
        raise FirmwareError(
            f"the compiler {name} must be installed",
            "none on the path",
            "Install Debian's gcc." if name == "cc" else f"Install {name}, or name another in the target's [firmware].",
        )
    return paths[:1]


def version(name: str) -> str:
    """What a compiler calls itself: "zig 0.17.1" or the first line of `--version`; for manifests."""
    return _version(tuple(compiler(name)))


def target_version(target: Target) -> str | None:
    """What a target's compiler calls itself; None where there is none; raises as `commands.check`."""
    commands.check(target.firmware)
    try:
        return version(target.firmware.compiler) if target.firmware else None
    except FirmwareError:
        return None


@functools.lru_cache(maxsize=16)
def _version(command: tuple[str, ...]) -> str:
    if Path(command[0]).name.startswith("zig"):
        return "zig " + run([command[0], "version"]).strip()
    return run([*command, "--version"]).splitlines()[0].strip()


def run(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> str:
    """Run a tool to its end and give what it wrote to standard output.

    Raises:
        FirmwareError: it does not start, fails or takes more than five minutes; the message has its first complaint.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(  # noqa: S603 - compilers and emulators named by a target
            list(command),
            env=None if environment is None else {**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except OSError as problem:
        raise FirmwareError(f"{name} must start", f"{problem.strerror}", "Install it again.") from None
    except subprocess.TimeoutExpired:
        raise FirmwareError(
            f"{name} must finish", f"still running after {_TIMEOUT_S:g} s", f"The command was: {' '.join(command)}"
        ) from None
    if done.returncode != 0:
        raise ToolFailure(name, done.returncode, done.stderr.decode(errors="replace"), command)
    return done.stdout.decode(errors="replace")


class ToolFailure(FirmwareError):  # noqa: N818 - the event, not a new kind of mistake
    """A tool that ran and failed; `complaints` are the lines that it wrote to standard error."""

    def __init__(self, name: str, code: int, stderr: str, command: Sequence[str]) -> None:
        self.complaints = [line.strip() for line in dict.fromkeys(stderr.splitlines()) if line.strip()]
        super().__init__(
            f"{name} must succeed",
            f"{first_complaint(self.complaints)!r} (exit code {code})",
            f"The command was: {' '.join(command)}",
        )


def first_complaint(lines: Sequence[str]) -> str:
    """The line that says what is wrong: the first with "error", else the first that is no warning, else the first.

    >>> first_complaint(["a.c:1:1: warning: x", "a.c:2:1: error: y"])
    'a.c:2:1: error: y'
    >>> first_complaint([])
    'no message'
    """
    errors = [line for line in lines if "error" in line.lower()]
    others = [line for line in lines if not any(noise in line for noise in _NOISE)]
    return next(iter([*errors, *others, *lines]), "no message")


def zig_environment(objects: Path) -> dict[str, str]:
    """Variables that keep zig's caches in our folders.

    What it compiles for one build lies in `objects`, its own run-time library in the user's cache, which processes side
    by side may share.
    """
    return {"ZIG_GLOBAL_CACHE_DIR": str(machine.cache_folder() / "zig"), "ZIG_LOCAL_CACHE_DIR": str(objects)}


def _zig() -> Path:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise FirmwareError(
            "the compiler zig comes with the ziglang package",
            "it is not installed",
            "Run `pip install ziglang`, or `make demo`, which does.",
        )
    return Path(spec.origin).parent / "zig"
