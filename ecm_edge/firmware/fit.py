"""Fit: whether a model fits a board, found by building it: sizes of the linked image, instructions of the emulated one.

    form → C → serial image (ships): sections, flash by layer, arena, stack bound, forbidden symbols
             → batch image (emulated): instructions by class and layer, stack's high-water mark, unaligned accesses

Neither depends on what the weights are, so that an untrained network will do; its int8 form is then one that was
calibrated on seeded noise. What cannot be built or run here is NOT RUN, and the cost model's estimates stand in.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from ecm_edge.base import files
from ecm_edge.base.errors import EcmEdgeError, FirmwareError, ModelError
from ecm_edge.base.records import Evidence, Form, Gate, Latency, Verdict, at_least, at_most, not_run, verdict_of_all
from ecm_edge.candidate import candidate
from ecm_edge.firmware import (
    advice,
    build,
    count,
    cycles,
    emulate,
    generate,
    image,
    known_answer,
    make,
    plan,
    stack,
    toolchain,
)
from ecm_edge.firmware.fitted import FitRecord, FormFit, ImageFile, LayerFit
from ecm_edge.forms import cost, gate, onnx_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from ecm_edge.firmware.build import Image
    from ecm_edge.firmware.count import Counts
    from ecm_edge.firmware.cycles import Estimate
    from ecm_edge.firmware.generate import Generated
    from ecm_edge.firmware.image import ImageSize
    from ecm_edge.forms.cost import GraphCost
    from ecm_edge.forms.gate import CostRecord
    from ecm_edge.targets import Target

_COUNTED = 2  # segments, and the first once more
_CALIBRATION = 8  # segments of noise
_SEED = 0
_AS_FLOAT32 = {
    "int8": f"quantised with {_CALIBRATION} segments of noise: counts and sizes do not depend on the weights",
    "float16": "the float32 file with its weights rounded",
}


@dataclass(frozen=True, eq=False)
class Fitted:
    """One form, fitted; `shipped` is the image in the folder that it was built in."""

    record: FormFit
    shipped: Path | None


@dataclass(frozen=True, eq=False)
class _Counted:
    """What the emulator counted, or why it did not."""

    counts: Counts | None = None
    estimate: Estimate | None = None
    stack: list[Gate] = field(default_factory=list)
    differing: Gate | None = None
    reason: str = ""


def fit_model(path: Path, target: Target, forms: Sequence[Form] | None = None) -> FitRecord:
    """Fit a candidate's folder or any ONNX file, trained or not, in every form that the target runs.

    Args:
        path: the folder, or the file. A form that is not there is made of the float32 one.
        target: the board.
        forms: those wanted; all of the target's by default. A file that is not float32 has only its own.

    Raises:
        CandidateError: the folder is no candidate.
        ModelError: the file is no classifier, has an operator that no C can be made of, or lacks a wanted form.
        FirmwareError: a compiler or an emulator that fails.
    """
    started = time.perf_counter()
    given = open_given(path)
    wanted = list(forms or (target.precision if "float32" in given else given))
    counted = cost.count(given["float32"]) if "float32" in given else None
    found = _fit_forms([(form, *_in_form(form, given, str(path))) for form in wanted], target, counted)
    fits = [fitted.form for fitted in found if fitted.verdict == Verdict.PASS]
    return FitRecord(
        verdict=found[0].verdict,
        target=target.name,
        model=path.name,
        ships=wanted[0],
        forms=found,
        fits=fits,
        advice=advice.for_model(found),
        compiler=compiler_version(target),
        emulator=emulator_version(target),
        seconds=round(time.perf_counter() - started, 3),
    )


def _fit_form(
    form: Form, proto: onnx.ModelProto | None, note: str, target: Target, out: Path, counted: GraphCost | None
) -> FormFit:
    if proto is None:
        return estimated(form, target, _known(counted), note)
    out.mkdir(parents=True)
    return fit(proto, target, out, form=form, note=note, counted=counted)


def _known(counted: GraphCost | None) -> GraphCost:
    if counted is None:
        raise ModelError("forms are made of a float32 model", "none", "Give the float32 file.")
    return counted


def fit(
    proto: onnx.ModelProto,
    target: Target,
    out: Path,
    *,
    form: Form | None = None,
    note: str = "",
    counted: GraphCost | None = None,
) -> FormFit:
    """Fit one form of a model; see `fit_form`, of which this is the record."""
    return fit_form(proto, target, out, form=form, note=note, counted=counted).record


def fit_form(
    proto: onnx.ModelProto,
    target: Target,
    out: Path,
    *,
    form: Form | None = None,
    note: str = "",
    counted: GraphCost | None = None,
    checked: bool = False,
    emulated: bool = True,
) -> Fitted:
    """Build one form of a model, count what it executes, and hold both against the target's budgets.

    Args:
        proto: a checked classifier: float32, float16 weights or int8 QDQ.
        target: the board.
        out: an empty folder for sources, objects and images.
        form: what the file is; by default what it says or looks like.
        note: how it was made, for the record.
        counted: the cost of the float32 graph; that of `proto` by default.
        checked: whether this host runs the C too, so that the image knows its answers and the emulated ones are
            compared with them. An image that was not checked answers the same, but fails its own self-test.
        emulated: whether to count; otherwise only sizes are found.

    Raises:
        ModelError: an operator that no C can be made of; the node is named.
        FirmwareError: a compiler or an emulator that fails; one that is missing is a reason in the record.
    """
    form = form or generate.form_of(proto)
    graph = counted or cost.count(proto)
    costs = gate.check_cost(graph, target, form if counted else "float32")  # a file as it is: nothing to be scaled
    generated = generate.generate(proto, target)
    asked = _Asked(form, note, onnx_model.sha256(proto), costs, generated)
    missing = _cannot_build(target, checked=checked)
    if missing:
        return Fitted(_unbuilt(asked, missing), None)
    sources, here = _run_here(proto, target, out) if checked else (_write_sources(generated, out), None)
    shipped = build.build(sources, target, "serial", out / "serial", emulated=False)
    ran = _count(shipped, out / "batch", here.scores if here else None, emulated=emulated)
    record = _built(asked, shipped, ran, [here.aligned] if here else [])
    return Fitted(record.model_copy(update={"advice": advice.for_form(record)}), shipped.shipped)


def gate_graph(float32: onnx.ModelProto, target: Target) -> CostRecord:
    """What an untrained float32 network costs on a target: as the form that ships, and as its counterpart.

    Its counterpart is int8 for a target that ships a float form first, and float32 for one that ships int8: it is told,
    not judged. A network that breaks the budget of parameters or MACs is not built, and where nothing can be built, the
    cost model's estimates stand. One that no C can be made of, or whose C does not build, does not fit.
    """
    graph = cost.count(float32)
    estimate = gate.check_cost(graph, target)
    broken = {held.name for held in estimate.gates if held.verdict == Verdict.FAIL}
    if broken & {"parameters", "macs"} or _cannot_build(target, checked=False):
        return estimate
    first = target.precision[0]
    forms = [first, *(form for form in target.precision if form == ("float32" if first == "int8" else "int8"))]
    try:
        ships, *others = _fit_forms([(form, *in_form(form, float32)) for form in forms], target, graph)
    except EcmEdgeError as problem:
        gates = [*estimate.gates, _refused(str(problem))]
        return estimate.model_copy(update={"gates": gates, "verdict": Verdict.FAIL})
    return ships.to_cost(graph, target, others)


def _refused(why: str) -> Gate:
    return Gate(name="firmware", verdict=Verdict.FAIL, value=None, limit=None, unit="", margin=None, detail=why)


def _fit_forms(
    models: Sequence[tuple[Form, onnx.ModelProto | None, str]], target: Target, counted: GraphCost | None
) -> list[FormFit]:
    """Fit models side by side; each with its form, and how it was made or why it was not."""
    with tempfile.TemporaryDirectory(prefix="ecm-edge-") as folder, ThreadPoolExecutor(len(models)) as pool:
        jobs = [pool.submit(_fit_form, form, proto, note, target, Path(folder) / form, counted)
                for form, proto, note in models]  # fmt: skip
        return [job.result() for job in jobs]


def open_given(path: Path) -> dict[Form, onnx.ModelProto]:
    """The forms that are there: those of a candidate's folder, or the one of a file.

    A candidate that has none yet is built from its configuration, untrained.

    Raises:
        CandidateError: the folder is no candidate.
        ModelError: a file is no classifier.
    """
    if not path.is_dir():
        proto = onnx_model.load_classifier(path).proto
        return {generate.form_of(proto): proto}
    config = candidate.load_config(path)
    there = [form for form in get_args(Form) if (path / candidate.FORM_FILES[form]).is_file()]
    if there:
        return {form: onnx_model.load_classifier(path / candidate.FORM_FILES[form]).proto for form in there}
    from ecm_edge.forms import export

    return {"float32": export.untrained(config, noise(config.samples_per_segment, 1)).simplified}


def in_form(form: Form, float32: onnx.ModelProto) -> tuple[onnx.ModelProto | None, str]:
    """A form made of a float32 model whose weights do not matter, and how; None and why where it cannot be made."""
    try:
        if form == "int8":
            from ecm_edge.forms import quantize

            samples = onnx_model.classifier_of(float32).samples_per_segment
            return quantize.quantize_int8(float32, noise(samples, _CALIBRATION)), _AS_FLOAT32[form]
        if form == "float16":
            from ecm_edge.forms.float16 import to_float16_weights

            return to_float16_weights(float32), _AS_FLOAT32[form]
    except ModelError as problem:
        return None, str(problem)
    return float32, ""


def _in_form(form: Form, given: dict[Form, onnx.ModelProto], name: str) -> tuple[onnx.ModelProto | None, str]:
    if form in given:
        return given[form], ""
    if "float32" not in given:
        raise ModelError(
            f"a {form} form is made of the float32 model", f"{name}, which is {', '.join(given)}", "Give that file."
        )
    return in_form(form, given["float32"])


def noise(samples: int, segments: int) -> onnx_model.Floats:
    """Seeded random segments (segments, samples)."""
    return np.random.default_rng(_SEED).standard_normal((segments, samples)).astype(np.float32)


def _cannot_build(target: Target, *, checked: bool) -> str:
    """Why images of a target cannot be built here; empty if they can."""
    if target.firmware is None:
        return f"{target.name} has no [firmware]"
    try:
        for name in (target.firmware.compiler, *(["cc"] if checked else [])):
            toolchain.compiler(name)
    except FirmwareError as problem:
        return f"{problem.rule}; {problem.found}"
    return ""


@dataclass(frozen=True, eq=False)
class _Here:
    """What this host's run of the C gave: the scores of the self-test's segments, and whether it traps nowhere."""

    scores: onnx_model.Floats
    aligned: Gate


_ALIGNED = "aligned_on_host"
_ALIGNMENT = (*make.QUICK, "-fsanitize=alignment", "-fsanitize-undefined-trap-on-error")


def _run_here(proto: onnx.ModelProto, target: Target, out: Path) -> tuple[Path, _Here]:
    """Sources that know their answers, from a host program that stops at the first unaligned access."""
    try:
        sources = make.make_sources(proto, target, out, host_flags=_ALIGNMENT)
        aligned = at_least(_ALIGNED, 1.0, 1, "bool", "UBSan's alignment check, on the self-test's segments")
    except FirmwareError as problem:
        plain = out / "plain"
        plain.mkdir()
        sources = make.make_sources(proto, target, plain)
        unable = isinstance(problem, toolchain.ToolFailure)
        aligned = not_run(_ALIGNED, str(problem)) if unable else at_least(_ALIGNED, 0.0, 1, "bool", str(problem))
    segments = known_answer.segments(sources.generated.samples)
    return sources.folder, _Here(emulate.run_batch(sources.host, segments), aligned)


def _write_sources(generated: Generated, out: Path) -> Path:
    """The generated folder; its self-test expects mere numbers, which no image that is only looked at ever tries."""
    folder = out / make.SOURCES
    generate.write(generated, folder)
    shape = (len(known_answer.KINDS), generated.scores)
    numbers = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)  # zeros would make a smaller image
    (folder / known_answer.FILE).write_text(known_answer.header_text(numbers), encoding="utf-8")
    return folder


def _count(shipped: Image, out: Path, scores: onnx_model.Floats | None, *, emulated: bool) -> _Counted:
    """Build the batch image of the same C and count one inference, on segments of the self-test."""
    target = shipped.target
    missing = emulate.available(target)
    if not emulated:
        return _Counted(reason="not asked for")
    if missing:
        return _Counted(reason=missing.reason)
    batch = build.build(shipped.model.folder, target, "batch", out, emulated=True)
    if batch.overflow:
        return _Counted(reason="the image does not fit the board's memory, so that it cannot run")
    segments = known_answer.segments(batch.model.samples)
    differing = None if scores is None else _same_answers(emulate.run_batch(batch, segments), scores)
    uncounted = count.available(batch) or _no_compiler()
    if uncounted:
        return _Counted(reason=uncounted.reason, differing=differing)
    *runs, again = count.profile(batch, segments[[*range(_COUNTED), 0]])
    same = _figures(count.counts_of(batch, runs[:1], repeatable=True)) == _figures(
        count.counts_of(batch, [again], repeatable=True)
    )
    counts = count.counts_of(batch, runs, repeatable=same)
    estimate = cycles.estimate(batch, runs) if target.core.pipeline else None
    held = stack.gates(stack.bound(batch), counts.stack_bytes, target.memory.ram_bytes)
    return _Counted(counts, estimate, held, differing)


def _no_compiler() -> emulate.Unavailable | None:
    """Why the counting plugin cannot be compiled here."""
    try:
        count.plugin()
    except FirmwareError as problem:
        return emulate.Unavailable(f"{problem.rule}; {problem.found}")
    return None


def _same_answers(emulated: onnx_model.Floats, host: onnx_model.Floats) -> Gate:
    differing = int(np.sum(emulated.view(np.uint32) != host.view(np.uint32)))
    return at_most("emulated_answers_differing", differing, 0, "scores", f"of {host.size}, from those of this host")


def _figures(counts: Counts) -> object:
    return counts.total, counts.by_class, counts.layers, counts.rest


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is fitted: a form, how it came about, its C, and what the cost model says of it."""

    form: Form
    note: str
    model_sha256: str
    costs: CostRecord
    generated: Generated

    def record(self, **found: object) -> FormFit:
        """The form's record, from the cost model but for what was found."""
        estimates = ("parameters", "macs", "flash_bytes", "ram_bytes", "latency_ms")
        return FormFit.model_validate(
            {
                "form": self.form,
                "note": self.note,
                "model_sha256": self.model_sha256,
                **{name: getattr(self.costs, name) for name in estimates},
                **found,
            }
        )


def _built(asked: _Asked, shipped: Image, ran: _Counted, more: Sequence[Gate]) -> FormFit:
    """The record of a form whose image was built, and run if it could be; `more` are further gates."""
    size, bound, counts = image.measure(shipped), stack.bound(shipped), ran.counts
    limit = _stack_limit(shipped.target, size)
    found = asked.record(
        verdict=Verdict.NOT_RUN,
        reason=ran.reason,
        flash_bytes=size.sections.flash_bytes,
        ram_bytes=size.sections.ram_bytes,
        size_evidence=Evidence.MEASURED,
        latency_ms=ran.estimate.latency_ms if ran.estimate else _labelled(asked.costs.latency_ms, ran.reason),
        instructions_per_mac=counts.total / asked.costs.macs if counts and asked.costs.macs else None,
        instructions=counts,
        sections=size.sections,
        model_bytes=size.model_bytes,
        other_bytes=size.other_bytes,
        arena_bytes=size.arena_bytes,
        stack_bound_bytes=None if isinstance(bound, emulate.Unavailable) else bound.program_bytes,
        stack_high_water_bytes=counts.stack_bytes if counts else None,
        stack_limit_bytes=limit,
        layers=_layers(asked.generated, size, ran),
        arena=_arena(asked.generated),
        image=_image_file(shipped),
        gates=[],
    )
    gates = [
        *gate.hold(found.figures(), shipped.target, gate_details(found, asked.costs)),
        at_most("memory_regions", sum(size.overflow.values()), 0, "B", _over(size.overflow)),
        image.arena_gate(shipped),
        image.forbidden_gate(shipped),
        stack.gates(bound, None, limit)[0],
        *more,
        *_run_gates(ran),
    ]
    return found.model_copy(update={"gates": gates, "verdict": verdict_of_all(gates)})


def _image_file(shipped: Image) -> ImageFile:
    path = shipped.shipped
    return ImageFile(file=path.name, size_bytes=path.stat().st_size, sha256=files.sha256_file(path))


def _over(overflow: dict[str, int]) -> str:
    return ", ".join(f"{region} by {count} bytes" for region, count in overflow.items())


def _stack_limit(target: Target, size: ImageSize) -> int:
    """What the linker script sets aside for the stack; where there is none, what the RAM budget leaves."""
    reserved = size.sections.stack_reserved
    return max(0, target.budget.ram_bytes - size.sections.ram_bytes) if reserved is None else reserved


_RUN_GATES = ("stack_high_water", "unaligned_accesses", "counts_repeatable")


def _run_gates(ran: _Counted) -> list[Gate]:
    """The gates of the emulated run."""
    compared, counts = [ran.differing] if ran.differing else [], ran.counts
    if counts is None:
        return [*compared, *(not_run(name, ran.reason) for name in _RUN_GATES)]
    return [
        *compared,
        *ran.stack[1:],
        at_most("unaligned_accesses", counts.unaligned, 0, "accesses", counts.unaligned_in or ""),
        at_least("counts_repeatable", float(counts.repeatable), 1, "bool", f"{counts.total:,} instructions, twice"),
    ]


_IMAGE_GATES = ("memory_regions", "arena_off_plan", "forbidden_symbols", "stack_bound")


def gate_details(found: FormFit, costs: CostRecord) -> dict[str, str]:
    """Which layer weighs most of each budget, by the image and the counts."""
    details = {held.name: held.detail for held in costs.gates}
    layers = found.layers
    if layers and found.sections:
        flash = max(layers, key=lambda layer: layer.code_bytes + layer.constant_bytes)
        details["flash_bytes"] = _heaviest(flash, flash.code_bytes + flash.constant_bytes, found.flash_bytes)
        live = max(layers, key=lambda layer: layer.live_bytes)
        details["ram_bytes"] = f"heaviest: {live.name}, {live.live_bytes:,}"
    if found.instructions:
        slow = max(layers, key=lambda layer: layer.instructions or 0)
        details["latency_ms"] = "estimated; " + _heaviest(slow, slow.instructions or 0, found.instructions.total)
    return details


def _heaviest(layer: LayerFit, value: int, whole: int) -> str:
    return f"heaviest: {layer.name}, {value:,} ({100 * value / max(1, whole):.0f} %)"


def _layers(generated: Generated, size: ImageSize | None, ran: _Counted) -> list[LayerFit]:
    live = plan.live_bytes(generated.layers, generated.plan)
    found = []
    for index, layer in enumerate(generated.layers):
        flash = size.layers[index] if size else None
        counted = ran.counts.layers[index] if ran.counts else None
        found.append(
            LayerFit(
                index=index,
                name=f"{index}_{layer.identifier}",
                origin=list(layer.origin),
                macs=layer.macs,
                code_bytes=flash.code_bytes if flash else 0,
                constant_bytes=flash.constant_bytes if flash else sum(a.size_bytes for a in layer.arrays),
                live_bytes=live[index],
                instructions=counted.total if counted else None,
                cycles=ran.estimate.layers[index].cycles if ran.estimate else None,
            )
        )
    return found


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


def estimated(form: Form, target: Target, graph: GraphCost, reason: str) -> FormFit:
    """A form of which no C can be made: the cost model's estimates, and everything else NOT RUN."""
    costs = gate.check_cost(graph, target, form)
    figures = {name: getattr(costs, name) for name in ("parameters", "macs", "flash_bytes", "ram_bytes")}
    gates = _without_image(costs, reason)
    return FormFit(
        form=form,
        note="",
        model_sha256="",
        verdict=verdict_of_all(gates),
        reason=reason,
        size_evidence=Evidence.ESTIMATED,
        latency_ms=_labelled(costs.latency_ms, reason),
        gates=gates,
        **figures,
    )


def _unbuilt(asked: _Asked, reason: str) -> FormFit:
    """A form whose C was made, but not built."""
    gates = _without_image(asked.costs, reason)
    return asked.record(
        verdict=verdict_of_all(gates),
        reason=reason,
        size_evidence=Evidence.ESTIMATED,
        latency_ms=_labelled(asked.costs.latency_ms, reason),
        layers=_layers(asked.generated, None, _Counted()),
        arena=_arena(asked.generated),
        arena_bytes=asked.generated.plan.arena_bytes,
        gates=gates,
    )


def _without_image(costs: CostRecord, reason: str) -> list[Gate]:
    """Estimates break a budget as well as figures do; what needs an image is NOT RUN."""
    return [*costs.gates, *(not_run(name, reason) for name in (*_IMAGE_GATES, *_RUN_GATES))]


def _labelled(latency: Latency, reason: str) -> Latency:
    return latency.model_copy(update={"source": f"{latency.source}; nothing was counted: {reason}"})


def compiler_version(target: Target) -> str | None:
    """What the target's compiler calls itself; None where there is none."""
    try:
        return toolchain.version(target.firmware.compiler) if target.firmware else None
    except FirmwareError:
        return None


def emulator_version(target: Target) -> str | None:
    """What the target's emulator calls itself; None where there is none."""
    emulator = target.firmware.emulator if target.firmware else None
    if emulator is None or shutil.which(emulator.command[0]) is None:
        return None
    return toolchain.run([emulator.command[0], "--version"]).splitlines()[0].strip()
