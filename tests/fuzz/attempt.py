"""One input: what becomes of it, how long that takes, and how much memory."""

from __future__ import annotations

import contextlib
import io
import random
import re
import resource
import shutil
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.cli import main

CODES = {0, 1, 2, 130}
MOST_SECONDS, MOST_MB = 10, 1000
_REPORT = re.compile(r"\S*/\S+")


@dataclass(frozen=True)
class Outcome:
    """`code` is the command's exit code, and `finding` what should not be; empty where all is well."""

    reader: str
    seed: int
    code: int
    finding: str
    seconds: float
    peak_mb: float

    as_dict = asdict


def run(*arguments):
    """The exit code of a command and what it printed."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code, printed.getvalue()
    raise AssertionError("the command line always exits")


def attempt(reader, original, scratch, seed):
    """Make the input of a seed and let its reader read it."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    rng = random.Random(f"{reader.name} {seed}")  # noqa: S311 - no secret
    folder = scratch / "in"
    shutil.copytree(rng.choice(sorted(original.iterdir())), folder)
    reader.mutate(folder, rng)
    _forget_peak()
    before = cpu_seconds()
    code, finding = _read(reader, folder, scratch / "out", rng)
    seconds, peak = cpu_seconds() - before, peak_mb()
    finding = finding or _beyond(seconds, peak)
    return Outcome(reader.name, seed, code, finding, round(seconds, 3), round(peak, 1))


def _read(reader, folder, out, rng):
    try:
        code, printed = reader.use(folder, out, rng)
    except EcmEdgeError:  # of a reader that is called without a command
        return 2, ""
    except Exception as problem:  # noqa: BLE001 - what is looked for
        return 70, where(problem)
    if code not in CODES:
        return code, f"exit {code}: {_said(printed)}"
    left = [path.name for path in out.parent.iterdir() if path.name.startswith(".")]
    if left or (code == 2 and out.exists()):
        return code, f"exit {code} and left behind: {', '.join(left) or out.name}"
    return code, ""


def where(problem):
    """An exception and the last two places of its traceback."""
    frames = traceback.extract_tb(problem.__traceback__)[-2:]
    found = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(problem).__name__} at {found}: {' '.join(str(problem).split())[:120]}"


def _said(printed):
    """The end of what was printed, and of the report file that it names."""
    for path in _REPORT.findall(printed):
        with contextlib.suppress(OSError, ValueError):
            printed += Path(path.strip(".,;:)'\"")).read_text()
    return " | ".join(printed.strip().splitlines()[-3:])[-300:]


def _beyond(seconds, peak):
    if seconds > MOST_SECONDS:
        return f"more than {MOST_SECONDS} s"
    return f"more than {MOST_MB} MB" if peak > MOST_MB else ""


def cpu_seconds():
    """Of processor time, of this process and of those that it ran and that have ended."""
    return sum(
        resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def _forget_peak():
    """Linux forgets the largest memory so far, so that the next one is of one input."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb():
    """The largest resident memory of this process since it was forgotten."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0
