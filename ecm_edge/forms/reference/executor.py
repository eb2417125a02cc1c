"""Runs a graph on N segments at once, a few at a time so that the arrays stay in the cache."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # ships no types

from ecm_edge.forms import onnx_model
from ecm_edge.forms.reference.steps import compute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.reference.graph import Graph
    from ecm_edge.forms.reference.operators import Array

CHUNK = 64
"""Segments computed together."""


def scores(graph: Graph, samples: Floats) -> Floats:
    """Scores (N, S) of samples (N, T)."""
    scores = run(graph, samples, [graph.output_name])[graph.output_name]
    return scores.reshape(len(samples), math.prod(scores.shape[1:]))


def run(
    graph: Graph, samples: Floats, names: Sequence[str], *, replace: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """The tensors `names`, each (N, *ONNX shape), for samples (N, T).

    Args:
        graph: a loaded graph.
        samples: N segments.
        names: tensors to return, as the reference computes them.
        replace: tensors (N, *shape) that later steps see in place of the reference's own: with a runtime's quantised
            tensors every layer is computed from the runtime's own inputs, so that errors do not add up.

    Raises:
        ModelError: T does not fit, a NaN was to be quantised, or an accumulator left int32.
    """
    onnx_model.check_length(samples, graph.input_shape, "the graph")
    if not len(samples):  # one segment of zeros says what shapes the tensors have
        return {
            name: value[:0]
            for name, value in run(graph, np.zeros_like(samples, shape=(1, samples.shape[1])), names).items()
        }
    replaced = replace or {}
    parts = []
    for start in range(0, len(samples), CHUNK):
        rows = slice(start, min(start + CHUNK, len(samples)))
        env = execute(graph, samples[rows], {name: value[rows] for name, value in replaced.items()})
        size = rows.stop - rows.start
        parts.append({name: np.broadcast_to(env[name], (size, *env[name].shape[1:])) for name in names})
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def execute(graph: Graph, samples: Floats, replace: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor that the reference computes for these segments, by name; `replace` as in `run`."""
    env: dict[str, Array] = {**graph.constants, "": np.zeros((1, 0))}
    env[graph.input_name] = samples.astype(np.float32).reshape(-1, *graph.input_shape)
    own: dict[str, Array] = {}
    with one_thread(), np.errstate(all="ignore"):  # infinity and NaN are answers: whoever judges scores refuses them
        for step in graph.steps:
            for name, value in zip(step.outputs, compute(step, env), strict=False):
                if name:  # an output that nobody wants has none
                    own[name] = value
                    env[name] = replace.get(name, value)
    return env | own


def one_thread() -> AbstractContextManager[object]:
    """Matrix products on one thread: they are small, and threads that wait for each other cost more than they give."""
    limited: AbstractContextManager[object] = _thread_pools().limit(limits=1, user_api="blas")
    return limited


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()
