"""Multiply-accumulates, counted on the nodes that are computed, so that no operator can hide what it multiplies.

A MAC is a product of two different tensors that is added to others:

1. Conv, Gemm, MatMul: one for each weight of each output. What is written as one of them counts as it is computed: a
   ConvTranspose is a Conv over samples with zeros between them.
2. LSTM, GRU and RNN: one for each weight of both matrices, and each peephole, at each step of each sequence.
3. Mul: one for each product, where a sum takes it (ReduceSum and its like), or an Add or Sub of products alone.
   So Resize has one for each sample that an output is made of.

Work on single elements is not counted: gates, squares of a norm, a scale with a bias. Nor is what does not depend on
the segment, which is computed before.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecm_edge.forms.reference.node import Node
    from ecm_edge.forms.reference.operators import Array
    from ecm_edge.forms.reference.rewriting import Written

_MOVES = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Transpose", "Cast", "Slice", "Pad", "Expand"}
    | {"DequantizeLinear", "QuantizeLinear", "Neg"}
)
_REDUCTIONS = frozenset({"ReduceSum", "CumSum"})
_ADDITIONS = frozenset({"Add", "Sub", "Sum", "Mean"})


def by_part(written: Written) -> list[int]:
    """The MACs of one segment for each node of a graph, in order."""
    macs = [sum(_of_node(node, written.values) for node in nodes) for _, nodes in written.parts]
    for part, count in _summed_products(written):
        macs[part] += count
    return macs


def depends(node: Node, values: Mapping[str, Array]) -> bool:
    """Whether an output of a node depends on the segment: the others are constants."""
    return any(len(values[name]) > 1 for name in node.outputs if name)


def _of_node(node: Node, values: Mapping[str, Array]) -> int:
    """The MACs of rules 1 and 2."""
    if node.op not in {"Conv", "Gemm", "MatMul", "LSTM", "GRU", "RNN"} or not depends(node, values):
        return 0
    shapes = [values[name].shape[1:] if name else () for name in node.inputs]
    if node.op in {"LSTM", "GRU", "RNN"}:  # x is (steps, sequences, inputs), or (sequences, steps, inputs)
        weights = sum(prod(shape) for shape in (*shapes[1:3], *shapes[7:8]) if shape)
        return int(prod(shapes[0][:2]) * weights)
    outputs: int = prod(values[node.outputs[0]].shape[1:])
    if node.op == "Conv":  # weight (C_out, C_in / groups, K…): each output needs C_in / groups x K
        taps: int = prod(shapes[1][1:])
    else:
        taps = shapes[0][0 if node.op == "Gemm" and node.attributes.get("transA", 0) else -1]
    return outputs * taps


def _summed_products(written: Written) -> list[tuple[int, int]]:
    """The part and the number of the products of each Mul of rule 3."""
    source: dict[str, str] = {}  # of a tensor that holds products: the output of the Mul
    products: dict[str, tuple[int, int]] = {}
    summed: set[str] = set()
    for part, (_, nodes) in enumerate(written.parts):
        for node in nodes:
            read = [name for name in node.inputs if name]
            if not read or not depends(node, written.values):
                continue
            output, held = node.outputs[0], [source[name] for name in read if name in source]
            if node.op == "Mul" and len(set(read)) > 1:
                source[output] = output
                products[output] = part, prod(written.values[output].shape[1:])
            elif node.op in _MOVES and read[0] in source:
                source[output] = source[read[0]]
            elif node.op in _REDUCTIONS and read[0] in source:
                summed.add(source[read[0]])
            elif node.op in _ADDITIONS and len(held) == len(read) > 1:
                summed.update(held)
                source[output] = held[0]
    return [products[name] for name in products if name in summed]
