"""The tensors of generated C by their ONNX names, and the first place where two sets of them differ.

A trace build prints whole buffers; `Traced` holds the place of each ONNX tensor in them. n segments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecm_edge.evaluate.verify.layers import difference, layer_lsb
from ecm_edge.evaluate.verify.records import FirstByte, LayerDifference
from ecm_edge.firmware import emit
from ecm_edge.forms import reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecm_edge.evaluate.verify.records import LayerLsb
    from ecm_edge.firmware.emit import Traced
    from ecm_edge.firmware.generate import Generated
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.reference import Graph

Trace = list[tuple[int, bytes]]
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Pair:
    """One ONNX tensor, (n, *shape), expected and actual; both of one type, so that bytes can be compared."""

    layer: str
    function: str
    tensor: str
    expected: Array
    actual: Array

    @property
    def is_integer(self) -> bool:
        """Whether it is a quantised tensor."""
        return self.actual.dtype.kind in "iu"

    @property
    def differs(self) -> NDArray[np.bool_]:
        """(n, *shape): which values have another bit pattern."""
        return np.asarray(_bits(self.expected) != _bits(self.actual))


def with_reference(generated: Generated, graph: Graph, samples: Floats, traces: Sequence[Trace]) -> list[Pair]:
    """Every tensor in the traces of samples (n, T), against the reference's."""
    outputs = {name for step in graph.steps for name in step.outputs}
    entries = [entry for entry in generated.traced if entry.name in outputs]
    own = reference.run(graph, samples, [entry.name for entry in entries])
    return [_pair(generated, entry, *_comparable(entry, own, traces)) for entry in entries]


def between_cores(generated: Generated, expected: Sequence[Trace], actual: Sequence[Trace]) -> list[Pair]:
    """Every tensor in the traces of the same code on two cores."""
    return [_pair(generated, entry, _stored(entry, expected), _stored(entry, actual)) for entry in generated.traced]


def integer_layers(pairs: Sequence[Pair]) -> list[LayerLsb]:
    """The quantised tensors among the pairs, compared value by value."""
    return [layer_lsb(p.layer, p.function, p.tensor, p.expected, p.actual) for p in pairs if p.is_integer]


def differences(pairs: Sequence[Pair], names: Sequence[str]) -> list[LayerDifference]:
    """The difference of each pair, with the first byte that differs; `names` are those of the n segments."""
    layers = [difference(p.layer, p.function, p.tensor, p.expected, p.actual) for p in pairs]
    firsts = [first_byte(pair, names) for pair in pairs]
    return [layer.model_copy(update={"first": first}) for layer, first in zip(layers, firsts, strict=True)]


def first_to_differ(pairs: Sequence[Pair], names: Sequence[str]) -> LayerDifference | None:
    """The first tensor that is not the same to the bit; None if all are."""
    pair = next((pair for pair in pairs if pair.differs.any()), None)
    return None if pair is None else differences([pair], names)[0]


def first_byte(pair: Pair, names: Sequence[str]) -> FirstByte | None:
    """Where a pair first differs; None if it does nowhere."""
    differs = pair.differs
    if not differs.any():
        return None
    position = [int(place) for place in np.unravel_index(int(differs.argmax()), differs.shape)]
    expected, actual = (np.ascontiguousarray(side) for side in (pair.expected, pair.actual))
    return FirstByte(
        differing_bytes=int((expected.view(np.uint8) != actual.view(np.uint8)).sum()) if differs.ndim else 1,
        compared_bytes=expected.nbytes,
        segment=names[position[0]],
        position=position[1:],
        expected=_finite(expected[tuple(position)]),
        actual=_finite(actual[tuple(position)]),
    )


def _pair(generated: Generated, entry: Traced, expected: Array, actual: Array) -> Pair:
    layer = generated.layers[entry.layer]
    function = emit.function_name(generated.name, entry.layer, layer)
    return Pair(", ".join(layer.origin) or entry.name, function, entry.name, expected, actual)


def _stored(entry: Traced, traces: Sequence[Trace]) -> Array:
    """(n, *ONNX shape), as the buffer holds them."""
    contents = [np.frombuffer(trace[entry.number][1], np.dtype(entry.tensor.buffer.dtype)) for trace in traces]
    return np.stack([content[entry.tensor.index] for content in contents])


def _comparable(entry: Traced, own: Mapping[str, Array], traces: Sequence[Trace]) -> tuple[Array, Array]:
    """The reference's tensor and the trace's, in one type: floats as they are, integers as ONNX has them."""
    expected, stored, tensor = own[entry.name], _stored(entry, traces), entry.tensor
    if stored.dtype.kind == "f":
        return expected.astype(np.float32), stored
    if expected.dtype.kind == "f" and tensor.quant is not None:  # integers that stand for the dequantised tensor
        scale, zero_point = tensor.quant.scale, tensor.quant.zero_point
        with np.errstate(invalid="ignore"):
            expected = np.rint(expected / np.float32(scale)) + zero_point
        return expected.astype(np.int16), stored.astype(np.int16)
    return expected, (stored.astype(np.int64) + tensor.shift).astype(expected.dtype)


def _bits(values: Array) -> Array:
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def _finite(value: Any) -> float | None:  # noqa: ANN401 - a NumPy scalar of any type
    return float(value) if math.isfinite(value) else None
