"""Cortex-M0 and M0+: their instructions are a part of the Cortex-M4's (ARMv6-M Architecture Reference Manual, A5)."""

from __future__ import annotations

from dataclasses import replace

from ecm_edge.firmware.cores import cortex_m4

CORE = replace(cortex_m4.CORE, architecture="armv6-m")
