"""The first layer whose output differs in a hop that failed, on a few segments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.evaluate.verify.records import LayerDifference, LayerLsb
from ecm_edge.forms import onnx_model, reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx
    from numpy.typing import NDArray
    from torch import nn

    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.reference import Graph

SEGMENTS = 8
"""Segments on which layers are compared."""


def first_difference(differences: Iterable[LayerDifference], l2r_limit: float) -> LayerDifference | None:
    """The first layer beyond the limit, or not finite; else the one that differs most; None without any layer."""
    layers = list(differences)
    beyond = [d for d in layers if d.l2r is None or d.l2r > l2r_limit]
    return beyond[0] if beyond else max(layers, key=lambda d: d.l2r or 0.0, default=None)


def between_graphs(reference: onnx.ModelProto, other: onnx.ModelProto, samples: Floats) -> list[LayerDifference]:
    """Every float tensor that two graphs have under the same name, in the second one's order."""
    outputs = {name for node in reference.graph.node for name in node.output}
    nodes = [node for node in other.graph.node if node.op_type != "Cast" and node.output[0] in outputs]
    names = [node.output[0] for node in nodes]
    before, after = (tensors(proto, samples[:SEGMENTS], names) for proto in (reference, other))
    return [
        difference(node.name, node.op_type, node.output[0], before[node.output[0]], after[node.output[0]])
        for node in nodes
        if before[node.output[0]].dtype == np.float32
    ]


def between_modules(network: nn.Module, proto: onnx.ModelProto, samples: Floats) -> list[LayerDifference]:
    """Every torch module against the last node of the graph that has its path, in the graph's order.

    A module with another number of output values than its node is left out.
    """
    few = samples[:SEGMENTS]
    modules = _module_outputs(network, few)
    nodes = [node for node in proto.graph.node if node.op_type not in {"Constant", "Shape", "Cast", "CastLike"}]
    last = {path: node for node in nodes if (path := onnx_model.module_path(node)) in modules}
    values = tensors(proto, few, [node.output[0] for node in last.values()])
    order = {node.output[0]: index for index, node in enumerate(proto.graph.node)}
    return [
        difference(path, node.op_type, node.output[0], modules[path], values[node.output[0]])
        for path, node in sorted(last.items(), key=lambda item: order[item[1].output[0]])
        if modules[path].size == values[node.output[0]].size
    ]


def between_reference(graph: Graph, proto: onnx.ModelProto, samples: Floats) -> list[LayerDifference]:
    """Every float tensor of a graph in onnxruntime against the reference."""
    few = samples[:SEGMENTS]
    steps = [step for step in graph.steps if step.op.inputs]
    names = [name for step in steps for name in step.outputs[:1]]
    own, runtime = reference.run(graph, few, names), tensors(proto, few, names)
    return [
        difference(step.op.name, step.op.op, name, own[name], runtime[name])
        for step, name in zip(steps, names, strict=True)
        if own[name].dtype == np.float32
    ]


def tensors(proto: onnx.ModelProto, samples: Floats, names: list[str]) -> dict[str, NDArray[np.generic]]:
    """Tensors inside a graph as onnxruntime computes them, each (n, *shape)."""
    if not names:
        return {}
    exposed = onnx_model.with_outputs(proto, names)
    classifier = onnx_model.classifier_of(proto)
    return dict(
        zip(names, onnx_model.run_session(onnx_model.open_session(exposed), classifier, samples, names), strict=True)
    )


def _module_outputs(network: nn.Module, samples: Floats) -> Mapping[str, Floats]:
    """The output of every leaf module for samples (n, T), by path; one that is called twice keeps its last."""
    import torch

    outputs: dict[str, Floats] = {}

    def keep(path: str) -> object:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor):
                outputs[path] = output.detach().numpy().copy()

        return hook

    leaves = [(path, module) for path, module in network.named_modules() if path and not list(module.children())]
    handles = [module.register_forward_hook(keep(path)) for path, module in leaves]
    try:
        with torch.inference_mode():
            network(torch.from_numpy(np.ascontiguousarray(samples))[:, None])
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def difference(
    layer: str, op: str, tensor: str, reference: NDArray[np.generic], other: NDArray[np.generic]
) -> LayerDifference:
    """The difference between one layer's output and the reference's."""
    r, p = reference.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    if r.shape != p.shape:
        return LayerDifference(layer=layer, op=op, tensor=tensor, l2r=None, max_abs=None)
    with np.errstate(invalid="ignore", over="ignore"):
        e = r - p
        length, error = (math.sqrt(float(np.sum(v * v))) for v in (r, e))
        largest = float(np.abs(e).max(initial=0))
    l2r = error / length if length else (0.0 if error == 0 else math.inf)
    return LayerDifference(layer=layer, op=op, tensor=tensor, l2r=_finite(l2r), max_abs=_finite(largest))


def layer_lsb(layer: str, op: str, tensor: str, expected: NDArray[np.generic], actual: NDArray[np.generic]) -> LayerLsb:
    """The difference between two sets of integers of one quantised tensor, in LSB."""
    off = np.abs(expected.astype(np.int64) - actual.astype(np.int64))
    return LayerLsb(
        layer=layer,
        op=op,
        tensor=tensor,
        values=off.size,
        mismatches=int((off > 0).sum()),
        max_lsb=int(off.max(initial=0)),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
