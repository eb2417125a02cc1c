"""How many threads torch gets, and what they do while they wait."""

from __future__ import annotations

import math
import os
import sys
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def choose_threads() -> None:
    """Set OMP_NUM_THREADS and OMP_WAIT_POLICY for torch, if the user has not.

    It has to be called before torch or numpy is imported, since their OpenMP reads the variables once, at its start; it
    does nothing after that. There are as many threads as this process may use cores: OpenMP itself does not know the
    limit of a container. They wait passively. By default a thread that waits for the others keeps its core busy, in
    libgomp, which torch brings, for milliseconds; where another process wants that core, this very thread is the one
    that is late. Neither variable changes a result beyond what the number of threads itself does.
    """
    if "torch" in sys.modules or "numpy" in sys.modules:
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def usable_cores(cgroups: Path = _CGROUPS) -> int:
    """The cores that this process may use: those of its affinity, or fewer where its control group has a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota(cgroups))))


def _quota(cgroups: Path) -> float:
    """The quota in cores, as a container sees its own group, of version 2 or 1; infinite without one."""
    for read in (_quota_of_version_2, _quota_of_version_1):
        with suppress(OSError, ValueError, ZeroDivisionError):
            return read(cgroups)
    return math.inf


def _quota_of_version_2(cgroups: Path) -> float:
    quota, period = (cgroups / "cpu.max").read_text().split()  # "max 100000" without a quota
    return math.inf if quota == "max" else int(quota) / int(period)


def _quota_of_version_1(cgroups: Path) -> float:
    quota = int((cgroups / "cpu" / "cpu.cfs_quota_us").read_text())  # -1 without a quota
    return quota / int((cgroups / "cpu" / "cpu.cfs_period_us").read_text()) if quota > 0 else math.inf
