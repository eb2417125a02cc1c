"""The origin of a result: versions, the state of the checkout, and the date."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.base.records import Provenance

_CHECKOUT = Path(__file__).parents[2]
_LIBRARIES = ("numpy", "onnx", "onnxruntime", "onnxsim", "optuna", "scikit-learn", "scipy", "torch")
_GIT_TIMEOUT_S = 10


def collect() -> Provenance:
    """The provenance of a result made now, by this process.

    The Git commit is absent where the package does not run from its own checkout, or where Git does not answer.
    """
    sha = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain") if sha else None
    return Provenance(
        tool_version=importlib.metadata.version("ecm-edge"),
        git_sha=sha,
        git_dirty=None if changes is None else bool(changes),
        python=platform.python_version(),
        libraries={name: importlib.metadata.version(name) for name in _LIBRARIES},
        date_utc=date_utc(),
    )


def date_utc() -> str:
    """Now in UTC, to the second, as 2025-01-31T12:00:00Z; SOURCE_DATE_EPOCH, if set, stands for now.

    Raises:
        EcmEdgeError: SOURCE_DATE_EPOCH is not a number of seconds.
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        now = datetime.fromtimestamp(int(fixed), UTC) if fixed else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise EcmEdgeError(
            "SOURCE_DATE_EPOCH is whole seconds since 1970", repr(fixed), "Set it to an integer, or unset it."
        ) from None
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _git(*arguments: str) -> str | None:
    """The output of a Git command in the checkout, stripped; None where there is no checkout or Git fails."""
    git = shutil.which("git")
    if git is None or not (_CHECKOUT / ".git").exists():
        return None
    whose = f"safe.directory={_CHECKOUT.resolve()}"  # another user's too: it is the one that this code comes from
    command = [git, "--no-optional-locks", "-c", whose, "-C", str(_CHECKOUT), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, check=True, text=True, timeout=_GIT_TIMEOUT_S)  # noqa: S603 - fixed arguments
    except (subprocess.SubprocessError, OSError):
        return None
    return answer.stdout.strip()
