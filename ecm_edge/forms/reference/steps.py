"""Computes one step from the tensors before it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference import integers, rounding
from ecm_edge.forms.reference.operators import OPERATORS, Array

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ecm_edge.forms.reference.node import Node, Step


def compute(step: Step, env: Mapping[str, Array]) -> Iterable[Array]:
    """The outputs of one step from the tensors before it; problems name the node and its operator."""
    with placed(step.op, step.inputs, env):
        if step.quantizer is not None:
            return [integers.run_group(step, env)]
        if step.sources:
            return [integers.run_mean(step, env)]
        return _run_node(step, env)


@contextmanager
def placed(node: Node, inputs: Sequence[str], env: Mapping[str, Array]) -> Iterator[None]:
    """Problems within become a ModelError that names the node; `inputs` are what it reads."""
    try:
        yield
    except ModelError as problem:
        if node.place in problem.found:
            raise
        raise ModelError(problem.rule, f"{problem.found}, in {node.place}", problem.hint) from problem
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError) as problem:
        rule, hint = "the inputs and attributes of an operator fit its definition", "Export the model again."
        raise ModelError(rule, f"{_misfit(inputs, env, problem)} in {node.place}", hint) from problem


def _misfit(inputs: Sequence[str], env: Mapping[str, Array], problem: Exception) -> str:
    """What does not fit, in words of the graph: shapes are without the axis of the segments."""
    missing = next((name for name in inputs if name not in env), None)
    if missing is not None:
        return f"{missing!r}, which no node before gives,"
    if isinstance(problem, KeyError):
        return f"no {problem}"
    shapes = " and ".join(str(list(env[name].shape[1:])) for name in inputs if name)
    return f"inputs of shape {shapes or 'none'} ({problem})"


def _run_node(step: Step, env: Mapping[str, Array]) -> Iterable[Array]:
    node = step.op
    if node.op not in {"QuantizeLinear", "DequantizeLinear"}:
        return OPERATORS[node.op](node.attributes, [env[name] if name else None for name in node.inputs])
    function = rounding.dequantize if node.op == "DequantizeLinear" else rounding.quantize
    return [function(env[node.inputs[0]], *integers.quantisation(node, env))]
