"""Gemm and MatMul by a constant matrix, in float32: rows that lie side by side, each one window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware.operators.axes import rows_by_integers
from ecm_edge.firmware.operators.convolution import layer_of_rows
from ecm_edge.firmware.operators.kept_integers import KEPT
from ecm_edge.firmware.operators.product import gemm_of_tensors, matmul_of_tensors
from ecm_edge.firmware.operators.shape import contiguous, floats
from ecm_edge.firmware.operators.weighted import Weighted, add
from ecm_edge.firmware.operators.windows import product_windows
from ecm_edge.firmware.program import Constant
from ecm_edge.firmware.tensors import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Layer
    from ecm_edge.firmware.operators.kept_integers import KeptIntegers
    from ecm_edge.firmware.program import Program
    from ecm_edge.forms.reference.node import Step


def gemm(program: Program, step: Step) -> None:
    """Gemm with constant B and C: alpha A' B' + beta C; of other tensors plain loops."""
    node = step.op
    attributes = node.attributes
    a, w, b = (program.env[name] if name else None for name in (*node.inputs, "")[:3])
    if attributes.get("transA", 0) or not isinstance(a, Tensor) or not isinstance(w, Constant) or isinstance(b, Tensor):
        gemm_of_tensors(program, step)
        return
    alpha = attributes.get("alpha", 1.0)
    weights = w.values.astype(np.float64).T if attributes.get("transB", 0) else w.values.astype(np.float64)
    bias = np.zeros(weights.shape[1])
    if b is not None:
        spread = np.broadcast_to(b.values.astype(np.float64), program.shapes[node.outputs[0]])
        if not (spread == spread[:1]).all():
            gemm_of_tensors(program, step)
            return
        bias = spread[0] * np.float64(np.float32(attributes.get("beta", 1.0)))
    if w.kept is not None and alpha == 1.0:
        _by_integers(program, step, w.kept.by_rows(transposed=bool(attributes.get("transB", 0))), bias)
        return
    stored = w.stored if alpha == 1.0 else "float32"
    _product(program, step, weights * np.float64(np.float32(alpha)), bias, stored)


def matmul(program: Program, step: Step) -> None:
    """MatMul of a tensor with constant weights (K, O); of two tensors that depend on the segment, plain loops."""
    a, b = (program.env[name] for name in step.op.inputs)
    if isinstance(b, Constant) and isinstance(a, Tensor) and len(b.shape) == 2 and len(a.shape) > 1:  # noqa: PLR2004 - a matrix
        if b.kept is not None:
            _by_integers(program, step, b.kept.by_rows(transposed=False), np.zeros(b.shape[1]))
            return
        _product(program, step, b.values.astype(np.float64), np.zeros(b.shape[1]), b.stored)
        return
    matmul_of_tensors(program, step)


def _product(
    program: Program, step: Step, weights: NDArray[np.float64], bias: NDArray[np.float64], stored: str
) -> None:
    """Rows (…, n) times weights (n, O); the sums of a row lie side by side."""
    name = step.op.inputs[0]
    x, windows, order = product_windows(program, name, floats(program, name, program.tensor(name, step.op)))

    def emit(layer: Weighted) -> Layer:
        return layer_of_rows(program.kernels, layer, windows, layer.y.index.reshape(windows.rows, -1))

    rows_first = tuple(range(len(program.shapes[step.outputs[0]])))
    macs = windows.rows * weights.size
    add(program, step, x, weights[order][None], bias, stored, emit, macs, rows_first)


def _by_integers(program: Program, step: Step, kept: KeptIntegers, bias: NDArray[np.float64]) -> None:
    """Rows (…, n) times weights (O, n, 1) that are kept as integers."""
    name = step.op.inputs[0]
    x = contiguous(program, name, floats(program, name, program.tensor(name, step.op)))
    rows_first = tuple(range(len(program.shapes[step.outputs[0]])))
    weights = np.zeros((1, *kept.values.shape[1::-1]))  # nothing is folded into them
    macs = x.size * len(bias)
    emit = rows_by_integers(x, kept, wide=program.wide)
    add(program, step, x, weights, bias, KEPT, emit, macs, rows_first)
