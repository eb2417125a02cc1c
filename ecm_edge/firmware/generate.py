"""Generate: a folder of portable C99 from an ONNX model of one float input.

The folder holds <name>.h with `<name>_run`, <name>.c with every layer and weight, ecm_model.h for programs that do not
know the name, and the hand-written kernels that are used. No malloc, no stdio, no recursion; weights are const; the one
static arena is planned by how long every tensor is needed.
"""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

from ecm_edge.base import faults, files
from ecm_edge.base.errors import ModelError
from ecm_edge.firmware import emit
from ecm_edge.firmware.interface import interface_of
from ecm_edge.firmware.layers import constant_bytes
from ecm_edge.firmware.lower import lower
from ecm_edge.firmware.plan import Plan, plan
from ecm_edge.forms import onnx_model, reference
from ecm_edge.targets import firmware as fw
from ecm_edge.targets.kernels import Kernels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx

    from ecm_edge.base.records import Form
    from ecm_edge.firmware.byte_entry import ByteEntry
    from ecm_edge.firmware.emit import Traced
    from ecm_edge.firmware.interface import Interface
    from ecm_edge.firmware.layers import Layer
    from ecm_edge.forms.reference import Graph
    from ecm_edge.targets import Target

_INCLUDE = fw.SHIPPED / "include"
NAME = "model"
_NAMES = re.compile(r"(?!ecm_)[a-z][a-z0-9_]{0,30}")  # ecm_ is the kernels' own


@dataclass(frozen=True, eq=False)
class Generated:
    """C source texts by file name, and what they were made of.

    `traced` is what a build with ECM_TRACE shows. `interface` is there unless the contest's protocol says it all.
    `byte_entry` is that of a quantised model.
    """

    name: str
    files: Mapping[str, str]
    layers: list[Layer]
    plan: Plan
    traced: list[Traced]
    origin: emit.Origin
    samples: int
    scores: int
    interface: Interface | None = None
    byte_entry: ByteEntry | None = None

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constant arrays."""
        return constant_bytes(self.layers)


def generate(proto: onnx.ModelProto, target: Target, *, name: str = NAME, model: str = "model.onnx") -> Generated:
    """The C of a checked classifier, for a target's core.

    Args:
        proto: in float32, with float16 weights, or int8 QDQ; of any origin.
        target: says which kernels its core is good at; the answers are the same for all.
        name: the prefix of every C name.
        model: the file's name, for the first comment.

    Raises:
        ModelError: no classifier of one input, or an operator that no C can be made of; the node is named.
    """
    kernels = target.firmware.kernels if target.firmware else Kernels()
    origin = emit.Origin(
        model=model,
        model_sha256=onnx_model.sha256(proto),
        tool=f"ecm-edge {importlib.metadata.version('ecm-edge')}",
        target=target.name,
        form=form_of(proto),
    )
    classifier = onnx_model.classifier_of(proto)
    interface = interface_of(classifier, target)
    return generate_graph(
        reference.load(proto),
        kernels,
        origin,
        name=name,
        interface=interface,
        bytes_at="scores" if "output" in classifier.byte_ends else "samples",
    )


def generate_graph(
    graph: Graph,
    kernels: Kernels,
    origin: emit.Origin,
    *,
    name: str = NAME,
    interface: Interface | None = None,
    bytes_at: Literal["samples", "scores"] = "samples",
) -> Generated:
    """The C of any graph of one float input and one float output; raises as `generate`.

    It has an entry for bytes if its samples are quantised first; with bytes_at="scores" also if only its scores are.
    """
    if not _NAMES.fullmatch(name):
        rule = "a C name is up to 31 lower-case letters, digits and _, and does not begin with ecm_"
        raise ModelError(rule, repr(name), "Choose another one.")
    lowered = lower(graph, kernels)
    layers = lowered.layers
    entry = lowered.byte_entry
    entry = entry if entry and (entry.samples or bytes_at == "scores") else None
    placed = plan(layers)
    scores = next(t.buffer.size for layer in reversed(layers) for t in layer.writes if t.buffer.place == "scores")
    samples = prod(graph.input_shape)
    source = emit.source(name, layers, placed, origin, entry)
    texts = {
        f"{name}.h": emit.header(name, samples, scores, origin, interface, entry),
        f"{name}.c": source,
        "ecm_model.h": emit.adaptor(name, samples, scores, placed.arena_bytes, interface, entry),
        **{kernel: (_INCLUDE / kernel).read_text() for kernel in _with_included(emit.used_kernels(source))},
    }
    return Generated(name, texts, layers, placed, emit.traced(layers), origin, samples, scores, interface, entry)


def _with_included(kernels: list[str]) -> list[str]:
    """The headers and those that they include."""
    names: list[str] = []
    waiting = list(kernels)
    while waiting:
        kernel = waiting.pop()
        if kernel not in names:
            names.append(kernel)
            waiting += re.findall(r'#include "(ecm_\w+\.h)"', (_INCLUDE / kernel).read_text())
    return sorted(names)


def form_of(proto: onnx.ModelProto) -> Form:
    """The form that the file says it is, or what its operators and weights are."""
    import onnx

    if stated := onnx_model.stated_form(proto):
        return stated
    if any(node.op_type == "QuantizeLinear" for node in proto.graph.node):
        return "int8"
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in proto.graph.initializer)
    return "float16" if halves else "float32"


def write(generated: Generated, out: Path) -> None:
    """Write the files into the new folder `out`.

    Raises:
        OutputError: `out` exists, or cannot be written.
    """
    with files.staged_folder(out) as staged:
        for name, text in generated.files.items():
            faults.point("write.content", out / name)
            (staged / name).write_text(text, encoding="utf-8")
