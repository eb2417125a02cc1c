"""A smaller graph with the same answers: onnxscript's folding, onnxsim with its checks on, batch norm folded forward.

Rules, in this order:
1. onnxscript folds what depends on constants alone and batch norm into the convolution before it.
2. onnxsim simplifies and compares `CHECKS` times on one real segment; that it did is counted, not believed.
3. A batch norm that follows an activation is folded into the convolution behind it, where that is exact.
4. Scores before and after are compared on all segments given.
"""

from __future__ import annotations

import io
import logging
from collections import Counter
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from ecm_edge.base.errors import ModelError, OutputError
from ecm_edge.base.records import Gate, Record, Verdict, at_least, at_most, verdict_of_what_ran
from ecm_edge.forms import onnx_model, parity, sample_file

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.sample_file import Samples

SEGMENTS = 32
"""Real segments of training subjects on which a candidate's graphs are compared before and after."""
CHECKS = 2
"""Comparisons that onnxsim is told to make."""
MAX_ABS = 1e-3
"""Largest difference of any score that passes as rounding; `verify` applies the target's own limit as well."""

_CHECK_LINE = "Checking "


class SimplifyRecord(Record):
    """What simplifying changed, and the conditions that were tested."""

    nodes_before: int
    nodes_after: int
    nodes_by_op_before: dict[str, int]
    nodes_by_op_after: dict[str, int]
    batch_norms_folded_forward: int
    onnxsim_checks_wanted: int
    onnxsim_checks_run: int
    parity: parity.Parity
    weight_bytes: int
    sha256: str
    gates: list[Gate]
    verdict: Verdict


def simplify(
    proto: onnx.ModelProto, check_samples: Floats, *, max_abs: float = MAX_ABS
) -> tuple[onnx.ModelProto, SimplifyRecord]:
    """The simplified model and what was done; the verdict is FAIL if no segment was compared or answers changed.

    Args:
        proto: a float32 classifier.
        check_samples: real segments (n, T); the first is also onnxsim's own check.
        max_abs: the largest difference of any score that passes.

    Raises:
        ModelError: the model cannot be simplified or run.
    """
    lineage = _lineage(proto)  # before any tool has a chance to change its input
    folded = _fold_constants(proto)
    simplified, agreed, checks_run = _onnxsim(folded, check_samples[:1])
    result, batch_norms = fold_batch_norms_forward(simplified)
    onnx_model.stamp(result, onnx_model.provenance(proto) | lineage)
    onnx_model.check(result, "the simplified model")
    before, after = (onnx_model.classifier_of(model) for model in (proto, result))
    first, second = (onnx_model.run_scores(classifier, check_samples) for classifier in (before, after))
    compared = parity.compare(first, second, before.decision)
    gates = [
        at_least("onnxsim_checks", checks_run, CHECKS, "checks"),
        at_least("onnxsim_agreed", float(agreed), 1, "bool"),
        at_least("segments_compared", compared.segments, 1, "segments"),
        at_most("max_abs", _nan_if_absent(compared.max_abs), max_abs, "score"),
    ]
    return result, SimplifyRecord(
        nodes_before=len(proto.graph.node),
        nodes_after=len(result.graph.node),
        nodes_by_op_before=onnx_model.op_counts(proto),
        nodes_by_op_after=onnx_model.op_counts(result),
        batch_norms_folded_forward=batch_norms,
        onnxsim_checks_wanted=CHECKS,
        onnxsim_checks_run=checks_run,
        parity=compared,
        weight_bytes=onnx_model.weight_bytes(result),
        sha256=onnx_model.sha256(result),
        gates=gates,
        verdict=verdict_of_what_ran(gates),
    )


def simplify_file(path: Path, out: Path, samples: Samples | None = None) -> SimplifyRecord:
    """Simplify any float32 ONNX classifier into the new file `out`; it is not written where the answers change.

    Args:
        path: the model; one in float64 or float16 is converted to float32, and a free batch axis becomes 1.
        out: the file to make.
        samples: segments that compare the graphs before and after, 32 at most; by default seeded noise.

    Raises:
        ModelError: no classifier, one that is quantised, or one that cannot be simplified or run.
        OutputError: `out` exists, or cannot be written.
    """
    if out.exists():
        raise OutputError(
            "a simplified model is a new file", f"{out} exists", "Choose another name, or remove it first."
        )
    classifier = onnx_model.load_classifier(path)
    quantised = sorted({node.op_type for node in classifier.proto.graph.node if "Quantize" in node.op_type})
    if quantised:
        raise ModelError(
            "what is simplified computes in floats",
            f"{', '.join(quantised)} in {path}",
            "Simplify the float32 file, and make the int8 form of that: `ecm-edge quantize`.",
        )
    segments = samples or sample_file.noise(SEGMENTS, classifier)
    proto, record = simplify(classifier.proto, segments.at_most(SEGMENTS).values)
    if record.verdict == Verdict.PASS:
        onnx_model.save(proto, out)
    return record


def _nan_if_absent(value: float | None) -> float:
    return float("nan") if value is None else value


def _lineage(parent: onnx.ModelProto) -> dict[str, str]:
    return {"form": "float32", "parent_sha256": onnx_model.sha256(parent)}


def _fold_constants(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The optimizer of onnxscript; tensors keep their names, batch norm goes into the convolution before it."""
    from onnxscript import optimizer

    quiet = logging.getLogger("onnxscript"), logging.getLogger("onnx_ir")
    levels = [logger.level for logger in quiet]
    for logger in quiet:
        logger.setLevel(logging.ERROR)
    try:
        folded: onnx.ModelProto = optimizer.optimize(proto)
    except Exception as problem:  # whatever onnxscript raises, the model is at fault or unsupported
        first = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise ModelError("onnxscript can fold the model's constants", first, "Ship it as exported.") from problem
    finally:
        for logger, level in zip(quiet, levels, strict=True):
            logger.setLevel(level)
    return folded


def _onnxsim(proto: onnx.ModelProto, segment: Floats) -> tuple[onnx.ModelProto, bool, int]:
    """The simplified graph, whether onnxsim found the same answers, and how many times it really compared them.

    onnxsim returns True as well when it compared nothing, so the lines that it prints for each check are counted.
    """
    import onnxsim

    checks = CHECKS if len(segment) else 0
    classifier = onnx_model.classifier_of(proto)
    feed = {classifier.input_name: segment.reshape(classifier.input_shape)} if checks else None
    output = io.StringIO()
    try:
        with redirect_stdout(output):
            simplified, agreed = onnxsim.simplify(proto, check_n=checks, input_data=feed)
    except Exception as problem:  # whatever onnxsim raises, the model is at fault or unsupported
        raise ModelError(
            "onnxsim can simplify the model", str(problem).splitlines()[0], "Ship it as exported."
        ) from problem
    run = sum(line.startswith(_CHECK_LINE) for line in output.getvalue().splitlines())
    return simplified, bool(agreed), run


def fold_batch_norms_forward(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Fold each batch norm into the convolution behind it, and say how many were folded.

    y = a x + b per channel, then conv(y): the weights take a, and the bias takes the sum of w b. Exact only if
    1. the batch norm's output goes to that convolution alone, and
    2. the convolution pads nothing (padding would have to be with -b / a, not 0).
    """
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    norms = {node.output[0]: node for node in graph.node if node.op_type == "BatchNormalization"}
    uses = Counter(name for node in graph.node for name in node.input) + Counter(value.name for value in graph.output)
    folded: set[str] = set()
    for conv in graph.node:
        norm = norms.get(conv.input[0]) if conv.op_type == "Conv" else None
        if norm is None or uses[norm.output[0]] != 1 or not _can_take(conv, norm, values):
            continue
        weight, bias = _merged(conv, norm, values)
        names = f"{conv.input[1]}.{conv.name}", f"{conv.input[1]}.{conv.name}.bias"
        graph.initializer.extend(numpy_helper.from_array(v, n) for v, n in zip((weight, bias), names, strict=True))
        conv.input[:] = [norm.input[0], *names]
        folded.add(norm.output[0])
    kept = [node for node in graph.node if not folded & set(node.output)]
    del graph.node[:]
    graph.node.extend(kept)
    _drop_unused(graph)
    return result, len(folded)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _can_take(conv: onnx.NodeProto, norm: onnx.NodeProto, values: dict[str, Any]) -> bool:
    attributes = _attributes(conv)
    unpadded = not any(attributes.get("pads", [])) and attributes.get("auto_pad", b"NOTSET") in {b"NOTSET", b"VALID"}
    return unpadded and all(name in values for name in [*conv.input[1:], *norm.input[1:]])


def _merged(conv: onnx.NodeProto, norm: onnx.NodeProto, values: dict[str, Any]) -> tuple[Floats, Floats]:
    """The convolution's new weight (O, C / groups, K) and bias (O,), computed in float64."""
    scale, shift, mean, variance = (values[name].astype(np.float64) for name in norm.input[1:])
    a = scale / np.sqrt(variance + _attributes(norm).get("epsilon", 1e-5))  # (C,)
    b = shift - a * mean  # (C,)
    weight = values[conv.input[1]].astype(np.float64)  # (O, C / groups, *K)
    groups = _attributes(conv).get("group", 1)
    group_of = np.arange(len(weight)) // (len(weight) // groups)  # (O,)
    channels = group_of[:, None] * weight.shape[1] + np.arange(weight.shape[1])  # (O, C / groups)
    per_weight = (*channels.shape, *(1,) * (weight.ndim - 2))
    bias = values[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else np.zeros(len(weight))  # noqa: PLR2004 - B is Conv's third input
    bias = bias + (weight * b[channels].reshape(per_weight)).reshape(len(weight), -1).sum(axis=1)
    return (weight * a[channels].reshape(per_weight)).astype(np.float32), bias.astype(np.float32)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    produced = {name for node in graph.node for name in node.output}
    known = [value for value in graph.value_info if value.name in produced]
    del graph.value_info[:]
    graph.value_info.extend(known)
