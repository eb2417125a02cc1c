"""MACs and weights of every kind of operator that multiplies, each figure worked by hand."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.candidate.candidate import FORM_FILES
from ecm_edge.forms import cost, onnx_model

SHELVES = Path(__file__).parents[1] / "data" / "reference"


def counted(nodes, shape, constants=(), opset=20):
    """The cost of a graph from samples of a shape to "y"."""
    tensors = [v if isinstance(v, TensorProto) else numpy_helper.from_array(np.asarray(v), k) for k, v in constants]
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        nodes, "g", [value("samples", TensorProto.FLOAT, shape)], [value("y", TensorProto.FLOAT, None)], tensors
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return cost.count(helper.make_model(body, opset_imports=opsets, ir_version=9))


def w(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def node(op, inputs, output="y", **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


def recurrent(op, gates, *, peepholes=False, **attributes):
    """7 steps of 2 sequences of 3 values; 5 hidden units; in both directions."""
    names = ["samples", "w", "r", *(["", "", "", "", "p"] if peepholes else [])]
    made = helper.make_node(op, names, ["y"], hidden_size=5, direction="bidirectional", **attributes)
    constants = [("w", w(2, gates * 5, 3)), ("r", w(2, gates * 5, 5)), *([("p", w(2, 15))] if peepholes else [])]
    return [made], (7, 2, 3), constants


RECURRENT = 7 * 2 * 2 * 5 * (3 + 5)  # steps, sequences, directions, units, weights of a unit

KINDS = {
    "Conv of two axes": (
        [node("Conv", ["samples", "k"], group=2, strides=[2, 1])], (1, 4, 9, 8), [("k", w(6, 2, 3, 3))],
        6 * 4 * 6 * 2 * 9,
    ),
    "ConvTranspose, over samples with zeros between them": (
        [node("ConvTranspose", ["samples", "k"], strides=[2])], (1, 4, 10), [("k", w(4, 3, 5))],
        3 * (2 * 9 + 5) * 4 * 5,
    ),
    "Gemm of a transposed factor": (
        [node("Gemm", ["samples", "k", "b"], transA=1, alpha=0.5)], (4, 3), [("k", w(4, 6)), ("b", w(6))], 3 * 6 * 4,
    ),
    "MatMul of two activations": (
        [node("Transpose", ["samples"], "t", perm=[0, 2, 1]), node("MatMul", ["samples", "t"])], (2, 5, 7), [],
        2 * 5 * 5 * 7,
    ),
    "MatMul by a vector": ([node("MatMul", ["samples", "k"])], (5, 7), [("k", w(7))], 5 * 7),
    "LSTM": (*recurrent("LSTM", 4), 4 * RECURRENT),
    "LSTM with peepholes": (*recurrent("LSTM", 4, peepholes=True), 4 * RECURRENT + 7 * 2 * 2 * 15),
    "GRU": (*recurrent("GRU", 3, linear_before_reset=1), 3 * RECURRENT),
    "RNN": (*recurrent("RNN", 1), RECURRENT),
    "Einsum": ([node("Einsum", ["samples", "k"], equation="bct,tf->bfc")], (2, 3, 7), [("k", w(7, 4))], 2 * 4 * 3 * 7),
    "Attention": (
        [helper.make_node("Attention", ["samples", "samples", "samples"], ["y"])], (1, 2, 6, 4), [],
        2 * 2 * 6 * 6 * 4,
    ),
    "LayerNormalization, elementwise": (
        [node("LayerNormalization", ["samples", "s", "b"])], (1, 6, 50), [("s", w(50)), ("b", w(50))], 0,
    ),
    "GroupNormalization, elementwise": (
        [node("GroupNormalization", ["samples", "s", "b"], num_groups=2)], (1, 6, 50), [("s", w(6)), ("b", w(6))], 0,
    ),
    "LRN, elementwise": ([node("LRN", ["samples"], size=3)], (1, 6, 5, 5), [], 0),
    "Resize by neighbours": (
        [node("Resize", ["samples", "", "s"], mode="nearest")], (1, 2, 5), [("s", np.float32([1, 1, 2]))], 0,
    ),
    "Resize by lines, two samples for each": (
        [node("Resize", ["samples", "", "s"], mode="linear")], (1, 2, 5), [("s", np.float32([1, 1, 2]))], 2 * 10 * 2,
    ),
    "a product by hand": (
        [node("Mul", ["samples", "k"], "m"), node("Transpose", ["m"], "t"), node("ReduceSum", ["t"])],
        (1, 20), [("k", w(1, 20))], 20,
    ),
    "products that are added": (
        [node("Mul", ["samples", "k"], "m"), node("Mul", ["samples", "l"], "n"), node("Add", ["m", "n"])],
        (1, 20), [("k", w(1, 20)), ("l", w(1, 20))], 40,
    ),
    "a gate": ([node("Sigmoid", ["samples"], "g"), node("Mul", ["samples", "g"])], (1, 20), [], 0),
    "a product of constants, computed before": (
        [node("MatMul", ["k", "k"], "m"), node("Add", ["samples", "m"])], (4, 4), [("k", w(4, 4))], 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_macs_by_hand(kind):
    nodes, shape, constants, macs = KINDS[kind]
    assert counted(nodes, shape, constants, opset=23 if "Attention" in kind else 21).macs == macs


def bytes_of(*shape):
    return np.random.default_rng(0).integers(0, 100, shape).astype(np.int8)


SCALES = [("s", np.float32(0.1)), ("z", np.uint8(3)), ("v", np.float32(0.02)), ("o", np.int8(0))]
QUANTISED = node("QuantizeLinear", ["samples", "s", "z"], "q")
REAL = node("DequantizeLinear", ["c", "s", "z"])
INTEGERS = {
    "QLinearConv": (
        helper.make_node("QLinearConv", ["q", "s", "z", "k", "v", "o", "s", "z", "b"], ["c"]),
        (1, 2, 10), [("k", bytes_of(3, 2, 5)), ("b", np.zeros(3, np.int32))],
        3 * 6 * 2 * 5,
    ),
    "QLinearMatMul": (
        helper.make_node("QLinearMatMul", ["q", "s", "z", "k", "v", "o", "s", "z"], ["c"]),
        (3, 8), [("k", bytes_of(8, 4))], 3 * 4 * 8,
    ),
    "QGemm": (
        helper.make_node("QGemm", ["q", "s", "z", "k", "v", "o", "b", "s", "z"], ["c"], domain="com.microsoft"),
        (3, 8), [("k", bytes_of(8, 4)), ("b", np.zeros(4, np.int32))], 3 * 4 * 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("op", INTEGERS)
def test_products_of_integers_by_hand(op):
    """A name is counted once a node: scale and zero point of input and output are the same two here."""
    product, shape, constants, macs = INTEGERS[op]
    found = counted([QUANTISED, product, REAL], shape, SCALES + constants)
    assert [layer.macs for layer in found.layers] == [0, macs, 0]
    weights = sum(np.asarray(value).nbytes for _, value in constants)
    assert found.layers[1].weight_bytes == weights + 2 * (4 + 1)


@pytest.mark.parametrize(
    ("op", "shape", "k", "macs"),
    [("MatMulInteger", (3, 8), (8, 4), 3 * 4 * 8), ("ConvInteger", (1, 2, 10), (3, 2, 5), 3 * 6 * 2 * 5)],
)
def test_sums_of_integers_by_hand(op, shape, k, macs):
    nodes = [QUANTISED, node(op, ["q", "k", "z"], "c"), node("Cast", ["c"], to=1)]
    found = counted(nodes, shape, [*SCALES, ("k", bytes_of(*k))])
    assert [layer.macs for layer in found.layers] == [0, macs, 0]
    assert found.layers[1].weight_bytes == np.prod(k) + 1


def test_an_operator_of_which_nothing_is_known_is_refused_by_name():
    with pytest.raises(ModelError, match=r"NonZero.*'secret'"):
        counted([node("NonZero", ["samples"], name="secret")], (3, 3))


def test_weights_in_constant_nodes_are_counted():
    constant = node("Constant", [], "k", value=numpy_helper.from_array(w(8, 100)))
    found = counted([constant, node("MatMul", ["samples", "k"])], (1, 8))
    assert (found.parameters, found.weight_bytes) == (800, 3200)


def test_weights_in_a_branch_are_counted():
    tensor = numpy_helper.from_array(w(8, 100), "k")
    value = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    branches = [helper.make_graph([node("MatMul", ["samples", "k"], "z")], "b", [], [value], [tensor])]
    branches.append(helper.make_graph([node("Identity", ["samples"], "z")], "o", [], [value]))
    chosen = helper.make_node("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1])
    found = counted([chosen], (1, 8), [("yes", np.bool_(1))])
    assert (found.parameters, found.weight_bytes, found.macs) == (801, 3201, 800)


def test_constants_made_in_the_graph_count_as_what_they_are():
    nodes = [node("Expand", ["one", "shape"], "k"), node("Mul", ["samples", "k"])]
    found = counted(nodes, (1, 1000), [("one", w(1)), ("shape", np.array([1, 1000]))])
    assert (found.parameters, found.weight_bytes) == (1000, 4000)


def test_weights_count_at_each_node_that_reads_them_as_the_generated_code_has_them():
    nodes = [node("MatMul", ["samples", "k"], "h"), node("MatMul", ["h", "k"])]
    assert counted(nodes, (1, 20), [("k", w(20, 20))]).weight_bytes == 2 * 1600


STORED = {"int8": (np.int8, 1), "float16": (np.float16, 2)}


@pytest.mark.parametrize("kind", STORED)
def test_weights_have_the_bytes_in_which_they_are_stored(kind):
    dtype, item_bytes = STORED[kind]
    cast = node("Cast", ["k"], "c", to=1)
    found = counted([cast, node("MatMul", ["samples", "c"])], (1, 8), [("k", w(8, 100).astype(dtype))])
    assert (found.parameters, found.weight_bytes) == (800, 800 * item_bytes)


def test_two_weights_of_4_bits_are_one_byte():
    k = helper.make_tensor("k", TensorProto.INT4, [8, 5], np.ones(40, np.int8))
    made = node("DequantizeLinear", ["k", "s"], "c")
    constants = [("k", k), ("s", np.float32(0.1))]
    assert counted([made, node("MatMul", ["samples", "c"])], (1, 8), constants, opset=21).weight_bytes == 20 + 4


def test_what_the_shelves_count_stays():
    """The networks of data/reference, products of statistics not among their MACs."""
    shelf = sorted(SHELVES.glob("*/entries/*/model.simplified.onnx"))
    found = {(c.macs, c.parameters) for c in map(cost.count, map(onnx_model.load_proto, shelf))}
    assert found == {(186_800, 2292), (973_160, 12_116)}


def test_an_int8_form_has_as_many_parameters_as_the_float_network():
    """Scales and zero points of its activations and weights are bytes of it, but no parameters."""
    for folder in (SHELVES / "nucleo-l432kc/entries/95-91", SHELVES / "loongson-2k0500/entries/96-92"):
        network, int8 = (cost.count(onnx_model.load_proto(folder / FORM_FILES[form])) for form in ("float32", "int8"))
        assert int8.parameters == network.parameters
        assert int8.weight_bytes > int8.parameters  # a byte for each weight, 4 for a bias or a scale


def test_scales_of_an_operator_on_integers_are_no_parameters():
    constants = [("s", np.float32(0.1)), ("z", np.uint8(3)), ("k", w(8, 100).astype(np.uint8))]
    quantised = node("QuantizeLinear", ["samples", "s", "z"], "q")
    product = node("QLinearMatMul", ["q", "s", "z", "k", "s", "z", "s", "z"], "p")
    found = counted([quantised, product, node("DequantizeLinear", ["p", "s", "z"])], (1, 8), constants)
    assert (found.parameters, found.weight_bytes) == (800, 3 * 5 + 800)
