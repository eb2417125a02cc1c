"""The nets that runtimes are compared on, with random weights.

They lie in `nets/` as files. Counts depend a little on the weights and on the scales of an int8 form, and the
calibration behind those may differ from machine to machine by a rounding.

    python -m benchmarks.firmware_nets      writes the files anew
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.candidate import networks
from ecm_edge.forms import export, onnx_model, quantize, simplify

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.base.records import Form
    from ecm_edge.forms.onnx_model import Floats

FOLDER = Path(__file__).parent / "nets"
FORMS: dict[str, tuple[Form, ...]] = {
    "demo": ("float32", "float16", "int8"),
    "se-s": ("float32", "float16", "int8"),
    "picture": ("float32", "int8"),
    "separable": ("float32", "int8"),
}
"""The nets by name, and the forms of each that are counted."""
NAMES = tuple(FORMS)
T = 1250
_DEMO = ((3, 6), (5, 5), (10, 4), (20, 4), (20, 4))  # outputs and taps of five valid convolutions of stride 2
_SEPARABLE = ((8, 3, 2, 1), (8, 3, 1, 8), (16, 1, 1, 1), (16, 3, 2, 16), (24, 1, 1, 1), (24, 5, 1, 24), (24, 1, 1, 1))
"""Outputs, taps, stride and groups of its convolutions, with padding and ReLU."""
_SEGMENTS = 32


def segments(count: int = _SEGMENTS, samples: int = T) -> Floats:
    """Random segments (count, samples), the same every time."""
    return np.random.default_rng(1).standard_normal((count, samples)).astype(np.float32)


def demo() -> onnx.ModelProto:
    """The contest's demo AFNet: five strided convolutions with ReLU, then linear 740 → 10 → 2; 192,684 MACs."""
    nodes, weights, parameter = [], *_parameters()
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
    return _checked("demo", nodes, weights, (1, 1, T), (1, 2))


def picture() -> onnx.ModelProto:
    """Of the shape of MNIST-8 of ONNX's zoo: two 5x5 convolutions and a linear layer, biases apart; 786,560 MACs."""
    weights, parameter = _parameters()
    weights.append(numpy_helper.from_array(np.array([1, 256]), "shape"))
    same = {"kernel_shape": [5, 5], "auto_pad": "SAME_UPPER"}
    nodes = [
        helper.make_node("Conv", ["samples", parameter("w0", 8, 1, 5, 5)], ["c0"], name="conv0", **same),
        helper.make_node("Add", ["c0", parameter("b0", 8, 1, 1)], ["a0"], name="add0"),
        helper.make_node("Relu", ["a0"], ["r0"], name="relu0"),
        helper.make_node("MaxPool", ["r0"], ["p0"], name="pool0", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p0", parameter("w1", 16, 8, 5, 5)], ["c1"], name="conv1", **same),
        helper.make_node("Add", ["c1", parameter("b1", 16, 1, 1)], ["a1"], name="add1"),
        helper.make_node("Relu", ["a1"], ["r1"], name="relu1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], name="pool1", kernel_shape=[3, 3], strides=[3, 3]),
        helper.make_node("Reshape", ["p1", "shape"], ["flat"], name="flatten"),
        helper.make_node("MatMul", ["flat", parameter("w2", 256, 10)], ["product"], name="linear"),
        helper.make_node("Add", ["product", parameter("b2", 1, 10)], ["scores"], name="add2"),
    ]
    return _checked("picture", nodes, weights, (1, 1, 28, 28), (1, 10))


def separable() -> onnx.ModelProto:
    """Like a small MobileNet: depthwise convolutions with pointwise ones behind them, (1, 3, 32, 32); 215,600 MACs."""
    weights, parameter = _parameters()
    nodes, x, channels = [], "samples", 3
    for i, (outputs, taps, stride, groups) in enumerate(_SEPARABLE):
        inputs = [x, parameter(f"w{i}", outputs, channels // groups, taps, taps), parameter(f"b{i}", outputs)]
        more = {"strides": [stride, stride], "pads": [taps // 2] * 4, "group": groups}
        nodes.append(helper.make_node("Conv", inputs, [f"c{i}"], name=f"conv{i}", **more))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], name=f"relu{i}"))
        x, channels = f"r{i}", outputs
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["mean"], name="mean"))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"], name="flatten"))
    scores = ["flat", parameter("w", 2, channels), parameter("b", 2)]
    nodes.append(helper.make_node("Gemm", scores, ["scores"], name="linear", transB=1))
    return _checked("separable", nodes, weights, (1, 3, 32, 32), (1, 2))


def _parameters() -> tuple[list[onnx.TensorProto], Callable[..., str]]:
    """Weights so far, and what draws more of them: of a name and a shape, of about unit gain."""
    generator, weights = np.random.default_rng(0), []

    def parameter(name: str, *shape: int) -> str:
        scale = np.sqrt(max(1, int(np.prod(shape[1:]))))
        values = (generator.standard_normal(shape) / scale).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
        return name

    return weights, parameter


def _checked(
    name: str,
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    samples: tuple[int, ...],
    scores: tuple[int, ...],
) -> onnx.ModelProto:
    """A model from samples to scores of these shapes."""
    value = helper.make_tensor_value_info
    given, result = (
        value(*each) for each in (("samples", TensorProto.FLOAT, samples), ("scores", TensorProto.FLOAT, scores))
    )
    graph = helper.make_graph(nodes, name, [given], [result], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def se_s() -> onnx.ModelProto:
    """The seed work's AFNet with SiLU and squeeze-excite, at a channel factor of 3."""
    torch.manual_seed(0)
    network = networks.build("afnet", {"channel_factor": 3, "head_factor": 2}, T)
    model, _ = simplify.simplify(export.to_onnx(network, T), segments(1))
    return model


def made() -> dict[str, onnx.ModelProto]:
    """Every file of the folder as it would be written now, by name."""
    found = {}
    for (name, forms), model in zip(FORMS.items(), (demo(), se_s(), picture(), separable()), strict=True):
        found[f"{name}.onnx"] = model
        if "int8" in forms:
            samples = onnx_model.classifier_of(model).samples_per_segment
            found[f"{name}.int8.onnx"] = quantize.quantize_int8(model, segments(samples=samples))
    return found


def load(name: str, form: Form = "float32") -> onnx.ModelProto:
    """A net of `NAMES` in one of the forms that ship."""
    file = FOLDER / (f"{name}.int8.onnx" if form == "int8" else f"{name}.onnx")
    model = onnx_model.load_classifier(file).proto
    return quantize.to_float16_weights(model) if form == "float16" else model


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, model in made().items():
        onnx_model.save(model, FOLDER / name)
