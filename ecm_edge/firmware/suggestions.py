"""Suggestions: what to change in a model that does not fit, in sentences made of the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge import targets
from ecm_edge.base.numbers import KIB
from ecm_edge.base.records import Verdict
from ecm_edge.forms.gate import BUDGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ecm_edge.base.records import Gate
    from ecm_edge.firmware.fit_records import FormFit, LayerFit
    from ecm_edge.targets import Target


def for_form(record: FormFit, target: Target) -> list[str]:
    """One sentence for each gate that failed, and one on whose limits they are."""
    failed = [gate for gate in record.gates if gate.verdict == Verdict.FAIL and gate.name in _SENTENCES]
    sentences = [sentence for gate in failed if (sentence := _SENTENCES[gate.name](record, gate))]
    return [*sentences, *([_limits(target)] if any(gate.name in BUDGETS for gate in failed) else [])]


def for_model(forms: Sequence[FormFit]) -> list[str]:
    """What to do with the first form, which would ship: its own suggestions, and whether another form fits."""
    first, *others = forms
    if first.verdict != Verdict.FAIL:
        return []
    fitting = [other.form for other in others if other.verdict == Verdict.PASS]
    if fitting:
        return [*first.advice, f"As {fitting[0]} it fits: ship that form, or go on with --form {fitting[0]}."]
    return [*first.advice, *(["No other form of it fits either."] if others else [])]


def _limits(target: Target) -> str:
    """Where a budget stands, and how to have another one."""
    if target.name not in targets.names():
        return f"The limits are [budget] in the file of {target.name}; raise them there if your task allows more."
    return (
        f"The limits are [budget] in ecm_edge/targets/{target.name}.toml, those of its contest; if your task allows "
        "more, raise them in a copy and give that file as --target."
    )


def _flash(record: FormFit, gate: Gate) -> str:
    if not record.layers:
        return ""
    layer = max(record.layers, key=lambda layer: layer.code_bytes + layer.constant_bytes)
    constants = f"{layer.constant_bytes / KIB:.1f} KiB of weights and {layer.code_bytes / KIB:.1f} KiB of code"
    return f"Flash is {_over(gate)} over: {_named(layer)} holds {constants}; fewer channels or a shorter kernel there."


def _ram(record: FormFit, gate: Gate) -> str:
    if not record.layers:
        return ""
    layer = max(record.layers, key=lambda layer: layer.live_bytes)
    alive = [b for b in record.arena if b.first_layer <= layer.index <= b.last_layer]
    tensors = " and ".join(f"{b.tensor} ({b.size_bytes:,} B)" for b in sorted(alive, key=lambda b: -b.size_bytes)[:2])
    return (
        f"RAM is {_over(gate)} over: while {_named(layer)} runs, {layer.live_bytes:,} B are alive, most of them "
        f"{tensors}; a larger stride before it, or fewer channels.{_beside_arena(record, gate)}"
    )


def _beside_arena(record: FormFit, gate: Gate) -> str:
    """What the program itself keeps, where that is more than a quarter of the budget: the input of a frame."""
    beside = record.sections.bss - record.arena_bytes if record.sections else 0
    if beside <= (gate.limit or 0) / 4:
        return ""
    return f" Beside the arena the program keeps {beside / KIB:.1f} KiB, most of it the float32 input of a frame."


def _latency(record: FormFit, gate: Gate) -> str:
    return _heaviest(
        record, f"The estimate is {_over(gate)} over", "instructions", lambda layer: layer.instructions or 0
    )


def _macs(record: FormFit, gate: Gate) -> str:
    return _heaviest(record, f"{_over(gate)} too many MACs", "MACs", lambda layer: layer.macs)


def _heaviest(record: FormFit, opening: str, unit: str, weight: Callable[[LayerFit], int]) -> str:
    whole = sum(map(weight, record.layers))
    if not whole:
        return f"{opening}."
    layer = max(record.layers, key=weight)
    share = f"{weight(layer):,} of {whole:,} {unit} ({100 * weight(layer) / whole:.0f} %)"
    return f"{opening}: {_named(layer)} takes {share}; a larger stride before it, or fewer channels."


def _parameters(record: FormFit, gate: Gate) -> str:
    del record
    return f"{_over(gate)} parameters too many, {gate.detail}: fewer channels there."


def _stack(record: FormFit, gate: Gate) -> str:
    del record
    return f"The stack may need more than is left for it ({gate.detail}): raise the linker script's, or lower the RAM."


_SENTENCES: dict[str, Callable[[FormFit, Gate], str]] = {
    "parameters": _parameters,
    "macs": _macs,
    "flash_bytes": _flash,
    "ram_bytes": _ram,
    "latency_ms": _latency,
    "stack_bound": _stack,
}


def _named(layer: LayerFit) -> str:
    return f"{layer.name} ({layer.origin[0]})" if layer.origin else layer.name


def _over(gate: Gate) -> str:
    """By how much a budget is broken."""
    over = -(gate.margin or 0.0)
    if gate.unit == "B":
        return f"{over / KIB:,.1f} KiB" if over >= KIB else f"{over:,.0f} B"
    return f"{over:,.4g} ms" if gate.unit == "ms" else f"{over:,.0f}"
