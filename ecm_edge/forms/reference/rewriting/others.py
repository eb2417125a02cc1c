"""Operators that a few plain ones give: by products (Det) and by powers (LRN, Lp…)."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ecm_edge.forms.reference.rewriting.site import Rule, Site

_LARGEST_DET = 4


def determinant(site: Site) -> None:
    """Det of small matrices: by the first row, and so on."""
    shape = site.shape(site.input(0))
    size = shape[-1]
    if size > _LARGEST_DET or shape[-2] != size:
        raise site.refused(f"a determinant is of up to {_LARGEST_DET} rows and as many columns", f"{list(shape[-2:])}")
    rows = [site.add("Gather", site.input(0), site.constant(i, np.int64), axis=-2) for i in range(size)]
    cells = [[site.add("Gather", row, site.constant(i, np.int64), axis=-1) for i in range(size)] for row in rows]
    minors: dict[tuple[int, ...], str] = {(column,): cells[-1][column] for column in range(size)}
    for count in range(2, size + 1):
        row = cells[size - count]
        minors = {columns: _by_row(site, row, columns, minors) for columns in combinations(range(size), count)}
    site.add("Identity", minors[tuple(range(size))], output=site.output(0))


def _by_row(site: Site, row: list[str], columns: tuple[int, ...], minors: dict[tuple[int, ...], str]) -> str:
    """The determinant of some columns, from a row and the determinants of the rows below."""
    total = ""
    for number, column in enumerate(columns):
        term = site.add("Mul", row[column], minors[tuple(other for other in columns if other != column)])
        total = site.add("Sub" if number % 2 else "Add", total, term) if total else term
    return total


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
    "Det": determinant,
    "GlobalLpPool": global_lp_pool,
    "LRN": local_response,
    "LpNormalization": lp_normalization,
    "LpPool": lp_pool,
}
