"""If, Loop and Scan whose turns are known before any segment is: the nodes of the branch, or of every turn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

from ecm_edge.forms.reference.node import node_of, renamed_graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecm_edge.forms.reference.node import Node
    from ecm_edge.forms.reference.rewriting.site import Rule, Site

_MOST_TURNS = 1 << 10


def choice(site: Site) -> None:
    """If by a constant: the nodes of the branch that is taken."""
    condition = site.value(0, "a condition")
    branch = site.node.attributes["then_branch" if condition is not None and condition.any() else "else_branch"]
    for name, output in zip(_inlined(site, _parsed(site, branch), {}, "branch"), site.node.outputs, strict=True):
        if output:
            site.add("Identity", name, output=output)


def loop(site: Site) -> None:
    """Loop: the nodes of one turn, and a Loop of the turns that are left; after the last its results.

    Each turn's condition is known when its nodes have been computed.
    """
    body = site.attribute("parsed", None) or _parsed(site, site.attribute("body", None))
    turn, pieces = site.attribute("turn", 0), site.attribute("pieces", ())
    count, condition = site.value(0, "a trip count"), site.value(1, "a condition")
    states = site.node.inputs[2:]
    if (count is None or turn < count.item()) and (condition is None or condition.all()):
        _bounded(site, turn + 1)
        going = site.input(1) or site.constant(True, np.bool_)
        given = [site.constant(turn, np.int64), going, *states]
        inner = dict(zip(body.inputs, given, strict=True))
        going, *results = _inlined(site, body, inner, f"turn{turn}")
        made = tuple(results[len(states) :])
        node = replace(
            site.node,
            inputs=(site.input(0), going, *results[: len(states)]),
            attributes={"parsed": body, "turn": turn + 1, "pieces": (*pieces, made)},
        )
        site.nodes.append(node)
        return
    columns = list(zip(*pieces, strict=True)) or [()] * (len(site.node.outputs) - len(states))
    _give(site, states, [_Joined(column) for column in columns])


class _Joined(NamedTuple):
    """A tensor of each turn, joined along a new axis, in the order of turns or backwards."""

    pieces: Sequence[str]
    axis: int = 0
    backward: bool = False


def scan(site: Site) -> None:
    """Scan: the nodes of the body for every slice; in operator set 8 with a batch axis, of length 1."""
    body, count = _parsed(site, site.attribute("body", None)), site.attribute("num_scan_inputs", 1)
    old = len(site.node.inputs) == len(body.inputs) + 1
    inputs = list(site.node.inputs[1:] if old else site.node.inputs)
    if old:
        inputs = [_without_batch(site, name) for name in inputs]
    states, slices = inputs[:-count], inputs[-count:]
    axes, backward = (site.attribute(f"scan_input_{what}", [0] * count) for what in ("axes", "directions"))
    backward = site.attribute("directions", backward)
    axes = [axis % len(site.shape(name)) for axis, name in zip(axes, slices, strict=True)]
    turns = site.shape(slices[0])[axes[0]]
    _bounded(site, turns)
    pieces = []
    for turn in range(turns):
        places = [turns - 1 - turn if back else turn for back in backward]
        cut = [_at(site, name, axis, at) for name, axis, at in zip(slices, axes, places, strict=True)]
        inner = dict(zip(body.inputs, [*states, *cut], strict=True))
        results = _inlined(site, body, inner, f"turn{turn}")
        states = results[: len(states)]
        pieces.append(results[len(states) :])
    columns = list(zip(*pieces, strict=True))
    ends, ways = (site.attribute(f"scan_output_{what}", [0] * len(columns)) for what in ("axes", "directions"))
    joined = [_Joined(*each) for each in zip(columns, ends, map(bool, ways), strict=True)]
    _give(site, states, joined, batch=old)


def _without_batch(site: Site, name: str) -> str:
    if site.shape(name)[0] != 1:
        raise site.refused("a Scan of operator set 8 has a batch of 1", f"{site.shape(name)[0]}")
    return _at(site, name, 0, 0)


def _at(site: Site, name: str, axis: int, place: int) -> str:
    """One entry of an axis, without the axis; its shape is known at once."""
    cut = site.add("Gather", name, site.constant(place, np.int64), axis=axis)
    site.values[cut] = site.values[name].take(place, axis + 1)
    return cut


def _bounded(site: Site, turns: int) -> None:
    if not 1 <= turns <= _MOST_TURNS:
        hint = "Make the sequence shorter, or use LSTM, GRU or RNN, which are loops in C."
        raise site.refused(
            f"a {site.node.op} has 1 to {_MOST_TURNS:,} turns, which are written out", f"{turns:,}", hint
        )


def _give(site: Site, states: Sequence[str], joined: Sequence[_Joined], *, batch: bool = False) -> None:
    """The last states and the joined outputs under the node's names."""
    for position, name in enumerate(states):
        if output := site.output(position):
            site.add("Unsqueeze", name, axes=[0], output=output) if batch else site.add("Identity", name, output=output)
    for position, each in enumerate(joined, len(states)):
        if not (output := site.output(position)):
            continue
        if not each.pieces:
            raise site.refused("a Loop whose outputs are joined has turns", "none")
        axes = [each.axis + 1, 0] if batch else [each.axis]
        parts = [site.add("Unsqueeze", name, axes=sorted(axes)) for name in each.pieces]
        site.add("Concat", *(parts[::-1] if each.backward else parts), axis=axes[0], output=output)


class _Body(NamedTuple):
    """An inner graph, read once: its nodes, its inputs and outputs, and the names that its constants have outside."""

    nodes: list[Node]
    inputs: list[str]
    outputs: list[str]
    constants: Mapping[str, str]


def _parsed(site: Site, graph: onnx.GraphProto) -> _Body:
    """An inner graph; its constants become the graph's own."""
    base = next(name for name in site.node.outputs if name)
    constants = {tensor.name: f"{base}.{graph.name}.{tensor.name}" for tensor in graph.initializer}
    for tensor in graph.initializer:
        name = constants[tensor.name]
        site.constants[name] = site.values[name] = numpy_helper.to_array(tensor)[None]
    nodes = [node_of(index, node) for index, node in enumerate(graph.node)]
    return _Body(nodes, [v.name for v in graph.input], [v.name for v in graph.output], constants)


def _inlined(site: Site, body: _Body, actual: Mapping[str, str], what: str) -> list[str]:
    """Add the nodes of an inner graph, its tensors named anew; the names of its outputs.

    Args:
        site: whose nodes they become.
        body: the inner graph; it may read tensors from outside.
        actual: what its inputs stand for.
        what: makes the names.
    """
    names = {**body.constants, **actual}
    base = next(name for name in site.node.outputs if name)

    def renamed(name: str) -> str:
        return names.get(name, name)

    for node in body.nodes:
        inputs = tuple(map(renamed, node.inputs))
        inner = {n: renamed_graph(v, renamed) for n, v in node.attributes.items() if isinstance(v, onnx.GraphProto)}
        names |= {name: f"{base}.{what}.{name}" for name in node.outputs if name}
        own = replace(node, inputs=inputs, outputs=tuple(map(renamed, node.outputs)))
        author = site.node.author or node.place
        site.nodes.append(replace(own, attributes={**node.attributes, **inner}, author=author))
    return [renamed(name) for name in body.outputs]


RULES: dict[str, Rule] = {"If": choice, "Loop": loop, "Scan": scan}
