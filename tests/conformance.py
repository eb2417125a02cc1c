"""The node tests of the ONNX standard as generated C, and the table of them in firmware_check/README.md.

    python -m tests.conformance --write

Which tests apply, in this order; whatever does not is counted with its reason:

1. A node test is a case of `onnx.backend.test.case.node` (the source of `onnx/backend/test/data/node`, which wheels no
   longer ship) whose graph is one node of an operator of the list (those of functions written out as other operators,
   `_expanded`, are left out). Each output and each data set is one test.
2. The first input is float32 and becomes the samples; the other inputs become constants. QuantizeLinear and
   DequantizeLinear, whose integers the caller of C never sees, get their inverse with scale 1 behind or before them;
   Constant, and Cast to float32 from another type, make constants, which are added to samples of zeros.
3. Not applicable: another type of first input or output; no elements; a shape that depends on the values; training.
4. The wheel does ship old exports of PyTorch (opset 6 and 9) as files: they are run in the same way, by folder.
5. What the generator refuses, by an error that names the node: the error's rule is the reason.
"""

import importlib
import pkgutil
import re
import sys
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test.case.node as standard
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import onnx_model, reference
from ecm_edge.forms.reference.graph import graph_of

from . import firmware_c

README = Path(__file__).parents[1] / "firmware_check" / "README.md"
BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"
OPERATORS = (
    *("Conv", "Gemm", "MatMul", "BatchNormalization", "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid"),
    *("HardSwish", "Swish", "Tanh", "Softmax", "Gelu", "Erf", "Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "Sqrt"),
    *("Abs", "Neg", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax"),
    *("ReduceMin", "ReduceSum", "Concat", "Split", "Slice", "Pad", "Transpose", "Reshape", "Flatten", "Squeeze"),
    *("Unsqueeze", "Identity", "Cast", "Constant", "LSTM", "GRU", "QuantizeLinear", "DequantizeLinear"),
    *("Elu", "Softplus", "Exp", "Log", "Reciprocal", "Mean", "Sum", "Expand", "Dropout"),
)
"""Every operator that firmware has to be made of."""

FOLDERS = ("pytorch-converted", "pytorch-operator", "simple")
"""Models and their answers that the wheel ships as files."""

PAIRWISE = frozenset({"Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "MatMul", "Concat", "PRelu"})
"""Operators whose inputs are also tried all at once: the samples are cut into them."""

CHUNKS = 6
RELATIVE, ABSOLUTE = 1e-3, 1e-7  # the standard's own runner's
NEAR = 2e-6  # some ULP of the reference; sums of up to some hundred products


@dataclass
class Case:
    """One output of one data set of one node test: what to feed and what has to come out, or why it does not apply."""

    op: str
    name: str
    proto: onnx.ModelProto
    output: str = ""
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0))
    wanted: np.ndarray = field(default_factory=lambda: np.zeros(0))
    reason: str = ""

    def graph(self):
        """The graph of the reference."""
        value = self.proto.graph.input[0]
        shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        return graph_of(self.proto, value.name, shape, self.output)


@cache
def node_cases():
    """Every node test of the standard."""
    with warnings.catch_warnings(), _seeded():
        warnings.simplefilter("ignore")  # the examples divide by zero on purpose
        for module in pkgutil.iter_modules(standard.__path__):
            importlib.import_module(f"{standard.__name__}.{module.name}")
    return tuple(standard._NodeTestCases)  # noqa: SLF001 - the examples have no other home


@cache
def standard_cases():
    """The node tests of the operators, by operator."""
    found = {op: [] for op in OPERATORS}
    for case in node_cases():
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in found and "_expanded" not in case.name:
            found[nodes[0].op_type].append(case)
    return found


@contextmanager
def _seeded():
    """The examples draw from numpy's own generator when they are imported; it is left as it was."""
    state = np.random.get_state()  # noqa: NPY002 - onnx draws from this one
    np.random.seed(0)  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002


@cache
def cases():
    """Every test, applicable or not."""
    found = [case for op, group in standard_cases().items() for each in group for case in _cases(op, each)]
    return tuple(sorted([*found, *_exports()], key=lambda case: (case.op, case.name)))


def _exports():
    """The models that ship as files."""
    root = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for kind in FOLDERS:
        for folder in sorted((root / kind).iterdir()):
            proto = onnx_model.load_proto(folder / "model.onnx")
            data = folder / "test_data_set_0"
            yield _export(kind, folder.name, proto, *(_tensors(data, f"{end}_*.pb") for end in ("input", "output")))


def _tensors(folder, pattern):
    paths = sorted(folder.glob(pattern), key=lambda path: int(path.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())) for path in paths]


def _export(kind, name, proto, inputs, outputs):
    case = Case(kind, name, proto)
    if not inputs or inputs[0].dtype != np.float32:
        return _inapplicable(case, "first input is not float32")
    if outputs[0].dtype != np.float32:
        return _inapplicable(case, "output is not float32")
    values = [value.name for value in proto.graph.input]
    for given, value in list(zip(values, inputs, strict=True))[1:]:
        proto.graph.initializer.append(numpy_helper.from_array(value, given))
    case.output, case.samples, case.wanted = proto.graph.output[0].name, inputs[0].ravel(), outputs[0]
    return case


def _cases(op, test):
    node = test.model.graph.node[0]
    for number, (inputs, outputs) in enumerate(test.data_sets):
        given = dict(zip([name for name in node.input if name], map(_array, inputs), strict=True))
        wanted = dict(zip([name for name in node.output if name], map(_array, outputs), strict=True))
        for position, (name, value) in enumerate(wanted.items()):
            label = test.name + (f"[{number}]" if number else "") + (f":{position}" if position else "")
            yield _case(op, label, test.model, node, given, name, value)
        floats = all(_is_float(x) for x in given.values()) and len(given) > 1
        if op in PAIRWISE and floats and all(np.size(x) for x in (*given.values(), *wanted.values())):
            (name,) = wanted
            yield _cut(op, f"{test.name} (all inputs)", test.model, node, given, name, wanted[name])


def _array(x):
    return numpy_helper.to_array(x) if isinstance(x, TensorProto) else x


def _is_float(x):
    return isinstance(x, np.ndarray | np.generic) and x.dtype == np.float32


def _case(op, label, model, node, given, output, wanted):  # noqa: PLR0911 - one return a rule
    case = Case(op, label, model)
    first, x = next(iter(given.items()), ("", None))
    if not given or (op == "Cast" and not _is_float(x)):
        return _constant(case, node, given, output, wanted)
    if not isinstance(x, np.ndarray | np.generic) or not isinstance(wanted, np.ndarray | np.generic):
        return _inapplicable(case, "optional or sequence")
    dtypes = (np.asarray(x).dtype, np.asarray(wanted).dtype)
    quantises = op in {"QuantizeLinear", "DequantizeLinear"}
    if quantises and not set(dtypes) <= {np.dtype(t) for t in ("float32", "int8", "uint8")}:
        return _inapplicable(case, "integers of 2, 4, 16 or 32 bits, or float8")
    if not quantises and dtypes[0] != np.float32:
        return _inapplicable(case, "first input is not float32")
    if not quantises and dtypes[1] != np.float32:
        return _inapplicable(case, "output is not float32")
    if not np.size(x) or not np.size(wanted):
        return _inapplicable(case, "a tensor without elements")
    training = any(a.name == "training_mode" and a.i for a in node.attribute)
    if training or (op == "Dropout" and len(node.input) > 2 and given[node.input[2]]):
        return _inapplicable(case, "training mode")
    rest = {name: value for name, value in given.items() if name != first}
    nodes, source, result = [node], first, output
    if dtypes[0] != np.float32:
        nodes, source = [_inverse("QuantizeLinear", "samples_", first), *nodes], "samples_"
        rest |= {"one_": np.float32(1), "zero_": dtypes[0].type(0)}
    if dtypes[1] != np.float32:
        nodes, result = [*nodes, _inverse("DequantizeLinear", output, "scores_")], "scores_"
        rest |= {"one_": np.float32(1), "zero_": dtypes[1].type(0)}
    case.proto = _model(model, nodes, {source: np.shape(x)}, rest, result)
    case.output, case.samples = result, np.asarray(x, np.float32).ravel()
    case.wanted = np.asarray(wanted, np.float32)
    return case


def _inverse(op, source, result):
    return helper.make_node(op, [source, "one_", "zero_"], [result], name="inverse")


def _constant(case, node, given, output, wanted):
    """What does not depend on the samples is added to samples of zeros."""
    if not _is_float(wanted):
        return _inapplicable(case, "output is not float32")
    add = helper.make_node("Add", ["samples_", output], ["scores_"], name="add")
    case.proto = _model(case.proto, [node, add], {"samples_": np.shape(wanted)}, given, "scores_")
    case.output, case.samples, case.wanted = "scores_", np.zeros(np.size(wanted), np.float32), np.asarray(wanted)
    return case


def _cut(op, label, model, node, given, output, wanted):
    """All inputs depend on the segment: they lie one behind the other in the samples."""
    nodes, constants, at = [], {}, 0
    for position, (name, x) in enumerate(given.items()):
        constants |= {f"from{position}": np.array([at]), f"to{position}": np.array([at + np.size(x)])}
        constants[f"shape{position}"] = np.array(np.shape(x), np.int64)
        nodes.append(helper.make_node("Slice", ["samples_", f"from{position}", f"to{position}"], [f"flat{position}"]))
        nodes.append(helper.make_node("Reshape", [f"flat{position}", f"shape{position}"], [name]))
        at += np.size(x)
    case = Case(op, label, _model(model, [*nodes, node], {"samples_": (at,)}, constants, output), output)
    case.samples = np.concatenate([np.ravel(x) for x in given.values()]).astype(np.float32)
    case.wanted = np.asarray(wanted)
    return case


def _inapplicable(case, reason):
    case.reason = reason
    return case


def _model(model, nodes, inputs, constants, output):
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    out = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    body = helper.make_graph(nodes, "case", values, [out], tensors)
    return helper.make_model(body, opset_imports=list(model.opset_import), ir_version=10)


def chunk(number):
    """A sixth of the tests: (case, its generated C or None where the generator refuses)."""
    found = []
    for index, case in enumerate(cases()):
        if index % CHUNKS == number and not case.reason:
            try:
                found.append((case, firmware_c.generate(case.graph(), f"m{index}")))
            except ModelError as problem:
                found.append((case, problem))
    return found


def differing(made, program):
    """Names of the tests whose answers are not those of the standard, or not the reference's to a few ULP."""
    answers = program.run_all([(i, case.samples[None]) for i, (case, _) in enumerate(made)])
    found = []
    for (case, _), (scores, _) in zip(made, answers, strict=True):
        wanted = case.wanted.ravel()
        graph = case.graph()
        with np.errstate(all="ignore"):
            own = reference.run(graph, case.samples[None], [graph.output_name])[graph.output_name].ravel()
        right = np.allclose(scores[0], wanted, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
        if not right or not np.allclose(scores[0], own, rtol=NEAR, atol=NEAR, equal_nan=True):
            found.append((case.name, scores[0][:8], wanted[:8], own[:8]))
    return found


def reason_of(problem):
    """A refusal as the table counts it."""
    unknown = re.match(r"(\w+) in node", problem.found)
    return f"no {unknown[1]}" if unknown else re.sub(r"\d+", "…", problem.rule)


def table():
    """The rows of the README, from what the generator takes: the tests hold that all of it passes."""
    outcome = {op: [] for op in (*OPERATORS, *FOLDERS)}
    for case in cases():
        outcome[case.op].append(case.reason or _refusal(case))
    lines = ["| operator | tests | pass | not applicable, and why |", "|---|---:|---:|---|"]
    for op, reasons in outcome.items():
        counted = Counter(reason for reason in reasons if reason)
        why = "; ".join(f"{count} {reason}" for reason, count in sorted(counted.items())) or "–"
        title = op if op in OPERATORS else f"files in `{op}`"
        lines.append(f"| {title} | {len(reasons)} | {len(reasons) - counted.total()} | {why} |")
    total, passed = sum(map(len, outcome.values())), sum(not r for rs in outcome.values() for r in rs)
    lines.append(f"| **all** | **{total}** | **{passed}** | |")
    return "\n".join(lines)


def _refusal(case):
    try:
        firmware_c.generate(case.graph())
    except ModelError as problem:
        return f"refused: {reason_of(problem)}"
    return ""


def readme():
    """The README with the table as it has to be."""
    text = README.read_text()
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        README.write_text(readme())
    else:
        print(table())  # noqa: T201 - a command
