"""Two smaller forms of a float32 classifier: static int8 QDQ, and float16 weights with float32 arithmetic.

int8 is signed throughout. Weights are symmetric per output channel (zero point 0, so that a product needs no
correction by the activations' sum); activations are asymmetric per tensor, since SiLU reaches down to -0.28 only and
ReLU to 0. Signed by signed is also what the Cortex-M kernels take, and never saturates inside onnxruntime's
accumulators, whatever the host. Biases are int32 with scale x_scale * w_scale.

What is quantised: convolutions, products of matrices, residual sums, gates and poolings. Activation functions, batch
norm and statistics such as a standard deviation stay float32 between a DequantizeLinear and the next QuantizeLinear:
rounding inside of them would cost accuracy and save nothing, as a device computes them from a table or on few values.
"""

from __future__ import annotations

import io
import logging
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from pydantic import Field

from ecm_edge.base import files
from ecm_edge.base.errors import ModelError
from ecm_edge.base.records import Form, Record
from ecm_edge.candidate import candidate, row_sampling
from ecm_edge.forms import onnx_model, reference
from ecm_edge.forms.bias_correction import correct_bias
from ecm_edge.forms.facts import ModelFacts, facts_of
from ecm_edge.forms.float16 import to_float16_weights
from ecm_edge.forms.model_file import check_length, open_model
from ecm_edge.forms.reference.noise import LayerNoise, rank_layers
from ecm_edge.forms.sample_file import Samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.onnx_model import Floats

QUANTISED = ("Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool",
             "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Pad", "Split")  # fmt: skip
"""Operators that may run on integers; every other one is float32 between DequantizeLinear and QuantizeLinear."""

CALIBRATION_SEGMENTS = 256
RANK_SEGMENTS = 32
_FATAL = 4  # onnxruntime's level of messages; what fails is raised as well
_PREPARED = "onnx.quant.pre_process"  # the mark that keeps onnxruntime from asking for its own preprocessing


class QuantizeRecord(Record):
    """How the smaller forms were made, what they weigh, and which layers add most noise, worst first.

    `bias_correction` was added to the scores; `float_nodes` stayed float32 although integers would do. Of the
    samples of the calibration, 98 % lie in `calibration_range`; it is absent in records of earlier versions.
    `calibration_subjects` are empty where a file of samples was calibrated on. `facts` are those of a model that is no
    float32 detector.
    """

    method: str
    calibration_segments: int
    calibration_subjects: list[str]
    activation_type: str
    weight_type: str
    per_channel: bool
    bias_correction: list[float]
    float_nodes: list[str]
    nodes_by_op: dict[str, int]
    weight_bytes: dict[Form, int]
    sha256: dict[Form, str]
    ranked_segments: int
    layers: list[LayerNoise]
    calibration_range: tuple[float, float] | None = None
    facts: ModelFacts | None = Field(default=None, exclude_if=lambda facts: facts is None)


def quantize(
    proto: onnx.ModelProto, calibration: Floats, *, subjects: Sequence[str], rank_segments: int = RANK_SEGMENTS
) -> tuple[dict[Form, onnx.ModelProto], QuantizeRecord]:
    """All forms of a float32 classifier, the one given included, and the record of how they were made.

    Args:
        proto: the simplified float32 model.
        calibration: segments (n, T) of training subjects only.
        subjects: whose segments those are, for the record.
        rank_segments: how many of them measure the noise of each layer; 0 leaves the ranking out.

    Raises:
        ModelError: no calibration segments, or the model cannot be quantised.
    """
    uncorrected = quantize_int8(proto, calibration)
    int8, error = correct_bias(proto, uncorrected, calibration)
    float16 = to_float16_weights(proto)
    forms: dict[Form, onnx.ModelProto] = {"float32": proto, "float16": float16, "int8": int8}
    for form, model in forms.items():
        _finish(model, proto, form)
    count = min(rank_segments, len(calibration))
    ranked = calibration[np.arange(count) * len(calibration) // max(count, 1)]
    return forms, QuantizeRecord(
        method="onnxruntime static QDQ, minimum and maximum of each tensor",
        calibration_segments=len(calibration),
        calibration_subjects=sorted(subjects),
        activation_type="int8, asymmetric, per tensor",
        weight_type="int8, symmetric, per output channel; bias int32",
        per_channel=True,
        bias_correction=[-value for value in error],
        float_nodes=float_nodes(proto),
        nodes_by_op=onnx_model.op_counts(int8),
        weight_bytes={form: onnx_model.weight_bytes(model) for form, model in forms.items()},
        sha256={form: onnx_model.sha256(model) for form, model in forms.items()},
        ranked_segments=len(ranked),
        layers=rank_layers(proto, uncorrected, ranked) if len(ranked) else [],
        calibration_range=tuple(np.percentile(calibration, (1, 99)).tolist()),
    )


def quantize_candidate(folder: Path, dataset: Dataset, *, rank_segments: int = RANK_SEGMENTS) -> QuantizeRecord:
    """Make the float16 and int8 forms of an exported candidate, calibrated on its training subjects alone.

    Args:
        folder: the candidate; its simplified model has to be there.
        dataset: the one it was made from.
        rank_segments: as for `quantize`.

    Raises:
        CandidateError: not a candidate, or made from another data set.
        ModelError: no simplified model, or one that cannot be quantised.
    """
    config = candidate.load_config(folder)
    chosen = row_sampling.training_rows(config, dataset, CALIBRATION_SEGMENTS)
    subjects = sorted(set(dataset.subject_names(chosen)))
    source = open_model(folder).classifier.proto
    calibration = np.asarray(dataset.samples[chosen])
    forms, record = quantize(source, calibration, subjects=subjects, rank_segments=rank_segments)
    for form in ("float16", "int8"):
        onnx_model.save(forms[form], folder / candidate.FORM_FILES[form])
    record.save(folder / candidate.QUANTIZE)
    return record


def quantize_file(
    path: Path,
    dataset: Dataset | Samples,
    out: Path,
    *,
    subjects: Sequence[str] | None = None,
    threshold: float | None = None,
) -> QuantizeRecord:
    """Make the forms of any float32 ONNX classifier in the new folder `out`, calibrated on these subjects' segments.

    By default on those of all subjects. A file of samples is taken as it is: nobody says whose they are. The forms keep
    the `threshold` of a model of one score; by default it is 0.5 for a sigmoid and 0 for a logit.

    Raises:
        ModelError: the file is no classifier, or cannot be quantised.
        DatasetError: an unknown subject.
        OutputError: `out` exists, or cannot be written.
    """
    classifier = onnx_model.load_classifier(path, threshold)
    if classifier.byte_ends:
        found = f"{path} with {classifier.byte_ends}"
        raise ModelError("what is quantised computes in floats", found, "It is int8 already: use it as it is.")
    if isinstance(dataset, Samples):
        segments, calibrated = dataset.at_most(CALIBRATION_SEGMENTS).values, []
    else:
        check_length(classifier, dataset)
        rows = dataset.rows_of(dataset.header.subjects if subjects is None else subjects)
        chosen = row_sampling.spread(dataset, rows, CALIBRATION_SEGMENTS)
        segments, calibrated = np.asarray(dataset.samples[chosen]), sorted(set(dataset.subject_names(chosen)))
    if len(segments):  # names the node that cannot be computed, if there is one
        reference.scores(reference.load(classifier.proto), segments[:1])
    forms, record = quantize(classifier.proto, segments, subjects=calibrated)
    record = record.model_copy(update={"facts": facts_of(classifier)})
    with files.staged_folder(out) as staged:
        for form in ("float16", "int8"):
            onnx_model.save(forms[form], staged / candidate.FORM_FILES[form])
        record.save(staged / candidate.QUANTIZE)
    return record


def quantize_int8(proto: onnx.ModelProto, calibration: Floats) -> onnx.ModelProto:
    """The int8 QDQ form, calibrated on segments (n, T) by the extremes of every tensor.

    Raises:
        ModelError: no calibration segments, a value that is not finite, or onnxruntime cannot quantise the model.
    """
    if not len(calibration) or not np.isfinite(calibration).all():
        found = f"{len(calibration)} segments, {int(np.sum(~np.isfinite(calibration)))} values not finite"
        raise ModelError(
            "int8 is calibrated on at least one finite segment", found, "Give segments of training subjects."
        )
    onnx_model.check_length(calibration, onnx_model.classifier_of(proto).input_shape, "the model")
    source = onnx.ModelProto()
    source.CopyFrom(proto)  # onnxruntime's tool changes the model it is given
    _hold_constants(source.graph)
    source.metadata_props.add(key=_PREPARED, value="onnxruntime.quant")
    return _quantize_static(source, calibration, float_nodes(source))


def _hold_constants(graph: onnx.GraphProto) -> None:
    """Make initializers of Constant nodes: only those does onnxruntime's tool quantise as weights."""
    held = [node for node in graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]
    for node in held:
        tensor = graph.initializer.add()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        graph.node.remove(node)


def _quantize_static(source: onnx.ModelProto, calibration: Floats, excluded: list[str]) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    feeder = _Feeder(onnx_model.classifier_of(source), calibration)
    with files.scratch_folder() as folder, redirect_stdout(io.StringIO()), _quiet_root_logger():
        path = Path(folder, "model.onnx")
        try:
            quantize_static(
                source,
                path,
                feeder,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_exclude=excluded,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
            )
        except Exception as problem:
            first = (str(problem).splitlines() or [""])[0]
            raise ModelError(
                "onnxruntime can quantise the model", f"{type(problem).__name__}: {first}", "Ship float32."
            ) from problem
        return onnx.load(path)


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """The tool warns on the root logger that it would like to do preprocessing of its own; onnxruntime tells twice."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_FATAL)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger().setLevel(level)


class _Feeder:
    """The calibration segments in the shape onnxruntime's CalibrationDataReader hands them out."""

    def __init__(self, classifier: onnx_model.Classifier, samples: Floats) -> None:
        self._feeds = iter([{classifier.input_name: row.reshape(classifier.input_shape)} for row in samples])

    def get_next(self) -> dict[str, Floats] | None:
        """The next segment as a feed, or None."""
        return next(self._feeds, None)


def float_nodes(proto: onnx.ModelProto) -> list[str]:
    """Names of nodes that stay float32 although their operator could run on integers.

    1. A Mul or Add with a constant, or of a tensor with itself: a rescaling, or a square in a statistic.
    2. The Mul of x * f(x) where f is a chain of float operators on x: SiLU and its kin.
    """
    constants = {tensor.name for tensor in proto.graph.initializer}
    producers = {name: node for node in proto.graph.node for name in node.output}
    return [
        node.name
        for node in proto.graph.node
        if node.op_type in {"Mul", "Add"}
        and (_is_rescaling(node, constants) or _is_self_gate(node, producers, constants))
    ]


def _is_rescaling(node: onnx.NodeProto, constants: set[str]) -> bool:
    return len({*node.input} - constants) < 2  # noqa: PLR2004 - two different activations


def _is_self_gate(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto], constants: set[str]) -> bool:
    first, second = node.input
    return node.op_type == "Mul" and (
        _is_function_of(first, second, producers, constants) or _is_function_of(second, first, producers, constants)
    )


def _is_function_of(name: str, source: str, producers: dict[str, onnx.NodeProto], constants: set[str]) -> bool:
    """Whether `name` is computed from `source` alone by operators that stay float32."""
    while name != source:
        node = producers.get(name)
        if node is None or (node.op_type in QUANTISED and not _is_rescaling(node, constants)):
            return False
        inputs = {*node.input} - constants
        if len(inputs) != 1 or node.op_type.startswith("Reduce"):
            return False
        name = inputs.pop()
    return True


def _finish(model: onnx.ModelProto, parent: onnx.ModelProto, form: Form) -> None:
    """Stamp a form that was made from `parent`, and check it."""
    if model is not parent:
        lineage = {"form": form, "parent_sha256": onnx_model.sha256(parent)}
        onnx_model.stamp(model, onnx_model.provenance(parent) | lineage)
    onnx_model.check(model, f"the {form} model")
