"""Operators that are written as others before anything is computed, so that one form of each is enough.

1. Operators of the reference stay.
2. The rules of the families beside this file come first: each gives the nodes that stand in place of one.
3. Then the standard's own definition, where it has one (`functions`).
4. Any other operator is refused by name.

The nodes before are computed on two segments of noise meanwhile, as the generator does: shapes and types are read off,
and what comes out once instead of twice is a constant. What a rule gives is in the reference's own reading of ONNX:
axes as attributes, whatever the operator set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.model_sizes import MOST_TOGETHER
from ecm_edge.forms.reference.functions import DEFINED, written_out
from ecm_edge.forms.reference.node import Node, Step
from ecm_edge.forms.reference.operators import OPERATORS
from ecm_edge.forms.reference.rewriting import (
    control,
    grids,
    norms,
    others,
    positions,
    quantised,
    reductions,
    resampling,
    signals,
    sums,
)
from ecm_edge.forms.reference.rewriting.site import Site
from ecm_edge.forms.reference.steps import compute, placed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecm_edge.forms.reference.operators import Array
    from ecm_edge.forms.reference.rewriting.site import Rule

RULES: dict[str, Rule] = {
    **control.RULES,
    **grids.RULES,
    **norms.RULES,
    **others.RULES,
    **positions.RULES,
    **quantised.RULES,
    **reductions.RULES,
    **resampling.RULES,
    **signals.RULES,
    **sums.RULES,
}

KNOWN = frozenset(OPERATORS) | {"QuantizeLinear", "DequantizeLinear"}
"""Operators that are computed as they are; C can be made of each, unless it only gives constants."""

SUPPORTED = KNOWN | frozenset(RULES) | DEFINED
"""Every operator that can be computed and made into firmware: the one list, which firmware_check/README.md shows."""

RULE = f"{len(SUPPORTED)} operators can be computed and made into firmware"
HINT = "firmware_check/README.md lists them: export the model with those."

_SEED = 0
_MOST_NODES = 1 << 15
_SMALLER = "Make the sequence shorter, or the net smaller."


def is_computed(node: Node) -> bool:
    """Whether a node is computed as it is; a MaxPool that also gives places is not."""
    return node.op in KNOWN and not (node.op in RULES and any(node.outputs[1:]))


@dataclass(frozen=True)
class Written:
    """A graph as it is computed: each node with those that stand for it, and every tensor of two segments.

    A tensor that does not depend on the segment has one instead of two.
    """

    parts: list[tuple[Node, list[Node]]]
    values: dict[str, Array]

    @property
    def nodes(self) -> list[Node]:
        """Those that are computed, in order."""
        return [node for _, nodes in self.parts for node in nodes]


def rewritten(
    nodes: Iterable[Node], constants: dict[str, Array], input_name: str, input_shape: tuple[int, ...], version: int
) -> Written:
    """The nodes, with those outside of `KNOWN` written as others; new constants go into `constants`.

    Raises:
        ModelError: an operator, or a use of one, that no rule knows; the node is named.
    """
    noise = np.random.default_rng(_SEED).standard_normal((2, *input_shape)).astype(np.float32)
    refusal = None
    nodes = list(nodes)
    for samples in (noise, np.abs(noise), np.zeros_like(noise)):  # a graph may refuse what gives a NaN
        work = _Rewriting(constants, {**constants, "": np.zeros((1, 0)), input_name: samples}, version)
        try:
            with np.errstate(all="ignore"):
                parts = [(node, work.written(node)) for node in nodes]
        except ModelError as problem:
            refusal = refusal or problem
            continue
        return Written(parts, work.values)
    raise refusal or ModelError("a graph has nodes", "none", "Export it again.")


@dataclass
class _Rewriting:
    """The nodes so far, and every tensor that they give for two segments."""

    constants: dict[str, Array]
    values: dict[str, Array]
    version: int
    nodes: list[Node] = field(default_factory=list)
    elements: int = 0

    def written(self, node: Node) -> list[Node]:
        """The nodes that stand for one."""
        self.nodes = []
        self.take([node])
        return self.nodes

    def take(self, nodes: Iterable[Node]) -> None:
        """Add nodes, or what they are written as."""
        waiting = list(nodes)[::-1]
        while waiting:
            node = waiting.pop()
            if not is_computed(node) or self._is_of_floats(node):
                waiting += self._others(node)[::-1]
                if len(waiting) > _MOST_NODES:
                    found = f"{len(waiting):,} nodes with {node.place}"
                    raise ModelError(f"a graph has at most {_MOST_NODES:,} nodes when written out", found, _SMALLER)
                continue
            self.nodes.append(node)
            outputs = list(compute(Step(node, node.outputs), self.values))
            self.values.update(zip(node.outputs, outputs, strict=False))
            self._bound(node, outputs)

    def _is_of_floats(self, node: Node) -> bool:
        """Whether a DequantizeLinear reads integers that are kept as floats."""
        return node.op == "DequantizeLinear" and self.values[node.inputs[0]].dtype == np.float32

    def _bound(self, node: Node, outputs: list[Array]) -> None:
        """Refuse a graph before its tensors fill the memory; inference does not see all of them."""
        self.elements += sum(value[:1].size for value in outputs)
        if self.elements > MOST_TOGETHER:
            found = f"more, up to {node.place}"
            rule = f"all tensors of a model have at most {MOST_TOGETHER:,} elements"
            raise ModelError(rule, found, "Make the net or its input smaller.")

    def _others(self, node: Node) -> list[Node]:
        with placed(Step(node, node.outputs), self.values):
            if (rule := RULES.get(node.op)) is not None:
                site = Site(node, self.constants, self.values, self.version)
                rule(site)
                return site.nodes
            others = written_out(node, self.version, self.values) if node.op in DEFINED else None
        if others is None:
            raise ModelError(RULE, f"{node.op}, of which {node.place} is made" if node.author else node.place, HINT)
        return others
