"""Operators that are written as others: the answers of onnxruntime, in the reference and in C."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import onnx_model, reference
from ecm_edge.forms.reference.graph import graph_of

from . import firmware_c


def graph(nodes, shape, constants=(), opset=20, domains=()):
    """A model from samples of a shape to "y"."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()]
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        nodes, "g", [value("samples", TensorProto.FLOAT, shape)], [value("y", TensorProto.FLOAT, None)], tensors
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(body, opset_imports=opsets, ir_version=9)


def answers(proto, folder, samples):
    """Those of onnxruntime, of the reference and of the C for samples (N, *shape)."""
    session = onnx_model.open_session(proto)
    theirs = np.stack([session.run(["y"], {"samples": each})[0].ravel() for each in samples])
    loaded = graph_of(proto, "samples", samples.shape[1:], "y")
    flat = samples.reshape(len(samples), -1)
    ours = reference.run(loaded, flat, ["y"])["y"].reshape(len(samples), -1)
    c = firmware_c.build(folder, [firmware_c.generate(loaded)]).run(0, flat)[0]
    return theirs, ours, c


def noise(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def holds(proto, folder, samples, *, atol=1e-5):
    theirs, ours, c = answers(proto, folder, samples)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=atol)
    np.testing.assert_allclose(c, ours, rtol=2e-6, atol=2e-6)


NORMS = {
    "LayerNormalization": ({"axis": -2}, ["scale", "bias"], (6, 50)),
    "InstanceNormalization": ({}, ["scale", "bias"], (6,)),
    "GroupNormalization": ({"num_groups": 3}, ["scale", "bias"], (6,)),
    "RMSNormalization": ({}, ["scale"], (50,)),
}


@pytest.mark.parametrize("op", NORMS)
def test_norms_are_those_of_onnxruntime(tmp_path, op):
    attributes, names, shape = NORMS[op]
    node = helper.make_node(op, ["samples", *names], ["y"], name="norm", **attributes)
    constants = {name: noise(*shape) for name in names}
    opset = {"GroupNormalization": 21, "RMSNormalization": 23}.get(op, 20)
    holds(graph([node], (1, 6, 50), constants, opset=opset), tmp_path, noise(4, 1, 6, 50))


def test_a_large_mean_costs_a_norm_no_digits(tmp_path):
    node = helper.make_node("InstanceNormalization", ["samples", "scale", "bias"], ["y"], name="norm")
    proto = graph([node], (1, 1, 1250), {"scale": np.ones(1, np.float32), "bias": np.zeros(1, np.float32)})
    samples = noise(2, 1, 1, 1250) + np.float32(4096)
    x = samples.astype(np.float64).reshape(2, -1)
    exact = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    _, ours, c = answers(proto, tmp_path, samples)
    assert np.abs(ours - exact).max() < 5e-6
    assert np.abs(c - exact).max() < 5e-6


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolutions_are_those_of_onnxruntime(tmp_path, stride, group):
    attributes = {"strides": [stride], "group": group, "pads": [2, 1], "output_padding": [stride - 1], "dilations": [2]}
    node = helper.make_node("ConvTranspose", ["samples", "w", "b"], ["y"], name="up", **attributes)
    constants = {"w": noise(4, 3, 5), "b": noise(3 * group)}
    holds(graph([node], (1, 4, 20), constants), tmp_path, noise(3, 1, 4, 20))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
def test_resized_is_as_in_onnxruntime(tmp_path, mode, coordinates):
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
    node = helper.make_node("Resize", ["samples", "", "", "sizes"], ["y"], name="size", **attributes)
    constants = {"sizes": np.array([1, 2, 13, 20])}
    holds(graph([node], (1, 2, 8, 12), constants), tmp_path, noise(2, 1, 2, 8, 12))


NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric"])
@pytest.mark.parametrize("nearest", NEAREST)
def test_places_on_a_rounding_are_those_of_onnxruntime(coordinates, nearest):
    attributes = {"coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
    scales = [(24, 1.2), (10, 1.3), (7, 1.7), (10, 0.6), (24, 2.2), (30, 8 / 7)]
    x = np.arange(30, dtype=np.float32)
    for length, scale in scales:
        node = helper.make_node("Resize", ["samples", "", "scales"], ["y"], name="size", **attributes)
        proto = graph([node], (1, 1, length), {"scales": np.array([1, 1, scale], np.float32)})
        theirs = onnx_model.open_session(proto).run(["y"], {"samples": x[None, None, :length]})[0]
        ours = reference.run(graph_of(proto, "samples", (1, 1, length), "y"), x[None, :length], ["y"])["y"]
        assert ours.ravel().tolist() == theirs.ravel().tolist(), (length, scale)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_an_old_softmax_behind_an_old_upsample_is_that_of_onnxruntime(tmp_path, op):
    """Of opset 9: the one flattens its input, the other has coordinates of its own, which newer sets do not."""
    nodes = [
        helper.make_node("Upsample", ["samples", "scales"], ["u"], name="up", mode="linear"),
        helper.make_node(op, ["u"], ["y"], name="end"),
    ]
    constants = {"scales": np.array([1, 1, 1.5, 2], np.float32)}
    holds(graph(nodes, (1, 2, 4, 5), constants, opset=9), tmp_path, noise(3, 1, 2, 4, 5))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_channels_become_samples_and_come_back_as_in_onnxruntime(tmp_path, mode):
    nodes = [
        helper.make_node("DepthToSpace", ["samples"], ["d"], name="out", blocksize=2, mode=mode),
        helper.make_node("SpaceToDepth", ["d"], ["y"], name="back", blocksize=3),
    ]
    holds(graph(nodes, (1, 8, 3, 6), opset=13), tmp_path, noise(3, 1, 8, 3, 6))


def test_what_an_output_does_not_need_is_not_looked_at(tmp_path):
    nodes = [
        helper.make_node("Acos", ["samples"], ["other"], name="other"),
        helper.make_node("NonZero", ["other"], ["places"], name="places"),
        helper.make_node("Neg", ["samples"], ["y"], name="neg"),
    ]
    holds(graph(nodes, (1, 6)), tmp_path, noise(3, 1, 6))


def test_logic_and_choices_are_those_of_onnxruntime(tmp_path):
    node = helper.make_node
    nodes = [
        node("Greater", ["samples", "zero"], ["above"], name="above"),
        node("Less", ["samples", "one"], ["below"], name="below"),
        node("And", ["above", "below"], ["between"], name="and"),
        node("Xor", ["above", "below"], ["outside"], name="xor"),
        node("Or", ["between", "outside"], ["any"], name="or"),
        node("Not", ["outside"], ["not"], name="not"),
        node("Equal", ["not", "any"], ["same"], name="same"),
        node("Where", ["same", "samples", "zero"], ["w"], name="where"),
        node("ArgMax", ["samples"], ["largest"], name="largest", axis=2, keepdims=1),
        node("Equal", ["largest", "places"], ["hit"], name="hit"),
        node("Cast", ["hit"], ["h"], name="cast", to=TensorProto.FLOAT),
        node("CastLike", ["hit", "samples"], ["l"], name="like"),
        node("Sum", ["w", "h", "l"], ["y"], name="sum"),
    ]
    constants = {"zero": np.float32(0), "one": np.float32(1), "places": np.arange(9)}
    holds(graph(nodes, (1, 3, 9), constants), tmp_path, noise(4, 1, 3, 9))


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [1, -1])
def test_running_sums_are_those_of_onnxruntime(tmp_path, exclusive, reverse, axis):
    node = helper.make_node("CumSum", ["samples", "axis"], ["y"], name="sum", exclusive=exclusive, reverse=reverse)
    holds(graph([node], (1, 4, 6), {"axis": np.array(axis)}), tmp_path, noise(3, 1, 4, 6))


@pytest.mark.parametrize("op", ["ReduceLogSumExp", "GlobalLpPool"])
def test_reductions_by_rules_are_those_of_onnxruntime(tmp_path, op):
    attributes = {"axes": [2]} if op.startswith("Reduce") else {"p": 3}
    node = helper.make_node(op, ["samples"], ["y"], name="all", **attributes)
    holds(graph([node], (1, 4, 6), opset=17), tmp_path, noise(3, 1, 4, 6) * np.float32(30))


EQUATIONS = [
    *("bct->tc", "bct->b", "bct,bdt->bcd", "bct,dc->bdt", "bct,bct->b", "bct,bcu"),
    *("...t->...", "...ct,tu->...cu", "...ct,...ut->...cu", "bc...,...", "...ct->...tc", "... , ..."),
]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_sums_by_letters_are_those_of_onnxruntime(tmp_path, equation):
    inputs, _, _ = equation.replace(" ", "").partition("->")
    second = inputs.split(",")[1] if "," in inputs else ""
    if "..." in second:
        second = {"bc...,...": "t", "...,...": "bct"}.get(inputs, "but")
    constants = {"w": noise(*({"b": 1, "c": 4, "d": 3, "t": 6, "u": 5}[letter] for letter in second))}
    names = ["samples", *(["w"] if second else [])]
    node = helper.make_node("Einsum", names, ["y"], name="sum", equation=equation)
    holds(graph([node], (1, 4, 6), constants if second else ()), tmp_path, noise(3, 1, 4, 6))


def test_a_letter_of_two_lengths_is_refused_by_name():
    node = helper.make_node("Einsum", ["samples", "w"], ["y"], name="sum", equation="...ct,...ct->...c")
    with pytest.raises(ModelError, match=r"an axis of an Einsum has one length.*in Einsum 'sum'"):
        graph_of(graph([node], (1, 4, 6), {"w": noise(2, 4, 6)}), "samples", (1, 4, 6), "y")


@pytest.mark.parametrize("taken", [False, True])
def test_a_branch_by_a_constant_is_taken(tmp_path, taken):
    def branch(op, name):
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(op, ["samples"], [name], name=name)], name, [], [value])

    node = helper.make_node("If", ["which"], ["y"], then_branch=branch("Neg", "a"), else_branch=branch("Exp", "b"))
    holds(graph([node], (1, 6), {"which": np.array(taken)}), tmp_path, noise(3, 1, 6))


@pytest.mark.parametrize("upper", [0, 1])
def test_triangles_are_those_of_onnxruntime(tmp_path, upper):
    node = helper.make_node("Trilu", ["samples", "k"], ["y"], name="half", upper=upper)
    holds(graph([node], (4, 6), {"k": np.array(1)}), tmp_path, noise(3, 4, 6))


class Samples(CalibrationDataReader):
    """What a quantiser looks at."""

    def __init__(self, samples):
        self.left = iter(samples)

    def get_next(self):
        sample = next(self.left, None)
        return None if sample is None else {"samples": sample}


def network():
    """A small network of most operators that have a form on integers."""
    node = helper.make_node
    nodes = [
        node("Conv", ["samples", "k", "kb"], ["a"], name="conv", pads=[2, 2]),
        node("LeakyRelu", ["a"], ["l"], name="leaky", alpha=0.1),
        node("Conv", ["l", "m"], ["c"], name="conv2", pads=[1, 1]),
        node("Add", ["l", "c"], ["s"], name="add"),
        node("Sigmoid", ["c"], ["g"], name="gate"),
        node("Mul", ["s", "g"], ["t"], name="mul"),
        node("Concat", ["t", "c"], ["j"], name="join", axis=1),
        node("AveragePool", ["j"], ["p"], name="pool", kernel_shape=[4], strides=[4]),
        node("GlobalAveragePool", ["p"], ["q"], name="mean"),
        node("Flatten", ["q"], ["f"], name="flat"),
        node("Gemm", ["f", "w", "b"], ["y"], name="dense", transB=1),
    ]
    constants = {"k": noise(4, 2, 5), "kb": noise(4), "m": noise(4, 4, 3), "w": noise(3, 8), "b": noise(3)}
    return graph(nodes, (1, 2, 40), constants, opset=17)


@pytest.mark.parametrize(
    ("per_channel", "activations", "weights"),
    [
        (False, QuantType.QInt8, QuantType.QInt8),
        (True, QuantType.QInt8, QuantType.QInt8),
        (True, QuantType.QUInt8, QuantType.QInt8),
        (False, QuantType.QUInt8, QuantType.QUInt8),
    ],
)
def test_graphs_of_integer_operators_are_those_of_onnxruntime(tmp_path, per_channel, activations, weights):
    onnx.save(network(), tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        Samples(noise(8, 1, 2, 40)),
        quant_format=QuantFormat.QOperator,
        per_channel=per_channel,
        activation_type=activations,
        weight_type=weights,
    )
    proto = onnx.load(tmp_path / "int8.onnx")
    assert any(each.op_type == "QLinearConv" for each in proto.graph.node)
    theirs, ours, c = answers(proto, tmp_path / "c", noise(8, 1, 2, 40))
    step = np.abs(np.diff(np.unique(theirs))).min()
    assert np.abs(ours - theirs).max() <= 1.5 * step
    np.testing.assert_array_equal(c, ours)


def test_dynamic_quantisation_is_that_of_onnxruntime(tmp_path):
    nodes = [
        helper.make_node("Conv", ["samples", "k"], ["c"], name="conv", pads=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "w"], ["y"], name="out"),
    ]
    onnx.save(graph(nodes, (1, 2, 30), {"k": noise(3, 2, 3), "w": noise(90, 3)}), tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    proto = onnx.load(tmp_path / "int8.onnx")
    assert {each.op_type for each in proto.graph.node} >= {"MatMulInteger", "ConvInteger"}
    holds(proto, tmp_path / "c", noise(5, 1, 2, 30))


def test_dynamic_integers_become_floats_again_as_in_onnxruntime(tmp_path):
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["samples"], ["q", "s", "z"], name="to integers"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="back"),
    ]
    holds(graph(nodes, (1, 4, 6)), tmp_path, noise(3, 1, 4, 6))


def test_a_refusal_says_the_users_own_word():
    node = helper.make_node("GroupNormalization", ["samples", "scale", "bias"], ["y"], name="norm_1", num_groups=4)
    proto = graph([node], (1, 6, 50), {"scale": noise(6), "bias": noise(6)}, opset=21)
    with pytest.raises(ModelError, match="4 groups of 6 channels in GroupNormalization 'norm_1'"):
        graph_of(proto, "samples", (1, 6, 50), "y")
