"""Computes one step from the tensors before it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference import integers, rounding
from ecm_edge.forms.reference.blame import blamed
from ecm_edge.forms.reference.operators import IN_ORDER, OPERATORS, Array

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ecm_edge.forms.reference.node import Step


def compute(step: Step, env: Mapping[str, Array]) -> Iterable[Array]:
    """The outputs of one step from the tensors before it; problems name the node and its operator.

    Raises:
        ModelError: the node is no valid use of its operator, or one that the reference does not know.
        InternalError: the reference fails where onnxruntime does not.
    """
    with placed(step, env):
        if step.quantizer is not None:
            return [integers.run_group(step, env)]
        if step.sources:
            return [integers.run_mean(step, env)]
        return _run_node(step, env)


@contextmanager
def placed(step: Step, env: Mapping[str, Array]) -> Iterator[None]:
    """Problems within name the node that its author wrote; `compute` says which errors there are."""
    try:
        yield
    except ModelError as problem:
        if step.op.place in problem.found:
            raise
        raise ModelError(problem.rule, f"{problem.found}, in {step.op.place}", problem.hint) from problem
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError) as problem:
        raise blamed(step, env, problem) from problem


def _run_node(step: Step, env: Mapping[str, Array]) -> Iterable[Array]:
    node = step.op
    if node.op not in {"QuantizeLinear", "DequantizeLinear"}:
        operator = (step.in_order and IN_ORDER.get(node.op)) or OPERATORS[node.op]
        return operator(node.attributes, [env[name] if name else None for name in node.inputs])
    function = rounding.dequantize if node.op == "DequantizeLinear" else rounding.quantize
    return [function(env[node.inputs[0]], *integers.quantisation(node, env))]
