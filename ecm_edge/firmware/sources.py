"""Sources: the C of a model in a folder of its own, and the record of what lies there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ecm_edge.base import files
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Gate, Record, Verdict
from ecm_edge.firmware import answers, generate
from ecm_edge.forms import reference
from ecm_edge.forms.facts import ModelFacts, facts_of

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.targets import Target


class GenerateRecord(Record):
    """Generated C: `files` maps each name to its SHA-256; bytes are those of all constants and of the arena.

    `gates` compare its answers with the reference's on noise; where they differ, no file is written. `facts` are those
    of a model that is no float32 detector; `byte_entry` is the C function of a quantised one that takes bytes.
    """

    target: str
    form: str
    model: str
    model_sha256: str
    name: str
    layers: int
    macs: int
    constant_bytes: int
    arena_bytes: int
    files: dict[str, str]
    verdict: Verdict
    gates: list[Gate]
    facts: ModelFacts | None = Field(default=None, exclude_if=lambda facts: facts is None)
    byte_entry: str = Field(default="", exclude_if=lambda function: not function)


@doing("generate C and compare it with the model")
def generate_model(model: ModelFile, target: Target, out: Path, *, name: str = generate.NAME) -> GenerateRecord:
    """Write the C of a model for a target's core into the new folder `out`.

    Raises:
        ModelError: a name that C does not take, or an operator that no C can be made of; the node is named.
        FirmwareError: this host's compiler fails.
        OutputError: `out` exists, or cannot be written.
    """
    proto = model.classifier.proto
    generated = generate.generate(proto, target, name=name, model=model.path.name)
    gate = answers.of_generated(generated, reference.load(proto), target)
    written = gate.verdict != Verdict.FAIL
    if written:
        generate.write(generated, out)
    return GenerateRecord(
        target=target.name,
        form=generated.origin.form,
        model=model.path.name,
        model_sha256=model.sha256,
        name=name,
        layers=len(generated.layers),
        macs=sum(layer.macs for layer in generated.layers),
        constant_bytes=generated.weight_bytes,
        arena_bytes=generated.plan.arena_bytes,
        files={path.name: files.sha256_file(path) for path in sorted(out.iterdir())} if written else {},
        verdict=gate.verdict,
        gates=[gate],
        facts=facts_of(model.classifier),
        byte_entry=generated.byte_entry.prototype(name) if generated.byte_entry else "",
    )
