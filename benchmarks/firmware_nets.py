"""The nets that runtimes are compared on, with random weights: counts do not depend on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.candidate import networks
from ecm_edge.forms import export, quantize, simplify

if TYPE_CHECKING:
    from ecm_edge.base.records import Form
    from ecm_edge.forms.onnx_model import Floats

T = 1250
_DEMO = ((3, 6), (5, 5), (10, 4), (20, 4), (20, 4))  # outputs and taps of five valid convolutions of stride 2
_SEGMENTS = 32


def segments(count: int = _SEGMENTS) -> Floats:
    """Random segments (count, T), the same every time."""
    return np.random.default_rng(1).standard_normal((count, T)).astype(np.float32)


def demo() -> onnx.ModelProto:
    """The contest's demo AFNet: five strided convolutions with ReLU, then linear 740 → 10 → 2; 192,684 MACs."""
    generator = np.random.default_rng(0)
    nodes, weights = [], []

    def parameter(name: str, *shape: int) -> str:
        scale = np.sqrt(max(1, int(np.prod(shape[1:]))))
        values = (generator.standard_normal(shape) / scale).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
        return name

    x, channels, steps = "samples", 1, T
    for i, (outputs, taps) in enumerate(_DEMO):
        inputs = [x, parameter(f"w{i}", outputs, channels, taps), parameter(f"b{i}", outputs)]
        nodes.append(helper.make_node("Conv", inputs, [f"c{i}"], name=f"conv{i}", kernel_shape=[taps], strides=[2]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], name=f"relu{i}"))
        x, channels, steps = f"r{i}", outputs, (steps - taps) // 2 + 1
    nodes.append(helper.make_node("Flatten", [x], ["flat"], name="flatten"))
    hidden = ["flat", parameter("w5", 10, channels * steps), parameter("b5", 10)]
    nodes.append(helper.make_node("Gemm", hidden, ["hidden"], name="linear0", transB=1))
    scores = ["hidden", parameter("w6", 2, 10), parameter("b6", 2)]
    nodes.append(helper.make_node("Gemm", scores, ["scores"], name="linear1", transB=1))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "demo",
        [value("samples", TensorProto.FLOAT, (1, 1, T))],
        [value("scores", TensorProto.FLOAT, (1, 2))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def se(channel_factor: int) -> onnx.ModelProto:
    """The seed work's AFNet with SiLU and squeeze-excite; 3 is se-s, 4 is se-l."""
    network = networks.build("afnet", {"channel_factor": channel_factor, "head_factor": 2}, T)
    model, _ = simplify.simplify(export.to_onnx(network, T), segments(1))
    return model


def form(model: onnx.ModelProto, wanted: Form) -> onnx.ModelProto:
    """The model in one of the forms that ship."""
    if wanted == "int8":
        return quantize.quantize_int8(model, segments())
    return quantize.to_float16_weights(model) if wanted == "float16" else model
