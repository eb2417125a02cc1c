"""The core of the machine that builds: nothing is counted on it, so that nothing needs to be known of it."""

from __future__ import annotations

from ecm_edge.firmware.cores.core import Core

CORE = Core(architecture="host", machine="")
