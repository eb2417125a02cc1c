"""The node tests of the ONNX standard as generated C, their table in firmware_check/README.md, README.md's operators.

    python -m tests.conformance --write

Which tests there are, and which apply; whatever does not is counted with its reason:

1. A node test is a case of `onnx.backend.test.case.node` (the source of `onnx/backend/test/data/node`, which wheels no
   longer ship) with a float32 input or output. Those of functions written out as other operators (`_expanded`) are left
   out. Each output and each data set is one test.
2. The first float32 input becomes the samples; the other inputs become constants. Outputs of another type get a Cast to
   float32 behind them. QuantizeLinear and DequantizeLinear, whose integers the caller of C never sees, get their
   inverse with scale 1 behind or before them. What has no float32 input is a constant, which is added to samples of
   zeros.
3. Not applicable: sequences, optional tensors and text; no elements; training.
4. The wheel does ship old exports of PyTorch (opset 6 and 9) as files: they are run in the same way, by folder.
5. What the generator refuses, by an error that names the node: the error's rule is the reason.
6. The tests that onnx2c lists are counted once more in a row of their own, those without float32 too: of float64 and
   float16 the model is converted, as `load_classifier` does; of booleans and whole numbers the first input is cast
   from the samples, or quantised with scale 1 where the operator is one on 8 bits.

A second table is of files that onnxruntime's quantiser makes (tests/quantised_files.py), by kind of configuration.
"""

import importlib
import pkgutil
import re
import sys
import textwrap
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test.case.node as standard
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import onnx_model, reference
from ecm_edge.forms.as_float32 import as_float32 as convert
from ecm_edge.forms.reference.graph import graph_of
from ecm_edge.forms.reference.rewriting import RULE, SUPPORTED

from . import firmware_c, quantised_files

README = Path(__file__).parents[1] / "firmware_check" / "README.md"
LISTED = Path(__file__).with_name("onnx2c_node_tests.txt")
ON_BYTES = frozenset({"MaxPool", "ConvInteger", "MatMulInteger"})
FOLDERS = ("pytorch-converted", "pytorch-operator", "simple")
"""Models and their answers that the wheel ships as files."""

PAIRWISE = frozenset({"Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "MatMul", "Concat", "PRelu"})
"""Operators whose inputs are also tried all at once: the samples are cut into them."""

ALL_CONSTANT, NOT_SAMPLES = frozenset({"ConstantOfShape", "MelWeightMatrix", "Range"}), frozenset({"depth"})
"""Operators whose inputs are all bounds and sizes, and inputs that are one, whatever their type."""

ROUNDED = dict.fromkeys(
    [
        *(f"test_dft_{kind}{old}" for kind in ("axis", "inverse") for old in ("", "_opset19")),
        "test_stft",
        "test_stft_with_window",
    ],
    "right but for what float32 leaves of sums that cancel",
)
"""Tests beyond a relative tolerance; tests/test_rewriting.py has the operator."""

CHUNKS = 12
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
    test: str = ""

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
    tests = [test for test in node_cases() if "_expanded" not in test.name and has_float32(test)]
    with np.errstate(all="ignore"):
        found = [case for test in tests for case in _cases(test)]
    return tuple(sorted([*found, *_exports()], key=lambda case: (case.op, case.name)))


@cache
def others_listed():
    """Tests that onnx2c lists and `cases` leaves out."""
    known = {case.test for case in cases()}
    with np.errstate(all="ignore"):
        return tuple(
            case for test in node_cases() if test.name in listed() - known for case in _cases(as_float32(test))
        )


@cache
def listed():
    """The names of the node tests that onnx2c lists."""
    lines = LISTED.read_text().splitlines()
    return frozenset(f"test_{line}" for line in lines if not line.startswith("#"))


def has_float32(test):
    """Whether a data set has an input or output of float32."""
    return any(_is_float(_array(x)) for inputs, outputs in test.data_sets for x in (*inputs, *outputs))


def as_float32(test):
    """A test whose model and values of float64 or float16 are converted."""
    proto = onnx.ModelProto()
    proto.CopyFrom(test.model)
    convert(proto)

    def single(x):
        x = _array(x)
        return x.astype(np.float32) if _is_array(x) and x.dtype in (np.float64, np.float16) else x

    sets = [tuple([single(x) for x in part] for part in data) for data in test.data_sets]
    return replace(test, model=proto, data_sets=sets)


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


def _cases(test):
    nodes = test.model.graph.node
    op = nodes[0].op_type if len(nodes) == 1 else "several nodes"
    for number, (inputs, outputs) in enumerate(test.data_sets):
        given = dict(zip([value.name for value in test.model.graph.input], map(_array, inputs), strict=False))
        wanted = dict(zip([value.name for value in test.model.graph.output], map(_array, outputs), strict=False))
        for position, (name, value) in enumerate(wanted.items()):
            label = test.name + (f"[{number}]" if number else "") + (f":{position}" if position else "")
            case = _case(op, label, test.model, given, name, value)
            case.test = test.name
            yield _inapplicable(case, ROUNDED[label]) if label in ROUNDED else case
        floats = all(_is_float(x) for x in given.values()) and len(given) > 1
        if op in PAIRWISE and floats and all(np.size(x) for x in (*given.values(), *wanted.values())):
            (name,) = wanted
            yield _cut(op, f"{test.name} (all inputs)", test.model, nodes[0], given, name, wanted[name])


def _array(x):
    return numpy_helper.to_array(x) if isinstance(x, TensorProto) else x


def _is_array(x):
    return isinstance(x, np.ndarray | np.generic) and x.dtype.kind not in "OSU"


def _is_float(x):
    return _is_array(x) and x.dtype == np.float32


def _case(op, label, model, given, output, wanted):
    case = Case(op, label, model)
    if not all(map(_is_array, (*given.values(), wanted))):
        return _inapplicable(case, "optional, sequence or text")
    if all(entry.domain for entry in model.opset_import):
        return _inapplicable(case, "an operator of training")
    nodes, byte = list(model.graph.node), {np.dtype(np.int8), np.dtype(np.uint8)}
    quantised = op == "DequantizeLinear" or op.startswith("QLinear") or (op in ON_BYTES and _dtype(given) in byte)
    of_integers = bool(given) and quantised and not _is_float(next(iter(given.values())))
    varying = [n for n, x in given.items() if op not in ALL_CONSTANT and n not in NOT_SAMPLES and _is_float(x)]
    without = label in listed() and not varying and not _is_float(wanted) and op not in ALL_CONSTANT
    first = next(iter(given) if of_integers or without else iter(varying), None)
    if first is None:
        return _constant(case, nodes, given, output, wanted)
    x = given[first]
    if not np.size(x) or not np.size(wanted):
        return _inapplicable(case, "a tensor without elements")
    training = any(a.name == "training_mode" and a.i for node in nodes for a in node.attribute)
    if training or (op == "Dropout" and len(nodes[0].input) > 2 and given[nodes[0].input[2]]):
        return _inapplicable(case, "training mode")
    rest = {name: value for name, value in given.items() if name != first}
    source, result = first, output
    if without and not of_integers:
        to = helper.np_dtype_to_tensor_dtype(x.dtype)
        nodes, source = [helper.make_node("Cast", ["samples_"], [first], name="cast", to=to), *nodes], "samples_"
    elif x.dtype != np.float32:
        nodes, source = [_inverse("QuantizeLinear", "samples_", first), *nodes], "samples_"
        rest |= {"one_": np.float32(1), "zero_": x.dtype.type(0)}
    if op == "QuantizeLinear" or op.startswith("QLinear"):
        nodes, result = [*nodes, _inverse("DequantizeLinear", output, "scores_")], "scores_"
        rest |= {"one_": np.float32(1), "zero_": wanted.dtype.type(0)}
    elif wanted.dtype != np.float32:
        nodes, result = [*nodes, helper.make_node("Cast", [output], ["scores_"], name="float", to=1)], "scores_"
    case.proto = _model(model, nodes, {source: np.shape(x)}, rest, result)
    case.output, case.samples = result, np.asarray(x, np.float32).ravel()
    case.wanted = np.asarray(wanted, np.float32)
    return _constant(case, list(model.graph.node), given, output, wanted) if _is_constant(case) else case


def _dtype(given):
    return np.asarray(next(iter(given.values()))).dtype


def _is_constant(case):
    """Whether an output does not depend on the samples."""
    try:
        graph = case.graph()
        return len(reference.execute(graph, np.stack([case.samples] * 2), {})[case.output]) == 1
    except (ModelError, KeyError):
        return False


def _inverse(op, source, result):
    return helper.make_node(op, [source, "one_", "zero_"], [result], name="inverse")


def _constant(case, nodes, given, output, wanted):
    """What does not depend on the samples is added to samples of zeros."""
    if not np.size(wanted):
        return _inapplicable(case, "a tensor without elements")
    cast = helper.make_node("Cast", [output], ["constant_"], name="float", to=1)
    add = helper.make_node("Add", ["samples_", "constant_"], ["scores_"], name="add")
    case.proto = _model(case.proto, [*nodes, cast, add], {"samples_": np.shape(wanted)}, given, "scores_")
    case.output, case.samples = "scores_", np.zeros(np.size(wanted), np.float32)
    case.wanted = np.asarray(wanted, np.float32)
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


@cache
def chunk(number):
    """A part of the tests: (case, its generated C or None where the generator refuses)."""
    found = []
    for index, case in enumerate((*cases(), *others_listed())):
        if index % CHUNKS == number and not case.reason:
            try:
                found.append((case, firmware_c.generate(case.graph(), f"m{index}")))
            except ModelError as problem:
                found.append((case, problem))
    return found


def taken(number):
    """Those of a part of which there is C."""
    return [(case, made) for case, made in chunk(number) if not isinstance(made, ModelError)]


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
    unknown = re.match(r"(?:com\.microsoft\.)?([\w.]+)", problem.found)
    return f"no {unknown[1]}" if problem.rule == RULE else re.sub(r"\d+", "…", problem.rule)


def table():
    """Outcomes for the README, from what the generator takes: the tests hold that all of it passes.

    Operators of which every test is equal stand in one paragraph before the table of the others.
    """
    outcome = {op: [] for op in sorted({case.op for case in cases()} - {*FOLDERS})} | {op: [] for op in FOLDERS}
    for case in cases():
        outcome[case.op].append(case.reason or _refusal(case))
    whole = [op for op, reasons in outcome.items() if not any(reasons) and op not in FOLDERS]
    equal = ", ".join(f"{op}_{len(outcome[op])}" for op in whole)  # which stay on one line
    text = textwrap.fill(f"Operators of which every test is equal, and how many there are: {equal}.", 120)
    lines = [text.replace("_", " "), ""]
    lines += ["| operator | tests | equal | refused or not applicable, and why |", "|---|---:|---:|---|"]
    for op, reasons in outcome.items():
        if op in whole:
            continue
        counted = Counter(reason for reason in reasons if reason)
        why = "; ".join(f"{count} {reason}" for reason, count in sorted(counted.items())) or "–"
        title = f"files in `{op}`" if op in FOLDERS else op
        lines.append(f"| {title} | {len(reasons)} | {len(reasons) - counted.total()} | {why} |")
    total, passed = sum(map(len, outcome.values())), sum(not r for rs in outcome.values() for r in rs)
    lines.append(f"| **all** | **{total}** | **{passed}** | |")
    lines.append(_listed_row())
    return "\n".join(lines)


def _listed_row():
    """Of the tests that onnx2c lists: how many there are and are equal in every output, and why others are not."""
    reasons = dict.fromkeys(listed(), "")
    for case in (*cases(), *others_listed()):
        if case.test in reasons:
            reasons[case.test] = reasons[case.test] or case.reason or _refusal(case)
    counted = Counter(reason for reason in reasons.values() if reason)
    why = "; ".join(f"{count} {reason}" for reason, count in sorted(counted.items()))
    return f"| node tests that onnx2c lists | {len(reasons)} | {len(reasons) - counted.total()} | {why} |"


def _refusal(case):
    try:
        firmware_c.generate(case.graph())
    except ModelError as problem:
        return f"refused: {reason_of(problem)}"
    return ""


def quantised_table():
    """The rows of files that onnxruntime's quantiser makes: the tests hold that all that is taken is equal."""
    outcome = {}
    for file, _, _, made in quantised_files.made():
        reason = f"refused: {reason_of(made)}" if isinstance(made, ModelError) else ""
        outcome.setdefault(file.kind, []).append((file.net, reason))
    lines = ["| files | nets | tried | equal | refused, and why |", "|---|---|---:|---:|---|"]
    for kind, files in outcome.items():
        refused = Counter(reason for _, reason in files if reason)
        why = "; ".join(f"{count} {reason}" for reason, count in sorted(refused.items())) or "–"
        nets = ", ".join(sorted({net for net, _ in files}))
        lines.append(f"| {kind} | {nets} | {len(files)} | {len(files) - refused.total()} | {why} |")
    every = [reason for files in outcome.values() for _, reason in files]
    lines.append(f"| **all** | | **{len(every)}** | **{sum(not reason for reason in every)}** | |")
    return "\n".join(lines)


def operators():
    """The list of every operator that is taken, as the generator has them."""
    return "\n".join(textwrap.wrap(f"{RULE}: {', '.join(sorted(SUPPORTED))}.", 120, break_long_words=False))


def written():
    """The README as it has to be."""
    blocks = {"operators": operators(), "conformance": table(), "quantised": quantised_table()}
    text = README.read_text()
    for name, block in blocks.items():
        text = _with(text, name, block)
    return text


def _with(text, name, block):
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, rest = text.split(begin)
    return f"{head}{begin}\n{block}\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        README.write_text(written())
    else:
        print(table(), quantised_table(), sep="\n\n")  # noqa: T201 - a command
