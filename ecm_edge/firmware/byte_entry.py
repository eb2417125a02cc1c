"""The second entry of a quantised model: <name>_run_i8 or <name>_run_u8, which takes and gives bytes as they are.

Where a model begins with the QuantizeLinear of its samples, the entry copies bytes to where that one would write; where
it ends with the DequantizeLinear of its scores, the entry copies the integers before it. All other layers are the same
functions as those of <name>_run, so they are in flash once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware.layers import Layer
from ecm_edge.firmware.literals import C_TYPES, decimal
from ecm_edge.firmware.operators.loops import at, loop_nest, loops
from ecm_edge.firmware.operators.sums import SHIFT
from ecm_edge.firmware.tensors import Buffer, Tensor, dense, order_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Names
    from ecm_edge.firmware.program import Program
    from ecm_edge.firmware.tensors import DType
    from ecm_edge.forms.decision import Decision

_SUFFIXES: dict[DType, str] = {"int8": "i8", "uint8": "u8"}
_QUANTISES, _COPIES_SCORES = "QuantizeLinear", "scores"


@dataclass(frozen=True)
class Bytes:
    """What the bytes at one end stand for: (byte - zero_point) * scale, with the ONNX model's own integers."""

    dtype: DType
    scale: np.float32
    zero_point: int

    @property
    def c_type(self) -> str:
        """The C type of one."""
        return C_TYPES[self.dtype]

    def real(self) -> NDArray[np.float32]:
        """The values of all 256 bytes, the lowest first."""
        low, high = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
        real: NDArray[np.float32] = (np.arange(low, high + 1) - self.zero_point).astype(np.float32) * self.scale
        return real


@dataclass(frozen=True, eq=False)
class ByteEntry:
    """The entry: what the bytes at either end stand for, None where it has floats as <name>_run does.

    `replaced` are the layers that take the place of those with their numbers.
    """

    samples: Bytes | None
    scores: Bytes | None
    replaced: Mapping[int, Layer]

    @property
    def suffix(self) -> str:
        """Of the entry's name: the type of its samples, or of its scores where samples are floats."""
        end = self.samples or self.scores
        return _SUFFIXES[end.dtype] if end else ""

    @property
    def types(self) -> tuple[str, str]:
        """The C types of a sample and of a score."""
        sample, score = (end.c_type if end else "float" for end in (self.samples, self.scores))
        return sample, score

    def prototype(self, name: str) -> str:
        """The C function, without a semicolon."""
        sample, score = self.types
        return f"void {name}_run_{self.suffix}(const {sample} *samples, {score} *scores)"

    def constants(self, name: str) -> str:
        """C constants: scale and zero point of each end that has bytes."""
        lines = [f"/* What the bytes of {name}_run_{self.suffix} stand for: (byte - zero point) * scale. */"]
        for what, end in (("INPUT", self.samples), ("OUTPUT", self.scores)):
            if end is not None:
                zero_point = f"({end.zero_point})" if end.zero_point < 0 else f"{end.zero_point}"
                lines.append(f"#define {name.upper()}_{what}_SCALE {decimal(float(end.scale))}")
                lines.append(f"#define {name.upper()}_{what}_ZERO_POINT {zero_point}")
        return "\n".join(["", *lines, ""])

    def declaration(self, name: str, samples: int, scores: int) -> str:
        """What <name>.h says of the entry."""
        sample, score = self.types
        return f"""
/* The same inference on bytes: it answers as {name}_run does for the samples that they stand for.
 *
 * samples: {samples} of type {sample}{", in the same order" if self.samples else ""}; read only.
 * scores:  {scores} of type {score}. */
{self.prototype(name)};
"""

    def threshold(self, decision: Decision) -> int | None:
        """The smallest byte score of label 1, of a model of one score; one above all bytes where there is none."""
        if self.scores is None or decision.threshold is None:
            return None
        below = int((self.scores.real() < np.float32(decision.threshold)).sum())
        return below + int(np.iinfo(self.scores.dtype).min)


def byte_entry(program: Program, layers: Sequence[Layer], constants: Mapping[str, NDArray[Any]]) -> ByteEntry | None:
    """The entry of a lowered program; None where neither end is quantised.

    Args:
        program: all of whose layers are there.
        layers: those, as they are emitted.
        constants: values (1, …) by ONNX name.
    """
    heads = {n: layer for n, layer in enumerate(layers) if any(x.buffer.place == "samples" for x in layer.reads)}
    tails = {n: layer for n, layer in enumerate(layers) if any(y.buffer.place == "scores" for y in layer.writes)}
    quantisers = {step.outputs[0]: step.op for step in program.graph.steps if step.op.op == _QUANTISES}
    taken = {_meaning(program.kinds[name], quantisers[name].inputs, constants) for name in _written(heads, quantisers)}
    samples = taken.pop() if len(taken) == 1 and all(_only_quantises(layer) for layer in heads.values()) else None
    scores = _given(next(iter(tails.values()))) if len(tails) == 1 and not heads.keys() & tails.keys() else None
    if samples is None and scores is None:
        return None
    replaced: dict[int, Layer] = {}
    if samples is not None:
        replaced |= {n: program.with_margins(_takes_bytes(layer, samples)) for n, layer in heads.items()}
    if scores is not None:
        replaced |= {n: _gives_bytes(layer, scores) for n, layer in tails.items()}
    return ByteEntry(samples, scores, replaced)


def _written(heads: Mapping[int, Layer], quantisers: Mapping[str, Any]) -> list[str]:
    return [name for layer in heads.values() for name in layer.outputs if name in quantisers]


def _only_quantises(layer: Layer) -> bool:
    """Whether a layer's loop is a QuantizeLinear of the samples and nothing more."""
    return layer.op == _QUANTISES and len(layer.reads) == 1 and all(y.buffer.dtype != "float32" for y in layer.writes)


def _meaning(kind: str, inputs: Sequence[str], constants: Mapping[str, NDArray[Any]]) -> Bytes | None:
    """The scale and the zero point of a QuantizeLinear to bytes, uint8 without a zero point; None for any other."""
    zero = constants[inputs[2]] if len(inputs) > 2 and inputs[2] else np.zeros(1, np.uint8)  # noqa: PLR2004 - the zero point
    if kind not in {"int8", "uint8"} or constants[inputs[1]].size != 1:
        return None
    dtype: DType = "int8" if zero.dtype == np.int8 else "uint8"
    return Bytes(dtype, np.float32(constants[inputs[1]].item()), int(zero.item()))


def _given(tail: Layer) -> Bytes | None:
    """What the integers stand for that a layer dequantises to the caller's scores; None if it does something else."""
    x = tail.reads[0] if len(tail.reads) == 1 else None
    if tail.op != _COPIES_SCORES or x is None or x.quant is None or x.quant.most != np.iinfo(np.uint8).max:
        return None
    dtype: DType = "uint8" if x.shift == SHIFT["uint8"] else "int8"
    return Bytes(dtype, np.float32(x.quant.scale), x.quant.zero_point + x.shift)


def _takes_bytes(head: Layer, meaning: Bytes) -> Layer:
    x = head.reads[0]
    given = replace(x, buffer=Buffer(x.buffer.size, meaning.dtype, "samples"))
    return _copies("bytes", head, given, head.writes, -SHIFT[meaning.dtype])


def _gives_bytes(tail: Layer, meaning: Bytes) -> Layer:
    y = tail.writes[0]
    taken = replace(y, buffer=Buffer(y.buffer.size, meaning.dtype, "scores"), index=dense(y.shape))
    return _copies("scores", tail, tail.reads[0], (taken,), SHIFT[meaning.dtype])


def _copies(what: str, layer: Layer, x: Tensor, written: tuple[Tensor, ...], added: int) -> Layer:
    """A layer that copies integers, with a number added to each, to every tensor that `layer` would write."""

    def body(names: Names) -> str:
        parts = []
        for y in written:
            axes = loop_nest(y.shape, order_of(y) or tuple(range(len(y.shape))), [x.index.reshape(y.shape), y.index])
            value = f"{names.pointer(x)}[{at(axes, 0)}]" + (
                f" {'+' if added > 0 else '-'} {abs(added)}" if added else ""
            )
            stored = f"({C_TYPES[y.buffer.dtype]})({value})"
            parts.append(loops(axes, f"{names.pointer(y)}[{at(axes, 1)}] = {stored};", unroll=True))
        return "\n".join(parts)

    return Layer(what, layer.origin, f"{x.shape}, bytes as they are", (x,), written, body)
