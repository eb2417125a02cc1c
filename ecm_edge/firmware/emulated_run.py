"""One form's C, run in the emulator of its board: its answers, its instructions, cycles, stack and alignment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import FirmwareError
from ecm_edge.base.records import Gate, at_least, at_most, not_run
from ecm_edge.firmware import build, count, cycles, emulate, known_answer, stack

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.firmware.build import Image
    from ecm_edge.firmware.count import Counts
    from ecm_edge.firmware.cycles import Estimate
    from ecm_edge.forms.onnx_model import Floats

_SEGMENTS = 2  # of the self-test
GATES = ("stack_high_water", "unaligned_accesses", "counts_repeatable")
"""The gates that need counted instructions."""


@dataclass(frozen=True, eq=False)
class EmulatedRun:
    """What the emulator counted; `reason` says why there are no counts.

    high_water: the stack that was used, held against its bound.
    same_answers: the scores held against those of this host; None where they were not compared.
    """

    counts: Counts | None = None
    estimate: Estimate | None = None
    high_water: list[Gate] = field(default_factory=list)
    same_answers: Gate | None = None
    reason: str = ""

    @property
    def gates(self) -> list[Gate]:
        """Every gate of the run; NOT RUN where nothing was counted."""
        compared, counts = [self.same_answers] if self.same_answers else [], self.counts
        if counts is None:
            return [*compared, *(not_run(name, self.reason) for name in GATES)]
        return [
            *compared,
            *self.high_water,
            at_most("unaligned_accesses", counts.unaligned, 0, "accesses", counts.unaligned_in or ""),
            at_least("counts_repeatable", float(counts.repeatable), 1, "bool", f"{counts.total:,} instructions, twice"),
        ]


def run_emulated(shipped: Image, out: Path, host_scores: Floats | None) -> EmulatedRun:
    """Build the batch image of a shipped image's sources into `out`, and count one inference of it.

    Args:
        shipped: the serial image.
        out: a folder that is not there yet.
        host_scores: the scores (N, S) of this host for the self-test's segments, to be compared with; or None.

    Raises:
        FirmwareError: a compiler or an emulator that fails; one that is missing is the run's reason.
    """
    target = shipped.target
    missing = emulate.available(target)
    if missing:
        return EmulatedRun(reason=missing.reason)
    batch = build.build(shipped.model.folder, target, "batch", out, emulated=True)
    if batch.overflow:
        return EmulatedRun(reason="the image does not fit the board's memory, so that it cannot run")
    segments = known_answer.segments(batch.model.samples)
    same = None if host_scores is None else _compare(emulate.run_batch(batch, segments), host_scores)
    uncounted = count.available(batch) or _no_plugin()
    if uncounted:
        return EmulatedRun(reason=uncounted.reason, same_answers=same)
    counts, runs = count.count_with_runs(batch, segments[:_SEGMENTS])
    estimate = cycles.estimate(batch, runs) if target.core.pipeline else None
    _, high_water = stack.gates(stack.bound(batch), counts.stack_bytes, target.memory.ram_bytes)
    return EmulatedRun(counts, estimate, [high_water], same)


def _no_plugin() -> emulate.Unavailable | None:
    """Why the counting plugin cannot be compiled here."""
    try:
        count.plugin()
    except FirmwareError as problem:
        return emulate.Unavailable(f"{problem.rule}; {problem.found}")
    return None


def _compare(emulated: Floats, host: Floats) -> Gate:
    differing = int(np.sum(emulated.view(np.uint32) != host.view(np.uint32)))
    return at_most(
        "emulated_answers_differing", differing, 0, "scores", f"of {host.size} scores differ from those of this host"
    )
