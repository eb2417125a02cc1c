"""Each float operator against the examples of the ONNX standard itself."""

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference.node import node_of
from ecm_edge.forms.reference.operators import OPERATORS

from .conformance import node_cases

UNSUPPORTED = ("training", "empty_set", "precomputed_strides", "_expanded", "dropout_default_ratio")
CAST = {"Cast", "CastLike"}  # the standard's examples are of types narrower than a byte; see below


def examples(op):
    """The standard's own examples of one operator, as (attributes, inputs, outputs), None where absent."""
    for case in node_cases():
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type == op and not any(word in case.name for word in UNSUPPORTED):
            node = node_of(0, nodes[0])
            for inputs, outputs in case.data_sets:
                present = iter(inputs), iter(outputs)
                arrays = (
                    [np.asarray(next(values)) if name else None for name in names]
                    for values, names in zip(present, (node.inputs, node.outputs), strict=True)
                )
                yield node.attributes, *arrays


def runtime_outputs(op, feeds, attributes, count):
    """What onnxruntime computes for one node, whose inputs are all fed by name."""
    names = [f"y{index}" for index in range(count)]
    values = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in feeds.items()
    ]
    results = [helper.make_tensor_value_info(name, 1, None) for name in names]
    graph = helper.make_graph([helper.make_node(op, list(feeds), names, **attributes)], op, values, results)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)


@pytest.mark.parametrize("op", sorted(set(OPERATORS) - CAST))
def test_operator_computes_what_the_standard_says(op):
    compared = 0
    for attributes, inputs, outputs in examples(op):
        found = OPERATORS[op](attributes, [None if x is None else x[None] for x in inputs])
        for own, wanted in zip(found, outputs, strict=False):
            if wanted is None:
                continue
            assert own.shape[1:] == wanted.shape
            assert own.dtype == wanted.dtype
            np.testing.assert_allclose(own[0], wanted, rtol=1e-3, atol=1e-4)  # some examples give four digits
            compared += 1
    assert compared > 0


@pytest.mark.parametrize(
    "op", ["Conv", "Gemm", "MaxPool", "AveragePool", "Sigmoid", "BatchNormalization", "ReduceMean"]
)
def test_many_segments_give_what_each_gives_alone(op):
    attributes, inputs, _ = next(iter(examples(op)))
    stacked = np.stack([inputs[0], inputs[0] * np.float32(0.5), inputs[0] + np.float32(1)])
    rest = [None if x is None else x[None] for x in inputs[1:]]
    together = OPERATORS[op](attributes, [stacked, *rest])[0]
    alone = [OPERATORS[op](attributes, [x[None], *rest])[0][0] for x in stacked]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-6)


def test_cast_changes_the_type():
    assert OPERATORS["Cast"]({"to": 1}, [np.array([[2.5]], np.float16)])[0].dtype == np.float32
    assert OPERATORS["CastLike"]({}, [np.array([[2]]), np.float32([[1]])])[0].dtype == np.float32


def test_shapes_that_depend_on_the_input_are_refused():
    with pytest.raises(ModelError, match="a shape is a constant"):
        OPERATORS["Reshape"]({}, [np.zeros((3, 4)), np.array([[2, 2]] * 3)])


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("LSTM", {"activations": [b"Sigmoid", b"Tanh", b"Sine"]}, "3 activations for each direction, of affine"),
        ("GRU", {"activations": ["Tanh"]}, "2 activations for each direction"),
        ("GRU", {"direction": "sideways"}, "forward, reverse, bidirectional"),
        ("LSTM", {"input_forget": 1}, "forget gate"),
    ],
)
def test_recurrences_of_another_kind_are_refused(op, attributes, message):
    x, w, r = np.zeros((1, 2, 1, 3)), np.zeros((1, 1, 8, 3)), np.zeros((1, 1, 8, 2))
    with pytest.raises(ModelError, match=message):
        OPERATORS[op](attributes, [x, w, r])


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("linear", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_recurrences_are_those_of_onnxruntime(op, direction, linear, layout):
    rng, gates = np.random.default_rng(1), {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    directions = 2 if direction == "bidirectional" else 1
    names = ["x", "w", "r", "b", "lengths", "h0", *(["c0", "p"] if op == "LSTM" else [])]
    shapes = {"x": (6, 2, 3), "w": (directions, gates * 4, 3), "r": (directions, gates * 4, 4)}
    shapes |= {"b": (directions, 2 * gates * 4), "h0": (directions, 2, 4), "c0": (directions, 2, 4)}
    shapes |= {"p": (directions, 12)}
    shapes["lengths"] = (2,)
    feeds = {name: rng.standard_normal(shapes[name]).astype(np.float32) for name in names}
    feeds["lengths"] = np.array([6, 4], np.int32)
    attributes = {"direction": direction, "hidden_size": 4, "clip": 1.5}
    attributes |= {"linear_before_reset": linear} if op == "GRU" else {}
    wanted = runtime_outputs(op, feeds, attributes, 3 if op == "LSTM" else 2)
    turned = {
        name: feeds[name].swapaxes(0, 1) if layout and name in {"x", "h0", "c0"} else feeds[name] for name in names
    }
    found = OPERATORS[op](attributes | {"layout": layout}, [turned[name][None] for name in names])
    if layout:
        found = [found[0].transpose(0, 2, 3, 1, 4), *(state.swapaxes(1, 2) for state in found[1:])]
    for own, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(own[0], other, rtol=1e-5, atol=1e-6)


def test_recurrence_takes_many_segments_and_constant_states():
    rng = np.random.default_rng(2)
    x, w, r = (rng.standard_normal(shape).astype(np.float32) for shape in [(3, 5, 1, 2), (1, 1, 9, 2), (1, 1, 9, 3)])
    together = OPERATORS["GRU"]({}, [x, w, r])
    alone = [OPERATORS["GRU"]({}, [x[i : i + 1], w, r]) for i in range(3)]
    for index, whole in enumerate(together):
        np.testing.assert_array_equal(whole, np.concatenate([each[index] for each in alone]))


def test_pad_removes_where_sizes_are_negative():
    x, sizes = np.arange(6, dtype=np.float32).reshape(1, 6), np.array([[-2, 1]])
    assert OPERATORS["Pad"]({}, [x, sizes])[0].tolist() == [[2, 3, 4, 5, 0]]
    assert OPERATORS["Pad"]({"mode": "edge"}, [x, sizes])[0].tolist() == [[2, 3, 4, 5, 5]]
    assert OPERATORS["Pad"]({}, [x, np.array([[-3, -3]])])[0].shape == (1, 0)
    with pytest.raises(ModelError, match="no more than there is"):
        OPERATORS["Pad"]({}, [x, np.array([[-4, -3]])])
    with pytest.raises(ModelError, match="mode 'mirror'"):
        OPERATORS["Pad"]({"mode": "mirror"}, [x, sizes])
