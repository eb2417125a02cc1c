"""The gate before training: what the image of an untrained network costs on a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.errors import EcmEdgeError, ModelError
from ecm_edge.base.records import Verdict, condition
from ecm_edge.firmware.form_build import build_forms, cannot_build
from ecm_edge.firmware.placeholder_forms import make_form
from ecm_edge.forms import cost, gate

if TYPE_CHECKING:
    import onnx

    from ecm_edge.base.records import Gate
    from ecm_edge.forms.gate import CostRecord
    from ecm_edge.targets import Target

_UNCOUNTED = cost.GraphCost(parameters=0, macs=0, weight_bytes=0, arena_bytes=0, peak_live_bytes=0, layers=[])


def gate_graph(float32: onnx.ModelProto, target: Target, *, counterpart: bool = True) -> CostRecord:
    """What an untrained float32 network costs on a target: as the form that ships, and with `counterpart` as that too.

    The counterpart is int8 for a target that ships a float form first, and float32 for one that ships int8. It is in
    the record, but not judged. A network that breaks the budget of parameters or MACs is not built, and where nothing
    can be built, the cost model's estimates stand. One that no C can be made of, or whose C does not build, does not
    fit; nor does one with an operator that cannot be counted, whose record has that one gate and no figures.
    """
    try:
        graph = cost.count(float32)
    except ModelError as problem:
        return _broken(gate.check_cost(_UNCOUNTED, target), [], problem)
    estimate = gate.check_cost(graph, target)
    broken = {held.name for held in estimate.gates if held.verdict == Verdict.FAIL}
    if broken & {"parameters", "macs"} or cannot_build(target, checked=False):
        return estimate
    first = target.precision[0]
    other = "float32" if first == "int8" else "int8"
    forms = [first, *(form for form in target.precision if counterpart and form == other)]
    try:
        ships, *others = build_forms([make_form(form, float32) for form in forms], target, graph)
    except EcmEdgeError as problem:
        return _broken(estimate, estimate.gates, problem)
    return ships.to_cost(graph, target, others)


def _broken(estimate: CostRecord, gates: list[Gate], problem: EcmEdgeError) -> CostRecord:
    """The record of a network that no firmware can be made of."""
    broken = condition("firmware", str(problem), holds=False)
    return estimate.model_copy(update={"gates": [*gates, broken], "verdict": Verdict.FAIL})
