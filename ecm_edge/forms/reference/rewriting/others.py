"""Operators that a few plain ones give: by position (Hardmax, OneHot, Scatter) and by powers (LRN, Lp…)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from ecm_edge.forms.reference.functions import node_of

if TYPE_CHECKING:
    from ecm_edge.forms.reference.rewriting.site import Rule, Site


def hardmax(site: Site) -> None:
    """Hardmax: 1 at the first largest value along an axis, else 0."""
    shape = site.shape(site.input(0))
    axis = site.attribute("axis", -1) % len(shape)
    spread = [length if each == axis else 1 for each, length in enumerate(shape)]
    places = site.constant(np.arange(shape[axis]).reshape(spread), np.int64)
    largest = site.add("ArgMax", site.input(0), axis=axis, keepdims=1)
    site.add("Cast", site.add("Equal", largest, places), output=site.output(0), to=1)


def one_hot(site: Site) -> None:
    """OneHot: along a new axis one value where the index is, another elsewhere; below 0 it counts from the end."""
    depth, values = site.value(1, "a depth"), site.value(2, "the values")
    if depth is None or values is None:
        raise site.refused("a OneHot has a depth and values", "none")
    rank = len(site.shape(site.input(0))) + 1
    axis, count = site.attribute("axis", -1) % rank, int(depth.item())
    places = np.arange(count).reshape([count if each == axis else 1 for each in range(rank)])
    index = site.add("Cast", site.add("Unsqueeze", site.input(0), axes=[axis]), to=1)
    hits = [site.add("Equal", index, site.constant(places - back)) for back in (0, count)]
    off, on = (site.constant(value, values.dtype) for value in values)
    site.add("Where", site.add("Or", *hits), on, off, output=site.output(0))


def scatter(site: Site) -> None:
    """ScatterElements and ScatterND by constant indices: a Gather from both tensors behind each other."""
    shape, indices = site.shape(site.input(0)), site.value(1, "indices")
    if indices is None or site.attribute("reduction", "none") != "none":
        raise site.refused("a scatter replaces values", f"reduction {site.attribute('reduction', 'none')!r}")
    places = np.arange(int(np.prod(shape))).reshape(shape)
    updates = places.size + np.arange(int(np.prod(site.shape(site.input(2))))).reshape(site.shape(site.input(2)))
    if site.node.op == "ScatterND":
        places[tuple(np.moveaxis(indices, -1, 0))] = updates
    else:
        at = list(np.indices(indices.shape))
        at[site.attribute("axis", 0) % len(shape)] = indices
        places[tuple(at)] = updates
    flat = [site.add("Reshape", site.input(i), site.constant([-1], np.int64)) for i in (0, 2)]
    joined = site.add("Concat", *flat, axis=0)
    site.add("Gather", joined, site.constant(places, np.int64), output=site.output(0), axis=0)


def triangle(site: Site) -> None:
    """Trilu: the upper or the lower triangle of matrices, 0 elsewhere."""
    shape, by = site.shape(site.input(0)), site.value(1, "a diagonal")
    diagonal = 0 if by is None else int(by.item())
    keep = np.triu if site.attribute("upper", 1) else np.tril
    inside = keep(np.ones(shape[-2:], np.bool_), diagonal)
    zero = site.constant(0, site.values[site.input(0)].dtype)
    site.add("Where", site.constant(inside, np.bool_), site.input(0), zero, output=site.output(0))


def choice(site: Site) -> None:
    """If by a constant: the nodes of the branch that is taken."""
    condition = site.value(0, "a condition")
    branch = site.node.attributes["then_branch" if condition is not None and condition.any() else "else_branch"]
    for tensor in branch.initializer:
        site.constants[tensor.name] = site.values[tensor.name] = numpy_helper.to_array(tensor)[None]
    site.nodes += [node_of(index, node) for index, node in enumerate(branch.node)]
    for value, name in zip(branch.output, site.node.outputs, strict=True):
        site.add("Identity", value.name, output=name)


def lp_normalization(site: Site) -> None:
    """LpNormalization: x over its length along an axis, 0 where that is 0."""
    op = {1: "ReduceL1", 2: "ReduceL2"}.get(site.attribute("p", 2))
    if op is None:
        raise site.refused("LpNormalization has p = 1 or 2", f"p = {site.attribute('p', 2)}")
    length = site.add(op, site.input(0), axes=[site.attribute("axis", -1)], keepdims=1)
    none = site.add("Equal", length, site.constant(0))
    site.add("Div", site.input(0), site.add("Where", none, site.constant(1), length), output=site.output(0))


def lp_pool(site: Site) -> None:
    """LpPool: the p-th root of the sum of the p-th powers of each window."""
    p = float(site.attribute("p", 2))
    attributes = {name: value for name, value in site.node.attributes.items() if name != "p"}
    powers = site.add("Pow", site.add("Abs", site.input(0)), site.constant(p))
    mean = site.add("AveragePool", powers, count_include_pad=1, **attributes)
    cells = float(np.prod(attributes["kernel_shape"]))
    _root(site, site.add("Mul", mean, site.constant(cells)), p)


def global_lp_pool(site: Site) -> None:
    """GlobalLpPool: the same over all spatial axes."""
    p = float(site.attribute("p", 2))
    powers = site.add("Pow", site.add("Abs", site.input(0)), site.constant(p))
    rank = len(site.shape(site.input(0)))
    _root(site, site.add("ReduceSum", powers, axes=list(range(2, rank)), keepdims=1), p)


def _root(site: Site, x: str, p: float) -> None:
    site.add("Pow", x, site.constant(1 / p), output=site.output(0))


def local_response(site: Site) -> None:
    """LRN: x over a power of the sum of squares of the channels around it."""
    shape, size = site.shape(site.input(0)), int(site.attribute("size", 1))
    x = site.input(0)
    image = site.constant([shape[0], 1, shape[1], -1], np.int64)
    squares = site.add("Reshape", site.add("Mul", x, x), image)
    pads = [(size - 1) // 2, 0, size // 2, 0]
    mean = site.add("AveragePool", squares, kernel_shape=[size, 1], pads=pads, count_include_pad=1)
    mean = site.add("Reshape", mean, site.constant(shape, np.int64))
    line = site.add("Mul", mean, site.constant(site.attribute("alpha", 1e-4)))
    line = site.add("Add", line, site.constant(site.attribute("bias", 1.0)))
    power = site.add("Pow", line, site.constant(site.attribute("beta", 0.75)))
    site.add("Div", x, power, output=site.output(0))


RULES: dict[str, Rule] = {
    "GlobalLpPool": global_lp_pool,
    "Hardmax": hardmax,
    "If": choice,
    "LRN": local_response,
    "LpNormalization": lp_normalization,
    "LpPool": lp_pool,
    "OneHot": one_hot,
    "Scatter": scatter,
    "ScatterElements": scatter,
    "ScatterND": scatter,
    "Trilu": triangle,
}
