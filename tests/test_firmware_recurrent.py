"""LSTM and GRU in C: every form of them against the reference, many models to one program."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import reference
from ecm_edge.forms.reference.graph import graph_of

from . import firmware_c, nets

TIME, SEQUENCES, INPUTS, HIDDEN = 5, 2, 3, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrence(op, *, inputs=INPUTS, output=0, halves=False, lengths=None, states=False, parts=(), **attributes):
    """A graph of one recurrence from samples (T, S, I), or (S, T, I) in layout 1, to one of its outputs."""
    rng, directions = np.random.default_rng(1), 2 if attributes.get("direction") == "bidirectional" else 1
    rows, shapes = GATES[op] * HIDDEN, {}
    shapes["w"], shapes["r"] = (directions, rows, inputs), (directions, rows, HIDDEN)
    shapes |= {"b": (directions, 2 * rows)} if "b" in parts else {}
    state = (SEQUENCES, directions, HIDDEN) if attributes.get("layout") else (directions, SEQUENCES, HIDDEN)
    shapes |= {name: state for name in (("h0", "c0") if op == "LSTM" else ("h0",)) if states}
    shapes |= {"p": (directions, 3 * HIDDEN)} if "p" in parts else {}
    constants = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    constants |= {"lengths": np.array(lengths, np.int32)} if lengths else {}
    given = ["w", "r", "b", "lengths", "h0", "c0", "p"][: 7 if op == "LSTM" else 5]
    names = ["samples", *(name if name in constants else "" for name in given)]
    nodes = []
    if halves:
        for name in ("w", "r"):
            constants[f"{name}16"] = constants.pop(name).astype(np.float16)
            nodes.append(helper.make_node("Cast", [f"{name}16"], [name], to=TensorProto.FLOAT))
    results = ["y", "y_h", "y_c"][: 3 if op == "LSTM" else 2]
    nodes.append(helper.make_node(op, names, results, name="cell", hidden_size=HIDDEN, **attributes))
    shape = (SEQUENCES, TIME, inputs) if attributes.get("layout") else (TIME, SEQUENCES, inputs)
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    value = helper.make_tensor_value_info
    ends = [value(results[output], TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "cell", [value("samples", TensorProto.FLOAT, shape)], ends, tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return graph_of(proto, "samples", shape, results[output])


def forms():
    """Every direction, layout, output and form of the gates, and each option once."""
    for op, direction, layout in itertools.product(GATES, ("forward", "reverse", "bidirectional"), (0, 1)):
        for output in range(3 if op == "LSTM" else 2):
            yield op, {"direction": direction, "layout": layout, "output": output, "parts": ("b",)}
    for linear, direction in itertools.product((0, 1), ("forward", "bidirectional")):
        yield "GRU", {"linear_before_reset": linear, "direction": direction, "parts": ("b",), "states": True}
    for op in GATES:
        yield op, {}
        yield op, {"halves": True, "parts": ("b",), "direction": "bidirectional"}
        yield op, {"clip": 0.75, "parts": ("b",)}
        yield op, {"inputs": 1, "output": 1}
        for direction, output in itertools.product(("forward", "reverse"), (0, 1)):
            yield op, {"lengths": [3, 5], "direction": direction, "states": True, "output": output}
            yield op, {"lengths": [1, 4], "direction": direction, "layout": 1, "output": output}
    for names in (["Affine", "Elu"], ["HardSigmoid", "LeakyRelu"], ["Softplus", "ScaledTanh"], ["Relu", "Softsign"]):
        yield "LSTM", {"activations": [*names, "ThresholdedRelu"], "activation_alpha": [0.3], "activation_beta": [0.6]}
        yield "GRU", {"activations": names, "direction": "reverse", "clip": 2.0}
        yield "RNN", {"activations": names, "direction": "bidirectional", "parts": ("b",)}
    yield "LSTM", {"parts": ("b", "p"), "states": True, "direction": "bidirectional"}
    yield "LSTM", {"parts": ("p",), "output": 2, "layout": 1}


@pytest.mark.parametrize("sanitise", [False, True], ids=["plain", "sanitised"])
def test_every_form_is_the_references(tmp_path, sanitise):
    every = [(op, form, recurrence(op, **form)) for op, form in list(forms())[:: 3 if sanitise else 1]]
    program = firmware_c.build(
        tmp_path, [firmware_c.generate(g, f"r{i}") for i, (*_, g) in enumerate(every)], sanitise=sanitise
    )
    rng = np.random.default_rng(2)
    requests = [
        (i, rng.standard_normal((2, int(np.prod(g.input_shape)))).astype(np.float32)) for i, (*_, g) in enumerate(every)
    ]
    for (op, form, graph), (_, samples), (found, _) in zip(every, requests, program.run_all(requests), strict=True):
        wanted = reference.run(graph, samples, [graph.output_name])[graph.output_name].reshape(2, -1)
        np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6, err_msg=f"{op} {form}")


def classifier(op, *, quantised=False):
    """(1, 3, T) -> Conv -> recurrence over time -> last state -> two scores, as PyTorch exports it."""
    rng, rows = np.random.default_rng(3), GATES[op] * HIDDEN
    constants = {
        "k": rng.normal(size=(INPUTS, 1, 3)),
        "w": rng.normal(size=(1, rows, INPUTS)),
        "r": rng.normal(size=(1, rows, HIDDEN)) / 2,
        "g": rng.normal(size=(2, HIDDEN)),
        "h": rng.normal(size=2),
    }
    constants = {name: value.astype(np.float32) for name, value in constants.items()} | {"zero": np.array([0])}
    pair, scales = nets.quantised("c", 0.02, 3) if quantised else ([nets.node("Identity", ["c"], "c_f")], {})
    nodes = [
        nets.node("Conv", ["samples", "k"], "c", strides=[2]),
        *pair,
        nets.node("Transpose", ["c_f"], "t", perm=[2, 0, 1]),
        helper.make_node(op, ["t", "w", "r"], ["y", "last"], name="cell", hidden_size=HIDDEN),
        nets.node("Squeeze", ["last", "zero"], "flat"),
        nets.node("Gemm", ["flat", "g", "h"], "scores", transB=1),
    ]
    return nets.graph(nodes, constants | scales)


@pytest.mark.parametrize("quantised", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("op", GATES)
def test_a_recurrence_reads_time_major_memory_as_it_lies(tmp_path, op, quantised):
    graph = reference.load(classifier(op, quantised=quantised))
    model = firmware_c.generate(graph)
    wanted = reference.scores(graph, nets.segments(3))
    found, _ = firmware_c.build(tmp_path, [model]).run(0, nets.segments(3))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert "copy" not in [layer.op for layer in model.layers]


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("LSTM", {"activations": ["Sigmoid", "Tanh", "Sine"]}, "3 activations for each direction"),
        ("LSTM", {"input_forget": 1}, "forget gate"),
        ("GRU", {"activations": ["Tanh"]}, "2 activations for each direction"),
    ],
)
def test_other_recurrences_are_refused_by_name(op, attributes, message):
    with pytest.raises(ModelError, match=f"{message}.*{op} 'cell'"):
        firmware_c.generate(recurrence(op, **attributes))


def test_states_that_depend_on_the_samples_are_refused_by_name():
    proto = classifier("GRU")
    proto.graph.node[-3].input.extend(["", "", "h0"])
    start = helper.make_node("ReduceMean", ["t", "zero"], ["h1"], name="start")
    more = helper.make_node("Concat", ["h1", "few"], ["h0"], axis=2, name="more")
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1, 1), np.float32), "few"))
    proto.graph.node.insert(3, start)
    proto.graph.node.insert(4, more)
    onnx.checker.check_model(proto)
    with pytest.raises(ModelError, match=r"constants.*GRU 'cell'"):
        firmware_c.generate(reference.load(proto))


def test_weights_with_another_number_of_axes_are_refused_by_name():
    """The checker of onnx accepts them, and so does the reference."""
    weights = {"w": np.ones((1, 3 * HIDDEN, INPUTS)), "r": np.ones((1, 1, 3 * HIDDEN, HIDDEN))}
    constants = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
    samples = helper.make_tensor_value_info("samples", TensorProto.FLOAT, (TIME, SEQUENCES, INPUTS))
    output = helper.make_tensor_value_info("y_h", TensorProto.FLOAT, None)
    node = helper.make_node("GRU", ["samples", "w", "r"], ["", "y_h"], name="cell", hidden_size=HIDDEN)
    body = helper.make_graph([node], "axes", [samples], [output], constants)
    proto = helper.make_model(body, opset_imports=[helper.make_opsetid("", 22)])
    graph = graph_of(proto, "samples", (TIME, SEQUENCES, INPUTS), "y_h")
    with pytest.raises(ModelError, match=r"three axes.*cell"):
        firmware_c.generate(graph)
