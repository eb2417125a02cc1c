"""Random graphs of many operators: onnxruntime, the reference and the generated C have to give the same answers.

`python -m tests.random_graphs COUNT [FIRST]` tries COUNT graphs from seed FIRST on; every eighth program is sanitised.
A graph grows node by node: each takes a tensor that is there already, so that every shape is known and valid.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.forms import cost, model_rules, reference
from ecm_edge.forms.reference.graph import graph_of

from . import firmware_c

SEGMENTS = 3
TOGETHER = 24
"""Models of one program."""
MOST_ELEMENTS = 3000
SHAPES = [(1, 1, 40), (1, 3, 24), (2, 4, 17), (1, 6, 5, 7), (1, 2, 9, 8), (5, 12), (1, 30), (7, 1, 6), (1, 4, 3, 4, 3)]
OPSET = 20


@dataclass
class Growing:
    """A graph so far: its nodes and constants, and the shapes of its tensors."""

    rng: np.random.Generator
    shapes: dict
    nodes: list = field(default_factory=list)
    constants: dict = field(default_factory=dict)

    def weights(self, *shape):
        values = self.rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:])))
        return self.constant(values.astype(np.float32))

    def constant(self, values):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(values)
        return name

    def ints(self, values):
        return self.constant(np.array(values, np.int64))

    def one_of(self, values):
        return values[int(self.rng.integers(len(values)))]

    def below(self, limit):
        return int(self.rng.integers(limit))

    def add(self, op, inputs, **attributes):
        """One more node; the name of its first output."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"{op}_{name}", **attributes))
        return name


def _windows(g, x, *, pads=True):
    """Attributes of windows over the spatial axes of x."""
    spatial = g.shapes[x][2:]
    kernel = [1 + g.below(min(4, n)) for n in spatial]
    dilations = [1 if g.below(3) or (k - 1) * 2 + 1 > n else 2 for k, n in zip(kernel, spatial, strict=True)]
    found = {"kernel_shape": kernel, "strides": [1 + g.below(3) for _ in spatial]}
    before = [g.below(k) for k in kernel]
    if pads and g.below(2):
        found["pads"] = [*before, *(g.below(k) for k in kernel)]
    return found, dilations


def conv(g, x):
    found, dilations = _windows(g, x)
    channels = g.shapes[x][1]
    group = g.one_of([n for n in (1, 1, 2, 3, channels) if channels % n == 0])
    outputs = group * (1 + g.below(3))
    if "pads" not in found and g.below(2):
        found["auto_pad"] = g.one_of(["SAME_UPPER", "SAME_LOWER", "VALID"])
    w = g.weights(outputs, channels // group, *found["kernel_shape"])
    return g.add(
        "Conv", [x, w, *([g.weights(outputs)] if g.below(2) else [])], group=group, dilations=dilations, **found
    )


def conv_transpose(g, x):
    found, dilations = _windows(g, x, pads=False)
    channels = g.shapes[x][1]
    group = g.one_of([n for n in (1, 2, channels) if channels % n == 0])
    w = g.weights(channels, 1 + g.below(3), *found["kernel_shape"])
    return g.add("ConvTranspose", [x, w], group=group, dilations=dilations, **found)


def pool(g, x):
    op = g.one_of(["MaxPool", "AveragePool", "LpPool"])
    found, dilations = _windows(g, x)
    if op != "LpPool":
        found["ceil_mode"] = g.below(2)
    if op == "AveragePool":
        found["count_include_pad"] = g.below(2)
    return g.add(op, [x], dilations=dilations, **found)


def pool_of_all(g, x):
    return g.add(g.one_of(["GlobalAveragePool", "GlobalMaxPool"]), [x])


def norm(g, x):
    channels = g.shapes[x][1]
    op = g.one_of(["BatchNormalization", "InstanceNormalization", "LRN"])
    if op == "LRN":
        return g.add(op, [x], size=1 + 2 * g.below(2))
    scale = g.constant(g.rng.uniform(0.5, 2, channels).astype(np.float32))
    more = [g.weights(channels), g.constant(g.rng.uniform(0.5, 2, channels).astype(np.float32))]
    return g.add(op, [x, scale, g.weights(channels), *(more if op == "BatchNormalization" else [])])


def layer_norm(g, x):
    axis = g.below(len(g.shapes[x]))
    shape = g.shapes[x][axis:]
    return g.add("LayerNormalization", [x, g.weights(*shape), g.weights(*shape)], axis=axis)


def unary(g, x):
    ops = [
        *("Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Elu", "Selu", "LeakyRelu", "HardSigmoid", "HardSwish", "Softplus"),
        *("Softsign", "Erf", "Sin", "Cos", "Gelu", "Celu", "Mish", "ThresholdedRelu", "Identity", "Exp"),
    ]
    op = g.one_of(ops)
    return (
        g.add("Exp", [g.add("Clip", [x, g.constant(np.float32(-3)), g.constant(np.float32(3))])])
        if op == "Exp"
        else g.add(op, [x])
    )


def binary(g, x):
    """With a constant that is spread, or with another tensor that can be."""
    op, shape = g.one_of(["Add", "Sub", "Mul", "Max", "Min"]), g.shapes[x]
    others = [name for name, own in g.shapes.items() if _spreads(own, shape)]
    if others and g.below(2):
        return g.add(op, g.one_of([[x, g.one_of(others)], [g.one_of(others), x]]))
    own = [n if g.below(2) else 1 for n in shape][g.below(len(shape)) :]
    pair = [x, g.weights(*own)]
    return g.add(op, pair[:: g.one_of([1, -1])])


def _spreads(own, shape):
    return all(a in {1, b} for a, b in zip(own[::-1], shape[::-1], strict=False)) and len(own) <= len(shape)


def divide(g, x):
    by = g.constant(g.rng.uniform(0.5, 2, g.shapes[x][-1]).astype(np.float32))
    return g.add("Div", [x, by])


def reduction(g, x):
    rank = len(g.shapes[x])
    axes = sorted({g.below(rank) for _ in range(1 + g.below(2))})
    op = g.one_of(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"])
    return g.add(op, [x, g.ints([a - rank if g.below(2) else a for a in axes])], keepdims=g.below(2))


def along_axis(g, x):
    axis = g.below(len(g.shapes[x]))
    if g.below(3) == 0:
        return g.add("CumSum", [x, g.ints(axis)], exclusive=g.below(2), reverse=g.below(2))
    return g.add(g.one_of(["Softmax", "LogSoftmax"]), [x], axis=axis)


def transpose(g, x):
    return g.add("Transpose", [x], perm=[int(a) for a in g.rng.permutation(len(g.shapes[x]))])


def reshape(g, x):
    shape = list(g.shapes[x])
    kind = g.below(4)
    if kind == 0 and len(shape) > 1:
        at = g.below(len(shape) - 1)
        return g.add("Reshape", [x, g.ints([*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]])])
    if kind == 1 and len(shape) < 5:
        at = g.below(len(shape))
        part = g.one_of([n for n in range(1, shape[at] + 1) if shape[at] % n == 0])
        return g.add("Reshape", [x, g.ints([*shape[:at], part, shape[at] // part, *shape[at + 1 :]])])
    if kind == 2 and len(shape) < 5:
        return g.add("Unsqueeze", [x, g.ints([g.below(len(shape) + 1)])])
    return g.add("Flatten", [x], axis=g.below(len(shape) + 1))


def slices(g, x):
    axis = g.below(len(g.shapes[x]))
    length = g.shapes[x][axis]
    if g.below(3) == 0:
        start, end, step = length - 1, -length - 1, -1 - g.below(2)
    else:
        start, end, step = g.below(length), length, 1 + g.below(3)
    return g.add("Slice", [x, g.ints([start]), g.ints([end]), g.ints([axis]), g.ints([step])])


def gather(g, x):
    axis = g.below(len(g.shapes[x]))
    length = g.shapes[x][axis]
    shape = g.one_of([(), (3,), (2, 2), (length,)])
    return g.add("Gather", [x, g.constant(g.rng.integers(-length, length, shape))], axis=axis)


def pad(g, x):
    shape = g.shapes[x]
    mode = g.one_of(["constant", "edge", "reflect"])
    most = [min(3, n) if mode == "reflect" else 3 for n in shape]
    low = -1 if mode == "constant" else 0
    sizes = [g.rng.integers(low if n > 2 else 0, m) for _ in range(2) for n, m in zip(shape, most, strict=True)]
    return g.add("Pad", [x, g.ints(sizes), *([g.constant(np.float32(0.7))] if mode == "constant" else [])], mode=mode)


def concat(g, x):
    axis, shape = g.below(len(g.shapes[x])), g.shapes[x]
    same = [
        n
        for n, s in g.shapes.items()
        if len(s) == len(shape) and (*s[:axis], *s[axis + 1 :]) == (*shape[:axis], *shape[axis + 1 :])
    ]
    names = [g.one_of(same) for _ in range(1 + g.below(2))]
    if g.below(3) == 0:
        names.append(g.weights(*shape[:axis], 2, *shape[axis + 1 :]))
    return g.add("Concat", [x, *names], axis=axis)


def repeat(g, x):
    shape = g.shapes[x]
    if g.below(2):
        return g.add("Tile", [x, g.ints([1 + g.below(2) for _ in shape])])
    return g.add("Expand", [x, g.ints([2 if n == 1 else n for n in shape])])


def product(g, x):
    shape = g.shapes[x]
    if len(shape) == 2 and g.below(2):
        turned, outputs = g.below(2), 1 + g.below(6)
        w = g.weights(*((outputs, shape[1]) if turned else (shape[1], outputs)))
        c = [g.weights(*g.one_of([(outputs,), (1, outputs), (shape[0], outputs), (1,)]))] if g.below(2) else []
        return g.add("Gemm", [x, w, *c], transB=turned, alpha=g.one_of([1.0, 0.5]), beta=g.one_of([1.0, 2.0]))
    if g.below(3) == 0 and len(shape) > 1:
        other = g.add("Transpose", [x], perm=[*range(len(shape) - 2), len(shape) - 1, len(shape) - 2])
        return g.add("MatMul", g.one_of([[x, other], [other, x]]))
    if g.below(4) == 0:
        return g.add("MatMul", [g.weights(1 + g.below(4), shape[-2]), x]) if len(shape) > 1 else g.add("Neg", [x])
    return g.add("MatMul", [x, g.weights(shape[-1], 1 + g.below(6))])


def recurrence(g, x):
    _, sequences, inputs = g.shapes[x]
    op, gates = g.one_of([("LSTM", 4), ("GRU", 3), ("RNN", 1)])
    direction = g.one_of(["forward", "reverse", "bidirectional"])
    d, hidden = 1 + (direction == "bidirectional"), 1 + g.below(4)
    names = [x, g.weights(d, gates * hidden, inputs), g.weights(d, gates * hidden, hidden)]
    names.append(g.weights(d, 2 * gates * hidden) if g.below(2) else "")
    names += ["", g.weights(d, sequences, hidden)] if g.below(2) else []
    linear = {"linear_before_reset": g.below(2)} if op == "GRU" else {}
    outputs, wanted = [f"t{len(g.nodes)}", f"h{len(g.nodes)}"], g.below(2)
    name = outputs[wanted]
    kept = ["", name] if wanted else [name]
    g.nodes.append(
        helper.make_node(op, names, kept, name=f"{op}_{name}", hidden_size=hidden, direction=direction, **linear)
    )
    return name


def choice(g, x):
    """Where a tensor is above a constant, another one; both branches meet there, so that no rounding shows."""
    limit = g.constant(np.float32(0.1))
    above = g.add("Greater", [x, limit])
    return g.add("Where", [above, x, limit])


def prelu(g, x):
    shape = g.shapes[x]
    return g.add("PRelu", [x, g.weights(*[n if g.below(2) else 1 for n in shape][g.below(len(shape)) :])])


def resize(g, x):
    """The standard's tests and onnxruntime differ in aligned corners where a new length is rounded."""
    shape = g.shapes[x]
    scales = [1.0, 1.0, *(g.one_of([1.0, 2.0, 1.5 if n % 2 == 0 else 3.0]) for n in shape[2:])]
    modes = {
        "mode": g.one_of(["nearest", "linear"]),
        "coordinate_transformation_mode": g.one_of(["half_pixel", "asymmetric", "align_corners"]),
    }
    return g.add("Resize", [x, "", g.constant(np.float32(scales))], **modes)


def split(g, x):
    axis = g.below(len(g.shapes[x]))
    length = g.shapes[x][axis]
    first = 1 + g.below(length - 1)
    name = f"t{len(g.nodes)}"
    outputs = [name, f"s{len(g.nodes)}"][:: g.one_of([1, -1])]
    g.nodes.append(
        helper.make_node("Split", [x, g.ints([first, length - first])], outputs, name=f"Split_{name}", axis=axis)
    )
    return name


def squeeze(g, x):
    ones = [axis for axis, n in enumerate(g.shapes[x]) if n == 1]
    return g.add("Squeeze", [x, g.ints([g.one_of(ones)])])


def _any(shape):
    return bool(shape)


def _spatial(shape):
    return 3 <= len(shape) <= 4


KINDS = [
    (conv, 4, _spatial), (conv_transpose, 1, _spatial), (pool, 3, _spatial), (pool_of_all, 1, _spatial),
    (norm, 2, _spatial), (layer_norm, 1, _any), (unary, 4, _any), (binary, 4, _any),
    (divide, 1, _any), (reduction, 2, lambda s: len(s) > 1), (along_axis, 1, _any),
    (transpose, 2, lambda s: len(s) > 1), (reshape, 3, lambda s: len(s) > 0), (slices, 2, _any),
    (gather, 1, _any), (pad, 2, _any), (concat, 2, _any), (repeat, 1, _any),
    (product, 3, _any), (recurrence, 1, lambda s: len(s) == 3 and s[0] <= 24),
    (choice, 1, _any), (prelu, 1, _any), (resize, 1, _spatial),
    (split, 1, lambda s: max(s) > 1 and min(s) > 1), (squeeze, 1, lambda s: 1 in s and len(s) > 1),
]  # fmt: skip
"""How a graph grows, how often, and from which shapes."""


def random_graph(seed):
    """A model from "samples" to its last tensor, and the shape of one segment."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    g = Growing(rng, {"samples": shape})
    weights = np.array([often for _, often, _ in KINDS], np.float64)
    wanted, last = 2 + int(rng.integers(9)), "samples"
    for _ in range(60):
        grow, _, fits = KINDS[int(rng.choice(len(KINDS), p=weights / weights.sum()))]
        x = last if rng.random() < 0.8 else g.one_of(list(g.shapes))
        if not fits(g.shapes[x]):
            continue
        made, held = len(g.nodes), len(g.constants)
        name = grow(g, x)
        new = _shapes(g, shape)
        if new is None or not all(s and 0 < np.prod(s) <= MOST_ELEMENTS for s in new.values()):
            del g.nodes[made:]
            for extra in list(g.constants)[held:]:
                del g.constants[extra]
            continue
        g.shapes, last = new, name
        if len(g.nodes) >= wanted:
            break
    return _model(g, shape, last), shape


def _model(g, shape, output):
    value = helper.make_tensor_value_info
    tensors = [numpy_helper.from_array(values, name) for name, values in g.constants.items()]
    outputs = [value(output, TensorProto.FLOAT, None)] if output else []
    body = helper.make_graph(g.nodes, "random", [value("samples", TensorProto.FLOAT, shape)], outputs, tensors)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def _shapes(g, shape):
    """The shapes of all float tensors, from a run; None where onnxruntime does not run it."""
    made = [name for node in g.nodes for name in node.output if name and node.op_type != "Greater"]
    proto = _model(g, shape, "")
    proto.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made)
    try:
        values = _session(proto).run(None, {"samples": np.zeros(shape, np.float32)})
    except Exception:  # noqa: BLE001 - onnxruntime's exceptions share no public base class
        return None
    return {"samples": shape, **{name: value.shape for name, value in zip(made, values, strict=True)}}


def _session(proto):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


@dataclass
class Case:
    """A graph, its C and the answers of the two others."""

    seed: int
    proto: object
    samples: np.ndarray
    theirs: np.ndarray
    ours: np.ndarray
    made: object


def case_of(seed):
    """A case, or the refusal."""
    proto, shape = random_graph(seed)
    output = proto.graph.output[0].name
    samples = np.random.default_rng(seed).standard_normal((SEGMENTS, *shape)).astype(np.float32)
    session = _session(proto)
    theirs = np.stack([session.run([output], {"samples": each})[0].ravel() for each in samples])
    try:
        model_rules.before_inference(proto, "random")
        cost.count(proto)
        loaded = graph_of(proto, "samples", shape, output)
        flat = samples.reshape(SEGMENTS, -1)
        ours = reference.run(loaded, flat, [output])[output].reshape(SEGMENTS, -1)
        made = firmware_c.generate(loaded, f"m{seed}")
    except EcmEdgeError as problem:
        return problem
    return Case(seed, proto, flat, theirs, ours, made)


def near(a, b, tolerance):
    """Whether answers agree within a part of the largest; NaN only with NaN."""
    finite = np.isfinite(b)
    largest = max(1.0, float(np.abs(b[finite]).max(initial=0)))
    return (
        np.array_equal(np.isfinite(a), finite) and np.abs(a[finite] - b[finite]).max(initial=0) <= tolerance * largest
    )


def differing(cases, folder, *, sanitised):
    """What is wrong with cases that are compiled into one program: (seed, what, answers)."""
    program = firmware_c.build(folder, [case.made for case in cases], sanitise=sanitised)
    answers = program.run_all([(i, case.samples) for i, case in enumerate(cases)])
    found = []
    for case, (c, _) in zip(cases, answers, strict=True):
        if not near(case.ours, case.theirs, 2e-4):
            found.append((case.seed, "reference and onnxruntime", case.ours[0][:4], case.theirs[0][:4]))
        if not near(c, case.ours, 1e-5):
            found.append((case.seed, "C and reference", c[0][:4], case.ours[0][:4]))
    return found


def main(count, first):
    """Try graphs; print what is wrong, and how many were taken and refused."""
    wrong, taken, refused = 0, 0, {}
    for start in range(first, first + count, TOGETHER):
        cases = []
        for seed in range(start, min(start + TOGETHER, first + count)):
            try:
                case = case_of(seed)
            except Exception:  # noqa: BLE001 - what is looked for
                wrong += 1
                sys.stdout.write(f"seed {seed}:\n{traceback.format_exc()}\n")
                continue
            if isinstance(case, Case):
                cases.append(case)
            else:
                refused[str(case)[:160]] = refused.get(str(case)[:160], 0) + 1
        taken += len(cases)
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = differing(cases, Path(folder), sanitised=start // TOGETHER % 8 == 0)
            except Exception:  # noqa: BLE001 - C that does not compile or stops
                found = [(start, traceback.format_exc())]
        wrong += len(found)
        for each in found:
            sys.stdout.write(f"seed {' '.join(map(str, each))}\n")
        sys.stdout.flush()
    for problem, times in sorted(refused.items(), key=lambda item: -item[1]):
        sys.stdout.write(f"{times:6} {problem}\n")
    sys.stdout.write(f"{count} tried, {taken} taken, {sum(refused.values())} refused, {wrong} wrong\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(*sys.argv[2:])) > 0)
