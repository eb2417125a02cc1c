"""ONNX classifiers as this project understands them: one segment in, two scores out.

Dimension letters: N segments, C channels, T samples. A classifier has one float32 input that holds one segment (its
only axis longer than 1 is time) and a float32 output of two scores; label 1 (positive) iff scores[1] >= scores[0].
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]  # ships no types
from numpy.typing import NDArray
from onnx.external_data_helper import uses_external_data

from ecm_edge.base import files
from ecm_edge.base.errors import ModelError
from ecm_edge.base.records import Form

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

METADATA_PREFIX = "ecm_edge."
SCOPES = "pkg.torch.onnx.name_scopes"
"""The node metadata in which the exporter names the torch modules that a node came from."""

_LARGEST_BYTES = 2**31 - 1  # protobuf's own limit
_STANDARD = ("", "ai.onnx")  # names of the domain of the standard operators

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """A checked model; `input_shape` is that of one segment, e.g. (1, 1, T), (1, T) or (1, 1, T, 1)."""

    path: Path
    proto: onnx.ModelProto
    input_name: str
    input_shape: tuple[int, ...]
    output_name: str

    @property
    def samples_per_segment(self) -> int:
        """T, the length of the one axis that is not 1."""
        return prod(self.input_shape)


def load_classifier(path: Path) -> Classifier:
    """Read and check a model file.

    Raises:
        ModelError: the file is missing, empty, corrupt or not ONNX; it has not exactly one input; its input has no
            fixed time axis; its output is not two scores.
    """
    return classifier_of(load_proto(path), path)


def load_proto(path: Path) -> onnx.ModelProto:
    """Read a model file that passes onnx's own checker; of its inputs those remain that have no initializer.

    Raises:
        ModelError: the file is missing, empty, corrupt or not ONNX.
    """
    rule, hint = "a model is an ONNX file", "Export it again, or give another file."
    try:
        content = files.read_bounded(path, _LARGEST_BYTES)
    except OSError as problem:
        raise ModelError(rule, f"{path} ({problem.strerror})", hint) from None
    try:
        proto = onnx.load_model_from_string(content)
    except DecodeError as problem:
        raise ModelError(rule, f"{path} that is corrupt or of another format ({problem})", hint) from None
    _refuse_external_data(proto, path)
    _bind_initializers(proto)
    check(proto, str(path))
    return proto


def _refuse_external_data(proto: onnx.ModelProto, path: Path) -> None:
    """One file is the model: weights beside it would escape its hash, and get lost where it is copied."""
    outside = next((tensor for tensor in proto.graph.initializer if uses_external_data(tensor)), None)
    if outside is not None:
        raise ModelError(
            "a model's file holds its weights",
            f"{outside.name!r} of {path} in a file beside it",
            "Export with `torch.onnx.export(..., external_data=False)`, or `onnx.save(onnx.load(path), another_path)`.",
        )


def _bind_initializers(proto: onnx.ModelProto) -> None:
    """Take initializers off the list of inputs, where files before IR version 4 had to have them.

    There they stand for defaults that a caller may replace; here nobody does, and tools fold constants only.
    """
    bound = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in bound]
    if len(inputs) < len(proto.graph.input):
        del proto.graph.input[:]
        proto.graph.input.extend(inputs)
        proto.ir_version = max(proto.ir_version, 4)


def check(proto: onnx.ModelProto, name: str) -> None:
    """Raise ModelError unless the graph has nodes, onnx's checker accepts it, and every initializer can be read."""
    if not proto.graph.node:
        raise ModelError("a model has operators", f"none in {name}", "Export it again, or give another file.")
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, EncodeError) as problem:
        first = str(problem).strip().splitlines()[0]
        raise ModelError("a model passes onnx's checker", f"{first!r} in {name}", "Export it again.") from None
    if not any(entry.domain in _STANDARD for entry in proto.opset_import):
        domains = ", ".join(repr(entry.domain) for entry in proto.opset_import)
        raise ModelError("a model imports ONNX's standard operators", f"{domains} in {name}", "Export it again.")
    for tensor in proto.graph.initializer:
        try:
            onnx.numpy_helper.to_array(tensor)
        except ValueError as problem:
            found = f"{problem} for {tensor.name!r} {list(tensor.dims)} in {name}"
            raise ModelError("an initializer has the bytes of its shape", found, "Export it again.") from None


def classifier_of(proto: onnx.ModelProto, path: Path = Path("model.onnx")) -> Classifier:
    """The classifier in a graph that passed `check`; `path` names it in messages.

    Raises:
        ModelError: not one input with one fixed time axis, or not two scores.
    """
    initializers = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        found = f"{len(inputs)} ({', '.join(value.name for value in inputs) or 'none'}) in {path}"
        raise ModelError("a classifier has exactly one input", found, "Bind the other inputs to constants.")
    return Classifier(path, proto, inputs[0].name, _segment_shape(inputs[0], path), _scores_name(proto, path))


def one_segment(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every free batch axis, the first of an input that has several, bound to one segment."""
    bound = onnx.ModelProto()
    bound.CopyFrom(proto)
    for value in bound.graph.input:
        dims = value.type.tensor_type.shape.dim
        if len(dims) > 1 and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    return bound


def _dims(value: onnx.ValueInfoProto) -> list[int]:
    """Axis lengths; 0 where an axis is not fixed."""
    return [dim.dim_value if dim.HasField("dim_value") else 0 for dim in value.type.tensor_type.shape.dim]


def _is_float32(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)


def _segment_shape(value: onnx.ValueInfoProto, path: Path) -> tuple[int, ...]:
    dims = _dims(value)
    if len(dims) > 1 and dims[0] == 0:  # a free batch axis is run with one segment
        dims[0] = 1
    if not _is_float32(value) or sum(dim != 1 for dim in dims) != 1 or 0 in dims:
        shown = [dim or "?" for dim in dims]
        raise ModelError(
            "the input is float32 with one fixed axis of samples, all others 1",
            f"{value.name} {shown} in {path}",
            "Export with a fixed length and batch 1.",
        )
    return tuple(dims)


def _scores_name(proto: onnx.ModelProto, path: Path) -> str:
    inferred = onnx.shape_inference.infer_shapes(proto)
    outputs = {value.name: _dims(value) for value in inferred.graph.output if _is_float32(value)}
    scores = [name for name, dims in outputs.items() if dims[-1:] == [2] and {*dims[:-1]} <= {0, 1}]
    if len(scores) != 1:
        raise ModelError(
            "a classifier has one float32 output of two scores",
            f"{ {value.name: _dims(value) for value in inferred.graph.output} } in {path}",
            "End the net in two scores.",
        )
    return str(scores[0])


def open_session(proto: onnx.ModelProto) -> Any:  # noqa: ANN401 - onnxruntime ships no types
    """An onnxruntime session on one CPU thread, whose int8 sums are exact on every x86 processor.

    By default those without VNNI add pairs of int8 products in 16 bits, which clip: the same graph then has other
    answers on them.

    Raises:
        ModelError: onnxruntime refuses the graph.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # noqa: BLE001 - onnxruntime's exceptions share no public base class
        raise ModelError("onnxruntime can run the model", str(problem).splitlines()[0], "Export it again.") from None


def run_scores(classifier: Classifier, samples: Floats) -> Floats:
    """Scores (N, 2) of samples (N, T) in onnxruntime: one thread, one segment at a time, as on the board.

    Raises:
        ModelError: T is not the model's, or onnxruntime fails.
    """
    return run_session(open_session(classifier.proto), classifier, samples, [classifier.output_name])[0].reshape(-1, 2)


def run_session(session: Any, classifier: Classifier, samples: Floats, names: Sequence[str]) -> list[NDArray[Any]]:  # noqa: ANN401 - onnxruntime ships no types
    """The outputs `names` for samples (N, T): one array (N, *shape of the output) each."""
    if samples.ndim != 2 or samples.shape[1] != classifier.samples_per_segment:  # noqa: PLR2004 - the axes N and T
        raise ModelError(
            "segments have the length of the model's input",
            f"samples {samples.shape} for an input of {classifier.samples_per_segment}",
            "Import the data with that length, or export the model for this one.",
        )
    segments = np.ascontiguousarray(samples, np.float32).reshape(-1, *classifier.input_shape)
    try:
        outputs = [session.run(names, {classifier.input_name: segment}) for segment in segments]
    except Exception as problem:  # noqa: BLE001 - onnxruntime's exceptions share no public base class
        raise ModelError("onnxruntime can run the model", str(problem).splitlines()[0], "Export it again.") from None
    if not outputs:
        return [np.zeros((0, 2), np.float32) for _ in names]
    return [np.stack(column) for column in zip(*outputs, strict=True)]


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


def opset(proto: onnx.ModelProto) -> int:
    """The version of the standard operator set that the model imports."""
    return next(int(entry.version) for entry in proto.opset_import if entry.domain in _STANDARD)


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
    parts = ast.literal_eval(scopes)
    return str(parts[-2]) if len(parts) > 1 else ""
