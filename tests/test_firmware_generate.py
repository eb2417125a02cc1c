"""What the generator takes and what it refuses: other people's graphs, odd names, odd numbers."""

import doctest
import importlib
import pkgutil

import numpy as np
import onnx
import onnx.version_converter
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import ecm_edge.firmware
from ecm_edge import targets
from ecm_edge.base.errors import ModelError, OutputError
from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.firmware import generate, literals
from ecm_edge.firmware.operators.tables import OPERATORS
from ecm_edge.forms import export, onnx_model, reference
from ecm_edge.forms.reference.graph import graph_of
from ecm_edge.forms.reference.rewriting import KNOWN, SUPPORTED

from . import drawn, firmware_c, nets

T = 12
NEWEST = onnx.defs.onnx_opset_version()


def model(nodes, constants, *, shape=(1, 1, T), outputs=(("scores", (1, 2)),), opset=20):
    """A model of one input that onnx's checker accepts."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    given_ = [helper.make_tensor_value_info("samples", TensorProto.FLOAT, shape)]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs]
    graph = helper.make_graph(nodes, "hand", given_, results, tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def head(source, features, *, name="scores"):
    """Flatten and Gemm to two scores, and their constants."""
    nodes = [nets.node("Flatten", [source], "flat"), nets.node("Gemm", ["flat", "g", "h"], name, transB=1)]
    weights = np.random.default_rng(3).normal(size=(2, features)).astype(np.float32)
    return nodes, {"g": weights, "h": np.float32([0.1, -0.2])}


def noise(count=3, samples=T):
    return np.random.default_rng(4).normal(size=(count, samples)).astype(np.float32)


def run(proto, samples, folder, **options):
    """Scores of the C of a classifier."""
    made = generate.generate(proto, targets.load("host"))
    return firmware_c.build(folder, [made], **options).run(0, samples)[0]


def holds(proto, folder, samples=None):
    """The C gives what the reference gives."""
    samples = noise() if samples is None else samples
    wanted = reference.scores(reference.load(proto), samples)
    np.testing.assert_allclose(run(proto, samples, folder), wanted, rtol=1e-5, atol=1e-6)


def test_what_the_reference_computes_can_be_made_of_c():
    constants = {"Constant", "ConstantOfShape", "Range", "Shape", "Size"}  # never depend on the samples
    assert KNOWN - constants == set(OPERATORS)


@pytest.mark.parametrize("op", ["Bernoulli", "RandomNormalLike"])
def test_an_unknown_operator_is_one_error_that_names_the_node(tmp_path, op):
    nodes, constants = head("x", T)
    proto = model([nets.node(op, ["samples"], "x"), *nodes], constants)
    with pytest.raises(ModelError, match=f"{len(SUPPORTED)} operators can be computed.*{op} 'node_x'"):
        generate.write(generate.generate(proto, targets.load("host")), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_depend_on_the_samples_are_refused_by_name():
    nodes, constants = head("x", 1)
    proto = model([nets.node("Conv", ["samples", "samples"], "x"), *nodes], constants)
    with pytest.raises(ModelError, match=r"constant.*Conv 'node_x'"):
        generate.generate(proto, targets.load("host"))


def test_a_cast_of_samples_is_refused_by_name():
    nodes, constants = head("x", T)
    casts = [nets.node("Cast", ["samples"], "d", to=TensorProto.DOUBLE), nets.node("Cast", ["d"], "x", to=1)]
    with pytest.raises(ModelError, match="Cast 'node_d'"):
        generate.generate(model([*casts, *nodes], constants), targets.load("host"))


def test_a_free_batch_is_one_segment(tmp_path):
    nodes, constants = head("samples", T)
    holds(model(nodes, constants, shape=("N", 1, T), outputs=[("scores", ("N", 2))]), tmp_path)


def test_a_free_length_is_refused():
    nodes, constants = [nets.node("ReduceMean", ["samples"], "m"), *head("m", 1)[0]], head("m", 1)[1]
    with pytest.raises(ModelError, match="its shape is fixed"):
        generate.generate(model(nodes, constants, shape=(1, 1, "T")), targets.load("host"))


def test_of_two_outputs_the_scores_are_generated(tmp_path):
    nodes, constants = head("x", T)
    nodes = [nets.node("Relu", ["samples"], "x"), *nodes, nets.node("Exp", ["x"], "features")]
    proto = model(nodes, constants, outputs=[("features", (1, 1, T)), ("scores", (1, 2))])
    holds(proto, tmp_path)
    assert "exp" not in generate.generate(proto, targets.load("host")).files["model.c"].lower().replace("export", "")


def test_float64_weights_behind_a_cast(tmp_path):
    nodes, constants = head("samples", T)
    constants = {"g64": constants["g"].astype(np.float64), "h": constants["h"]}
    holds(model([nets.node("Cast", ["g64"], "g", to=1), *nodes], constants), tmp_path)


def test_constants_are_folded_whatever_they_are_made_of(tmp_path):
    nodes, constants = head("x", T)
    made = [
        nets.node("Shape", ["samples"], "s"),
        nets.node("ConstantOfShape", ["s"], "zeros", value=numpy_helper.from_array(np.float32([2]))),
        nets.node("Sqrt", ["zeros"], "root"),
        nets.node("Add", ["samples", "root"], "x"),
    ]
    holds(model([*made, *nodes], constants), tmp_path)


def old_network():
    """Opset 9: Slice, Pad, Clip, Squeeze, Unsqueeze, ReduceMean, ReduceSum and Split by attributes, Softmax by rows."""
    rng = np.random.default_rng(5)
    nodes = [
        nets.node("Slice", ["samples"], "cut", starts=[1], ends=[T], axes=[2]),
        nets.node("Pad", ["cut"], "padded", pads=[0, 0, 1, 0, 0, 2], value=0.0, mode="constant"),
        nets.node("Conv", ["padded", "w", "b"], "conv", kernel_shape=[3], pads=[1, 1]),
        nets.node("BatchNormalization", ["conv", "one", "b", "b", "one"], "norm"),
        nets.node("Clip", ["norm"], "clip", min=-0.5, max=1.5),
        helper.make_node("Split", ["clip"], ["left", "right"], axis=1, split=[2, 2], name="split"),
        nets.node("MaxPool", ["left"], "pooled", kernel_shape=[2], strides=[2]),
        nets.node("ReduceMean", ["right"], "mean", axes=[2], keepdims=0),
        nets.node("ReduceSum", ["pooled"], "sum", axes=[2], keepdims=1),
        nets.node("Squeeze", ["sum"], "flat_sum", axes=[2]),
        nets.node("Unsqueeze", ["mean"], "tall", axes=[2]),
        nets.node("Flatten", ["tall"], "flat_mean"),
        nets.node("Concat", ["flat_sum", "flat_mean"], "features", axis=1),
        nets.node("Dropout", ["features"], "same"),
        nets.node("Gemm", ["same", "g", "h"], "raw", transB=1),
        nets.node("Softmax", ["raw"], "scores"),
    ]
    constants = {
        "w": rng.normal(size=(4, 1, 3)),
        "b": rng.normal(size=4),
        "one": np.ones(4),
        "g": rng.normal(size=(2, 4)),
        "h": rng.normal(size=2),
    }
    return model(nodes, {name: value.astype(np.float32) for name, value in constants.items()}, opset=9)


def test_old_and_new_opsets_give_the_same_answers(tmp_path):
    old = old_network()
    every = [(9, old), *((o, onnx.version_converter.convert_version(old, o)) for o in range(10, NEWEST + 1))]
    made = [firmware_c.generate(reference.load(proto), f"opset{opset}") for opset, proto in every]
    program = firmware_c.build(tmp_path, made)
    wanted = onnx_model.run_scores(onnx_model.classifier_of(old), noise())
    for index, (opset, _) in enumerate(every):
        np.testing.assert_allclose(program.run(index, noise())[0], wanted, rtol=1e-5, err_msg=f"opset {opset}")


@pytest.mark.parametrize(
    "nodes",
    [
        [nets.node("Slice", ["samples", "two", "two", "two"], "x")],
        [nets.node("Slice", ["samples", "two", "two", "two"], "e"), nets.node("Concat", ["samples", "e"], "x", axis=2)],
    ],
    ids=["alone", "joined"],
)
def test_tensors_without_elements(tmp_path, nodes):
    more, constants = head("x", 0 if len(nodes) == 1 else T)
    proto = model([*nodes, *more], constants | {"two": np.array([2])})
    try:
        made = generate.generate(proto, targets.load("host"))
    except ModelError as problem:
        assert "node_" in problem.found or "'x'" in problem.found  # noqa: PT017 - either is a defined answer
        return
    found = firmware_c.build(tmp_path, [made]).run(0, noise())[0]
    np.testing.assert_allclose(found, reference.scores(reference.load(proto), noise()), rtol=1e-5)


@pytest.mark.parametrize("name", ["Model", "1net", "a-b", "", "x" * 32, "ecm_base", "ecm_model", "a b", "naïve"])
def test_names_that_are_no_names_are_refused(name):
    nodes, constants = head("samples", T)
    with pytest.raises(ModelError, match="C name"):
        generate.generate(model(nodes, constants), targets.load("host"), name=name)


def test_names_of_nodes_never_leave_their_comments(tmp_path):
    nodes, constants = head("x", T)
    relu = helper.make_node("Relu", ["samples"], ["x"], name='*/ int bad; /* "\\ ??/\n// é\\')
    proto = model([relu, *nodes], constants)
    entry = proto.metadata_props.add()
    entry.key, entry.value = f"{onnx_model.METADATA_PREFIX}form", 'float32"; int worse; //\\'
    made = generate.generate(proto, targets.load("host"), name="int", model='*/ "name"\n.onnx')
    program = firmware_c.build(tmp_path, [made])
    np.testing.assert_allclose(program.run(0, noise())[0], reference.scores(reference.load(proto), noise()), rtol=1e-5)


def test_an_existing_folder_is_kept(tmp_path):
    nodes, constants = head("samples", T)
    made = generate.generate(model(nodes, constants), targets.load("host"))
    generate.write(made, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(made.files)
    with pytest.raises(OutputError):
        generate.write(made, tmp_path / "out")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_float_literals_come_back_to_the_bit(bits):
    value = np.uint32(bits).view(np.float32)
    text = literals.float_literal(value)
    if np.isfinite(value):
        assert np.float32(float.fromhex(text[:-1])).view(np.uint32) == bits
    else:
        assert "0.0f" in text


def test_odd_weights_reach_the_scores_to_the_bit(tmp_path):
    odd = np.float32([3e-7, -0.0, 1e-45, -1.17e-38, 3.4028235e38, 0.1, 1 / 3, 16777217, -2.5e-39, 0.0, 1, -1e-30])
    joined = nets.node("Concat", ["samples", "w"], "both", axis=2)
    kept = nets.node("Slice", ["both", "from", "to", "axis"], "scores")
    constants = {"w": odd.reshape(1, 1, -1), "from": np.array([T]), "to": np.array([2 * T]), "axis": np.array([2])}
    proto = model([joined, kept], constants, outputs=[("scores", (1, 1, T))])
    graph = graph_of(proto, "samples", (1, 1, T), "scores")
    found = firmware_c.build(tmp_path, [firmware_c.generate(graph)]).run(0, noise())[0]
    assert found[0].tobytes() == odd.tobytes()


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 3.4e38, 1e-45, -0.0])
def test_samples_that_are_no_numbers_reach_no_memory_but_their_own(tmp_path, odd):
    samples = noise(2)
    samples[0] = odd
    samples[1, ::3] = odd
    proto = old_network()
    run(proto, samples, tmp_path, sanitise=True)
    segment = np.full((1, nets.T), odd, np.float32)
    found = run(nets.qdq_net(np.random.default_rng(0)), segment, tmp_path / "int8", sanitise=True)
    assert np.isfinite(found).all()


def test_the_header_says_what_odd_samples_do():
    nodes, constants = head("samples", T)
    assert "not finite" in generate.generate(model(nodes, constants), targets.load("host")).files["model.h"]


def test_the_same_graph_gives_the_same_text():
    proto = old_network()
    first, second = (generate.generate(proto, targets.load("host")).files for _ in range(2))
    assert first == second


def test_examples_in_the_modules_hold():
    modules = [m.name for m in pkgutil.walk_packages(ecm_edge.firmware.__path__, "ecm_edge.firmware.")]
    found = [doctest.testmod(importlib.import_module(name)) for name in modules]
    assert sum(each.attempted for each in found) > 5
    assert sum(each.failed for each in found) == 0


def test_a_changed_attribute_is_taken_or_the_node_is_named():
    """Whatever is wrong with a graph, nobody sees a traceback, and a fault of our own code is none of the model's."""
    outcomes = set()

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(
        drawn.networks(), st.integers(0, 100), st.sampled_from(["group", "perm", "axis", "pads", "strides", "keepdims"])
    )
    def hold(proto, position, name):
        node = proto.graph.node[position % len(proto.graph.node)]
        for attribute in node.attribute:
            if attribute.name == name and attribute.ints:
                attribute.ints[0] = 7
            elif attribute.name == name:
                attribute.i = 5
        try:
            firmware_c.generate(graph_of(proto, "samples", _shape(proto), proto.graph.output[0].name))
            outcomes.add("taken")
        except ModelError as problem:
            named = any(repr(each.name) in problem.found for each in proto.graph.node)
            outcomes.add("refused" if named else str(problem))

    hold()
    assert outcomes == {"taken", "refused"}


def test_a_fault_of_our_own_is_no_refusal(monkeypatch):
    def faulty(_program, step):
        raise IndexError(step.op.name)

    monkeypatch.setitem(OPERATORS, "Relu", faulty)
    nodes, constants = head("x", T)
    with pytest.raises(IndexError, match="node_x"):
        generate.generate(model([nets.node("Relu", ["samples"], "x"), *nodes], constants), targets.load("host"))


@pytest.mark.parametrize("read", [False, True])
def test_a_part_without_elements_is_left_out_where_it_is_joined_and_refused_where_it_is_read(tmp_path, read):
    split = helper.make_node("Split", ["samples", "sizes"], ["none", "all"], axis=2, name="node_split")
    nodes, constants = head("x", T)
    more = [nets.node("Relu", ["none"], "more")] if read else []
    joined = nets.node("Concat", ["more" if read else "none", "all"], "x", axis=2)
    proto = model([split, *more, joined, *nodes], constants | {"sizes": np.array([0, T])})
    if not read:
        holds(proto, tmp_path)
        return
    with pytest.raises(ModelError, match=r"has elements; found none in 'none' \(1, 1, 0\) in Split 'node_split'"):
        generate.generate(proto, targets.load("host"))


@pytest.mark.parametrize("group", [0, 2, -1])
def test_groups_that_do_not_divide_the_channels_are_refused_by_name(group):
    nodes, constants = head("x", 4 * (T - 2))
    conv = nets.node("Conv", ["samples", "k"], "x", kernel_shape=[3], group=group)
    proto = model([conv, *nodes], constants | {"k": np.ones((4, 1, 3), np.float32)})
    with pytest.raises(ModelError, match=f"{group} groups of 1 channels.*Conv 'node_x'"):
        generate.generate(proto, targets.load("host"))


def _shape(proto):
    return tuple(d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim)


def test_the_same_model_gives_the_same_text_wherever_its_buffers_lie_in_memory(dataset):
    params = {"normalize": True, "channels": 4, "depth": 1, "kernel": 3, "separable": True, "pooling": "mean_max_std"}
    config = candidate.configure(dataset, splits.holdout(dataset, seed=0), "tcn", params, TrainingConfig(), 0)
    proto = export.untrained(config, np.asarray(dataset.samples[:1])).simplified
    apart, texts = [], set()
    for _ in range(20):
        apart = [[] for _ in range(len(apart) + 37)]  # so that memory is dealt out anew
        texts.add(generate.generate(proto, targets.load("loongson-2k0500")).files["model.c"])
    assert len(texts) == 1
