"""Whose fault it is that a step cannot be computed: the model's, or this program's.

The step alone, with the tensors that it reads, is given to onnxruntime. What it computes as well is a valid model, so
that the reference is wrong; what no operator set has a meaning for is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ecm_edge.base.errors import InternalError, ModelError
from ecm_edge.forms import onnx_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecm_edge.forms.reference.node import Node, Step
    from ecm_edge.forms.reference.operators import Array

_VERSIONS = (21, 17, 12, 10, 8)
"""Operator sets in which the known operators have their different forms."""


def blamed(step: Step, env: Mapping[str, Array], problem: Exception) -> ModelError | InternalError:
    """The error for a step that ended in `problem`."""
    nodes = [*step.sources, step.op, *([step.quantizer] if step.quantizer else [])]
    if any(_runs(nodes, env, version) for version in _VERSIONS):
        what = f"{type(problem).__name__}: {problem} in {step.op.place}"
        return InternalError(f"the reference cannot compute what onnxruntime can: {what}")
    rule = "the inputs and attributes of an operator fit its definition"
    return ModelError(rule, f"{_misfit(step, env, problem)} in {step.op.place}", "Export the model again.")


def _misfit(step: Step, env: Mapping[str, Array], problem: Exception) -> str:
    """What does not fit, in words of the graph: shapes are without the axis of the segments."""
    missing = next((name for name in step.inputs if name not in env), None)
    if missing is not None:
        return f"{missing!r}, which no node before gives,"
    if isinstance(problem, KeyError):
        return f"no {problem}"
    shapes = " and ".join(str(list(env[name].shape[1:])) for name in step.inputs if name)
    return f"inputs of shape {shapes or 'none'} ({problem})"


def _runs(nodes: list[Node], env: Mapping[str, Array], version: int) -> bool:
    """Whether onnxruntime computes these nodes for the first segment, by an operator set."""
    made = {name for node in nodes for name in node.outputs}
    read = {name: env[name] for node in nodes for name in node.inputs if name and name not in made and name in env}
    body = helper.make_graph(
        [_proto(node) for node in nodes],
        "step",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape[1:])
            for name, value in read.items()
            if len(value) > 1
        ],
        [onnx.ValueInfoProto(name=name) for name in nodes[-1].outputs if name],
        [numpy_helper.from_array(np.array(value[0]), name) for name, value in read.items() if len(value) == 1],
    )
    opset = helper.make_opsetid("", version)
    try:
        session = onnx_model.open_session(helper.make_model(body, opset_imports=[opset], ir_version=9))
        session.run(None, {name: value[0] for name, value in read.items() if len(value) > 1})
    except Exception:  # noqa: BLE001 - onnxruntime's exceptions share no public base class
        return False
    return True


def _proto(node: Node) -> onnx.NodeProto:
    def held(value: Any) -> Any:  # noqa: ANN401 - whatever an attribute can hold
        return numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value

    attributes = {name: held(value) for name, value in node.attributes.items()}
    return helper.make_node(node.op, node.inputs, node.outputs, node.name, **attributes)
