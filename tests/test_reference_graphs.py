"""Whole graphs in the reference: integer groups by hand, and against onnxruntime on graphs that are drawn."""

import math
from fractions import Fraction
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.candidate import networks
from ecm_edge.evaluate.verify.hops import layer_lsbs
from ecm_edge.forms import export, onnx_model, parity, quantize, reference, simplify
from ecm_edge.targets.kernels import Kernels

from . import firmware_c, nets

INT8 = Kernels.model_fields["int8"].annotation


def test_integer_convolution_by_hand():
    (q, qc), (w, wc), (b, bc), (y, yc) = (
        nets.quantised("samples", 0.5, 1),
        nets.weight("w", np.array([[[2, -1]], [[1, 1]]]), np.array([0.25, 0.5])),
        nets.bias("b", np.array([3, 0]), np.array([0.125, 0.25])),
        nets.quantised("y", 0.25, -2),
    )
    conv = nets.node("Conv", ["samples_f", "w_f", "b_f"], "y", kernel_shape=[2], strides=[2])
    last = nets.node("Reshape", ["y_f", "shape"], "scores")
    proto = nets.graph([*q, *w, *b, conv, *y, last], qc | wc | bc | yc | {"shape": np.array([1, 2])}, shape=(1, 1, 2))
    # q(1.0) = 3, q(-0.3) = round(-0.6) + 1 = 0, so q - zero point = 2, -1; sums 2*2+1+3 = 8 and 2-1 = 1;
    # times 0.5 * 0.25 / 0.25 = 0.5 and 0.5 * 0.5 / 0.25 = 1: 4 and 1
    found = reference.scores(reference.load(proto), np.float32([[1.0, -0.3]]))
    assert found.tolist() == [[4 * 0.25, 1 * 0.25]]
    assert reference.load(proto).quantised == ["samples_q", "y_q"]


@pytest.mark.parametrize("is_relu", [False, True])
@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_two_activations_are_joined_on_integers(tmp_path, op, is_relu):
    """The nearest integer of the exact value, a tie upwards, for every pair of bytes; the C has the same."""
    scales, zero_points = (0.0213, 0.0517, 0.0391 if op == "Add" else 0.0973), (3, -7, -20)
    (a, ac), (b, bc), (y, yc) = (
        nets.quantised(name, scale, zero)
        for name, scale, zero in zip(("samples", "half", "y"), scales, zero_points, strict=True)
    )
    half = nets.node("Mul", ["samples", "factor"], "half")
    joined = [nets.node(op, ["samples_f", "half_f"], "r" if is_relu else "y")]
    joined += [nets.node("Relu", ["r"], "y")] if is_relu else []
    last = nets.node("Reshape", ["y_f", "shape"], "scores")
    constants = ac | bc | yc | {"factor": np.float32(-0.7), "shape": np.array([1, 96])}
    proto = nets.graph([*a, half, *b, *joined, *y, last], constants, shape=(1, 2, 48), output=("scores", (1, 96)))
    graph = reference.load(proto)
    assert [step.op.op for step, _ in graph.quantised_layers] == ["QuantizeLinear", "QuantizeLinear", op]
    samples = np.random.default_rng(4).uniform(-3, 3, (40, 96)).astype(np.float32)
    found = reference.run(graph, samples, ["samples_q", "half_q", "y_q"])
    one, other = (found[f"{name}_q"].astype(int) - zero for name, zero in (("samples", 3), ("half", -7)))
    x, w, out = (Fraction(float(np.float32(scale))) for scale in scales)
    pairs = zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)
    exact = [(p * x + q * w if op == "Add" else p * x * q * w) / out for p, q in pairs]
    low = zero_points[2] if is_relu else -128
    nearest = [min(max(math.floor(each + Fraction(1, 2)) + zero_points[2], low), 127) for each in exact]
    at_a_tie = [abs(each % 1 - Fraction(1, 2)) < Fraction(1, 2**10) for each in exact]
    same = found["y_q"].ravel() == nearest
    assert all(same | at_a_tie)
    assert sum(at_a_tie) < len(exact) / 10
    models = [firmware_c.generate(graph, kind, Kernels(int8=kind)) for kind in get_args(INT8)]
    program = firmware_c.build(tmp_path, models, sanitise=True)
    for scores, _ in program.run_all([(number, samples) for number in range(len(models))]):
        np.testing.assert_array_equal(scores, reference.scores(graph, samples))


IN_ORDER = {
    "AveragePool": {"kernel_shape": [5], "strides": [2], "pads": [2, 2]},
    "AveragePool, padding counted": {"kernel_shape": [4], "pads": [1, 3], "count_include_pad": 1},
    "AveragePool, rounded up": {"kernel_shape": [5], "strides": [3], "ceil_mode": 1},
    "ReduceMean": {"axes": [2]},
    "ReduceMean of all": {"axes": [1, 2], "keepdims": 0},
    "ReduceSum": {"axes": [1], "keepdims": 0},
    "ReduceSum of all": {"axes": [2, 1]},
    "ReduceProd": {"axes": [2]},
    "CumSum": {"axes": 2},
    "CumSum, exclusive": {"axes": 2, "exclusive": 1, "reverse": 1},
}


@pytest.mark.parametrize("kind", IN_ORDER)
def test_what_is_joined_along_axes_has_the_bits_of_the_c(tmp_path, kind):
    """In a quantised graph: float32, one value after the other, in the order of the ONNX tensor."""
    op, attributes = kind.split(" ")[0].rstrip(","), dict(IN_ORDER[kind])
    (q, qc), (y, yc) = nets.quantised("samples", 0.013, 5), nets.quantised("y", 0.02, -3)
    axes = {"axes": np.array(attributes.pop("axes"))} if "axes" in attributes else {}
    constants = qc | yc | axes | {"shape": np.array([1, -1])}
    nodes = [
        *q,
        nets.node("Sigmoid", ["samples_f"], "g"),
        nets.node(op, ["g", *axes], "m", **attributes),
        nets.node("Identity", ["m"], "y"),
        *y,
        nets.node("Reshape", ["y_f", "shape"], "scores"),
    ]
    samples = np.random.default_rng(3).normal(size=(6, 120)).astype(np.float32)
    proto = nets.graph(nodes, constants, shape=(1, 3, 40), output=("scores", (1, "S")))
    one = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"samples": samples[:1].reshape(1, 3, 40)})
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = one[0].size
    graph = reference.load(proto)
    expected = reference.scores(graph, samples)
    assert np.abs(expected[0] - one[0]).max() <= np.float32(0.021)
    models = [firmware_c.generate(graph, each, Kernels(int8=each)) for each in get_args(INT8)]
    program = firmware_c.build(tmp_path, models, sanitise=True)
    for scores, _ in program.run_all([(number, samples) for number in range(len(models))]):
        np.testing.assert_array_equal(scores, expected)


def test_mean_of_integers_is_exact():
    (q, qc) = nets.quantised("samples", 0.1, 0)
    nodes = [
        *q,
        nets.node("ReduceMean", ["samples_f", "axes"], "m", keepdims=0),
        nets.node("Concat", ["m", "m"], "scores", axis=1),
    ]
    proto = nets.graph(nodes, qc | {"axes": np.array([2])}, shape=(1, 1, 3))
    found = reference.scores(reference.load(proto), np.float32([[0.1, 0.2, 0.5]]))
    assert found[0, 0] == np.float32(8) * np.float32(np.float64(np.float32(0.1)) / 3)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 5),
    kernel=st.integers(1, 6),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    middle=st.sampled_from(["Relu", "Sigmoid", "Tanh", "Add", "Mul", "Identity", "ReduceMean"]),
)
@example(seed=2, channels=4, kernel=2, stride=1, dilation=1, middle="Relu")  # has a sum at a tie
def test_onnxruntime_is_within_one_step_on_drawn_graphs(seed, channels, kernel, stride, dilation, middle):
    rng = np.random.default_rng(seed)
    proto = nets.qdq_net(rng, channels=channels, kernel=kernel, stride=stride, dilation=dilation, middle=middle)
    segments = nets.segments(4, seed=seed % 100)
    layers, same_scores = layer_lsbs(proto, reference.load(proto), segments)
    assert len(layers) == 4
    assert max(layer.max_lsb for layer in layers) <= 1
    conv, gemm = (layer.mismatches for layer in layers if layer.op in {"Conv", "Gemm"})
    assert gemm == 0
    assert conv <= sums_at_a_tie(proto, segments, stride, dilation)
    assert same_scores or conv


def sums_at_a_tie(proto, segments, stride, dilation):
    """How many sums of the Conv fall either way in float32: 66.5000018 is 66.5 after one product in it."""
    held = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in proto.graph.initializer}
    zero, weights = held["samples_z"], held["w"][:, 0]  # (C, K)
    samples = np.clip(np.rint(segments / held["samples_s"]) + zero, -128, 127) - zero  # (N, T)
    reach = dilation * np.arange(weights.shape[1])
    windows = samples[:, np.arange(0, samples.shape[1] - reach[-1], stride)[:, None] + reach]  # (N, T', K)
    sums = np.einsum("ntk,ck->nct", windows, weights) + held["b"][:, None]
    steps = sums * (held["samples_s"] * held["w_s"] / held["conv_s"])[:, None]
    return int((np.abs(steps - np.floor(steps) - 0.5) < 2 * np.spacing(np.abs(steps).astype(np.float32))).sum())


def test_float_network_agrees_with_onnxruntime():
    samples = nets.segments(70)  # more than one chunk
    exported = export.to_onnx(nets.trained(), nets.T)
    for proto in (exported, simplify.simplify(exported, samples[:2])[0]):
        own = reference.scores(reference.load(proto), samples)
        assert parity.compare(own, onnx_model.run_scores(onnx_model.classifier_of(proto), samples)).max_abs < 1e-5


def test_two_dimensional_form_of_a_one_dimensional_net():
    weight = np.random.default_rng(0).normal(size=(2, 1, 5, 1)).astype(np.float32)
    nodes = [
        nets.node("Conv", ["samples", "w"], "c", kernel_shape=[5, 1], strides=[2, 1], pads=[2, 0, 2, 0]),
        nets.node("GlobalMaxPool", ["c"], "m"),
        nets.node("Flatten", ["m"], "scores"),
    ]
    proto = nets.graph(nodes, {"w": weight}, shape=(1, 1, nets.T, 1))
    samples = nets.segments(3)
    found = reference.scores(reference.load(proto), samples)
    assert found == pytest.approx(onnx_model.run_scores(onnx_model.classifier_of(proto), samples), abs=1e-5)


def test_bias_of_another_scale_is_no_integer_group():
    proto = nets.qdq_net(np.random.default_rng(0))
    tensor = next(t for t in proto.graph.initializer if t.name == "b_s")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), "b_s"))
    groups = [step.op.op for step in reference.load(proto).steps if step.quantizer is not None]
    assert groups == ["Gemm"]


def test_accumulator_beyond_int32_is_an_error():
    proto = nets.qdq_net(np.random.default_rng(0))
    tensor = next(t for t in proto.graph.initializer if t.name == "b")
    tensor.CopyFrom(numpy_helper.from_array(np.full(3, 2**31 - 1, np.int32), "b"))
    with pytest.raises(ModelError, match=r"accumulators fit int32.*Conv 'node_conv'"):
        reference.scores(reference.load(proto), np.full((1, nets.T), 5, np.float32))


def test_unknown_operator_is_named():
    nodes = [nets.node("RandomNormalLike", ["samples"], "x"), nets.node("Flatten", ["x"], "scores")]
    proto = nets.graph(nodes, {}, shape=(1, 1, 2))
    with pytest.raises(ModelError, match="RandomNormalLike 'node_x'"):
        reference.load(proto)


def test_a_node_that_cannot_be_computed_is_named():
    proto = nets.graph([nets.node("Reshape", ["samples", "s"], "scores")], {"s": np.array([1, 2])}, shape=(1, 1, 2))
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    changed.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1, 3]), "s"))
    with pytest.raises(ModelError, match="Reshape 'node_scores'"):
        reference.scores(reference.load(changed), np.zeros((1, 2), np.float32))


def test_segments_of_another_length_and_none_at_all():
    graph = reference.load(nets.qdq_net(np.random.default_rng(0)))
    assert reference.scores(graph, nets.segments(0)).shape == (0, 2)
    with pytest.raises(ModelError, match="length of the model's input"):
        reference.scores(graph, np.zeros((1, nets.T - 1), np.float32))


@pytest.mark.real_data
@pytest.mark.parametrize("family", ["afnet", "tcn", "separable", "rhythm_wave"])
def test_onnxruntime_is_within_one_step_on_real_segments(real_data, family):
    params = {
        "afnet": {"channel_factor": 2, "head_factor": 1},
        "tcn": {"channels": 6, "depth": 2, "kernel": 3, "squeeze_excite": True, "times_channels": 4},
        "separable": {"channels": 4, "depth": 3, "kernel": 5, "activation": "silu", "pooling": "mean_max_std"},
        "rhythm_wave": {"wave_channels": 4, "rhythm_channels": 6, "depth": 2, "decimation": 2},
    }[family]
    samples = (np.load(real_data / "segments.npy", mmap_mode="r")[::500] / 16384).astype(np.float32)
    torch.manual_seed(0)
    network = networks.build(family, params, samples.shape[1])
    simplified, _ = simplify.simplify(export.to_onnx(network, samples.shape[1]), samples[:2])
    forms, _ = quantize.quantize(simplified, samples[:50], subjects=[], rank_segments=0)
    layers, same_scores = layer_lsbs(forms["int8"], reference.load(forms["int8"]), samples[50:])
    assert same_scores
    assert max(layer.max_lsb for layer in layers) <= 1
