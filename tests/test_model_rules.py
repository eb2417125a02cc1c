"""What the standard allows and nobody answers for is refused by name; what is taken answers as onnxruntime does."""

import re
import string
import sys
from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecm_edge import targets
from ecm_edge.base.errors import EcmEdgeError, InternalError, ModelError
from ecm_edge.base.records import Verdict
from ecm_edge.cli import main
from ecm_edge.firmware import answers, generate, sources
from ecm_edge.firmware.fit import fit_model
from ecm_edge.forms import cost, model_rules, onnx_model, reference
from ecm_edge.forms.model_file import open_model

from . import firmware_c, nets, onnx_fuzz

T = 16


def weights(*shape):
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=f"node_{output}", **attributes)


def model(nodes, constants, *, shape=(1, 1, T), opset=17, imports=None):
    """A model that nobody has checked."""
    value = helper.make_tensor_value_info
    inputs, outputs = [value("samples", TensorProto.FLOAT, shape)], [value("scores", TensorProto.FLOAT, (1, 2))]
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "hand", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=imports or [helper.make_opsetid("", opset)], ir_version=8)


def dense(*first, source="samples", features=T, constants=None, **options):
    """`first`, and a Flatten and a MatMul of its last output to the scores."""
    nodes = [*first, node("Flatten", [source], "f"), node("MatMul", ["f", "w"], "scores")]
    return model(nodes, {"w": weights(features, 2), **(constants or {})}, **options)


def refusal(proto, folder):
    """The message by which a file is refused, before anything but it was read; it names the file or the node."""
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError) as caught:
        generate.generate(onnx_model.load_classifier(folder / "m.onnx").proto, targets.load("host"))
    assert re.search(r"m\.onnx|'node_\w+'|which gives", caught.value.found)
    return str(caught.value)


def answered(proto, folder, *, segments=5):
    """Scores of reference and C, checked to be the same, and those of onnxruntime."""
    onnx_model.check(proto, "m.onnx")
    samples = np.random.default_rng(6).normal(size=(segments, T)).astype(np.float32)
    graph = reference.load(proto)
    wanted = reference.scores(graph, samples)
    made = generate.generate(proto, targets.load("host"))
    np.testing.assert_allclose(firmware_c.build(folder, [made]).run(0, samples)[0], wanted, rtol=1e-5, atol=1e-5)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    shape = tuple(dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim)
    runtime = [session.run(None, {"samples": one.reshape(shape)})[0].ravel() for one in samples]
    np.testing.assert_allclose(wanted, runtime, rtol=1e-4, atol=1e-5)
    return wanted


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1, "count_include_pad": 1},
        {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [2, 0, 1, 1], "ceil_mode": 1, "count_include_pad": 1},
        {"kernel_shape": [2, 2], "strides": [2, 3], "pads": [1, 1, 1, 1], "dilations": [2, 2], "ceil_mode": 1,
         "count_include_pad": 1},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "strides": [1, 2], "auto_pad": "SAME_LOWER", "count_include_pad": 1},
    ],
)  # fmt: skip
@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
def test_pools_over_two_axes_count_what_onnxruntime_counts(op, attributes, tmp_path):
    if op == "MaxPool":
        attributes = {name: value for name, value in attributes.items() if name != "count_include_pad"}
    constants = {"image": np.array([1, 1, 4, 4])}
    pool = [node("Reshape", ["samples", "image"], "x"), node(op, ["x"], "p", **attributes)]
    sized = onnx.shape_inference.infer_shapes(model(pool, constants, opset=22), data_prop=True)
    shape = next(v for v in sized.graph.value_info if v.name == "p").type.tensor_type.shape
    features = int(np.prod([dim.dim_value for dim in shape.dim]))
    answered(dense(*pool, source="p", features=features, constants=constants, opset=22), tmp_path)


def test_the_corner_of_a_padded_pool_by_hand():
    """Three windows an axis, of 3 taps from -1 on: of the first, 9 cells count and 4 hold a value."""
    attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}
    x = np.ones((1, 1, 1, 4, 4), np.float32)
    (counted,) = reference.operators.OPERATORS["AveragePool"](attributes | {"count_include_pad": 1}, [x])
    np.testing.assert_allclose(counted[0, 0, 0], [[4 / 9, 6 / 9, 2 / 6], [6 / 9, 1, 3 / 6], [2 / 6, 3 / 6, 1 / 4]])


def test_a_pool_that_runtimes_pad_otherwise_is_refused(tmp_path):
    pool = node("MaxPool", ["samples"], "p", kernel_shape=[2], dilations=[2], auto_pad="SAME_UPPER")
    assert "Export it with pads" in refusal(dense(pool, source="p", opset=22), tmp_path)


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool", "Conv"])
def test_windows_that_reach_beyond_the_padded_input_are_refused(op, tmp_path):
    """A division that rounds towards 0 finds one window there, onnx's and onnxruntime's among them."""
    inputs, more = (["samples", "k"], {}) if op == "Conv" else (["samples"], {"kernel_shape": [3]})
    wide = node(op, inputs, "p", dilations=[T // 2], strides=[3], **more)
    proto = dense(wide, source="p", features=1, constants={"k": weights(1, 1, 3)}, opset=22)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="windows lie within the padded input"):
        generate.generate(onnx_model.load_classifier(tmp_path / "m.onnx").proto, targets.load("host"))


def test_a_convolution_of_strides_beyond_its_kernel_needs_pads(tmp_path):
    """SAME would pad by less than nothing: onnxruntime then leaves out the first samples, and others do not."""
    for stride, taken in ((3, True), (6, False)):
        conv = node("Conv", ["samples", "k"], "c", strides=[stride], auto_pad="SAME_UPPER")
        proto = dense(conv, source="c", features=-(-T // stride), constants={"k": weights(1, 1, 1)})
        if taken:
            answered(proto, tmp_path)
        else:
            assert "Export it with pads" in refusal(proto, tmp_path)


def test_functions_that_double_are_refused(tmp_path):
    """Each calls the next one twice: written out, as onnx's checker does it, they are 2^30 nodes."""
    proto = dense(node("F0", ["samples"], "x", domain="own"), source="x")
    proto.opset_import.add(domain="own", version=1)
    for level in range(30):
        calls = [node(f"F{level + 1}", ["x"], "t", domain="own"), node(f"F{level + 1}", ["t"], "y", domain="own")]
        proto.functions.append(
            helper.make_function("own", f"F{level}", ["x"], ["y"], calls, [helper.make_opsetid("own", 1)])
        )
    assert "functions have at most" in refusal(proto, tmp_path)


@pytest.mark.parametrize("more", [0, 1])
def test_thousands_of_operators_are_refused(tmp_path, more):
    proto = dense(source="samples")
    copies = [node("Relu", ["samples"], f"unused_{i}") for i in range(model_rules.MOST_NODES - len(proto.graph.node))]
    proto.graph.node.extend([*copies, *[node("Relu", ["samples"], "one_more")] * more])
    if not more:
        model_rules.before_inference(proto, "m.onnx")
        return
    assert "a model has at most 4,096 operators; found 4,097 in " in refusal(proto, tmp_path)


def test_scales_of_blocks_are_applied_block_by_block(tmp_path):
    stored = np.arange(-64, 64).reshape(T, 8).astype(np.int8)
    scales = np.abs(weights(T // 4, 8)) * 0.1
    nodes = [
        node("Flatten", ["samples"], "f"),
        node("DequantizeLinear", ["q", "s"], "v", axis=0, block_size=4),
        node("MatMul", ["f", "v"], "h"),
        node("MatMul", ["h", "w"], "scores"),
    ]
    proto = model(nodes, {"q": stored, "s": scales, "w": weights(8, 2)}, opset=21)
    answered(proto, tmp_path)
    graph = reference.load(proto)
    env = reference.execute(graph, np.zeros((1, T), np.float32), {})
    np.testing.assert_array_equal(env["v"][0], stored.astype(np.float32) * np.repeat(scales, 4, axis=0))
    wrong = model(nodes, {"q": stored, "s": scales[:3], "w": weights(8, 2)}, opset=21)
    assert "found (3, 8) for (16, 8), axis 0, blocks of 4" in refusal(wrong, tmp_path)


@pytest.mark.parametrize("scale", [0.0, -0.1, np.inf, np.nan])
def test_scales_are_finite_and_positive(scale, tmp_path):
    pair = [node("QuantizeLinear", ["samples", "s", "z"], "q"), node("DequantizeLinear", ["q", "s", "z"], "x")]
    proto = dense(*pair, source="x", constants={"s": np.float32(scale), "z": np.int8(0)})
    assert re.search("finite", refusal(proto, tmp_path))


def test_scales_are_constant(tmp_path):
    largest = [node("Abs", ["samples"], "a"), node("ReduceMax", ["a"], "m", keepdims=0), node("Add", ["m", "one"], "s")]
    pair = [node("QuantizeLinear", ["samples", "s", "z"], "q"), node("DequantizeLinear", ["q", "s", "z"], "x")]
    proto = dense(*largest, *pair, source="x", constants={"one": np.float32(1), "z": np.int8(0)})
    assert "scales are constant; found 's', which depends on the input" in refusal(proto, tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_are_finite(value, tmp_path):
    spoiled = weights(T, 2)
    spoiled[3, 1] = value
    assert "weights are finite numbers" in refusal(dense(constants={"w": spoiled}), tmp_path)
    constant = node("Constant", [], "w", value=numpy_helper.from_array(spoiled))
    nodes = [constant, node("Flatten", ["samples"], "f"), node("MatMul", ["f", "w"], "scores")]
    assert "weights are finite numbers" in refusal(model(nodes, {}), tmp_path)


def test_an_infinite_bound_is_taken(tmp_path):
    clip = node("Clip", ["samples", "low", "high"], "c")
    answered(dense(clip, source="c", constants={"low": np.float32(0), "high": np.float32(np.inf)}), tmp_path)


def test_a_sum_along_another_axis_than_the_last_is_refused_and_along_the_last_is_taken(tmp_path):
    conv = node("Conv", ["samples", "k"], "c", kernel_shape=[13])
    constants = {"k": weights(4, 1, 13), "b": weights(4), "r": weights(4)}
    along_channels = node("Add", ["c", "b"], "a", broadcast=1, axis=1)
    proto = dense(conv, along_channels, source="a", constants=constants, opset=6)
    assert "opset 6" in refusal(proto, tmp_path)
    along_time = node("Add", ["c", "r"], "a", broadcast=1, axis=2)
    proto = dense(conv, along_time, source="a", constants=constants, opset=6)
    onnx_model.check(proto, "m.onnx")
    samples = np.random.default_rng(6).normal(size=(2, T)).astype(np.float32)
    kernels = np.stack([[np.correlate(s, k[0], "valid") for k in constants["k"]] for s in samples])
    hand = (kernels + constants["r"]).reshape(2, -1) @ weights(T, 2)
    np.testing.assert_allclose(reference.scores(reference.load(proto), samples), hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [0, -1, 10**9, onnx.defs.onnx_opset_version() + 1])
def test_an_opset_that_does_not_exist_is_refused(opset, tmp_path):
    assert "operator set" in refusal(dense(opset=opset), tmp_path)


def test_two_versions_of_the_standard_are_refused(tmp_path):
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx", 6)]
    assert "6 and 17" in refusal(dense(imports=imports), tmp_path)


@pytest.mark.parametrize("name", ["unknown", "_unknown", "__unknown"])
def test_an_attribute_that_no_operator_has_is_refused(name, tmp_path):
    nodes = [node("Flatten", ["samples"], "f", **{name: 1}), node("MatMul", ["f", "w"], "scores")]
    assert f"{name!r} in Flatten 'node_f'" in refusal(model(nodes, {"w": weights(T, 2)}), tmp_path)


def test_training_modes_are_refused(tmp_path):
    dropout = node("Dropout", ["samples", "ratio", "training"], "d")
    constants = {"ratio": np.float32(0.5), "training": np.array(True)}
    assert "exported for inference" in refusal(dense(dropout, source="d", constants=constants), tmp_path)
    answered(dense(dropout, source="d", constants=constants | {"training": np.array(False)}), tmp_path)
    parameters = {name: np.ones(1, np.float32) for name in "abcd"}
    norm = helper.make_node("BatchNormalization", ["samples", *"abcd"], ["n", "", ""], name="node_n", training_mode=1)
    assert "exported for inference" in refusal(dense(norm, source="n", constants=parameters), tmp_path)
    statistics = helper.make_node("BatchNormalization", ["samples", *"abcd"], ["n", *"uvxy"], name="node_n")
    assert "exported for inference" in refusal(dense(statistics, source="n", constants=parameters, opset=9), tmp_path)
    old = node("Dropout", ["samples"], "d", ratio=0.5)
    assert "is_test" in refusal(dense(old, source="d", opset=6), tmp_path)


def test_the_mask_of_a_dropout_is_all_ones(tmp_path):
    dropout = helper.make_node("Dropout", ["samples"], ["d", "mask"], name="node_d")
    cast = node("Cast", ["mask"], "m", to=TensorProto.FLOAT)
    answered(dense(dropout, cast, node("Add", ["d", "m"], "a"), source="a"), tmp_path)


def test_words_that_the_standard_does_not_know_are_refused(tmp_path):
    conv = node("Conv", ["samples", "k"], "c", auto_pad="EVIL")
    proto = dense(conv, source="c", constants={"k": weights(1, 1, 1)})
    assert "'EVIL'" in refusal(proto, tmp_path)
    proto.graph.node[0].attribute[0].s = b"\xff\xfe"
    assert "UTF-8" in refusal(proto, tmp_path)
    proto.graph.node[0].attribute[0].CopyFrom(helper.make_attribute("auto_pad", [b"\xff"]))
    assert "UTF-8" in refusal(proto, tmp_path)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    content = dense().SerializeToString().replace(b"node_f", b"n\xff\xfe_f!")
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"text in a model is UTF-8.*as name of a NodeProto in .*m\.onnx"):
        onnx_model.load_classifier(tmp_path / "m.onnx")


@pytest.mark.parametrize("groups", [0, -1, 3])
def test_groups_divide_channels(groups, tmp_path):
    conv = node("Conv", ["samples", "k"], "c", kernel_shape=[1], group=groups)
    proto = dense(conv, source="c", features=T * 4, constants={"k": weights(4, 1, 1)})
    assert "groups divide a convolution's channels" in refusal(proto, tmp_path)


@pytest.mark.parametrize("command", ["fit", "generate", "verify", "quantize"])
@pytest.mark.parametrize("kind", ["groups", "training"])
def test_a_node_that_cannot_be_is_refused_by_every_command(kind, command, tmp_path, capsys):
    if kind == "groups":
        conv = node("Conv", ["samples", "k"], "c", kernel_shape=[1], group=0)
        proto = dense(conv, source="c", features=T * 4, constants={"k": weights(4, 1, 1)})
    else:
        constants = {"r": np.float32(0.5), "t": np.array(True)}
        proto = dense(node("Dropout", ["samples", "r", "t"], "c"), source="c", features=T, constants=constants)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    np.save(tmp_path / "s.npy", np.zeros((3, 1, T), np.float32))
    words = {
        "fit": ["fit", path, "--target", "host"],
        "generate": ["firmware", "generate", path, "--target", "host", "-o", tmp_path / "out"],
        "verify": ["verify", path, "--target", "host", "--noise", "2"],
        "quantize": ["quantize", path, "--samples", tmp_path / "s.npy", "-o", tmp_path / "out"],
    }[command]
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 2
    rule = "groups divide a convolution's channels" if kind == "groups" else "Dropout is exported for inference"
    assert re.search(f"{rule}; found .*'?node_c'?", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("index", [-1, 3])
def test_one_step_of_a_sequence_is_taken(index, tmp_path):
    """The usual head of torch's recurrences, `out[:, -1]`."""
    hidden = 5
    nodes = [
        node("Transpose", ["samples"], "t", perm=[2, 0, 1]),
        helper.make_node(
            "GRU", ["t", "wx", "wh", "b"], ["h"], name="node_h", hidden_size=hidden, linear_before_reset=1
        ),
        node("Squeeze", ["h", "one"], "s"),
        node("Gather", ["s", "i"], "g", axis=0),
    ]
    constants = {
        "wx": weights(1, 3 * hidden, 1),
        "wh": weights(1, 3 * hidden, hidden),
        "b": weights(1, 6 * hidden),
        "one": np.array([1]),
        "i": np.array(index),
    }
    scores = answered(dense(*nodes, source="g", features=hidden, constants=constants), tmp_path)
    assert len(np.unique(scores[:, 0])) == len(scores)


def test_an_arena_that_the_compiler_takes_apart_fits(tmp_path):
    pool = node("AveragePool", ["samples"], "p", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1)
    onnx_model.save(dense(pool, source="p", features=9, shape=(1, 1, 5, 5)), tmp_path / "m.onnx")
    (form,) = fit_model(tmp_path / "m.onnx", targets.load("loongson-2k0500"), ["float32"]).forms
    gate = {gate.name: gate for gate in form.gates}["arena_off_plan"]
    assert (gate.verdict, form.arena_bytes) == (Verdict.PASS, 0)
    assert "40 bytes planned" in gate.detail


def test_a_stated_size_is_that_of_the_weights(tmp_path):
    conv = node("Conv", ["samples", "k"], "c", kernel_shape=[2])
    proto = dense(conv, source="c", features=T - 1, constants={"k": weights(1, 1, 1)})
    assert "in Conv 'node_c'" in refusal(proto, tmp_path)


def test_a_nodes_tensor_in_another_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.bin").write_bytes(bytes(T * 2 * 4))
    tensor = numpy_helper.from_array(weights(T, 2))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    constant = node("Constant", [], "w", value=tensor)
    nodes = [constant, node("Flatten", ["samples"], "f"), node("MatMul", ["f", "w"], "scores")]
    assert "Constant 'node_w'" in refusal(model(nodes, {}), tmp_path)


def doublings(count):
    names = ["samples", *(f"x{i}" for i in range(count))]
    joined = [node("Concat", [a, a], b, axis=2) for a, b in pairwise(names)]
    return dense(*joined, node("GlobalMaxPool", [names[-1]], "g"), source="g", features=1)


@pytest.mark.parametrize(
    "proto",
    [
        dense(node("GlobalMaxPool", ["samples"], "g"), source="g", features=1, shape=(1, 1, 10**8)),
        dense(node("Conv", ["samples", "k"], "c", pads=[10**9] * 2, strides=[10**9]), source="c", features=3,
              constants={"k": weights(1, 1, 3)}),
        dense(node("Pad", ["samples", "p"], "c"), node("GlobalMaxPool", ["c"], "g"), source="g", features=1,
              constants={"p": np.array([0, 0, 10**9] * 2)}),
        dense(node("ConstantOfShape", ["p"], "z"), node("ReduceMax", ["z"], "r", keepdims=0),
              node("Add", ["samples", "r"], "a"), source="a", constants={"p": np.array([1, 1, 10**11])}),
        doublings(28),
    ],
    ids=["samples", "pads", "Pad", "ConstantOfShape", "Concat"],
)  # fmt: skip
def test_sizes_are_bounded_before_memory_is_taken(proto, tmp_path):
    assert "at most 4,194,304 elements" in refusal(proto, tmp_path)


def chain(op, count, shape):
    names = ["samples", *(f"x{i}" for i in range(count))]
    return dense(*(node(op, [a], b) for a, b in pairwise(names)),
                 node("GlobalMaxPool", [names[-1]], "g"), source="g", features=shape[1], shape=shape)  # fmt: skip


SLOW = {
    "33,554,432 elements; found": chain("Sin", 40, (1, 1, 2**20)),
    "1,073,741,824 MACs; found more, up to Conv 'node_c'": dense(
        node("Conv", ["samples", "k"], "c", pads=[2**19] * 2), node("GlobalMaxPool", ["c"], "g"),
        source="g", features=1, constants={"k": weights(1, 1, 2**20 + 1)}, shape=(1, 1, 2**20),
    ),
    "65,536 steps; found 1,048,576 in LSTM": dense(
        node("Transpose", ["samples"], "t", perm=[2, 0, 1]),
        helper.make_node("LSTM", ["t", "lw", "lr"], ["", "h"], hidden_size=2),
        source="h", features=2, constants={"lw": weights(1, 8, 1), "lr": weights(1, 8, 2)}, shape=(1, 1, 2**20),
    ),
    "4,194,304 elements; found 'r'": dense(
        node("Range", ["a", "b", "a"], "r"), node("Cast", ["r"], "rf", to=1),
        node("ReduceSum", ["rf"], "s", keepdims=0),
        node("Add", ["samples", "s"], "c"), node("GlobalMaxPool", ["c"], "g"),
        source="g", features=1, constants={"a": np.int64(1), "b": np.int64(10**10)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("found", SLOW)
def test_work_is_bounded_before_anything_is_computed(found, tmp_path):
    assert found in str(refusal(SLOW[found], tmp_path))


def test_what_inference_cannot_see_is_bounded_where_it_is_computed(monkeypatch):
    """A local response is written as others, of which inference knows nothing."""
    proto = chain("LRN", 3, (1, 4, 40))
    for each in proto.graph.node[:3]:
        each.attribute.append(helper.make_attribute("size", 3))
    monkeypatch.setattr("ecm_edge.forms.reference.rewriting.MOST_TOGETHER", 2000)
    with pytest.raises(ModelError, match="at most 2,000 elements; found more, up to LRN 'node_x1"):
        cost.count(proto)


def test_the_largest_size_is_taken():
    model_rules.bounded((model_rules.MOST_ELEMENTS,))
    with pytest.raises(ModelError, match="at most 4,194,304 elements"):
        model_rules.bounded((2, model_rules.MOST_ELEMENTS))


def test_long_graphs_take_work_by_their_length():
    def calls(count):
        names = ["samples", *(f"x{i}" for i in range(count))]
        proto = dense(*(node("Softmax", [a], b) for a, b in pairwise(names)), source=names[-1])
        made = 0

        def counted(_frame, event, _argument):
            nonlocal made
            made += event in {"call", "c_call"}

        sys.setprofile(counted)
        try:
            onnx_model.check(proto, "long")
            cost.count(proto)
            generate.generate(proto, targets.load("host"))
        finally:
            sys.setprofile(None)
        return made

    calls(10)
    assert calls(400) < 5 * calls(100)  # four times by length, sixteen by its square


def test_tensors_that_all_live_together_are_refused():
    lives = dict.fromkeys(range(3000), (0, 1))
    with pytest.raises(ModelError, match="alive at the same time"):
        cost.alive_together(lives)
    assert cost.alive_together({"a": (0, 1), "b": (1, 2), "c": (2, 2)}) == {"a": ["b"], "b": ["a", "c"], "c": ["b"]}


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_macs_of_a_recurrence_by_hand(op, gates):
    """96 units over 200 steps of one sample: each step multiplies gates x 96 rows of 1 + 96 weights."""
    steps, hidden = 200, 96
    nodes = [
        node("Transpose", ["samples"], "t", perm=[2, 0, 1]),
        helper.make_node(op, ["t", "wx", "wh", "b"], ["", "h"], name="node_h", hidden_size=hidden),
    ]
    constants = {
        "wx": weights(1, gates * hidden, 1),
        "wh": weights(1, gates * hidden, hidden),
        "b": weights(1, 2 * gates * hidden),
    }
    proto = dense(*nodes, source="h", features=hidden, constants=constants, shape=(1, 1, steps))
    recurrence = {4: 7_449_600, 3: 5_587_200}[gates]
    counted = {layer.op_type: layer.macs for layer in cost.count(proto).layers}
    assert counted == {"Transpose": 0, op: recurrence, "Flatten": 0, "MatMul": 192}
    made = generate.generate(proto, targets.load("host"))
    assert sum(layer.macs for layer in made.layers) == recurrence + 192


NAMES = ["*\\\r/ int injected; /*??/", "*/", "??/", "a\nb", "\\", "é \u202e\x1b[31m", "/*/ */*", "%s{0}"]


@pytest.mark.parametrize("name", NAMES)
def test_no_text_of_a_model_ends_a_comment(name, tmp_path):
    """Names of nodes, tensors and the file, and every other text that a model has."""
    nodes = [
        helper.make_node("Conv", ["samples", f"k{name}"], [f"c{name}"], name=name, kernel_shape=[3]),
        helper.make_node("Exp", [f"c{name}"], [f"e{name}"], name=f"{name}{name}"),
        helper.make_node("Flatten", [f"e{name}"], [f"f{name}"], name=f"flat{name}"),
        helper.make_node("MatMul", [f"f{name}", f"w{name}"], ["scores"], name=name),
    ]
    proto = model(nodes, {f"k{name}": weights(2, 1, 3), f"w{name}": weights(28, 2)})
    proto.producer_name = proto.producer_version = proto.doc_string = proto.graph.doc_string = name
    proto.graph.name = proto.graph.node[0].doc_string = name
    proto.metadata_props.add(key=name, value=name)
    proto.metadata_props.add(key="ecm_edge.form", value=name)
    onnx_model.check(proto, "m.onnx")
    made = generate.generate(proto, targets.load("host"), model=f"{name}.onnx")
    for file in ("model.c", "model.h", "ecm_model.h"):
        text = made.files[file]
        assert set(text) <= set(string.printable[:95]) - {"\\"} | {"\n"}
        assert "??" not in text
        assert text.count("/*") == text.count("*/")
    samples = np.random.default_rng(7).normal(size=(2, T)).astype(np.float32)
    wanted = reference.scores(reference.load(proto), samples)
    np.testing.assert_allclose(firmware_c.build(tmp_path, [made]).run(0, samples)[0], wanted, rtol=1e-5)


@pytest.fixture
def other_length(tmp_path):
    """A data set of 160 samples a segment, and a model for 1,000."""
    nets.dataset(tmp_path / "data")
    conv = [node("Conv", ["samples", "k"], "c", kernel_shape=[9]), node("GlobalMaxPool", ["c"], "g")]
    proto = dense(*conv, source="g", features=4, constants={"k": weights(4, 1, 9)}, shape=(1, 1, 1000))
    onnx_model.save(proto, tmp_path / "m.onnx")
    return tmp_path


@pytest.mark.parametrize("command", ["verify", "quantize"])
def test_data_of_another_length_are_refused_with_both(command, other_length, capsys):
    words = [command, str(other_length / "m.onnx"), "--data", str(other_length / "data")]
    words += ["--target", "host"] if command == "verify" else ["-o", str(other_length / "out")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert re.search(r"160 samples in .* for .*1,?000.* in .*m\.onnx", capsys.readouterr().err)
    assert not (other_length / "out").exists()


def wrong_pool(monkeypatch):
    """Generated code that adds where it should take the largest."""
    from ecm_edge.firmware.operators import pooling

    monkeypatch.setattr(pooling, "_largest", lambda _: pooling.Kind("float", "0", "{a} += {v};"))


def pooled(folder):
    pool = node("MaxPool", ["samples"], "p", kernel_shape=[2], strides=[2])
    onnx_model.save(dense(pool, source="p", features=T // 2), folder / "m.onnx")
    return folder / "m.onnx"


def test_wrong_code_is_seen_on_noise_and_not_written(tmp_path, monkeypatch):
    path, host = pooled(tmp_path), targets.load("host")
    right = sources.generate_model(open_model(path), host, tmp_path / "right")
    assert [(gate.name, gate.verdict) for gate in right.gates] == [(answers.GATE, Verdict.PASS)]
    assert (tmp_path / "right" / "model.c").exists()
    wrong_pool(monkeypatch)
    wrong = sources.generate_model(open_model(path), host, tmp_path / "wrong")
    all_of_them = answers.SEGMENTS * len(answers.SCALES)
    assert (wrong.verdict, wrong.files, wrong.gates[0].value) == (Verdict.FAIL, {}, all_of_them)
    assert not (tmp_path / "wrong").exists()


def test_wrong_code_does_not_fit(tmp_path, monkeypatch, capsys):
    wrong_pool(monkeypatch)
    with pytest.raises(SystemExit) as ended:
        main(["fit", str(pooled(tmp_path)), "--target", "host", "--form", "float32"])
    assert ended.value.code == 1
    assert re.search(rf"FAIL +{answers.GATE}", capsys.readouterr().out)


def test_without_a_compiler_the_code_is_written_and_said_to_be_not_tried(tmp_path, monkeypatch):
    path = pooled(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    record = sources.generate_model(open_model(path), targets.load("host"), tmp_path / "out")
    assert (record.verdict, record.gates[0].verdict) == (Verdict.NOT_RUN, Verdict.NOT_RUN)
    assert "model.c" in record.files


def test_mutated_files_are_taken_or_refused(tmp_path):
    outcomes = [onnx_fuzz.attempt(onnx_fuzz.mutate(seed), tmp_path) for seed in range(120)]
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert all(isinstance(outcome, EcmEdgeError) for outcome in refused)
    assert 0 < len(refused) < len(outcomes)


def failing(*_):
    raise IndexError("a fault of ours")


def test_a_fault_of_ours_is_no_refusal(monkeypatch):
    """Exp is valid and onnxruntime computes it, so that the model is not at fault."""
    proto = dense(node("Exp", ["samples"], "c"), source="c")
    monkeypatch.setitem(reference.operators.OPERATORS, "Exp", failing)
    with pytest.raises(InternalError, match="what onnxruntime can: IndexError: a fault of ours in Exp 'node_c'"):
        cost.count(proto)


def test_a_fault_of_ours_in_a_group_is_no_refusal(monkeypatch):
    proto = nets.qdq_net(np.random.default_rng(3))
    monkeypatch.setattr("ecm_edge.forms.reference.integers._accumulate", failing)
    with pytest.raises(InternalError, match="Conv 'node_conv'"):
        reference.scores(reference.load(proto), np.zeros((1, nets.T), np.float32))


def test_a_node_that_fits_no_operator_is_refused():
    """The shape is not inferred: it depends on the samples' values as far as inference knows."""
    nodes = [node("Reshape", ["samples", "rows"], "c"), node("ReduceMax", ["c"], "m", keepdims=0)]
    proto = dense(*nodes, source="m", constants={"rows": np.array([7, 9])})
    with pytest.raises(ModelError, match=r"fit its definition; found .* in Reshape 'node_c'"):
        cost.count(proto)


def test_a_shuffled_row_is_put_in_order_for_weights_beyond_8_bits(tmp_path):
    """Behind a convolution a row of integers lies channels last; weights of 9 bits go through loops over its axes."""
    proto = nets.qdq_net(np.random.default_rng(3))
    zero = next(tensor for tensor in proto.graph.initializer if tensor.name == "g_z")
    zero.CopyFrom(onnx.numpy_helper.from_array(np.array([-9, -9], np.int8), "g_z"))
    graph = reference.load(proto)
    c = firmware_c.build(tmp_path, [firmware_c.generate(graph)]).run(0, nets.segments(6))[0]
    wanted = reference.scores(graph, nets.segments(6))
    assert np.array_equal(c, wanted)
    assert len(np.unique(wanted)) > 6
