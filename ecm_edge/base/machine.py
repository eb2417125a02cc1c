"""What is known of the machine and its user: the processor's name, and the folder for what may be kept."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """The processor's name; on Linux /proc/cpuinfo has a fuller one than `platform`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cache_folder() -> Path:
    """A folder of ours in the user's cache, for what saves time and may be deleted.

    Compiled objects, zig's run-time library, the counting plugin, and which forward pass was the fastest lie in it.
    ECM_EDGE_CACHE names another one.
    """
    chosen = os.environ.get("ECM_EDGE_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ecm-edge"
