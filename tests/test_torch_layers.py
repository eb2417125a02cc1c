"""Every layer of `torch.nn` that fits the purpose, as both exporters of torch write it: the answers of onnxruntime.

The layers of one kind of input are exported together, each to an output of its own, which takes a tenth of the time.
"""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import onnx_model, reference
from ecm_edge.forms.reference.graph import graph_of

from . import firmware_c
from .torch_layers import KINDS, Together

pytestmark = pytest.mark.filterwarnings("ignore")  # torch deprecates one of its exporters, and calls of its own

NOT_EXPORTED = {
    True: {"AdaptiveAvgPool3d", "LSTM projected", "RReLU", "scaled_dot_product_attention"},
    False: {
        *("AdaptiveAvgPool3d", "Bilinear", "ChannelShuffle", "LSTM projected", "RMSNorm", "RMSNorm plain"),
        *("MultiheadAttention", "MultiheadAttention without weights", "Threshold", "TransformerDecoderLayer"),
        *("TransformerEncoder", "TransformerEncoderLayer", "TransformerEncoderLayer of GELU"),
    },
}
"""Layers that torch itself refuses to export, with `dynamo` and without. Of "LSTM projected" it writes a graph that
onnx's checker refuses, because ONNX's LSTM has no projection; the test below holds what we say of it."""

SINCE = {
    11: {
        *("AvgPool2d divided", "MaxPool1d dilated", "Unfold", "Upsample bicubic", "Upsample by corners"),
        *("Upsample to a size", "UpsamplingBilinear2d"),
    },
    13: {"CELU", "MultiheadAttention of a batch", "Unflatten", "einsum"},
    14: {"scaled_dot_product_attention", "scaled_dot_product_attention causal"},
}
"""From which operator set on torch exports a layer without `dynamo`."""

OTHER_THAN_TORCH = {"AvgPool2d divided", "Softplus", "Upsample linear", "Upsample bilinear", "Upsample trilinear"}
"""Layers whose exported graph is not what torch computes: a divisor, a threshold, or (opset 9) coordinates are lost."""

RUNS = [  # dynamo, operator set (None: torch's own choice), kinds, whether C is compiled
    (True, None, tuple(KINDS), True),
    (True, 18, ("signal", "picture", "volume"), False),
    (True, 23, ("signal", "sequence"), True),
    (False, 9, tuple(KINDS), False),
    (False, 13, tuple(KINDS), False),
    (False, 17, tuple(KINDS), True),
    (False, 20, tuple(KINDS), False),
]


def names_of(kind, dynamo, opset):
    """The layers that torch exports so."""
    later = set() if dynamo else set().union(*(names for since, names in SINCE.items() if opset < since))
    return [name for name in KINDS[kind][1] if name not in NOT_EXPORTED[dynamo] | later]


def exported(module, x, path, *, dynamo, opset, names):
    """The model in a file that torch writes."""
    torch.set_num_threads(1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    how = {"external_data": False, "verbose": False} if dynamo else {}
    with torch.no_grad():
        torch.onnx.export(
            module, (x,), path, dynamo=dynamo, opset_version=opset, input_names=["x"], output_names=names, **how
        )
    return path


@pytest.mark.parametrize(
    ("kind", "dynamo", "opset", "compiled"),
    [(kind, dynamo, opset, compiled) for dynamo, opset, kinds, compiled in RUNS for kind in kinds],
)
def test_layers_of_torch_are_equal(tmp_path, kind, dynamo, opset, compiled):
    shape, layers = KINDS[kind]
    names = names_of(kind, dynamo, opset)
    torch.manual_seed(5)
    module = Together([layers[name]() for name in names]).eval()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        of_torch = [y.numpy().ravel() for y in module(x)]
    proto = onnx_model.load_proto(exported(module, x, tmp_path / "m.onnx", dynamo=dynamo, opset=opset, names=names))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    flat, made = x.numpy().reshape(1, -1), []
    for name, torch_says, theirs in zip(names, of_torch, session.run(names, {"x": x.numpy()}), strict=True):
        graph = graph_of(proto, "x", shape, name)
        ours = reference.run(graph, flat, [name])[name].ravel()
        np.testing.assert_allclose(ours, theirs.ravel(), rtol=1e-4, atol=1e-5, err_msg=name)
        if name not in OTHER_THAN_TORCH:
            np.testing.assert_allclose(ours, torch_says, rtol=1e-4, atol=1e-5, err_msg=name)
        made.append((ours, firmware_c.generate(graph, f"m{len(made)}")))
    if compiled:
        program = firmware_c.build(tmp_path / "c", [model for _, model in made])
        answers = program.run_all([(number, flat) for number in range(len(made))])
        for name, (ours, _), (scores, _) in zip(names, made, answers, strict=True):
            np.testing.assert_allclose(scores[0], ours, rtol=2e-6, atol=2e-6, err_msg=name)


def test_a_projected_lstm_is_refused(tmp_path):
    torch.manual_seed(5)
    module = KINDS["sequence"][1]["LSTM projected"]().eval()
    path = exported(module, torch.zeros(1, 12, 8), tmp_path / "m.onnx", dynamo=True, opset=None, names=["y"])
    with pytest.raises(ModelError, match=r"op_type:LSTM.*differ in dimension 2: \(4\) vs \(6\)"):
        onnx_model.load_proto(path)


@pytest.mark.parametrize("dynamo", [True, False])
def test_a_free_batch_and_weights_beside_the_file_are_taken(tmp_path, dynamo):
    """As a user exports: with a batch axis left free, and with dynamo's weights in a file of their own."""
    torch.manual_seed(5)
    module = torch.nn.Sequential(
        torch.nn.Conv1d(12, 64, 15, padding=7),
        torch.nn.BatchNorm1d(64),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool1d(8),
        torch.nn.Flatten(),
        torch.nn.Linear(512, 600),
        torch.nn.GELU(),
        torch.nn.Linear(600, 5),
        torch.nn.Softmax(1),
    ).eval()
    x = torch.randn((3, 12, 200), generator=torch.Generator().manual_seed(7))
    free = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if dynamo else {"dynamic_axes": {"x": {0: "batch"}}}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    path = tmp_path / "m.onnx"
    with torch.no_grad():
        said = {"verbose": False} if dynamo else {}
        torch.onnx.export(module, (x,), path, dynamo=dynamo, input_names=["x"], **free, **said)
        wanted = module(x).numpy()
    classifier = onnx_model.load_classifier(path)
    assert [file.name for file in classifier.beside] == (["m.onnx.data"] if dynamo else [])
    assert classifier.input_shape == (1, 12, 200)
    graph = reference.load(classifier.proto)
    flat = x.numpy().reshape(3, -1)
    ours = reference.scores(graph, flat)
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-5)
    c = firmware_c.build(tmp_path / "c", [firmware_c.generate(graph)]).run(0, flat)[0]
    np.testing.assert_allclose(c, ours, rtol=2e-6, atol=2e-6)
    assert onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim[0].dim_param
