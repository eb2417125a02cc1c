"""Loops, positions, spectra and grids, which are written as other operators: the answers of onnxruntime or NumPy."""

import tracemalloc
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import onnx_model, reference
from ecm_edge.forms.model_rules import MOST_ELEMENTS
from ecm_edge.forms.model_sizes import MOST_TOGETHER
from ecm_edge.forms.reference.graph import graph_of

from . import firmware_c
from .test_rewriting import answers, graph, holds, noise


def node(op, inputs, outputs=("y",), **attributes):
    """A node named after its operator."""
    return helper.make_node(op, list(inputs), list(outputs), name=op.lower(), **attributes)


def body(nodes, inputs, outputs, constants=()):
    """An inner graph; inputs and outputs are names, of floats where nothing else is said."""
    kinds = {"i": TensorProto.INT64, "going": TensorProto.BOOL, "on": TensorProto.BOOL}

    def typed(name):
        shape = () if name in kinds else None
        return helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)

    tensors = [numpy_helper.from_array(np.asarray(x), name) for name, x in dict(constants).items()]
    ends = [[typed(name) for name in names] for names in (inputs, outputs)]
    return helper.make_graph(nodes, "body", *ends, tensors)


@pytest.mark.parametrize("limit", [1, 4])
def test_loops_of_constant_length_are_those_of_onnxruntime(tmp_path, limit):
    turn = body(
        [
            node("Mul", ["state", "half"], ["halved"]),
            node("Add", ["halved", "samples"], ["next"]),
            node("Identity", ["next"], ["kept"]),
            node("Less", ["i", "last"], ["on"]),
        ],
        ["i", "going", "state"],
        ["on", "next", "kept"],
        {"half": np.float32(0.5), "last": np.array(2)},
    )
    nodes = [node("Loop", ["count", "", "samples"], ["end", "all"], body=turn), node("Add", ["end", "all"])]
    holds(graph(nodes, (3, 4), {"count": np.array(limit)}), tmp_path, noise(3, 3, 4))


@pytest.mark.parametrize("backward", [0, 1])
def test_scans_are_those_of_onnxruntime(tmp_path, backward):
    turn = body(
        [node("Add", ["state", "slice"], ["next"]), node("Neg", ["next"], ["kept"])],
        ["state", "slice"],
        ["next", "kept"],
    )
    scan = node("Scan", ["zero", "samples"], ["end", "all"], body=turn, num_scan_inputs=1, scan_input_axes=[1],
                scan_input_directions=[backward], scan_output_axes=[1])  # fmt: skip
    nodes = [scan, node("Unsqueeze", ["end", "one"], ["column"]), node("Sub", ["all", "column"])]
    constants = {"zero": np.zeros(4, np.float32), "one": np.array([1])}
    holds(graph(nodes, (4, 5), constants), tmp_path, noise(3, 4, 5))


def test_the_turns_of_a_loop_share_their_weights(tmp_path):
    turn = body(
        [node("Gemm", ["state", "w"], ["next"]), node("Identity", ["going"], ["on"])],
        ["i", "going", "state"],
        ["on", "next"],
    )
    weights = {"count": np.array(5), "w": noise(6, 6) / 3}
    proto = graph([node("Loop", ["count", "", "samples"], body=turn)], (1, 6), weights)
    made = firmware_c.generate(graph_of(proto, "samples", (1, 6), "y"))
    assert len(made.layers) == 6  # and a copy to the scores
    assert made.weight_bytes == 4 * (6 * 6 + 6)  # the weights and the zeros of the bias
    holds(proto, tmp_path, noise(3, 1, 6))


def test_a_loop_by_the_samples_is_refused_by_name():
    turn = body([node("Greater", ["next", "zero"], ["on"]), node("Neg", ["state"], ["next"])][::-1],
                ["i", "going", "state"], ["on", "next"], {"zero": np.float32(0)})  # fmt: skip
    proto = graph([node("Loop", ["count", "", "samples"], body=turn)], (), {"count": np.array(4)})
    with pytest.raises(ModelError, match=r"a condition is a constant.*in Loop 'loop'"):
        graph_of(proto, "samples", (), "y")


def test_a_long_loop_is_refused():
    turn = body([node("Neg", ["state"], ["next"]), node("Identity", ["going"], ["on"])],
                ["i", "going", "state"], ["on", "next"])  # fmt: skip
    proto = graph([node("Loop", ["count", "", "samples"], body=turn)], (4,), {"count": np.array(10**9)})
    with pytest.raises(ModelError, match=r"a Loop has 1 to 1,024 turns.*1,025 in Loop 'loop'"):
        graph_of(proto, "samples", (4,), "y")


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_the_largest_values_are_those_of_onnxruntime(tmp_path, largest, axis):
    nodes = [
        node("Round", ["samples"], ["r"]),  # so that some are equal
        node("TopK", ["r", "k"], ["v", "i"], axis=axis, largest=largest),
        node("Cast", ["i"], ["f"], to=1),
        node("Concat", ["v", "f"], axis=0),
    ]
    holds(graph(nodes, (5, 6), {"k": np.array([3])}), tmp_path, noise(4, 5, 6))


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatters_are_those_of_onnxruntime(tmp_path, reduction):
    scatter = node("ScatterElements", ["samples", "at", "new"], axis=1, reduction=reduction)
    at = np.array([[0, 3], [4, 1]]) if reduction == "none" else np.array([[0, 0, 3], [1, 1, 1]])
    holds(graph([scatter], (3, 5), {"at": at, "new": noise(*at.shape)}), tmp_path, noise(3, 3, 5))


def test_sequences_are_reversed_as_in_onnxruntime(tmp_path):
    turned = node("ReverseSequence", ["samples", "lengths"], batch_axis=0, time_axis=1)
    holds(graph([turned], (3, 5, 2), {"lengths": np.array([5, 1, 3])}), tmp_path, noise(2, 3, 5, 2))


@pytest.mark.parametrize("axis", [0, 1, None])
def test_compressed_is_as_in_onnxruntime(tmp_path, axis):
    attributes = {} if axis is None else {"axis": axis}
    proto = graph([node("Compress", ["samples", "c"], **attributes)], (4, 3), {"c": np.array([False, True, True])})
    holds(proto, tmp_path, noise(2, 4, 3))


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("outside", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grids_are_sampled_as_in_onnxruntime(tmp_path, mode, outside, corners):
    attributes = {"mode": mode, "padding_mode": outside, "align_corners": corners}
    proto = graph([node("GridSample", ["samples", "grid"], **attributes)], (2, 3, 5, 4), {"grid": noise(2, 3, 2, 2)})
    holds(proto, tmp_path, noise(2, 2, 3, 5, 4))


def test_places_of_a_max_pool_are_those_of_onnxruntime(tmp_path):
    nodes = [
        node("MaxPool", ["samples"], ["m", "i"], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
        node("Cast", ["i"], ["f"], to=1),
        node("Concat", ["m", "f"], axis=1),
    ]
    holds(graph(nodes, (2, 3, 6, 5)), tmp_path, noise(3, 2, 3, 6, 5))


@pytest.mark.parametrize("length", [8, 11, 16])
@pytest.mark.parametrize("one_sided", [0, 1])
def test_spectra_are_those_of_onnxruntime(tmp_path, length, one_sided):
    dft = node("DFT", ["samples", "n"], axis=1, onesided=one_sided)
    proto = graph([dft], (2, 11, 1), {"n": np.array(length)}, opset=17)
    holds(proto, tmp_path, noise(3, 2, 11, 1))


@pytest.mark.parametrize("length", [9, 10])
def test_a_spectrum_and_back_gives_the_samples(length):
    nodes = [node("DFT", ["samples", "n", "axis"], ["s"], onesided=1),
             node("DFT", ["s", "n", "axis"], inverse=1, onesided=1)]  # fmt: skip
    proto = graph(nodes, (3, length, 1), {"n": np.array(length), "axis": np.array(1)}, opset=20)
    samples = noise(2, 3, length, 1)
    loaded = graph_of(proto, "samples", samples.shape[1:], "y")
    found = reference.run(loaded, samples.reshape(2, -1), ["y"])["y"]
    np.testing.assert_allclose(found, samples, atol=1e-6)


def test_spectra_of_frames_are_those_of_onnxruntime(tmp_path):
    window = np.hanning(16).astype(np.float32)
    stft = node("STFT", ["samples", "step", "window"], onesided=1)
    holds(graph([stft], (1, 50, 1), {"step": np.array(5), "window": window}, opset=17), tmp_path, noise(3, 1, 50, 1))


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("negative", [0, 1])
def test_infinities_are_found_by_their_sign(tmp_path, positive, negative):
    nodes = [
        node("Mul", ["samples", "large"], ["m"]),
        node("IsInf", ["m"], ["i"], detect_positive=positive, detect_negative=negative),
        node("Cast", ["i"], to=1),
    ]
    samples = np.float32([[0, 1, -1, 3e38, -3e38]])
    theirs, ours, c = answers(graph(nodes, (5,), {"large": np.float32(10)}), tmp_path, samples)
    assert theirs.tolist() == ours.tolist() == c.tolist() == [[0, 0, 0, positive, negative]]


@pytest.mark.parametrize("op", ["Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh", "Tan"])
def test_functions_of_the_circle_and_the_hyperbola_are_those_of_onnxruntime(tmp_path, op):
    samples = np.random.default_rng(4).uniform(1.1, 3, (3, 40)) if op == "Acosh" else noise(3, 40) / 4
    theirs, ours, c = answers(graph([node(op, ["samples"])], (40,)), tmp_path, samples.astype(np.float32))
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    np.testing.assert_allclose(c, ours, rtol=6e-7)


HUGE = 2**40
HOSTILE = {
    "Tile": (node("Tile", ["samples", "n"]), {"n": np.array([HUGE, 1])}),
    "Expand": (node("Expand", ["samples", "n"]), {"n": np.array([HUGE, 2, 4])}),
    "Resize": (node("Resize", ["samples", "", "", "n"]), {"n": np.array([HUGE, 4])}),
    "Resize by a scale": (node("Resize", ["samples", "", "n"]), {"n": np.float32([3e38, 1])}),
    "Upsample": (node("Upsample", ["samples", "n"]), {"n": np.float32([1e12, 1])}),
    "Einsum": (node("Einsum", ["samples", "n"], equation="ab,cd->abcd"), {"n": np.ones((1000, 1000), np.float32)}),
    "Where": (node("Where", ["w", "samples", "v"]), {"w": np.ones((2**21, 1, 1), np.bool_), "v": np.float32(0)}),
    "MatMul": (node("MatMul", ["m", "samples"]), {"m": np.ones((2**21, 2), np.float32)}),
    "ConstantOfShape": (node("ConstantOfShape", ["n"]), {"n": np.array([HUGE])}),
    "Pad": (node("Pad", ["samples", "n"]), {"n": np.array([HUGE, 0, 0, 0])}),
    "Range": (node("Range", ["zero", "n", "one"]), {"zero": np.array(0), "n": np.array(HUGE), "one": np.array(1)}),
    "OneHot": (node("OneHot", ["samples", "n", "v"]), {"n": np.array(HUGE), "v": np.float32([0, 1])}),
    "Gather": (node("Gather", ["samples", "n"], axis=0), {"n": np.zeros(2**21, np.int64)}),
    "GatherND": (node("GatherND", ["samples", "n"]), {"n": np.zeros((2**21, 1), np.int64)}),
    "Mean": (node("Mean", ["samples", "n"]), {"n": np.ones((2**20, 1, 1), np.float32)}),
    "DFT": (node("DFT", ["x", "n"]), {"n": np.array(HUGE)}),
    "AffineGrid": (node("AffineGrid", ["t", "n"]), {"n": np.array([1, 1, HUGE, 2])}),
    "MelWeightMatrix": (node("MelWeightMatrix", ["n", "n", "r", "l", "h"]),
                        {"n": np.array(HUGE), "r": np.array(8), "l": np.float32(0), "h": np.float32(4)}),
    "MaxUnpool": (node("MaxUnpool", ["p", "i"], kernel_shape=[HUGE]), {"i": np.zeros((1, 2, 4), np.int64)}),
    "Col2Im": (node("Col2Im", ["p", "n", "k"]), {"n": np.array([HUGE, 1]), "k": np.array([1, 2])}),
}  # fmt: skip
SHAPED = {
    "DFT": ("x", [2, 4, 1], 20),
    "AffineGrid": ("t", [1, 2, 3], 20),
    "MaxUnpool": ("p", [1, 2, 4], 20),
    "Col2Im": ("p", [1, 2, 4], 20),
    "Upsample": ("", [], 9),
}
"""What the samples (2, 4) are reshaped to before, and the operator set."""


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_sizes_are_refused_before_memory_is_taken(case):
    made, constants = HOSTILE[case]
    name, shape, opset = SHAPED.get(case, ("", [], 20))
    samples = (2, 4) if not shape else tuple(shape)
    nodes = [node("Identity", ["samples"], [name]), made] if name else [made]
    proto = graph(nodes, samples, constants, opset=opset)
    tracemalloc.start()
    with pytest.raises(ModelError, match=f"at most {MOST_ELEMENTS:,} elements|fit its definition") as caught:
        reference_runs(proto, samples)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**30
    assert made.name in str(caught.value)


def reference_runs(proto, shape):
    """Two segments in the reference, for what is computed as it is."""
    loaded = graph_of(proto, "samples", shape, "y")
    reference.run(loaded, noise(2, int(np.prod(shape))), ["y"])


def test_many_tensors_together_are_refused():
    names = ["samples", *(f"x{i}" for i in range(20)), "y"]
    nodes = [node("Relu", [a], [b]) for a, b in pairwise(names)]
    proto = graph(nodes, (2**22,))
    proto = onnx.shape_inference.infer_shapes(proto)
    with pytest.raises(ModelError, match=f"all tensors of a model have at most {MOST_TOGETHER:,} elements"):
        onnx_model.check(proto, "m.onnx")
