"""Which layers quantisation hurts: the noise at the scores from quantising one layer alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import ModelError
from ecm_edge.base.records import Record
from ecm_edge.forms.reference import integers, rounding
from ecm_edge.forms.reference.executor import execute, one_thread
from ecm_edge.forms.reference.graph import Graph, load
from ecm_edge.forms.reference.steps import compute

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.reference.node import Node, Step
    from ecm_edge.forms.reference.operators import Array

_DEQUANTISED = "_DequantizeLinear_Output"  # how onnxruntime's tool names the outputs it puts in
BEFORE_OUTPUT = "_QuantizeLinear_Input"
"""What onnxruntime's tool adds to the name of a graph's output before it is rounded."""


class LayerNoise(Record):
    """What quantising one layer alone (its weights and its output) does to the scores.

    sqnr_db = 10 log10(sum(score^2) / sum(error^2)); absent where there is no error at all.
    """

    layer: str
    op: str
    sqnr_db: float | None
    max_abs: float


@dataclass(frozen=True)
class _Layer:
    """A layer of the int8 graph in the float graph's names."""

    name: str
    op: str
    weights: Mapping[str, Array]  # dequantised, by the float graph's name
    output: str
    scale: Floats
    zero_point: Array


def rank_layers(float_proto: onnx.ModelProto, int8_proto: onnx.ModelProto, samples: Floats) -> list[LayerNoise]:
    """The noise of each quantised layer on samples (n, T), the worst first.

    Raises:
        ModelError: either graph has something that the reference does not know, or the float scores are not finite.
    """
    graph = load(float_proto)
    baseline = execute(graph, samples, {})
    clean = baseline[graph.output_name].astype(np.float64)
    if not np.isfinite(clean).all():
        raise ModelError("noise is measured against finite scores", "scores that are not", "Train the network again.")
    return sorted(
        (_noise(layer, clean, _scores_with(graph, baseline, layer)) for layer in _layers(load(int8_proto))),
        key=lambda noise: (math.inf if noise.sqnr_db is None else noise.sqnr_db, noise.layer),
    )


def _noise(layer: _Layer, clean: Array, noisy: Array) -> LayerNoise:
    error = noisy - clean
    signal, noise = float(np.sum(clean**2)), float(np.sum(error**2))
    sqnr_db = 10 * math.log10(signal / noise) if signal and noise else None
    return LayerNoise(layer=layer.name, op=layer.op, sqnr_db=sqnr_db, max_abs=float(np.abs(error).max(initial=0)))


def _layers(graph: Graph) -> list[_Layer]:
    """Every step that gives a quantised tensor, with the quantised weights it uses."""
    dequantizers = {step.outputs[0]: step.op for step in graph.steps if step.op.op == "DequantizeLinear"}
    layers = []
    for step, source in graph.quantised_layers:
        quantizer = step.quantizer or step.op
        nodes = step.sources or [dequantizers[name] for name in source.inputs if name in dequantizers]
        scale = graph.constants[quantizer.inputs[1]]
        zero_point = integers.zero_point_of(quantizer, graph.constants, np.zeros(0, np.uint8))
        layers.append(_Layer(*_named(source, quantizer), _weights(nodes, graph), _output(quantizer), scale, zero_point))
    return layers


def _named(source: Node, quantizer: Node) -> tuple[str, str]:
    return (quantizer.inputs[0], "input") if source is quantizer else (source.name, source.op)


def _output(quantizer: Node) -> str:
    return quantizer.inputs[0].removesuffix(BEFORE_OUTPUT)


def _weights(nodes: tuple[Node, ...] | list[Node], graph: Graph) -> dict[str, Array]:
    constant = [node for node in nodes if node.inputs[0] in graph.constants]
    return {node.outputs[0].removesuffix(_DEQUANTISED): _dequantised(node, graph.constants) for node in constant}


def _dequantised(node: Node, constants: Mapping[str, Array]) -> Array:
    q, axis = constants[node.inputs[0]], node.attributes.get("axis", 1)
    scale = integers.per_channel(constants[node.inputs[1]], axis, q.ndim)
    return rounding.dequantize(q, scale, integers.per_channel(integers.zero_point_of(node, constants, q), axis, q.ndim))


def _scores_with(graph: Graph, baseline: Mapping[str, Array], layer: _Layer) -> Array:
    """The float graph's scores with one layer quantised; only what depends on it is computed again."""
    env: dict[str, Array] = dict(baseline)
    env |= layer.weights
    changed = set(layer.weights)
    if layer.output == graph.input_name:
        _quantise(env, layer)
        changed.add(layer.output)
    with one_thread():
        for step in graph.steps:
            _advance(step, env, changed, layer)
    return env[graph.output_name]


def _advance(step: Step, env: dict[str, Array], changed: set[str], layer: _Layer) -> None:
    if changed & set(step.inputs):
        env.update(zip(step.outputs, compute(step, env), strict=False))
        changed |= set(step.outputs)
    if layer.output in step.outputs:
        _quantise(env, layer)
        changed |= set(step.outputs)


def _quantise(env: dict[str, Array], layer: _Layer) -> None:
    """Put a tensor through quantisation and back."""
    x = env[layer.output]
    scale, zero_point = (integers.per_channel(p, 1, x.ndim) for p in (layer.scale, layer.zero_point))
    env[layer.output] = rounding.dequantize(rounding.quantize(x, scale, zero_point), scale, zero_point)
