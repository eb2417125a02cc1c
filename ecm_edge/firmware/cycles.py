"""Cycles: from what an inference executes to how long the board may take, by the target's model of its core.

Three figures for each straight piece of code, added up over all that ran:

- low: every unit always finds work; only the issue width and the units limit.
- middle: in order. An instruction starts when the one before it has started, its unit is free and its operands are
  there. The piece is taken to follow itself, as loops do. Where registers are not decoded (Cortex-M), a class costs the
  mean of its best and worst, and a load or store that follows another one its best.
- high: one instruction at a time starts a cycle, every class at its worst, operands awaited.

Caches always hit in the model, and branches are foreseen but for what the timing of a branch says. If the target has a
calibration, the interval is widened to include it, though never to less than what the unit of the multiply-adds needs,
and the mean raised to its upper end: an estimate errs on the side that promises too little.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base.errors import TargetError
from ecm_edge.base.records import Evidence, Latency, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecm_edge.firmware.build import Image
    from ecm_edge.firmware.cores.core import Instruction
    from ecm_edge.firmware.count import Block, Run
    from ecm_edge.targets import Target
    from ecm_edge.targets.firmware import Pipeline, Timing

_MS = 1000.0
_REPEATS = 2


class LayerCycles(Record):
    """Middle estimate of one layer's cycles, before any calibration."""

    name: str
    cycles: int


class Estimate(Record):
    """Estimated cycles and time of one inference.

    cycles_low, cycles, cycles_high: of the model alone.
    layers: the middle estimate by layer.
    latency_ms: with the calibration, labelled as an estimate.
    """

    instructions: int
    cycles_low: int
    cycles: int
    cycles_high: int
    layers: list[LayerCycles]
    latency_ms: Latency


@dataclass(frozen=True)
class _Cycles:
    low: float = 0.0
    middle: float = 0.0
    high: float = 0.0

    def plus(self, other: _Cycles, times: int) -> _Cycles:
        return _Cycles(self.low + other.low * times, self.middle + other.middle * times, self.high + other.high * times)


def estimate(image: Image, runs: Sequence[Run]) -> Estimate:
    """Cycles and time of the run with the most instructions.

    Args:
        image: what ran.
        runs: of `count.profile`, at least one.

    Raises:
        TargetError: the target has no model of its core.
    """
    most = max(runs, key=lambda run: run.total)
    model = pipeline_of(image.target)
    total = _sum(most.blocks, model)
    layers = [
        LayerCycles(name=name, cycles=round(_sum((b for b in most.blocks if b.layer == i), model).middle))
        for i, name in enumerate(image.layer_names)
    ]
    return Estimate(
        instructions=most.total,
        cycles_low=round(total.low),
        cycles=round(total.middle),
        cycles_high=round(total.high),
        layers=layers,
        latency_ms=_latency(total, most, image.target, model),
    )


def pipeline_of(target: Target) -> Pipeline:
    """The target's model of its core.

    Raises:
        TargetError: it has none.
    """
    if target.core.pipeline is None:
        raise TargetError(
            "cycles are estimated by the target's [core.pipeline]",
            f"none in {target.name}",
            "Add one; `ecm-edge targets --json` shows those of the shipped targets.",
        )
    return target.core.pipeline


def _latency(total: _Cycles, run: Run, target: Target, model: Pipeline) -> Latency:
    seen, instructions = model.calibration, run.total
    low, mean, high = total.low, total.middle, total.high
    source = f"{instructions:,} instructions counted; model of the core: {model.source}"
    if seen is not None:
        least = max(seen.low * instructions, _multiply_add_unit(run.blocks, model))
        low, mean = min(low, least), max(mean, seen.high * instructions)
        source += f"; not below {seen.high:g} cycles per instruction: {seen.source}"
    high = max(mean, high)

    def milliseconds(cycles: float) -> float:
        return cycles / target.core.clock_hz * _MS

    return Latency(
        evidence=Evidence.ESTIMATED,
        source=f"{source}; {target.core.clock_hz / 1e6:g} MHz, caches always hit",
        mean_ms=milliseconds(mean),
        low_ms=milliseconds(low),
        high_ms=milliseconds(high),
    )


def _multiply_add_unit(blocks: Iterable[Block], model: Pipeline) -> int:
    """Cycles in which the unit of the multiply-adds is busy."""
    busy = {kind: timing.busy for kind, timing in model.timing.items() if timing.unit == model.timing["fused"].unit}
    return sum(block.times * sum(busy.get(i.kind, 0) for i in block.instructions) for block in blocks)


def _sum(blocks: Iterable[Block], model: Pipeline) -> _Cycles:
    cost = functools.cache(lambda instructions: _block(instructions, model))
    total = _Cycles()
    for block in blocks:
        total = total.plus(cost(block.instructions), block.times)
    return total


def _block(instructions: tuple[Instruction, ...], model: Pipeline) -> _Cycles:
    low = _throughput(instructions, model)
    if not any(i.reads or i.writes for i in instructions):
        high = sum(_worst(model.timing[i.kind]) * i.words for i in instructions)
        return _Cycles(low, _without_registers(instructions, model), high)
    middle = _in_order(instructions, model, model.issue_width, worst=False)
    return _Cycles(low, max(low, middle), max(low, middle, _in_order(instructions, model, 1, worst=True)))


def _throughput(instructions: Sequence[Instruction], model: Pipeline) -> float:
    """The busiest unit's cycles, or what the issue width allows if that is more."""
    busy: dict[str, int] = {}
    for i in instructions:
        timing = model.timing[i.kind]
        busy[timing.unit] = busy.get(timing.unit, 0) + timing.busy * i.words
    return max(len(instructions) / model.issue_width, *busy.values())


def _without_registers(instructions: Sequence[Instruction], model: Pipeline) -> float:
    cycles, before = 0.0, ""
    for i in instructions:
        timing = model.timing[i.kind]
        moves = i.kind in {"load", "store"}
        if moves:
            first = timing.busy if before in {"load", "store"} else _worst(timing)
            cycles += first + timing.busy * (i.words - 1)
        else:
            cycles += (timing.busy + _worst(timing)) / 2
        before = i.kind
    return cycles


def _worst(timing: Timing) -> int:
    return timing.busy_high or timing.busy


def _in_order(instructions: Sequence[Instruction], model: Pipeline, width: int, *, worst: bool) -> float:
    """Cycles from one pass to the next when the instructions run again and again, starting `width` a cycle in order."""
    ready: dict[int, int] = {}
    free: dict[str, int] = {}
    now = started = 0
    ends = []
    for _ in range(_REPEATS):
        for i in instructions:
            timing = model.timing[i.kind]
            start = max(now, free.get(timing.unit, 0), *(ready.get(r, 0) for r in i.reads), 0)
            if start > now:
                now, started = start, 0
            if started == width:
                now, started = now + 1, 0
            started += 1
            busy = _worst(timing) if worst else timing.busy
            free[timing.unit] = now + busy * i.words
            ready |= dict.fromkeys(i.writes, now + max(timing.latency, busy if timing.busy > 1 else 1))
        ends.append(now)
    return max(ends[-1] - ends[-2], len(instructions) / width)
