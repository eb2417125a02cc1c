"""Build one form of a model for a target, count what one inference executes, and hold both against the budgets.

    form → C → serial image (ships): sections, flash by layer, arena, stack bound, forbidden symbols
             → batch image (emulated): instructions by class and layer, stack's high-water mark, unaligned accesses

Neither depends on the values of the weights, so that an untrained network will do. What cannot be built or run here is
NOT RUN, and the cost model's estimates stand in.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base import files
from ecm_edge.base.errors import FirmwareError, ModelError
from ecm_edge.base.records import Form, Gate, at_least, not_run
from ecm_edge.firmware import answers, build, emulate, form_record, generate, known_answer, make, suggestions, toolchain
from ecm_edge.firmware.emulated_run import run_emulated
from ecm_edge.firmware.form_record import GeneratedForm
from ecm_edge.forms import cost, gate, onnx_model, reference

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

    from ecm_edge.firmware.build import Image
    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.firmware.generate import Generated
    from ecm_edge.forms.cost import GraphCost
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.targets import Target

_ALIGNED = "aligned_on_host"
_ALIGNMENT = (*make.QUICK, "-fsanitize=alignment", "-fsanitize-undefined-trap-on-error")


@dataclass(frozen=True, eq=False)
class BuiltForm:
    """The record of one form, and its image in the folder that it was built in; None where nothing was built."""

    record: FormFit
    image: Path | None


@dataclass(frozen=True)
class Source:
    """A form to be built: its model and how that was made; or None for the model, and why it cannot be made."""

    form: Form
    model: onnx.ModelProto | None
    note: str = ""


def build_form(
    proto: onnx.ModelProto,
    target: Target,
    out: Path,
    *,
    form: Form | None = None,
    note: str = "",
    counted: GraphCost | None = None,
    checked: bool = False,
    compared: bool = False,
) -> BuiltForm:
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
        compared: whether the C's answers are compared with the reference's on noise, where this host has a compiler.

    Raises:
        ModelError: an operator that no C can be made of; the node is named.
        FirmwareError: a compiler or an emulator that fails; one that is missing is a reason in the record.
    """
    form = form or generate.form_of(proto)
    graph = counted or cost.count(proto)
    costs = gate.check_cost(graph, target, form if counted else "float32")  # a file as it is: nothing to be scaled
    loaded = reference.load(proto)
    generated = generate.generate(proto, target)
    source = GeneratedForm(form, note, onnx_model.sha256(proto), costs, generated)
    missing = cannot_build(target, checked=checked)
    if missing:
        return BuiltForm(form_record.unbuilt(source, missing), None)
    folder, host = _run_on_host(proto, target, out) if checked else (_write_sources(generated, out), None)
    gates = [host.aligned] if host else []
    if compared:
        gates.append(answers.of_image(host.image, loaded, target) if host else answers.of_folder(out, loaded, target))
    shipped = build.build(folder, target, "serial", out / "serial", emulated=False)
    run = run_emulated(shipped, out / "batch", host.scores if host else None)
    record = form_record.built(source, shipped, run, gates)
    return BuiltForm(record.model_copy(update={"advice": suggestions.for_form(record, target)}), shipped.shipped)


def build_forms(
    sources: Sequence[Source], target: Target, counted: GraphCost | None, *, compared: bool = False
) -> list[FormFit]:
    """The records of several forms, built side by side; those that cannot be made are estimated from `counted`.

    `compared` as for `build_form`.
    """

    def one(source: Source, out: Path) -> FormFit:
        if source.model is None:
            return form_record.estimated(source.form, target, _known(counted), source.note)
        out.mkdir(parents=True)
        built = build_form(
            source.model, target, out, form=source.form, note=source.note, counted=counted, compared=compared
        )
        return built.record

    with files.scratch_folder() as folder, ThreadPoolExecutor(len(sources)) as pool:
        return list(pool.map(one, sources, [folder / source.form for source in sources]))


def _known(counted: GraphCost | None) -> GraphCost:
    if counted is None:
        raise ModelError("forms are made of a float32 model", "none", "Give the float32 file.")
    return counted


def cannot_build(target: Target, *, checked: bool) -> str:
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
class _HostRun:
    """The host's program, its scores (N, S) of the self-test's segments, and whether every access there was aligned."""

    image: Image
    scores: Floats
    aligned: Gate


def _run_on_host(proto: onnx.ModelProto, target: Target, out: Path) -> tuple[Path, _HostRun]:
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
    return sources.folder, _HostRun(sources.host, emulate.run_batch(sources.host, segments), aligned)


def _write_sources(generated: Generated, out: Path) -> Path:
    """The generated folder; its self-test expects mere numbers, since no such image ever runs it."""
    folder = out / make.SOURCES
    generate.write(generated, folder)
    shape = (len(known_answer.KINDS), generated.scores)
    numbers = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)  # zeros would make a smaller image
    (folder / known_answer.FILE).write_text(known_answer.header_text(numbers), encoding="utf-8")
    return folder
