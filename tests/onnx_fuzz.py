"""Mutated ONNX files: whatever is done to one, it is taken or refused, and never ends in a traceback.

`python -m tests.onnx_fuzz COUNT [FIRST]` tries COUNT mutations from seed FIRST on, each of one of the models below.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from ecm_edge import targets
from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.firmware import generate
from ecm_edge.forms import cost, onnx_model, reference
from ecm_edge.forms.reference.rewriting import SUPPORTED

from . import nets

SEGMENTS = 2
_NUMBERS = [0, 1, -1, 2, 3, 7, -2, 2**31, -(2**31), 2**40, 10**9, 2**63 - 1]
_REALS = [0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), float("-inf")]
_WORDS = ["", "EVIL", "samples", "scores", "SAME_UPPER", "reverse", "é", "a" * 300, "*/", "ai.onnx"]


@cache
def seeds():
    """Small models of many operators, as bytes."""
    draw = np.random.default_rng(0)

    def w(*shape):
        return draw.normal(size=shape).astype(np.float32)

    def conv(*more):
        return [nets.node("Conv", ["samples", "k", "b"], "c", kernel_shape=[5], strides=[2], pads=[2, 2]), *more]

    kernel = {"k": w(4, 1, 5), "b": w(4)}
    flat = [nets.node("Flatten", ["p"], "f", axis=1), nets.node("Gemm", ["f", "g", "h"], "scores", transB=1)]
    pooled = [nets.node("Relu", ["c"], "r"), nets.node("MaxPool", ["r"], "p", kernel_shape=[2], strides=[2]), *flat]
    normed = [
        nets.node("BatchNormalization", ["c", "b", "b", "b", "v"], "n", epsilon=1e-5),
        nets.node("AveragePool", ["n"], "a", kernel_shape=[3], pads=[1, 1], count_include_pad=1, ceil_mode=1),
        nets.node("Pad", ["a", "pads"], "q", mode="constant"),
        nets.node("ReduceMean", ["q", "axes"], "p", keepdims=1),
        *flat,
    ]
    recurrent = [
        nets.node("Transpose", ["samples"], "t", perm=[2, 0, 1]),
        nets.node("LSTM", ["t", "lw", "lr", "lb"], "y", hidden_size=3),
        nets.node("Slice", ["y", "zero", "one", "zero"], "s"),
        nets.node("Reshape", ["s", "row"], "p"),
        nets.node("Softmax", ["p"], "f", axis=-1),
        nets.node("MatMul", ["f", "m"], "scores"),
    ]
    split = [
        nets.node("Reshape", ["samples", "two"], "x"),
        onnx.helper.make_node("Split", ["x"], ["left", "right"], name="split", axis=1, num_outputs=2),
        nets.node("Mul", ["left", "right"], "u"),
        nets.node("Concat", ["u", "left"], "p", axis=1),
        *flat,
    ]
    gated = {"lw": w(1, 12, 1), "lr": w(1, 12, 3), "lb": w(1, 24), "row": np.array([1, 3]), "m": w(3, 2)}
    bounds = {"zero": np.array([0]), "one": np.array([1])}
    numbers = {"pads": np.array([0, 0, 1, 0, 0, 1]), "axes": np.array([2]), "v": np.abs(w(4))}
    models = [
        nets.graph(conv(*pooled), kernel | {"g": w(2, 160), "h": w(2)}),
        nets.graph(conv(*normed), kernel | numbers | {"g": w(2, 4), "h": w(2)}),
        nets.graph(recurrent, gated | bounds),
        nets.graph(split, {"two": np.array([1, 160]), "g": w(2, 160), "h": w(2)}),
        nets.qdq_net(np.random.default_rng(1)),
    ]
    return [model.SerializeToString() for model in models]


def mutate(seed):
    """A model with one to three changes, as bytes."""
    rng = np.random.default_rng(seed)
    content = seeds()[rng.integers(len(seeds()))]
    if rng.random() < 0.1:
        spoiled = bytearray(content)
        for at in rng.integers(len(spoiled), size=rng.integers(1, 4)):
            spoiled[at] = rng.integers(256)
        return bytes(spoiled)
    model = onnx.load_model_from_string(content)
    for _ in range(rng.integers(1, 4)):
        change = _CHANGES[rng.integers(len(_CHANGES))]
        try:
            change(model, rng)
        except (
            ValueError,
            IndexError,
            TypeError,
            OverflowError,
            onnx.checker.ValidationError,
        ):  # the change does not fit the model
            continue
    return model.SerializeToString()


def _some(values, rng):
    return values[int(rng.integers(len(values)))]


def _attribute(model, rng):
    node = _some([n for n in model.graph.node if n.attribute], rng)
    entry = _some(node.attribute, rng)
    kind = rng.integers(6)
    if kind == 0:
        node.attribute.remove(entry)
    elif kind == 1:
        entry.name = _some([*_WORDS, "group", "axis", "pads", "auto_pad", "dilations", "block_size", "clip"], rng)
    elif entry.ints and kind < 4:
        entry.ints[int(rng.integers(len(entry.ints)))] = _some(_NUMBERS, rng)
    elif entry.ints:
        entry.ints.append(_some(_NUMBERS, rng))
    elif entry.type == onnx.AttributeProto.INT:
        entry.i = _some(_NUMBERS, rng)
    elif entry.type == onnx.AttributeProto.FLOAT:
        entry.f = _some(_REALS, rng)
    else:
        entry.s = bytes(rng.integers(256, size=4).astype(np.uint8))


def _new_attribute(model, rng):
    node = _some(model.graph.node, rng)
    known = sorted(onnx.defs.get_schema(node.op_type, 20, "").attributes)
    values = [_some(_NUMBERS, rng), _some(_REALS, rng), [1, 2], _some(_WORDS, rng), ["a", "b"], [1.0]]
    node.attribute.append(onnx.helper.make_attribute(_some([*known, "unknown"], rng), _some(values, rng)))


def _name(model, rng):
    node = _some(model.graph.node, rng)
    names = [name for other in model.graph.node for name in (*other.input, *other.output)]
    side = _some([node.input, node.output], rng)
    side[int(rng.integers(len(side)))] = _some([*names, *_WORDS], rng)


def _operator(model, rng):
    node = _some(model.graph.node, rng)
    kinds = [*sorted(op for op in SUPPORTED if "." not in op), "NoSuch"]
    node.op_type = _some(kinds, rng)
    if rng.random() < 0.3:
        node.domain = _some(["com.microsoft", "ai.onnx", "ai.onnx.ml"], rng)


def _inputs(model, rng):
    node = _some(model.graph.node, rng)
    if rng.random() < 0.5:
        del node.input[int(rng.integers(len(node.input)))]
    else:
        node.input.append(_some([t.name for t in model.graph.initializer], rng))


def _order(model, rng):
    nodes = list(model.graph.node)
    at = int(rng.integers(len(nodes)))
    nodes.insert(int(rng.integers(len(nodes))), nodes.pop(at))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _shape(model, rng):
    value = _some([*model.graph.input, *model.graph.output], rng)
    dims = value.type.tensor_type.shape.dim
    kind = rng.integers(4)
    if kind == 0:
        del dims[int(rng.integers(len(dims)))]
    elif kind == 1:
        dims.add(dim_value=_some(_NUMBERS, rng))
    elif kind == 2:
        value.type.tensor_type.elem_type = int(rng.integers(25))
    else:
        _some(dims, rng).dim_value = _some(_NUMBERS, rng)


def _tensor(model, rng):
    tensor = _some(model.graph.initializer, rng)
    kind = rng.integers(6)
    if kind == 0:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = _some(_NUMBERS, rng)
    elif kind == 1:
        tensor.data_type = int(rng.integers(25))
    elif kind == 2:
        tensor.raw_data += bytes(4)
    elif kind == 3:
        tensor.name = _some(_WORDS, rng)
    elif kind == 4:
        tensor.dims.append(1)
    else:
        values = np.array(onnx.numpy_helper.to_array(tensor))
        flat = values.reshape(-1)
        flat[int(rng.integers(flat.size))] = _some(_REALS if values.dtype.kind == "f" else _NUMBERS[:8], rng)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _initializer(model, rng):
    kind = rng.integers(3)
    tensors = model.graph.initializer
    if kind == 0:
        del tensors[int(rng.integers(len(tensors)))]
    elif kind == 1:
        tensors.append(_some(tensors, rng))
    else:
        _some(tensors, rng).data_location = TensorProto.EXTERNAL


def _opset(model, rng):
    model.opset_import[0].version = _some([*range(1, 30), *_NUMBERS], rng)


def _constant(model, rng):
    """A tensor from a node in place of an initializer."""
    tensor = _some(model.graph.initializer, rng)
    node = onnx.helper.make_node("Constant", [], [tensor.name], name="constant", value=tensor)
    model.graph.initializer.remove(tensor)
    model.graph.node.insert(0, node)


_CHANGES = [
    *(_attribute, _attribute, _new_attribute, _name, _operator, _inputs, _order, _shape, _shape, _tensor, _tensor),
    *(_initializer, _opset, _constant),
]


def attempt(content, folder):
    """Take a file to its C and its scores; the refusal, or None where it was taken. Anything else is raised."""
    path = Path(folder, "m.onnx")
    path.write_bytes(content)
    try:
        proto = onnx_model.load_classifier(path).proto
        cost.count(proto)
        generate.generate(proto, targets.load("host"))
        graph = reference.load(proto)
        noise = np.random.default_rng(0).normal(size=(SEGMENTS, int(np.prod(graph.input_shape)))).astype(np.float32)
        with np.errstate(all="ignore"):
            reference.scores(graph, noise)
    except EcmEdgeError as problem:
        return problem
    return None


def main(count, first):
    """Try mutations, print what is no refusal, and how many were taken and refused."""
    taken = wrong = 0
    rules: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            try:
                refusal = attempt(mutate(seed), folder)
            except Exception:  # noqa: BLE001 - what is looked for
                wrong += 1
                sys.stdout.write(f"seed {seed}:\n{traceback.format_exc()}\n")
                continue
            taken += refusal is None
            if refusal is not None:
                rules[refusal.rule] = rules.get(refusal.rule, 0) + 1
    for rule, times in sorted(rules.items(), key=lambda item: -item[1]):
        sys.stdout.write(f"{times:6} {rule}\n")
    sys.stdout.write(f"{count} tried, {taken} taken, {sum(rules.values())} refused, {wrong} neither\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(*sys.argv[2:])) > 0)
