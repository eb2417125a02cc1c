"""The record of one form on a target: of its generated C, of its built image, and of its emulated run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.records import Evidence, Form, Gate, Latency, Verdict, at_most, not_run, verdict_of_all
from ecm_edge.firmware import emulated_run, image, plan, stack
from ecm_edge.firmware.emulate import Unavailable
from ecm_edge.firmware.emulated_run import EmulatedRun
from ecm_edge.firmware.fit_records import FormFit, ImageFile, LayerFit
from ecm_edge.firmware.layers import held
from ecm_edge.forms import gate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.firmware.build import Image
    from ecm_edge.firmware.generate import Generated
    from ecm_edge.firmware.image import ImageSize
    from ecm_edge.forms.cost import GraphCost
    from ecm_edge.forms.gate import CostRecord
    from ecm_edge.targets import Target

_IMAGE_GATES = ("memory_regions", "arena_off_plan", "forbidden_symbols", "stack_bound")
_ESTIMATES = ("parameters", "macs", "flash_bytes", "ram_bytes", "latency_ms")


@dataclass(frozen=True, eq=False)
class GeneratedForm:
    """One form with its C, how it was made, and the cost model's estimates for it."""

    form: Form
    note: str
    model_sha256: str
    costs: CostRecord
    generated: Generated

    def record(self, **figures: object) -> FormFit:
        """The form's record; the cost model's estimates stand where `figures` has nothing else."""
        return FormFit.model_validate(
            {
                "form": self.form,
                "note": self.note,
                "model_sha256": self.model_sha256,
                **{name: getattr(self.costs, name) for name in _ESTIMATES},
                **figures,
            }
        )


def built(source: GeneratedForm, shipped: Image, run: EmulatedRun, more: Sequence[Gate]) -> FormFit:
    """The record of a form whose image was built, and run if that was possible; `more` are further gates."""
    size, bound, counts = image.measure(shipped), stack.bound(shipped), run.counts
    limit = _stack_limit(shipped.target, size)
    record = source.record(
        verdict=Verdict.NOT_RUN,
        reason=run.reason,
        flash_bytes=size.sections.flash_bytes,
        ram_bytes=size.sections.ram_bytes,
        size_evidence=Evidence.MEASURED,
        latency_ms=run.estimate.latency_ms if run.estimate else _uncounted(source.costs.latency_ms, run.reason),
        instructions_per_mac=counts.total / source.costs.macs if counts and source.costs.macs else None,
        instructions=counts,
        sections=size.sections,
        model_bytes=size.model_bytes,
        other_bytes=size.other_bytes,
        arena_bytes=size.arena_bytes,
        stack_bound_bytes=None if isinstance(bound, Unavailable) else bound.program_bytes,
        stack_high_water_bytes=counts.stack_bytes if counts else None,
        stack_limit_bytes=limit,
        layers=_layers(source.generated, size, run),
        arena=_arena(source.generated),
        image=_image_file(shipped),
        gates=[],
    )
    gates = [
        *gate.hold(record.figures(), shipped.target, _gate_details(record, source.costs)),
        at_most("memory_regions", sum(size.overflow.values()), 0, "B", _over(size.overflow)),
        image.arena_gate(shipped),
        image.forbidden_gate(shipped),
        stack.gates(bound, None, limit)[0],
        *more,
        *run.gates,
    ]
    return record.model_copy(update={"gates": gates, "verdict": verdict_of_all(gates)})


def unbuilt(source: GeneratedForm, reason: str) -> FormFit:
    """The record of a form whose C was generated, but not built."""
    gates = _without_image(source.costs, reason)
    return source.record(
        verdict=verdict_of_all(gates),
        reason=reason,
        size_evidence=Evidence.ESTIMATED,
        latency_ms=_uncounted(source.costs.latency_ms, reason),
        layers=_layers(source.generated, None, EmulatedRun()),
        arena=_arena(source.generated),
        arena_bytes=source.generated.plan.arena_bytes,
        gates=gates,
    )


def estimated(form: Form, target: Target, graph: GraphCost, reason: str) -> FormFit:
    """The record of a form without C: the cost model's estimates, and everything else NOT RUN."""
    costs = gate.check_cost(graph, target, form)
    gates = _without_image(costs, reason)
    return FormFit(
        form=form,
        note="",
        model_sha256="",
        verdict=verdict_of_all(gates),
        reason=reason,
        parameters=costs.parameters,
        macs=costs.macs,
        flash_bytes=costs.flash_bytes,
        ram_bytes=costs.ram_bytes,
        size_evidence=Evidence.ESTIMATED,
        latency_ms=_uncounted(costs.latency_ms, reason),
        gates=gates,
    )


def _without_image(costs: CostRecord, reason: str) -> list[Gate]:
    """The gates without an image: those of the budgets, on estimates; and those that need an image, NOT RUN."""
    return [*costs.gates, *(not_run(name, reason) for name in (*_IMAGE_GATES, *emulated_run.GATES))]


def _uncounted(latency: Latency, reason: str) -> Latency:
    return latency.model_copy(update={"source": f"{latency.source}; nothing was counted: {reason}"})


def _image_file(shipped: Image) -> ImageFile:
    path = shipped.shipped
    return ImageFile(file=path.name, size_bytes=path.stat().st_size, sha256=files.sha256_file(path))


def _over(overflow: dict[str, int]) -> str:
    return ", ".join(f"{region} by {count} bytes" for region, count in overflow.items())


def _stack_limit(target: Target, size: ImageSize) -> int:
    """Bytes that the linker script sets aside for the stack; where there is none, what the RAM budget leaves."""
    reserved = size.sections.stack_reserved
    return max(0, target.budget.ram_bytes - size.sections.ram_bytes) if reserved is None else reserved


def _gate_details(record: FormFit, costs: CostRecord) -> dict[str, str]:
    """For each budget the layer that weighs most, by the image and the counts where there are any."""
    details = {held.name: held.detail for held in costs.gates}
    layers = record.layers
    if layers and record.sections:
        flash = max(layers, key=lambda layer: layer.code_bytes + layer.constant_bytes)
        details["flash_bytes"] = _heaviest(flash, flash.code_bytes + flash.constant_bytes, record.flash_bytes)
        live = max(layers, key=lambda layer: layer.live_bytes)
        details["ram_bytes"] = f"heaviest: {live.name}, {live.live_bytes:,}"
    if record.instructions:
        slow = max(layers, key=lambda layer: layer.instructions or 0)
        details["latency_ms"] = "estimated; " + _heaviest(slow, slow.instructions or 0, record.instructions.total)
    return details


def _heaviest(layer: LayerFit, value: int, whole: int) -> str:
    return f"heaviest: {layer.name}, {value:,} ({100 * value / max(1, whole):.0f} %)"


def _layers(generated: Generated, size: ImageSize | None, run: EmulatedRun) -> list[LayerFit]:
    live_bytes = plan.live_bytes(generated.layers, generated.plan)
    arrays = held(generated.layers)
    return [
        LayerFit(
            index=index,
            name=f"{index}_{layer.identifier}",
            origin=list(layer.origin),
            macs=layer.macs,
            code_bytes=size.layers[index].code_bytes if size else 0,
            constant_bytes=size.layers[index].constant_bytes if size else sum(a.size_bytes for a in arrays[index]),
            live_bytes=live_bytes[index],
            instructions=run.counts.layers[index].total if run.counts else None,
            cycles=run.estimate.layers[index].cycles if run.estimate else None,
        )
        for index, layer in enumerate(generated.layers)
    ]


def _arena(generated: Generated) -> list[plan.PlannedBuffer]:
    """Every buffer of the arena with the ONNX tensor that lies in it first, in order of their first layer."""
    names: dict[object, str] = {}
    for layer in generated.layers:
        for name, tensor in zip(layer.outputs, layer.writes, strict=False):
            names.setdefault(tensor.buffer, name)
        for number, buffer in enumerate(layer.scratch):
            names.setdefault(buffer, f"scratch {number} of {layer.op}")
    placed = generated.plan
    return [
        plan.PlannedBuffer(
            tensor=names.get(buffer, "unnamed"),
            offset=placed.offsets[buffer],
            size_bytes=buffer.size_bytes,
            first_layer=life.first,
            last_layer=life.last,
        )
        for buffer, life in placed.lifetimes.items()
    ]
