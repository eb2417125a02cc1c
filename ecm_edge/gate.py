"""The gate before training: a candidate that does not fit the board is never trained.

Flash, RAM and latency are estimates here, made from counts by the target's cost model and labelled so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.cost import GraphCost, LayerCost
from ecm_edge.records import Evidence, Form, Gate, Latency, Record, Verdict, at_most, overall

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.targets import CostModel, Target

_FLOAT32_BYTES = 4
_WEIGHT_ITEM_BYTES: dict[Form, int] = {"float32": 4, "float16": 2, "int8": 1}
_ACTIVATION_ITEM_BYTES: dict[Form, int] = {"float32": 4, "float16": 4, "int8": 1}
_MS = 1000.0


class CostRecord(Record):
    """What a candidate costs on a target in one form, against the target's budgets.

    `evidence` speaks of flash_bytes, ram_bytes and latency_ms; parameters and macs are counts of the graph.
    """

    target: str
    form: Form
    verdict: Verdict
    parameters: int
    macs: int
    weight_bytes: int
    flash_bytes: int
    ram_bytes: int
    latency_ms: Latency
    evidence: Evidence
    source: str
    gates: list[Gate]
    layers: list[LayerCost]


def check_cost(graph: GraphCost, target: Target, form: Form | None = None) -> CostRecord:
    """Hold a counted float32 graph, trained or not, against a target's budgets.

    Args:
        graph: the cost of the float32 graph.
        form: the form that would ship; the target's first by default. Weights and activations are scaled to it.
    """
    form = form or target.precision[0]
    weight_bytes = graph.weight_bytes * _WEIGHT_ITEM_BYTES[form] // _FLOAT32_BYTES
    flash_bytes = weight_bytes + target.cost_model.runtime_flash_bytes
    ram_bytes = graph.arena_bytes * _ACTIVATION_ITEM_BYTES[form] // _FLOAT32_BYTES
    latency = estimated_latency(graph.macs, target)
    budget = target.budget
    gates = [
        at_most(
            "parameters", graph.parameters, budget.parameters, "", _heaviest(graph, lambda layer: layer.parameters)
        ),
        at_most("macs", graph.macs, budget.macs, "MAC", _heaviest(graph, lambda layer: layer.macs)),
        at_most(
            "flash_bytes", flash_bytes, budget.flash_bytes, "B", _heaviest(graph, lambda layer: layer.weight_bytes)
        ),
        at_most(
            "ram_bytes", ram_bytes, budget.ram_bytes, "B", _heaviest(graph, lambda layer: layer.live_bytes, share=False)
        ),
        at_most("latency_ms", latency.mean_ms, budget.latency_ms, "ms", _heaviest(graph, lambda layer: layer.macs)),
    ]
    return CostRecord(
        target=target.name,
        form=form,
        verdict=overall(gates),
        parameters=graph.parameters,
        macs=graph.macs,
        weight_bytes=weight_bytes,
        flash_bytes=flash_bytes,
        ram_bytes=ram_bytes,
        latency_ms=latency,
        evidence=Evidence.ESTIMATED,
        source=target.cost_model.source,
        gates=gates,
        layers=graph.layers,
    )


def estimated_latency(macs: int, target: Target) -> Latency:
    """Time of one inference by the target's cost model, with its interval."""
    model: CostModel = target.cost_model

    def milliseconds(cycles_per_mac: float) -> float:
        return macs * cycles_per_mac / target.core.clock_hz * _MS

    return Latency(
        evidence=Evidence.ESTIMATED,
        source=f"{model.cycles_per_mac:g} cycles per MAC at {target.core.clock_hz / 1e6:g} MHz; {model.source}",
        mean_ms=milliseconds(model.cycles_per_mac),
        low_ms=milliseconds(model.cycles_per_mac_low),
        high_ms=milliseconds(model.cycles_per_mac_high),
    )


def _heaviest(graph: GraphCost, weight: Callable[[LayerCost], int], *, share: bool = True) -> str:
    """Which layer weighs most, for the record: "heaviest: conv5, 151,552 (33 %)"."""
    layer = max(graph.layers, key=weight, default=None)
    if layer is None:
        return "the graph has no layers"
    part = f" ({100 * weight(layer) / max(1, sum(map(weight, graph.layers))):.0f} %)" if share else ""
    return f"heaviest: {layer.name}, {weight(layer):,}{part}"
