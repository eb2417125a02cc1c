"""A report of a fault of this program: what whoever mends it needs to know, in a file, and no secret."""

from __future__ import annotations

import platform
import shlex
import tempfile
import traceback
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ecm_edge.base import machine
from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.base.url_secrets import without_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_CODE = 70
"""The system's own code for a fault of a program (EX_SOFTWARE of sysexits.h)."""

_PACKAGES = ("ecm-edge", "numpy", "torch", "onnx", "onnxruntime", "optuna", "pydantic", "click")


def write(problem: Exception, words: Sequence[str]) -> EcmEdgeError:
    """Write the report, and say where it is; where no file can be written, the error has the last call in it.

    Args:
        problem: what was raised.
        words: of the command, without the program's name.
    """
    text = without_secrets("\n".join([*_versions(), f"command: ecm-edge {shlex.join(words)}", "", *_trace(problem)]))
    found = without_secrets(" ".join(f"{type(problem).__name__}: {problem}".split()))[:500]
    try:
        folder = machine.cache_folder() / "faults"
        folder.mkdir(parents=True, exist_ok=True)
        place = _file(text, folder)
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        try:
            place = _file(text, Path(tempfile.gettempdir()))
        except OSError:
            last = traceback.extract_tb(problem.__traceback__)[-1]
            place = f"nowhere, since no file can be written; it came from {last.filename}:{last.lineno}"
    return EcmEdgeError(
        "a fault of ecm-edge itself, not of what you gave it",
        found,
        f"The report is in {place}: please open an issue with it.",
    )


def _versions() -> list[str]:
    found = [f"{name} {_version(name)}" for name in _PACKAGES]
    return [f"Python {platform.python_version()}, {platform.platform()}", *found]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _trace(problem: Exception) -> list[str]:
    return [line.rstrip("\n") for line in traceback.format_exception(problem)]


def _file(text: str, folder: Path) -> str:
    """Write into a new file that only the user can read."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    with tempfile.NamedTemporaryFile(
        "w", dir=folder, prefix=f"fault-{moment}-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
    ) as stream:
        stream.write(f"{text}\n")
    return stream.name
