"""The mean error that quantisation leaves on the scores, taken back in the last layer's bias.

Rounding and clipping in every layer add up to a shift of the margin that is the same for most segments, and so to
labels that flip on one side only. Measured on the calibration segments against the float model, it costs nothing to
undo: the last bias is int32, and its step is far below one LSB of the scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from ecm_edge.forms import onnx_model, reference

if TYPE_CHECKING:
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.reference.graph import Graph
    from ecm_edge.forms.reference.node import Node


def correct_bias(
    float_proto: onnx.ModelProto, int8_proto: onnx.ModelProto, calibration: Floats
) -> tuple[onnx.ModelProto, list[float]]:
    """The int8 model with the mean error of its scores on segments (n, T) taken off, and that error.

    The model is returned as it is, with no error, where no quantised layer with a bias for each score gives the scores.
    """
    graph = reference.load(int8_proto)
    classifier = onnx_model.classifier_of(float_proto)
    bias = _last_bias(graph, classifier.decision.count)
    if bias is None:
        return int8_proto, []
    wanted = onnx_model.run_scores(classifier, calibration)
    error = (reference.scores(graph, calibration).astype(np.float64) - wanted).mean(axis=0)  # (S,)
    step = graph.constants[bias.inputs[1]][0]
    corrected = graph.constants[bias.inputs[0]][0] - np.rint(error / step).astype(np.int32)
    result = onnx.ModelProto()
    result.CopyFrom(int8_proto)
    for tensor in result.graph.initializer:
        if tensor.name == bias.inputs[0]:
            tensor.CopyFrom(numpy_helper.from_array(corrected, tensor.name))
    return result, error.tolist()


def _last_bias(graph: Graph, scores: int) -> Node | None:
    """The DequantizeLinear of the bias of the integer group that gives the scores, if it has one for each score."""
    producers = {name: step for step in graph.steps for name in step.outputs}
    last = producers[graph.output_name].op
    group = producers.get(last.inputs[0]) if last.op == "DequantizeLinear" else None
    if group is None or group.quantizer is None or len(group.sources) < 3:  # noqa: PLR2004 - x, w and bias
        return None
    bias = group.sources[2]
    return bias if graph.constants[bias.inputs[0]].size == scores else None
