"""Reductions of a function of each value, written as the function and a plain reduction; LogSoftmax is of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecm_edge.forms.reference.rewriting.site import Rule, Site


def _reduced(site: Site, op: str, x: str, output: str = "", **changed: int) -> str:
    """A reduction of x in the way of the node: its axes, and whether they are kept."""
    attributes = {name: value for name, value in site.node.attributes.items() if name != "keepdims"}
    keepdims = changed.get("keepdims", site.attribute("keepdims", 1))
    return site.add(op, x, *site.node.inputs[1:2], output=output, keepdims=keepdims, **attributes)


def absolutes(site: Site) -> None:
    """ReduceL1: the sum of absolute values."""
    _reduced(site, "ReduceSum", site.add("Abs", site.input(0)), site.output(0))


def squares(site: Site) -> None:
    """ReduceSumSquare: the sum of squares."""
    _reduced(site, "ReduceSum", site.add("Mul", site.input(0), site.input(0)), site.output(0))


def length(site: Site) -> None:
    """ReduceL2: the root of the sum of squares."""
    total = _reduced(site, "ReduceSum", site.add("Mul", site.input(0), site.input(0)))
    site.add("Sqrt", total, output=site.output(0))


def log_sum(site: Site) -> None:
    """ReduceLogSum: the logarithm of the sum."""
    site.add("Log", _reduced(site, "ReduceSum", site.input(0)), output=site.output(0))


def log_sum_exp(site: Site) -> None:
    """ReduceLogSumExp: the logarithm of the sum of exponentials, less the largest value, so that none overflows."""
    x = site.input(0)
    largest = _reduced(site, "ReduceMax", x, keepdims=1)
    total = _reduced(site, "ReduceSum", site.add("Exp", site.add("Sub", x, largest)))
    place = largest if site.attribute("keepdims", 1) else _reduced(site, "ReduceMax", x)
    site.add("Add", site.add("Log", total), place, output=site.output(0))


def log_softmax(site: Site) -> None:
    """LogSoftmax: x less the logarithm of the sum of exponentials along an axis, none of which overflows."""
    x, axes = site.input(0), [site.attribute("axis", -1)]
    moved = site.add("Sub", x, site.add("ReduceMax", x, axes=axes, keepdims=1))
    total = site.add("ReduceSum", site.add("Exp", moved), axes=axes, keepdims=1)
    site.add("Sub", moved, site.add("Log", total), output=site.output(0))


RULES: dict[str, Rule] = {
    "LogSoftmax": log_softmax,
    "ReduceL1": absolutes,
    "ReduceL2": length,
    "ReduceLogSum": log_sum,
    "ReduceLogSumExp": log_sum_exp,
    "ReduceSumSquare": squares,
}
