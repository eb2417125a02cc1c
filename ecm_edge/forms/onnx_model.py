"""ONNX classifiers as this project understands them: one input of fixed shape, one output of scores.

N segments of T samples each: T is the product of the input's shape, and a segment lies in memory as ONNX has it, the
last axis fastest. `decision` says which label the scores stand for. A detector has one axis of samples and two scores:
that is what the project trains, scores and promotes.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]  # ships no types
from numpy.typing import NDArray

from ecm_edge.base import contents, files
from ecm_edge.base.errors import ModelError
from ecm_edge.base.names import path_meant
from ecm_edge.base.records import Form
from ecm_edge.forms import class_names, model_rules, model_sizes
from ecm_edge.forms.as_float32 import as_float32
from ecm_edge.forms.byte_ends import Meaning, has_byte_ends, taken_by, with_float_ends
from ecm_edge.forms.decision import TWO_SCORES, Decision, decision_of, text_of, threshold_of
from ecm_edge.forms.external_data import bring_in
from ecm_edge.forms.layout import layout_of
from ecm_edge.forms.onnx_graph import inputs_of, is_squashed, needed_nodes
from ecm_edge.forms.session import open_session as open_session  # noqa: PLC0414 - users of a model open it here

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

METADATA_PREFIX = "ecm_edge."
SCOPES = "pkg.torch.onnx.name_scopes"
_LONGEST_SCOPES = 10_000
"""The node metadata in which the exporter names the torch modules that a node came from."""

MOST_VALUES, MOST_SCORES = 1 << 20, 1 << 16
"""Of one segment: far more than any board has memory for; and labels have 16 bits on a serial line."""
_FIX = "python -m onnxruntime.tools.make_dynamic_shape_fixed"
_LARGEST_BYTES = 2**28 + 2**24  # the most weights in float32, and the graph
_CONVERTED, _THRESHOLD, _BYTES, _CLASSES = "converted_from", "score_threshold", "byte_ends", "class_names"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """A checked model.

    input_shape: of one segment, such as (1, 1, T), (1, T), (1, 12, 500) or (1, 3, 32, 32).
    decision:    which label its scores stand for.
    beside:      files beside `path` that hold some of its weights.
    class_names: of its labels, the first one's first; empty where nobody named them.
    sha256: of the file; where weights lie beside it, of the names and the hashes of all its files.
    """

    path: Path
    proto: onnx.ModelProto
    input_name: str
    input_shape: tuple[int, ...]
    output_name: str
    decision: Decision = TWO_SCORES
    beside: tuple[Path, ...] = ()
    class_names: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def layout(self) -> str:
        """A letter for each axis of the input, such as "NCT"; empty where no operator says what they are."""
        return layout_of(self.proto.graph, self.input_name, len(self.input_shape))

    @property
    def samples_per_segment(self) -> int:
        """T: how many values the input holds."""
        return prod(self.input_shape)

    @property
    def is_detector(self) -> bool:
        """Whether it has one axis of samples and two scores."""
        return sum(length != 1 for length in self.input_shape) == 1 and self.decision.kind == "two_scores"

    @property
    def converted_from(self) -> str:
        """What the file computes in, if not in float32: such as "float64"; empty otherwise."""
        return provenance(self.proto).get(_CONVERTED, "")

    @property
    def byte_ends(self) -> str:
        """The int8 or uint8 input and output that the file has, with scale and zero point; empty otherwise."""
        return provenance(self.proto).get(_BYTES, "")

    @property
    def input_integers(self) -> tuple[np.dtype[Any], Meaning] | None:
        """The type of the file's own input if that is of bytes, and what they stand for."""
        return taken_by(self.proto, self.input_name) if "input" in self.byte_ends else None


def load_classifier(path: Path, threshold: float | None = None, classes: Sequence[str] = ()) -> Classifier:
    """Read and check a model file; one in float64 or float16 is converted to float32, and bytes at its ends too.

    Args:
        path: the file; weights in files beside it are read too.
        threshold: of a model of one score; by default 0.5 for a sigmoid and 0 for a logit.
        classes: a name for each label; by default those in the file's metadata.

    Raises:
        ModelError: the file is missing, empty, corrupt or not ONNX; it has not exactly one input; its input has no
            fixed shape; its output is not one row of scores; a threshold, or names, that do not fit.
    """
    proto, beside, sha256 = _read(path)
    facts = {_CONVERTED: as_float32(proto), _THRESHOLD: "" if threshold is None else repr(float(threshold))}
    if has_byte_ends(proto):
        check(proto, str(path))
        facts[_BYTES] = with_float_ends(proto)
    if stated := {name: value for name, value in facts.items() if value}:
        stamp(proto, stated)
    check(proto, str(path))
    classifier = replace(classifier_of(proto, path), beside=beside, sha256=sha256)
    if not classes:
        return classifier
    names = class_names.checked(classes, classifier.decision.classes)
    stamp(proto, {_CLASSES: json.dumps(names)})
    return replace(classifier, class_names=names)


def load_proto(path: Path) -> onnx.ModelProto:
    """Read a model file that passes onnx's own checker; of its inputs those remain that have no initializer.

    Raises:
        ModelError: the file is missing, empty, corrupt or not ONNX.
    """
    proto, _, _ = _read(path)
    check(proto, str(path))
    return proto


def _read(path: Path) -> tuple[onnx.ModelProto, tuple[Path, ...], str]:
    """The model, its weights in it, the files beside it that held some, and the hash of what was read."""
    rule, hint = "a model is an ONNX file", "Export it again, or give another file."
    try:
        content = files.read_bounded(path, _LARGEST_BYTES)
    except OSError as problem:
        raise ModelError(rule, f"{path} ({problem.strerror})", f"{path_meant(path)}Check the path.") from None
    what, _, remedy = contents.of_bytes(content).partition("; ")
    if what:
        raise ModelError(rule, f"{path}, which is {what}", f"{remedy[:1].upper()}{remedy[1:]}.")
    try:
        proto = onnx.load_model_from_string(content)
    except DecodeError as problem:
        raise ModelError(rule, f"{path}, which is cut, corrupt or of another format ({problem})", hint) from None
    _free_negative_axes(proto.graph)
    model_rules.before_inference(proto, str(path))
    beside = bring_in(proto, path)
    _bind_initializers(proto)
    hashes = {path.name: files.sha256_bytes(content)} | {file.name: files.sha256_file(file) for file in beside}
    return proto, beside, hash_of(hashes)


def hash_of(hashes: Mapping[str, str]) -> str:
    """SHA-256 of a model by those of its files: of one file, its own; of several, that of their names and hashes."""
    return next(iter(hashes.values())) if len(hashes) == 1 else files.sha256_json(dict(hashes))


def _free_negative_axes(graph: onnx.GraphProto) -> None:
    """Leave axes free whose length is below 0, as some exporters write what ONNX leaves out or names."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0:
                dim.Clear()


def _bind_initializers(proto: onnx.ModelProto) -> None:
    """Take initializers off the list of inputs, where files before IR version 4 had to have them.

    There they stand for defaults that a caller may replace; here nobody does, and tools fold constants only.
    """
    inputs = inputs_of(proto.graph)
    if len(inputs) < len(proto.graph.input):
        del proto.graph.input[:]
        proto.graph.input.extend(inputs)
        proto.ir_version = max(proto.ir_version, 4)


def check(proto: onnx.ModelProto, name: str) -> None:
    """Raise ModelError unless the graph has nodes, onnx's checker accepts it, and the rules of `model_rules` hold."""
    if not proto.graph.node:
        raise ModelError("a model has operators", f"none in {name}", "Export it again, or give another file.")
    model_rules.before_inference(proto, name)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (*model_sizes.REFUSALS, EncodeError) as problem:
        lines = str(problem).strip().splitlines() or [type(problem).__name__]
        said = " ".join([lines[0], *(line for line in lines[1:] if "Name:" in line)])
        raise ModelError("a model passes onnx's checker", f"{said!r} in {name}", "Export it again.") from None
    model_rules.after_inference(proto, name)


def classifier_of(proto: onnx.ModelProto, path: Path = Path("model.onnx")) -> Classifier:
    """The classifier in a graph that passed `check`; `path` names it in messages.

    Raises:
        ModelError: not one input of fixed shape, or not one row of scores.
    """
    inputs = inputs_of(proto.graph)
    if len(inputs) != 1:
        found = f"{len(inputs)} ({', '.join(value.name for value in inputs) or 'none'}) in {path}"
        raise ModelError("a classifier has exactly one input", found, "Bind the other inputs to constants.")
    shape = _segment_shape(inputs[0], path)
    output, count = _scores(proto, path, shape[0])
    if len(shape) > len("NT") and layout_of(proto.graph, inputs[0].name, len(shape)).startswith("N"):
        _refuse_batch({output: [count]}, shape[0], path)
    needed = sorted(needed_nodes(proto.graph, [output]))
    model_rules.refuse_classical(proto.graph.node[index] for index in needed)
    probability = count == 1 and is_squashed(proto.graph, output)
    stated = threshold_of(provenance(proto).get(_THRESHOLD, ""), f"{METADATA_PREFIX + _THRESHOLD} of {path}")
    decision = decision_of(count, stated, probability=probability)
    names = class_names.in_metadata(proto, decision.classes)
    return Classifier(path, proto, inputs[0].name, shape, output, decision, class_names=names)


def one_segment(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every free batch axis, the first of an input that has several, bound to one segment.

    What the file says of tensors of a free shape is left out: inference finds it again, bound.
    """
    bound = onnx.ModelProto()
    bound.CopyFrom(proto)
    fixed = [value for value in bound.graph.value_info if 0 not in lengths(value)]
    del bound.graph.value_info[:]
    bound.graph.value_info.extend(fixed)
    for value in bound.graph.input:
        dims = value.type.tensor_type.shape.dim
        if len(dims) > 1 and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    return bound


def lengths(value: onnx.ValueInfoProto) -> list[int]:
    """Axis lengths; 0 where an axis is not fixed."""
    return [dim.dim_value if dim.HasField("dim_value") else 0 for dim in value.type.tensor_type.shape.dim]


def _is_float32(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)


def _segment_shape(value: onnx.ValueInfoProto, path: Path) -> tuple[int, ...]:
    dims = lengths(value)
    if len(dims) > 1 and dims[0] == 0:  # a free batch axis is run with one segment
        dims[0] = 1
    if not _is_float32(value) or not dims or min(dims) < 1:
        kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        raise ModelError(
            "the input is of floats and its shape is fixed, but for a batch axis in front",
            f"{value.name} {[dim or '?' for dim in dims]} of {kind} in {path}",
            f"Export with a fixed length and batch 1, or fix the file: `{_FIX}`.",
        )
    if prod(dims) > MOST_VALUES:
        found = f"{prod(dims):,} of {value.name} in {path}"
        raise ModelError(f"an input holds at most {MOST_VALUES:,} values", found, "Make the input smaller.")
    return tuple(dims)


def _scores(proto: onnx.ModelProto, path: Path, batch: int) -> tuple[str, int]:
    """The name of the one output of scores, and their number; of several outputs the one of two scores.

    `batch` is the input's first axis: (batch, 1) are the scores of so many segments, and not those of so many classes.
    """
    inferred = model_sizes.inferred(one_segment(proto), str(path))
    floats = [v for v in inferred.graph.output if _is_float32(v) and v.type.tensor_type.HasField("shape")]
    rows = {value.name: [dims[0] or 1, *dims[1:]] if (dims := lengths(value)) else [1] for value in floats}
    scores = {name: prod(dims) for name, dims in rows.items() if 0 < prod(dims) == max(dims) <= MOST_SCORES}
    two = {name: count for name, count in scores.items() if count == 2}  # noqa: PLR2004 - two scores
    chosen = scores if len(scores) == 1 else two
    if len(chosen) != 1:
        model_rules.refuse_maps(proto.graph)
        _refuse_batch({name: dims for name, dims in rows.items() if len(dims) > 1}, batch, path)
        raise ModelError(
            "a classifier has one float output of scores, in one row",
            f"{ {value.name: lengths(value) for value in inferred.graph.output} } in {path}",
            "End the net in one score, in two, or in one for each class.",
        )
    _refuse_batch({name: rows[name] for name in chosen if len(rows[name]) > 1}, batch, path)
    return next(iter(chosen.items()))


def _refuse_batch(rows: Mapping[str, Sequence[int]], batch: int, path: Path) -> None:
    """Refuse outputs whose first axis is as long as the input's `batch`, above 1."""
    batched = {name: list(dims) for name, dims in rows.items() if dims[0] == batch > 1}
    if batched:
        raise ModelError(
            "a model takes one segment at a time: the batch axis is 1, or free",
            f"a first axis of {batch} in the input and in {batched} in {path}",
            "Export it with a sample of one segment, or with a free batch axis.",
        )


def run_scores(classifier: Classifier, samples: Floats) -> Floats:
    """Scores (N, S) of samples (N, T) in onnxruntime: one thread, one segment at a time, as on the board.

    Raises:
        ModelError: T is not the model's, or onnxruntime fails.
    """
    session = open_session(classifier.proto)
    scores = run_session(session, classifier, samples, [classifier.output_name])[0]
    return scores.reshape(len(samples), classifier.decision.count)


def run_session(session: Any, classifier: Classifier, samples: Floats, names: Sequence[str]) -> list[NDArray[Any]]:  # noqa: ANN401 - onnxruntime ships no types
    """The outputs `names` for samples (N, T): one array (N, *shape of the output) each."""
    check_length(samples, classifier.input_shape, str(classifier.path))
    segments = np.ascontiguousarray(samples, np.float32).reshape(-1, *classifier.input_shape)
    try:
        outputs = [session.run(names, {classifier.input_name: segment}) for segment in segments]
    except Exception as problem:  # noqa: BLE001 - onnxruntime's exceptions share no public base class
        raise ModelError("onnxruntime can run the model", str(problem).splitlines()[0], "Export it again.") from None
    if not outputs:
        return [np.zeros((0, classifier.decision.count), np.float32) for _ in names]
    return [np.stack(column) for column in zip(*outputs, strict=True)]


def check_length(samples: Floats, input_shape: Sequence[int], name: str) -> None:
    """Raise ModelError unless samples (N, T) have the length of a model's input; `name` is the model's."""
    if samples.ndim != 2 or samples.shape[1] != prod(input_shape):  # noqa: PLR2004 - the axes N and T
        raise ModelError(
            "segments have the length of the model's input",
            f"samples of {text_of(samples.shape)} for {prod(input_shape):,} values in {name}",
            "Import the data with that length, or export the model for this one.",
        )


def with_outputs(proto: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """A copy of the model that also returns the tensors `names`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    known = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    return copy


def op_counts(proto: onnx.ModelProto) -> dict[str, int]:
    """How many nodes of each operator, by name of the operator."""
    return dict(sorted(Counter(node.op_type for node in proto.graph.node).items()))


def weight_bytes(proto: onnx.ModelProto) -> int:
    """Bytes of all initializers as stored: weights, biases, scales and shape constants."""
    return sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in proto.graph.initializer)


def sha256(proto: onnx.ModelProto) -> str:
    """SHA-256 of the file that `save` writes."""
    return hashlib.sha256(_content(proto)).hexdigest()


def save(proto: onnx.ModelProto, path: Path) -> None:
    """Write the model; the file is whole or absent."""
    files.write_atomic(path, _content(proto))


def _content(proto: onnx.ModelProto) -> bytes:
    return bytes(proto.SerializeToString(deterministic=True))


def stamp(proto: onnx.ModelProto, facts: Mapping[str, str]) -> None:
    """Write provenance into the model's metadata, in place; facts already there are replaced."""
    kept = {**provenance(proto), **facts}
    del proto.metadata_props[:]
    for key, value in sorted(kept.items()):
        proto.metadata_props.add(key=METADATA_PREFIX + key, value=value)


def provenance(proto: onnx.ModelProto) -> dict[str, str]:
    """The facts that `stamp` wrote."""
    return {
        entry.key.removeprefix(METADATA_PREFIX): entry.value
        for entry in proto.metadata_props
        if entry.key.startswith(METADATA_PREFIX)
    }


def stated_form(proto: onnx.ModelProto) -> Form | None:
    """The form that a file says it is; None where it says nothing, or something else."""
    stated = provenance(proto).get("form")
    return next((form for form in get_args(Form) if form == stated), None)


def module_path(node: onnx.NodeProto) -> str:
    """The torch module a node came from, as the exporter noted it; empty where it did not."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
    try:
        parts = ast.literal_eval(scopes) if len(scopes) <= _LONGEST_SCOPES else None
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        parts = None
    return str(parts[-2]) if isinstance(parts, list) and len(parts) > 1 else ""
