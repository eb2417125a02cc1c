"""Counts against layers worked by hand, onnx's own shapes, and plans checked for overlap."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.candidate import networks
from ecm_edge.forms import cost
from ecm_edge.forms.cost import Lifetime
from ecm_edge.forms.export import to_onnx
from ecm_edge.forms.simplify import simplify


def graph(nodes, shape, outputs, weights):
    """A checked model from nodes, one input `x`, outputs with shapes and weights by name."""
    value = helper.make_tensor_value_info
    arrays = {name: w if isinstance(w, np.ndarray) else np.ones(w, np.float32) for name, w in weights.items()}
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    made = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, shape)],
        [value(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
        tensors,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model)
    return model


def test_convolution_by_hand():
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2], name="conv")
    counted = cost.count(graph([node], (1, 3, 11), {"y": (1, 4, 4)}, {"w": (4, 3, 5), "b": (4,)}))
    assert counted.macs == 4 * 4 * 3 * 5
    assert counted.parameters == 4 * 3 * 5 + 4
    assert counted.weight_bytes == 4 * counted.parameters


def test_grouped_convolution_by_hand():
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=4, dilations=[2], pads=[2, 2])
    counted = cost.count(graph([node], (1, 4, 10), {"y": (1, 4, 10)}, {"w": (4, 1, 3)}))
    assert counted.macs == 4 * 10 * 1 * 3


def test_gemm_and_matmul_by_hand():
    nodes = [helper.make_node("Gemm", ["x", "w"], ["h"], transB=1), helper.make_node("MatMul", ["h", "v"], ["y"])]
    counted = cost.count(graph(nodes, (1, 7), {"y": (1, 2)}, {"w": (5, 7), "v": (5, 2)}))
    assert [layer.macs for layer in counted.layers] == [7 * 5, 5 * 2]


@pytest.mark.parametrize(("operator", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_a_recurrent_layer_multiplies_every_weight_at_each_step(operator, gates):
    node = helper.make_node(operator, ["x", "w", "r"], ["y"], hidden_size=5)
    weights = {"w": (1, gates * 5, 3), "r": (1, gates * 5, 5)}
    counted = cost.count(graph([node], [7, 1, 3], {"y": [7, 1, 1, 5]}, weights))
    assert counted.macs == 7 * gates * 5 * (3 + 5)


def test_elementwise_work_has_no_macs_and_reshape_constants_are_no_weights():
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Reshape", ["h", "s"], ["y"])]
    counted = cost.count(graph(nodes, (1, 2, 3), {"y": (1, 6)}, {"s": np.array([1, 6])}))
    assert (counted.macs, counted.parameters, counted.weight_bytes) == (0, 0, 0)


def test_the_arena_of_a_chain_is_its_two_largest_neighbours():
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in ("xa", "ab", "by")]
    counted = cost.count(graph(nodes, (1, 100), {"y": (1, 100)}, {}))
    assert counted.arena_bytes == counted.peak_live_bytes == 2 * 400


def test_a_skip_keeps_its_tensor_alive():
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    counted = cost.count(graph(nodes, (1, 100), {"y": (1, 100)}, {}))
    assert [layer.live_bytes for layer in counted.layers] == [800, 800, 1200]


def test_views_take_no_bytes_of_their_own():
    nodes = [helper.make_node("Flatten", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    counted = cost.count(graph(nodes, (1, 4, 25), {"y": (1, 100)}, {}))
    assert counted.arena_bytes == 800


def test_a_dynamic_shape_is_refused():
    model = graph([helper.make_node("Relu", ["x"], ["y"])], (1, "T"), {"y": (1, "T")}, {})
    with pytest.raises(ModelError, match="static shapes; found a dynamic dimension in 'x'"):
        cost.count(model)


def exported(family, params):
    """The simplified graph of a family's net."""
    torch.manual_seed(0)
    segment = np.random.default_rng(0).standard_normal((1, 1250)).astype(np.float32)
    return simplify(to_onnx(networks.build(family, params, 1250), 1250), segment)[0]


AFNET = [("afnet", {"channel_factor": 4, "head_factor": 2}, 463_100)]
DEMO_LIKE = [("afnet", {"channel_factor": 4, "head_factor": 2, "squeeze_excite": False, "activation": "relu"}, 462_460)]


@pytest.mark.parametrize(("family", "params", "macs"), AFNET + DEMO_LIKE)
def test_the_seed_works_net_has_the_macs_that_others_counted(family, params, macs):
    assert cost.count(exported(family, params)).macs == macs


def test_shapes_are_those_that_onnx_infers():
    model = exported("tcn", {"channels": 8, "depth": 3, "kernel": 5})
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in [*inferred.value_info, *inferred.output]
    }
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    assert [layer.output_shape for layer in cost.count(model).layers] == [shapes[node.output[0]] for node in nodes]


lives = st.lists(
    st.tuples(st.integers(1, 64), st.integers(0, 9), st.integers(0, 5)).map(lambda t: (8 * t[0], t[1], t[1] + t[2])),
    max_size=14,
)


@given(lives)
def test_no_two_living_buffers_share_a_byte(drawn):
    intervals = [Lifetime(str(i), *life) for i, life in enumerate(drawn)]
    offsets = cost.plan(intervals)
    for a in intervals:
        for b in intervals:
            together = a.name < b.name and a.first <= b.last and b.first <= a.last
            apart = offsets[a.name] + a.size <= offsets[b.name] or offsets[b.name] + b.size <= offsets[a.name]
            assert apart or not together


@given(lives)
def test_a_plan_is_no_smaller_than_what_lives_at_once(drawn):
    intervals = [Lifetime(str(i), *life) for i, life in enumerate(drawn)]
    offsets = cost.plan(intervals)
    arena = max((offsets[i.name] + i.size for i in intervals), default=0)
    peak = max((sum(i.size for i in intervals if i.first <= step <= i.last) for step in range(15)), default=0)
    assert peak <= arena <= sum(i.size for i in intervals)
