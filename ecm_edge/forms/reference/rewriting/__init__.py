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
from ecm_edge.forms.reference.functions import written_out
from ecm_edge.forms.reference.node import Node, Step
from ecm_edge.forms.reference.operators import OPERATORS
from ecm_edge.forms.reference.rewriting import norms, others, quantised, reductions, resampling, sums
from ecm_edge.forms.reference.rewriting.site import Site
from ecm_edge.forms.reference.steps import compute

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecm_edge.forms.reference.operators import Array
    from ecm_edge.forms.reference.rewriting.site import Rule

RULES: dict[str, Rule] = {
    **norms.RULES,
    **others.RULES,
    **quantised.RULES,
    **reductions.RULES,
    **resampling.RULES,
    **sums.RULES,
}

KNOWN = frozenset(OPERATORS) | {"QuantizeLinear", "DequantizeLinear"}
"""Operators that are computed as they are."""

_SEED = 0


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
        for node in nodes:
            if node.op in KNOWN:
                self.nodes.append(node)
                outputs = list(compute(Step(node, node.outputs), self.values))
                self.values.update(zip(node.outputs, outputs, strict=False))
                self._bound(node, outputs)
            else:
                self.take(self._others(node))

    def _bound(self, node: Node, outputs: list[Array]) -> None:
        """Refuse a graph before its tensors fill the memory; inference does not see all of them."""
        self.elements += sum(value[:1].size for value in outputs)
        if self.elements > MOST_TOGETHER:
            found = f"more, up to {node.place}"
            rule = f"all tensors of a model have at most {MOST_TOGETHER:,} elements"
            raise ModelError(rule, found, "Make the net or its input smaller.")

    def _others(self, node: Node) -> list[Node]:
        if (rule := RULES.get(node.op)) is not None:
            site = Site(node, self.constants, self.values)
            rule(site)
            return site.nodes
        others = written_out(node, self.version, self.values)
        if others is None:
            raise ModelError(
                f"{len(KNOWN | set(RULES))} operators are known, and those that the standard makes of them",
                f"{node.op} in node {repr(node.name) if node.named else f'that gives {node.outputs[0]!r}'}",
                "Use those that README.md lists under Firmware.",
            )
        return others
