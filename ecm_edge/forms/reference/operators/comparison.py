"""Operators that give or take booleans: comparisons, logic, and the choice between two tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.forms.reference.operators._common import Array, Attributes, Operator, aligned, needed
from ecm_edge.forms.reference.operators.elementwise import binary

if TYPE_CHECKING:
    from collections.abc import Callable


def _test(function: Callable[[Array], Array]) -> Operator:
    """A boolean for each value."""

    def apply(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
        del attributes
        return [function(needed(inputs, 0))]

    return apply


def where(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Of two broadcast arrays the first where a condition holds, else the second."""
    del attributes
    return [np.where(*aligned([needed(inputs, index) for index in range(3)]))]


def is_infinite(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Whether a value is infinite, of the signs that are asked for."""
    x = needed(inputs, 0)
    below = (x == -np.inf) & bool(attributes.get("detect_negative", 1))
    above = (x == np.inf) & bool(attributes.get("detect_positive", 1))
    return [below | above]


OPERATORS: dict[str, Operator] = {
    "And": binary(np.logical_and),
    "Equal": binary(np.equal),
    "Greater": binary(np.greater),
    "GreaterOrEqual": binary(np.greater_equal),
    "IsInf": is_infinite,
    "IsNaN": _test(np.isnan),
    "Less": binary(np.less),
    "LessOrEqual": binary(np.less_equal),
    "Not": _test(np.logical_not),
    "Or": binary(np.logical_or),
    "Where": where,
    "Xor": binary(np.logical_xor),
}
