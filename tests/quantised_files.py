"""Files as onnxruntime's quantiser makes them, in fifty configurations, and what becomes of each.

Every net is small and of seeded weights. A table in firmware_check/README.md, which tests/conformance.py writes, has by
kind of configuration how many are equal, and how many are refused by name.
"""

import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import onnx_model, reference

from . import firmware_c

SEED = 13
SEGMENTS = 16
"""Segments of noise by which a file is calibrated, and by which answers are compared."""

NOISE = {"picture": (1, 3, 12, 12), "pools": (1, 3, 12, 12), "dense": (1, 40), "matmul": (1, 6, 20)}
LENGTH = (1, 2, 40)

_INT8, _UINT8, _INT16, _UINT16 = QuantType.QInt8, QuantType.QUInt8, QuantType.QInt16, QuantType.QUInt16
_INT4, _UINT4 = QuantType.QInt4, QuantType.QUInt4


@dataclass(frozen=True)
class File:
    """One configuration of the quantiser, and the net it is given."""

    net: str
    activations: QuantType = _INT8
    weights: QuantType = _INT8
    operators: bool = False
    per_channel: bool = False
    opset: int = 17
    dynamic: bool = False
    more: dict = field(default_factory=dict)

    @property
    def kind(self):
        """The row of the table that it belongs to."""
        if self.dynamic:
            return f"dynamic, {self.weights} weights"
        form = "operators on integers" if self.operators else "QuantizeLinear and DequantizeLinear"
        return f"{form}, {self.activations} activations, {self.weights} weights"

    @property
    def name(self):
        """For a test's name."""
        words = [self.net, "dynamic" if self.dynamic else "qop" if self.operators else "qdq"]
        words += [str(self.activations)[1:], str(self.weights)[1:], f"opset{self.opset}"]
        words += ["channels"] * self.per_channel
        return "-".join([*words, *map(str, self.more)])

    @property
    def ends_in_integers(self):
        """Whether the scores are integers, so that they come out to the byte."""
        return not self.dynamic and "op_types_to_quantize" not in self.more

    @property
    def shape(self):
        """Of one segment."""
        return NOISE.get(self.net, LENGTH)

    def samples(self, seed):
        """Noise (SEGMENTS, *shape)."""
        return np.random.default_rng(seed).standard_normal((SEGMENTS, *self.shape)).astype(np.float32)


def _q(net, activations, weights, **more):
    known = {key: more.pop(key) for key in ("operators", "per_channel", "opset", "dynamic") if key in more}
    return File(net, activations, weights, more=more, **known)


SYMMETRIC = {"ActivationSymmetric": True}
ASYMMETRIC = {"WeightSymmetric": False}

FILES = (
    # QuantizeLinear and DequantizeLinear, 8 bits
    _q("conv", _INT8, _INT8),
    _q("conv", _INT8, _INT8, per_channel=True, reduce_range=True),
    _q("conv", _UINT8, _INT8, per_channel=True),
    _q("conv", _UINT8, _UINT8),
    _q("conv", _UINT8, _UINT8, per_channel=True, extra_options=ASYMMETRIC),
    _q("conv", _INT8, _INT8, extra_options=ASYMMETRIC),
    _q("conv", _INT8, _INT8, extra_options=SYMMETRIC, calibrate_method=CalibrationMethod.Entropy),
    _q("conv", _INT8, _INT8, op_types_to_quantize=["Conv"]),
    _q("conv", _INT8, _INT8, opset=21, per_channel=True, extra_options={"QuantizeBias": False}),
    _q("depthwise", _INT8, _INT8, per_channel=True),
    _q("depthwise", _UINT8, _UINT8, reduce_range=True),
    _q("picture", _INT8, _INT8, per_channel=True, calibrate_method=CalibrationMethod.Percentile),
    _q("picture", _UINT8, _INT8, extra_options={"DedicatedQDQPair": True}),
    _q("pools", _UINT8, _UINT8),
    _q("residual", _INT8, _INT8, per_channel=True, extra_options={"AddQDQPairToWeight": True}),
    _q("concat", _UINT8, _INT8),
    _q("gates", _INT8, _INT8),
    _q("dense", _INT8, _INT8, per_channel=True, extra_options={"QDQOpTypePerChannelSupportToAxis": {"Gemm": 1}}),
    _q("matmul", _UINT8, _INT8, extra_options={"MatMulConstBOnly": True}),
    _q("lstm", _INT8, _INT8),
    # operators on integers
    _q("conv", _INT8, _INT8, operators=True, per_channel=True),
    _q("conv", _UINT8, _UINT8, operators=True, reduce_range=True),
    _q("conv", _UINT8, _UINT8, operators=True, per_channel=True, extra_options=ASYMMETRIC),
    _q("depthwise", _UINT8, _INT8, operators=True, per_channel=True),
    _q("picture", _UINT8, _UINT8, operators=True),
    _q("pools", _INT8, _INT8, operators=True),
    _q("residual", _UINT8, _UINT8, operators=True, calibrate_method=CalibrationMethod.Percentile),
    _q("concat", _INT8, _INT8, operators=True),
    _q("gates", _UINT8, _UINT8, operators=True),
    _q("dense", _UINT8, _INT8, operators=True),
    _q("matmul", _INT8, _INT8, operators=True),
    _q("lstm", _UINT8, _UINT8, operators=True),
    # 16 bits
    _q("conv", _INT16, _INT8, opset=21),
    _q("conv", _UINT16, _UINT8, opset=21, per_channel=True),
    _q("conv", _INT16, _INT16, opset=21),
    _q("conv", _INT8, _INT16, opset=21),
    _q("conv", _UINT16, _INT8),
    _q("depthwise", _INT16, _INT8, opset=21, per_channel=True, extra_options=SYMMETRIC),
    _q("picture", _UINT16, _INT8, opset=21),
    _q("pools", _INT16, _INT8, opset=21),
    _q("residual", _UINT16, _UINT8, opset=21),
    _q("gates", _INT16, _INT16, opset=21),
    # 4 bits
    _q("conv", _INT8, _INT4, opset=21),
    _q("conv", _UINT8, _UINT4, opset=21, per_channel=True, extra_options=ASYMMETRIC),
    _q("dense", _INT8, _INT4, opset=21, per_channel=True),
    _q("matmul", _INT16, _UINT4, opset=21),
    _q("picture", _UINT8, _INT4),
    # by dynamic quantisation
    _q("conv", _UINT8, _INT8, dynamic=True),
    _q("matmul", _UINT8, _UINT8, dynamic=True, per_channel=True, reduce_range=True),
    _q("lstm", _UINT8, _INT8, dynamic=True),
)


class _Noise(CalibrationDataReader):
    def __init__(self, samples):
        self.left = iter(samples)

    def get_next(self):
        sample = next(self.left, None)
        return None if sample is None else {"samples": sample}


def quantised(file):
    """The file that onnxruntime makes."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "float.onnx", Path(folder) / "quantised.onnx"
        onnx.save(_net(file), source)
        common = {"per_channel": file.per_channel, "weight_type": file.weights, **file.more}
        if file.dynamic:
            quantize_dynamic(source, result, **common)
        else:
            form = QuantFormat.QOperator if file.operators else QuantFormat.QDQ
            samples = _Noise(file.samples(SEED))
            quantize_static(source, result, samples, quant_format=form, activation_type=file.activations, **common)
        return onnx.load(result)


@cache
def made():
    """Every file with the C of it, or the refusal: (file, classifier, graph, generated)."""
    return tuple(_made(number, file) for number, file in enumerate(FILES))


def _made(number, file):
    proto = quantised(file)
    try:
        onnx_model.check(proto, f"{file.name}.onnx")
        classifier, graph = onnx_model.classifier_of(proto), reference.load(proto)
        onnx_model.classifier_of(proto)
        return file, classifier, graph, firmware_c.generate(graph, f"m{number}")
    except ModelError as problem:
        return file, None, None, problem


def _net(file):
    return _graph(*_NETS[file.net](np.random.default_rng(SEED)), file.shape, file.opset)


def _graph(nodes, constants, shape, opset):
    real = {name: np.asarray(value, np.int64 if name == "first" else np.float32) for name, value in constants.items()}
    tensors = [numpy_helper.from_array(value, name) for name, value in real.items()]
    info = helper.make_tensor_value_info
    ends = info("samples", TensorProto.FLOAT, shape), info("y", TensorProto.FLOAT, (1, 3))
    body = helper.make_graph(nodes, "net", [ends[0]], [ends[1]], tensors)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], name=f"{op}_{output}", **attributes)


def _head(nodes, constants, random, last, features):
    nodes = [*nodes, _node("GlobalAveragePool", last, "mean"), _node("Flatten", "mean", "flat")]
    nodes.append(_node("Gemm", "flat w b", "y", transB=1))
    return nodes, {**constants, "w": random.standard_normal((3, features)), "b": random.standard_normal(3)}


def _conv(random):
    nodes = [
        _node("Conv", "samples k kb", "c", pads=[2, 2]),
        _node("Relu", "c", "r"),
        _node("Conv", "r m mb", "d", strides=[2]),
        _node("Relu", "d", "s"),
    ]
    constants = {"k": _normal(random, 6, 2, 5), "kb": _normal(random, 6), "m": _normal(random, 8, 6, 3)}
    return _head(nodes, {**constants, "mb": _normal(random, 8)}, random, "s", 8)


def _depthwise(random):
    nodes = [
        _node("Conv", "samples k", "c", pads=[1, 1]),
        _node("Conv", "c m mb", "d", group=6, pads=[2, 2]),
        _node("Clip", "d low high", "e"),
        _node("Conv", "e p", "f"),
    ]
    constants = {"k": _normal(random, 6, 2, 3), "m": _normal(random, 6, 1, 5), "mb": _normal(random, 6)}
    constants |= {"low": 0.0, "high": 6.0, "p": _normal(random, 5, 6, 1)}
    return _head(nodes, constants, random, "f", 5)


def _picture(random):
    nodes = [
        _node("Conv", "samples k kb", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        _node("Relu", "c", "r"),
        _node("Conv", "r m", "d", group=4, pads=[1, 1, 1, 1]),
        _node("Conv", "d p pb", "e"),
        _node("Relu", "e", "f"),
    ]
    constants = {"k": _normal(random, 4, 3, 3, 3), "kb": _normal(random, 4), "m": _normal(random, 4, 1, 3, 3)}
    return _head(nodes, {**constants, "p": _normal(random, 5, 4, 1, 1), "pb": _normal(random, 5)}, random, "f", 5)


def _pools(random):
    nodes = [
        _node("Conv", "samples k", "c"),
        _node("MaxPool", "c", "p", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        _node("AveragePool", "p", "q", kernel_shape=[2, 2], strides=[1, 1]),
    ]
    return _head(nodes, {"k": _normal(random, 4, 3, 3, 3)}, random, "q", 4)


def _residual(random):
    nodes = [
        _node("Conv", "samples k", "c", pads=[1, 1]),
        _node("Relu", "c", "r"),
        _node("Conv", "r m mb", "d", pads=[1, 1]),
        _node("Add", "r d", "a"),
        _node("Relu", "a", "e"),
    ]
    constants = {"k": _normal(random, 6, 2, 3), "m": _normal(random, 6, 6, 3), "mb": _normal(random, 6)}
    return _head(nodes, constants, random, "e", 6)


def _concat(random):
    nodes = [
        _node("Conv", "samples k", "c", pads=[1, 1]),
        _node("Conv", "samples m", "d", pads=[2, 2]),
        _node("Concat", "c d", "e", axis=1),
        _node("Relu", "e", "f"),
    ]
    return _head(nodes, {"k": _normal(random, 3, 2, 3), "m": _normal(random, 4, 2, 5)}, random, "f", 7)


def _gates(random):
    nodes = [
        _node("Conv", "samples k", "c", pads=[1, 1]),
        _node("LeakyRelu", "c", "l", alpha=0.1),
        _node("Sigmoid", "c", "g"),
        _node("Mul", "l g", "t"),
        _node("AveragePool", "t", "p", kernel_shape=[4], strides=[4]),
    ]
    return _head(nodes, {"k": _normal(random, 5, 2, 3)}, random, "p", 5)


def _dense(random):
    nodes = [_node("Gemm", "samples k kb", "c"), _node("Relu", "c", "r"), _node("Gemm", "r w b", "y", transB=1)]
    constants = {"k": _normal(random, 40, 16), "kb": _normal(random, 16)}
    return nodes, {**constants, "w": _normal(random, 3, 16), "b": _normal(random, 3)}


def _matmul(random):
    nodes = [
        _node("MatMul", "samples k", "c"),
        _node("Relu", "c", "r"),
        _node("Flatten", "r", "f"),
        _node("MatMul", "f w", "y"),
    ]
    return nodes, {"k": _normal(random, 20, 8), "w": _normal(random, 48, 3)}


def _lstm(random):
    last = [helper.make_node("LSTM", ["steps", "wx", "wh", "wb"], ["", "state"], name="lstm", hidden_size=6)]
    nodes = [
        _node("Conv", "samples k", "c", strides=[2]),
        _node("Transpose", "c", "steps", perm=[2, 0, 1]),
        *last,
        _node("Squeeze", "state first", "f"),
        _node("Gemm", "f w b", "y", transB=1),
    ]
    constants = {
        "first": [0],
        "k": _normal(random, 4, 2, 3),
        "wx": _normal(random, 1, 24, 4),
        "wh": _normal(random, 1, 24, 6),
    }
    return nodes, {**constants, "wb": _normal(random, 1, 48), "w": _normal(random, 3, 6), "b": _normal(random, 3)}


def _normal(random, *shape):
    return random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))


_NETS = {
    "conv": _conv,
    "depthwise": _depthwise,
    "picture": _picture,
    "pools": _pools,
    "residual": _residual,
    "concat": _concat,
    "gates": _gates,
    "dense": _dense,
    "matmul": _matmul,
    "lstm": _lstm,
}
