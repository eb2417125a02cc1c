"""Sources: the C of a model in a folder of its own, and the record of what lies there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.records import Record
from ecm_edge.firmware import generate

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.targets import Target


class GenerateRecord(Record):
    """Generated C: `files` maps each name to its SHA-256; bytes are those of all constants and of the arena."""

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


def generate_model(model: ModelFile, target: Target, out: Path, *, name: str = generate.NAME) -> GenerateRecord:
    """Write the C of a model for a target's core into the new folder `out`.

    Raises:
        ModelError: a name that C does not take, or an operator that no C can be made of; the node is named.
        OutputError: `out` exists, or cannot be written.
    """
    generated = generate.generate(model.classifier.proto, target, name=name, model=model.path.name)
    generate.write(generated, out)
    return GenerateRecord(
        target=target.name,
        form=generated.origin.form,
        model=model.path.name,
        model_sha256=files.sha256_file(model.path),
        name=name,
        layers=len(generated.layers),
        macs=sum(layer.macs for layer in generated.layers),
        constant_bytes=generated.weight_bytes,
        arena_bytes=generated.plan.arena_bytes,
        files={path.name: files.sha256_file(path) for path in sorted(out.iterdir())},
    )
