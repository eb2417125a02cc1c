"""Parameters of a graph and their bytes in flash: every constant that a node reads, wherever the file keeps it.

Initializers, Constant nodes and the tensors of a branch count alike, and at each node that reads them: the generated C
has them once for each. A constant that is computed from others, such as one that is spread to a shape, counts as what
it is when it is read; one that is only moved, cast or dequantised counts as it is stored: int8 one byte, two of 4 bits
in one. Scales and zero points of quantisation have their bytes, but are no parameters: an int8 form has as many
parameters as the float network that it was made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ecm_edge.forms.macs import depends

if TYPE_CHECKING:
    from ecm_edge.forms.reference.node import Node
    from ecm_edge.forms.reference.operators import Array
    from ecm_edge.forms.reference.rewriting import Written

_STORED = frozenset(
    {"Cast", "CastLike", "DequantizeLinear", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose"}
)
_PLACES = frozenset(
    {"Reshape", "Squeeze", "Unsqueeze", "Slice", "Pad", "Split", "Expand", "Tile", "Resize", "Upsample", "CumSum"}
    | {
        f"Reduce{kind}"
        for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
    }
)
"""Operators whose further inputs say where, not what: a shape, axes, pads."""
_QUANTISATION = frozenset({"QuantizeLinear", "DequantizeLinear"})
_HALF_BYTES = ("int4", "uint4", "float4_e2m1fn")


class Weights(NamedTuple):
    """Elements, scales and zero points not among them; and the bytes of both as they are stored."""

    elements: int = 0
    size_bytes: int = 0


def weights_by_part(written: Written) -> list[Weights]:
    """What each node of a graph reads, in order; constants themselves read nothing."""
    stored: dict[str, tuple[str, ...]] = {}  # a moved constant: what of it the file holds
    counted, scales = [], _scales(written)
    for node, nodes in written.parts:
        if not nodes:  # nobody needs it
            counted.append(Weights())
            continue
        inside = [inner for inner in nodes if node.op == "If" and inner is not node]
        read = [name for each in (node, *inside) for name in _data(each) if len(written.values[name]) == 1]
        sources = list(dict.fromkeys(source for name in read for source in stored.get(name, (name,))))
        if not depends(node, written.values):
            if node.op in _STORED:
                stored |= dict.fromkeys((name for name in node.outputs if name), tuple(sources))
            counted.append(Weights())
            continue
        values = {name: written.values[name] for name in sources}
        elements = sum(value.size for name, value in values.items() if name not in scales)
        counted.append(Weights(elements, sum(map(_bytes, values.values()))))
    return counted


def _scales(written: Written) -> set[str]:
    """The names of scales and zero points: the further inputs of what quantises, also where it is part of a node."""
    inner = (node for _, nodes in written.parts for node in nodes if node.op in _QUANTISATION)
    return {name for node in inner for name in node.inputs[1:] if name}


def _data(node: Node) -> list[str]:
    """The inputs of a node that are data of the net, not a shape, an axis or a pad."""
    return [name for name in (node.inputs[:1] if node.op in _PLACES else node.inputs) if name]


def _bytes(value: Array) -> int:
    return -(-value.size // 2) if value.dtype.name in _HALF_BYTES else value.nbytes
