"""Small networks drawn by hypothesis, as ONNX in float32 and, by `quantised`, in QDQ form.

Every kind of block that the package's own families use, and some that only others' do, in both 1-D forms: (N, C, T)
and (N, C, T, 1).
"""

from dataclasses import dataclass, field

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.forms import reference

FEW = st.integers(1, 5)
ACTIVATIONS = (
    "Relu",
    "LeakyRelu",
    "Clip",
    "Sigmoid",
    "Tanh",
    "HardSwish",
    "HardSigmoid",
    "Gelu",
    "Swish",
    "PRelu",
    "Elu",
)
BLOCKS = ("conv", "conv", "conv", "depthwise", "residual", "squeeze_excite", "branches", "pool", "activation", "pad")
HEADS = ("flatten", "mean", "statistics", "transposed", "matmul", "reduce")


@dataclass
class Net:
    """A graph while it is drawn; `now` is the newest tensor, of `channels` and `time` steps; 2-D has an axis more."""

    rng: np.random.Generator
    two_axes: bool
    first_time: int
    time: int = 0
    channels: int = 1
    now: str = "samples"
    nodes: list = field(default_factory=list)
    constants: dict = field(default_factory=dict)

    def add(self, op, *inputs, **attributes):
        """A node; arrays among its inputs become constants. Returns its output's name, which becomes `now`."""
        names = []
        for given in inputs:
            name = given
            if not isinstance(given, str):
                name = f"c{len(self.constants)}"
                self.constants[name] = given
            names.append(name)
        self.now = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [self.now], name=f"{op.lower()}_{self.now}", **attributes))
        return self.now

    def spatial(self, along, other):
        """A value for the time axis, and one for the axis of length 1 where there is one."""
        return [along, other] if self.two_axes else [along]

    def normal(self, *shape):
        """Weights of about unit gain."""
        return (self.rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(np.float32)

    def model(self):
        """The checked model; its output is `now`."""
        return _model(self.nodes, self.constants, self.now, (1, 1, *self.spatial(self.first_time, 1)))


def _model(nodes, constants, output, shape):
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    given = helper.make_tensor_value_info("samples", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, (1, 2))
    body = helper.make_graph(nodes, "drawn", [given], [result], tensors)
    proto = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(proto)
    return proto


@st.composite
def networks(draw, *, exact=False):
    """Models (1, 1, T) or (1, 1, T, 1) -> (1, 2); `exact` leaves out what has no exact form on integers."""
    seed = draw(st.integers(0, 2**32 - 1))
    net = Net(np.random.default_rng(seed), draw(st.booleans()), draw(st.integers(6, 40)))
    net.time = net.first_time
    for block in draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=5)):
        _BLOCKS[block](net, draw)
    _head(net, draw, draw(st.sampled_from(HEADS)))
    if not exact and draw(st.booleans()):
        net.add("Softmax", net.now, axis=1)
    return net.model()


def _activation(net, draw, kinds=ACTIVATIONS):
    kind = draw(st.sampled_from(kinds))
    if kind == "Swish":  # before opset 24 it is written as two operators
        source = net.now
        net.add("Mul", source, net.add("Sigmoid", source))
    elif kind == "PRelu":
        net.add(kind, net.now, net.rng.normal(size=(net.channels, *net.spatial(1, 1))).astype(np.float32))
    elif kind == "Clip":
        net.add(kind, net.now, np.float32(-0.5), np.float32(1.25))
    else:
        net.add(kind, net.now, **({"alpha": 0.3} if kind == "LeakyRelu" else {}))


def _convolve(net, draw, outputs, taps, *, stride=1, dilation=1, groups=1, pads=(0, 0)):
    reach = (taps - 1) * dilation + 1
    if net.time + sum(pads) < reach:
        pads = (pads[0], reach - net.time)
    weight = net.normal(outputs, net.channels // groups, *net.spatial(taps, 1))
    inputs = [net.now, weight, *([net.normal(outputs)] if draw(st.booleans()) else [])]
    net.add(
        "Conv",
        *inputs,
        strides=net.spatial(stride, 1),
        dilations=net.spatial(dilation, 1),
        group=groups,
        pads=[*net.spatial(pads[0], 0), *net.spatial(pads[1], 0)],
    )
    net.time = (net.time + sum(pads) - reach) // stride + 1
    net.channels = outputs


def _norm(net):
    lines = [net.rng.uniform(0.5, 1.5, net.channels), *net.rng.normal(size=(2, net.channels))]
    given = [*lines, net.rng.uniform(0.5, 2, net.channels)]
    net.add("BatchNormalization", net.now, *(each.astype(np.float32) for each in given))


def _conv(net, draw):
    groups = draw(st.sampled_from([g for g in (1, 1, 2, 3) if net.channels % g == 0]))
    outputs = groups * draw(FEW)
    pads = (draw(st.integers(0, 4)), draw(st.integers(0, 4)))
    _convolve(
        net,
        draw,
        outputs,
        draw(FEW),
        stride=draw(st.integers(1, 3)),
        dilation=draw(st.integers(1, 3)),
        groups=groups,
        pads=pads,
    )
    if draw(st.booleans()):
        _norm(net)
    if draw(st.booleans()):
        _activation(net, draw)


def _depthwise(net, draw):
    pads = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    outputs = net.channels * draw(st.integers(1, 2))
    _convolve(net, draw, outputs, draw(FEW), dilation=draw(st.integers(1, 2)), groups=net.channels, pads=pads)
    if draw(st.booleans()):
        _activation(net, draw, ("Relu", "HardSwish"))


def _residual(net, draw):
    before, half = net.now, draw(st.integers(0, 2))
    _convolve(net, draw, net.channels, 2 * half + 1, pads=(half, half))
    if draw(st.booleans()):
        _activation(net, draw)
    net.add("Add", before, net.now)
    if draw(st.booleans()):
        _activation(net, draw, ("Relu", "LeakyRelu"))


def _squeeze_excite(net, draw):
    x, channels, time = net.now, net.channels, net.time
    if draw(st.booleans()):
        net.add("GlobalAveragePool", x)
        net.time = 1
        _convolve(net, draw, draw(FEW), 1)
        net.add("Relu", net.now)
        _convolve(net, draw, channels, 1)
    else:
        hidden = draw(FEW)
        net.add("ReduceMean", x, np.array([2, 3] if net.two_axes else [-1]), keepdims=0)
        net.add("Gemm", net.now, net.normal(hidden, channels), net.normal(hidden), transB=1)
        net.add("Relu", net.now)
        net.add("Gemm", net.now, net.normal(hidden, channels), net.normal(channels))
        net.add("Unsqueeze", net.now, np.array([2, 3] if net.two_axes else [2]))
    gate = net.add(draw(st.sampled_from(["Sigmoid", "HardSigmoid"])), net.now)
    net.add("Mul", *draw(st.permutations([x, gate])))
    net.channels, net.time = channels, time


def _branches(net, draw):
    x, channels, ends = net.now, net.channels, []
    for _ in range(2):
        net.now, net.channels = x, channels
        half = draw(st.integers(0, 2))
        _convolve(net, draw, draw(FEW), 2 * half + 1, pads=(half, half))
        ends.append((net.now, net.channels))
    parts = [*(name for name, _ in ends), *([x] if draw(st.booleans()) else [])]
    net.channels = sum(count for _, count in ends) + (channels if len(parts) > len(ends) else 0)
    net.add("Concat", *parts, axis=1)


def _pool(net, draw):
    taps = draw(st.integers(1, min(3, net.time)))
    stride, before, after = draw(st.integers(1, 3)), draw(st.integers(0, taps - 1)), draw(st.integers(0, taps - 1))
    attributes = {"kernel_shape": net.spatial(taps, 1), "strides": net.spatial(stride, 1)}
    attributes["pads"] = [*net.spatial(before, 0), *net.spatial(after, 0)]
    kind = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    if kind == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    net.add(kind, net.now, **attributes)
    net.time = (net.time + before + after - taps) // stride + 1


def _pad(net, draw):
    before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    sizes = np.array([0, 0, *net.spatial(before, 0), 0, 0, *net.spatial(after, 0)])
    net.add("Pad", net.now, sizes, mode=draw(st.sampled_from(["constant", "edge"])))
    net.time += before + after


_BLOCKS = {
    "conv": _conv,
    "depthwise": _depthwise,
    "residual": _residual,
    "squeeze_excite": _squeeze_excite,
    "branches": _branches,
    "pool": _pool,
    "activation": _activation,
    "pad": _pad,
}


def _head(net, draw, kind):
    x, axes = net.now, np.array([2, 3] if net.two_axes else [2])
    features = net.channels
    if kind == "mean":
        net.add("Flatten", net.add("GlobalAveragePool", x))
    elif kind == "statistics":
        parts = [net.add("ReduceMean", x, axes, keepdims=0), net.add("Flatten", net.add("GlobalMaxPool", x))]
        net.add("Concat", *parts, axis=-1)
        features *= 2
    elif kind == "reduce":
        op = draw(st.sampled_from(["ReduceMax", "ReduceMin", "ReduceSum"]))
        net.add(op, x, axes, keepdims=0)
    else:
        if kind == "transposed":
            net.add("Transpose", x, perm=[0, 2, 1, *([3] if net.two_axes else [])])
        net.add(*(("Reshape", net.now, np.array([1, -1])) if draw(st.booleans()) else ("Flatten", net.now)))
        features *= net.time
    if kind == "matmul":
        net.add("Add", net.add("MatMul", net.now, net.normal(features, 2)), net.normal(2))
        return
    net.add("Gemm", net.now, net.normal(2, features), net.normal(2), transB=1)


def segments(proto, count, seed):
    """Noise (count, T) for a model."""
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(seed).normal(size=(count, int(np.prod(shape)))).astype(np.float32)


FOLLOWS = frozenset(
    {"Flatten", "Reshape", "Transpose", "Unsqueeze", "MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin"}
)
"""Operators whose output keeps its input's scale, as onnxruntime quantises them."""


@st.composite
def quantised_networks(draw):
    """Drawn networks in QDQ form: int8 or uint8 activations, weights per tensor or per channel, int32 biases."""
    return quantised(draw(networks(exact=True)), draw)


def quantised(proto, draw):
    """A float model with every activation and weight quantised in a drawn way."""
    dtype, *ways = draw(st.sampled_from([np.int8, np.uint8])), draw(st.booleans()), draw(st.booleans())
    return quantised_as(proto, dtype, *ways, pass_through=draw(st.booleans()))


def quantised_as(proto, dtype, per_channel, fused, *, pass_through):
    """A float model with every activation and weight quantised, ranges taken from noise."""
    import warnings

    graph = reference.load(proto)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = reference.execute(graph, segments(proto, 8, seed=1), {})
    uses = {}
    for node in proto.graph.node:
        for name in node.input:
            uses.setdefault(name, []).append(node)
    work = Quantiser(env, dtype, per_channel=per_channel, fused=fused)
    work.activation("samples", "samples")
    initial = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        work.node(node, initial, uses, pass_through=pass_through)
    last = proto.graph.output[0].name
    shape = tuple(d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim)
    return _model(work.nodes, work.constants, f"{last}_f", shape)


@dataclass
class Quantiser:
    """Nodes and constants of the QDQ form.

    `scales` are names (scale, zero point) of the tensors that are quantised; `raw` are those that are not, between a
    convolution and its Relu.
    """

    env: dict
    dtype: type
    per_channel: bool
    fused: bool
    nodes: list = field(default_factory=list)
    constants: dict = field(default_factory=dict)
    scales: dict = field(default_factory=dict)
    raw: set = field(default_factory=set)

    def activation(self, name, source, like=""):
        """QuantizeLinear and DequantizeLinear of `source`, as tensor `name`; with the scale of `like`, or its own."""
        if like:
            self.scales[name] = self.scales[like]
        else:
            info = np.iinfo(self.dtype)
            low, high = min(0.0, float(self.env[name].min())), max(1e-3, float(self.env[name].max()))
            scale = np.float32((high - low) / 255)
            self.constants |= {
                f"{name}_s": scale,
                f"{name}_z": self.dtype(np.clip(info.min - np.rint(low / scale), info.min, info.max)),
            }
            self.scales[name] = (f"{name}_s", f"{name}_z")
        self.nodes.append(
            helper.make_node("QuantizeLinear", [source, *self.scales[name]], [f"{name}_q"], name=f"q_{name}")
        )
        self.dequantise(name)

    def dequantise(self, name):
        self.nodes.append(
            helper.make_node("DequantizeLinear", [f"{name}_q", *self.scales[name]], [f"{name}_f"], name=f"d_{name}")
        )

    def node(self, node, initial, uses, *, pass_through):
        """A node between dequantised inputs and a quantised output."""
        (name,) = node.output
        if node.op_type in {"Conv", "Gemm", "MatMul"}:
            inputs = [f"{node.input[0]}_f", *self._weights(node, initial)]
        else:
            for each in node.input:
                if each in initial:
                    self.constants[each] = initial[each]
            inputs = [each if each in initial or each in self.raw else f"{each}_f" for each in node.input]
        follows = node.op_type in FOLLOWS
        made = onnx.NodeProto()
        made.CopyFrom(node)
        del made.input[:], made.output[:]
        if follows and pass_through and node.op_type not in {"ReduceMax", "ReduceMin", "GlobalMaxPool"}:
            made.input.extend([f"{node.input[0]}_q", *inputs[1:]])
            made.output.append(f"{name}_q")
            self.nodes.append(made)
            self.scales[name] = self.scales[node.input[0]]
            self.dequantise(name)
            return
        made.input.extend(inputs)
        made.output.append(name)
        self.nodes.append(made)
        readers = uses.get(name, [])
        if node.op_type in {"Conv", "Gemm"} and [reader.op_type for reader in readers] == ["Relu"] and self.fused:
            self.raw.add(name)  # the Relu belongs to the integer group
            return
        self.activation(name, name, node.input[0] if follows else "")

    def _weights(self, node, initial):
        """DequantizeLinear of the weights, and of the bias where there is one."""
        w = initial[node.input[1]]
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        axis = 0 if node.op_type == "Conv" or transposed else 1
        others = tuple(i for i in range(w.ndim) if i != axis)
        largest = np.abs(w).max(axis=others) if self.per_channel else np.abs(w).max()
        scale = np.maximum(largest / 127, 1e-6).astype(np.float32)
        spread = scale.reshape([-1 if i == axis else 1 for i in range(w.ndim)]) if self.per_channel else scale
        q = np.clip(np.rint(w / spread), -127, 127).astype(np.int8)
        name = f"{node.output[0]}_w"
        self.constants |= {name: q, f"{name}_s": scale, f"{name}_z": np.zeros(scale.shape, np.int8)}
        inputs = [f"{name}_f"]
        self.nodes.append(helper.make_node("DequantizeLinear", [name, f"{name}_s", f"{name}_z"], inputs, axis=axis))
        if len(node.input) > 2:
            b, b_name = initial[node.input[2]], f"{node.output[0]}_b"
            b_scale = self.constants[self.scales[node.input[0]][0]] * scale
            self.constants |= {b_name: np.rint(b / b_scale).astype(np.int32), f"{b_name}_s": b_scale}
            self.nodes.append(helper.make_node("DequantizeLinear", [b_name, f"{b_name}_s"], [f"{b_name}_f"], axis=0))
            inputs.append(f"{b_name}_f")
        return inputs
