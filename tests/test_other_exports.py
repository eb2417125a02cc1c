"""Graphs as Keras, scikit-learn and Paddle write them: taken with the answers of onnxruntime, or refused by name."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import onnx_model, reference

from . import firmware_c

ML = "ai.onnx.ml"


def noise(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def node(op, inputs, outputs, name="", **attributes):
    """A node, its tensors in one text each."""
    return helper.make_node(op, inputs.split(","), outputs.split(","), name=name or f"model/{outputs}", **attributes)


def saved(folder, nodes, shape, constants, outputs, opset=15):
    """A file with a model that also imports ai.onnx.ml, as Keras' and scikit-learn's do."""
    value = helper.make_tensor_value_info
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, shape)],
        [value(name, kind, [None] * rank) for name, (kind, rank) in outputs.items()],
        tensors,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(ML, 2)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "m.onnx")
    return folder / "m.onnx"


def holds(path, folder, samples):
    """The answers of onnxruntime, in the reference and in C, to samples (N, T)."""
    classifier = onnx_model.load_classifier(path)
    graph = reference.load(classifier.proto)
    ours = reference.scores(graph, samples)
    np.testing.assert_allclose(ours, onnx_model.run_scores(classifier, samples), rtol=1e-4, atol=1e-5)
    c = firmware_c.build(folder, [firmware_c.generate(graph)]).run(0, samples)[0]
    np.testing.assert_allclose(c, ours, rtol=2e-6, atol=2e-6)
    return classifier


INT = np.int64
FLOAT_SCORES = {"Identity:0": (TensorProto.FLOAT, 2)}
STATE = [  # zeros of the free batch's shape, as Keras' recurrences begin with
    node("Transpose", "x", "t", perm=[1, 0, 2]),
    node("Shape", "x", "s"),
    node("Cast", "s", "s32", to=TensorProto.INT32),
    node("Slice", "s32,zero1,one1,zero1", "n"),
    node("Concat", "n,units", "shape32", axis=0),
    node("Cast", "shape32", "shape", to=TensorProto.INT64),
    node("Expand", "zero,shape", "zeros"),
    node("Unsqueeze", "zeros,zero1", "h0"),
]
CONSTANTS = {
    "zero1": np.zeros(1, INT),
    "one1": np.ones(1, INT),
    "two1": np.full(1, 2, INT),
    "last": np.full(1, -1, INT),
    "end": np.full(1, 2**31 - 1, INT),
    "zero": np.float32(0),
    "units": np.full(1, 6, np.int32),
}


@pytest.mark.parametrize("backwards", [False, True])
def test_a_recurrence_of_keras_with_a_free_batch(tmp_path, backwards):
    """LSTM(6) and a Dense, with `go_backwards` or without: tf2onnx turns the sequence round by lengths."""
    turned = [
        node("Shape", "t", "ts"),
        node("Gather", "ts,one1", "batch"),
        node("Gather", "ts,zero1", "length"),
        node("Expand", "length,batch", "lengths"),
        node("ReverseSequence", "t,lengths", "r", batch_axis=1, time_axis=0),
    ]
    attributes = {"hidden_size": 6, "direction": "forward", "activations": ["Sigmoid", "Tanh", "Tanh"]}
    nodes = [
        *STATE,
        *(turned if backwards else []),
        node("LSTM", f"{'r' if backwards else 't'},w,r0,b,,h0,h0", "Y,Yh,Yc", **attributes),
        node("Squeeze", "Y,one1", "y"),
        node("Slice", "y,last,end,zero1", "tail"),
        node("Squeeze", "tail,zero1", "head"),
        node("MatMul", "head,dense", "logits"),
        node("Softmax", "logits", "Identity:0"),
    ]
    weights = {"w": noise(1, 24, 3), "r0": noise(1, 24, 6), "b": noise(1, 48), "dense": noise(6, 5)}
    path = saved(tmp_path, nodes, ["unk__71", 40, 3], CONSTANTS | weights, FLOAT_SCORES)
    classifier = holds(path, tmp_path / "c", noise(4, 120))
    assert (classifier.input_shape, classifier.decision.count) == ((1, 40, 3), 5)


def test_a_bidirectional_lstm_of_keras(tmp_path):
    nodes = [
        *STATE,
        node("Concat", "h0,h0", "h2", axis=0),
        node("LSTM", "t,w,r0,b,,h2,h2", "Y,Yh,Yc", hidden_size=6, direction="bidirectional"),
        node("Slice", "Y,one1,two1,one1", "back"),
        node("Squeeze", "back,one1", "backs"),
        node("Slice", "backs,zero1,one1,zero1", "first"),
        node("Squeeze", "first,zero1", "b_out"),
        node("Slice", "Y,zero1,one1,one1", "forth"),
        node("Squeeze", "forth,one1", "forths"),
        node("Slice", "forths,last,end,zero1", "tail"),
        node("Squeeze", "tail,zero1", "f_out"),
        node("Concat", "f_out,b_out", "both", axis=1),
        node("MatMul", "both,dense", "Identity:0"),
    ]
    weights = {"w": noise(2, 24, 3), "r0": noise(2, 24, 6), "b": noise(2, 48), "dense": noise(12, 4)}
    path = saved(tmp_path, nodes, ["unk__71", 40, 3], CONSTANTS | weights, FLOAT_SCORES)
    holds(path, tmp_path / "c", noise(4, 120))


def test_convolutions_of_keras_with_channels_last(tmp_path):
    """Conv1D and DepthwiseConv1D are of two axes there, one of them 1; a batch norm is a product and a sum."""
    nodes = [
        node("Unsqueeze", "x,minus3", "e"),
        node("Transpose", "e", "p", perm=[0, 3, 1, 2]),
        node("Conv", "p,k", "c", kernel_shape=[1, 5], pads=[0, 2, 0, 2], strides=[1, 1], dilations=[1, 1], group=1),
        node("Squeeze", "c,two1", "cs"),
        node("Relu", "cs", "a"),
        node("Mul", "a,scale", "m"),
        node("Add", "m,shift", "n"),
        node("Unsqueeze", "n,two1", "n2"),
        node("MaxPool", "n2", "pool", kernel_shape=[1, 2], strides=[1, 2]),
        node("Conv", "pool,d", "dw", kernel_shape=[1, 3], pads=[0, 0, 0, 1], strides=[1, 2], group=8),
        node("Squeeze", "dw,two1", "ds"),
        node("GlobalAveragePool", "ds", "g"),
        node("Squeeze", "g,two1", "gs"),
        node("MatMul", "gs,dense", "logits"),
        node("Softmax", "logits", "Identity:0"),
    ]
    weights = {"k": noise(8, 3, 1, 5), "d": noise(8, 1, 1, 3), "scale": noise(1, 8, 1), "shift": noise(1, 8, 1)}
    weights |= {"dense": noise(8, 6), "minus3": np.full(1, -3, INT)}
    path = saved(tmp_path, nodes, ["unk__3720", 64, 3], CONSTANTS | weights, FLOAT_SCORES)
    holds(path, tmp_path / "c", noise(4, 192))


PERCEPTRON = [
    node("Cast", "x", "cast_input", to=TensorProto.FLOAT),
    node("MatMul", "cast_input,w", "mul_result"),
    node("Add", "mul_result,b", "add_result"),
    node("Softmax", "add_result", "probabilities"),
    node("ArgMax", "probabilities", "argmax_output", axis=1),
    node("ArrayFeatureExtractor", "classes,argmax_output", "label", domain=ML),
]
CLASSES = {"w": noise(10, 3), "b": noise(3), "classes": np.arange(3)}
LABEL = {"label": (TensorProto.INT64, 2)}
PROBABILITIES = {"probabilities": (TensorProto.FLOAT, 2)}


def test_a_perceptron_of_scikit_learn_is_taken_by_its_probabilities(tmp_path):
    path = saved(tmp_path, PERCEPTRON, ["N", 10], CLASSES, LABEL | PROBABILITIES)
    assert holds(path, tmp_path / "c", noise(4, 10)).decision.count == 3


def test_classical_models_are_refused_by_name(tmp_path):
    scaler = node("Scaler", "x", "scaled", name="StandardScaler", domain=ML, offset=[0.5] * 10, scale=[2.0] * 10)
    first = node("Cast", "scaled", "cast_input", to=TensorProto.FLOAT)
    nodes = [scaler, first, *PERCEPTRON[1:]]
    path = saved(tmp_path, nodes, ["N", 10], CLASSES, LABEL | PROBABILITIES)
    with pytest.raises(ModelError, match=r"found Scaler 'StandardScaler' of ai\.onnx\.ml\. Train a network instead"):
        onnx_model.load_classifier(path)


def test_scores_by_name_of_class_are_refused_with_the_way_out(tmp_path):
    maps = node("ZipMap", "probabilities", "output_probability", name="ZipMap", domain=ML, classlabels_int64s=[0, 1, 2])
    path = saved(tmp_path, [*PERCEPTRON, maps], ["N", 10], CLASSES, LABEL)
    with pytest.raises(ModelError, match=r'maps of ZipMap \'ZipMap\'. Export with `options={"zipmap": False}`'):
        onnx_model.load_classifier(path)


@pytest.mark.parametrize("shape", [[-1, 1, 12], [-1, 1, -1]])
def test_an_axis_of_length_minus_1_is_a_free_one(tmp_path, shape):
    """As Paddle's exporter writes."""
    nodes = [node("Flatten", "x", "f"), node("MatMul", "f,w", "Identity:0")]
    path = saved(tmp_path, nodes, [None, 1, None], {"w": noise(12, 3)}, FLOAT_SCORES)
    proto = onnx.load(path)
    for dim, length in zip(proto.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = length
    onnx.save(proto, path)
    if shape[2] > 0:
        holds(path, tmp_path / "c", noise(4, 12))
        return
    with pytest.raises(ModelError, match=r"found x \[1, 1, '\?'\] of FLOAT.*make_dynamic_shape_fixed"):
        onnx_model.load_classifier(path)
