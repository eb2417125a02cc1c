"""The gate before training: a candidate that does not fit the board is never trained.

Flash, RAM and latency are estimates here, made from counts by the target's cost model and labelled so; where the
target's firmware can be built, `ecm_edge.firmware.image_gate` puts the image's own figures in their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ecm_edge.base.records import Evidence, Form, Gate, Latency, Record, Verdict, at_most, verdict_of_what_ran
from ecm_edge.forms.cost import GraphCost, LayerCost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecm_edge.targets import CostModel, Target

BUDGETS = {"parameters": "", "macs": "MAC", "flash_bytes": "B", "ram_bytes": "B", "latency_ms": "ms"}
"""The budgets of a target and their units."""

BUDGET_NAMES = {
    "parameters": "parameters",
    "macs": "MACs",
    "flash_bytes": "flash",
    "ram_bytes": "RAM",
    "latency_ms": "latency",
}
"""What the budgets are called for people."""

_FLOAT32_BYTES = 4
_WEIGHT_ITEM_BYTES: dict[Form, int] = {"float32": 4, "float16": 2, "int8": 1}
_ACTIVATION_ITEM_BYTES: dict[Form, int] = {"float32": 4, "float16": 4, "int8": 1}
_MS = 1000.0


class FormCost(Record):
    """What another form of the same network costs; `broken` names the gates that failed."""

    form: Form
    verdict: Verdict
    reason: str = ""
    flash_bytes: int
    ram_bytes: int
    evidence: Evidence
    latency_ms: Latency
    broken: list[str]


class CostRecord(Record):
    """What a candidate costs on a target in one form, against the target's budgets.

    `evidence` is of flash_bytes and ram_bytes; latency_ms has its own; parameters and macs are counts of the graph.
    `also` are other forms, which do not change the verdict.
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
    also: list[FormCost] = Field(default=[])


def check_cost(graph: GraphCost, target: Target, form: Form | None = None) -> CostRecord:
    """Hold a counted float32 graph, trained or not, against a target's budgets.

    Args:
        graph: the cost of the float32 graph.
        form: the form that would ship; the target's first by default. Weights and activations are scaled to it.
    """
    form = form or target.precision[0]
    weight_bytes = weight_bytes_as(form, graph)
    flash_bytes = weight_bytes + target.cost_model.runtime_flash_bytes
    ram_bytes = graph.arena_bytes * _ACTIVATION_ITEM_BYTES[form] // _FLOAT32_BYTES
    latency = estimated_latency(graph.macs, target)
    figures = {
        "parameters": graph.parameters,
        "macs": graph.macs,
        "flash_bytes": flash_bytes,
        "ram_bytes": ram_bytes,
        "latency_ms": latency.mean_ms,
    }
    gates = hold(figures, target, details(graph, form))
    return CostRecord(
        target=target.name,
        form=form,
        verdict=verdict_of_what_ran(gates),
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


def weight_bytes_as(form: Form, graph: GraphCost) -> int:
    """Bytes of a float32 graph's weights in another form."""
    return graph.weight_bytes * _WEIGHT_ITEM_BYTES[form] // _FLOAT32_BYTES


def hold(figures: Mapping[str, float], target: Target, details: Mapping[str, str]) -> list[Gate]:
    """A gate for each of the target's budgets; `figures` and `details` go by the budgets' names."""
    return [
        at_most(name, figures[name], getattr(target.budget, name), unit, details.get(name, ""))
        for name, unit in BUDGETS.items()
    ]


def details(graph: GraphCost, form: Form = "float32") -> dict[str, str]:
    """Which layer weighs most, for each budget; bytes are those of the form, as the budgets' figures are."""
    weights, activations = _WEIGHT_ITEM_BYTES[form], _ACTIVATION_ITEM_BYTES[form]
    return {
        "parameters": _heaviest(graph, "parameters"),
        "macs": _heaviest(graph, "macs"),
        "flash_bytes": _heaviest(graph, "weight_bytes", item_bytes=weights),
        "ram_bytes": _heaviest(graph, "live_bytes", item_bytes=activations, share=False),
        "latency_ms": _heaviest(graph, "macs"),
    }


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


def _heaviest(
    graph: GraphCost,
    cost: Literal["parameters", "macs", "weight_bytes", "live_bytes"],
    *,
    item_bytes: int = _FLOAT32_BYTES,
    share: bool = True,
) -> str:
    """Which layer weighs most, for the record: "heaviest: conv5, 151,552 (33 %)", with items of so many bytes.

    Bytes that are alive while a layer runs add up to no whole of which there could be a share.
    """
    weights: list[int] = [getattr(layer, cost) for layer in graph.layers]
    if not weights:
        return "the graph has no layers"
    most = max(weights)
    part = f" ({100 * most / max(1, sum(weights)):.0f} %)" if share else ""
    return f"heaviest: {graph.layers[weights.index(most)].name}, {most * item_bytes // _FLOAT32_BYTES:,}{part}"
