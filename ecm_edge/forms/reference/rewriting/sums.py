"""Einsum of one or two tensors, written as a product of matrices."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ecm_edge.forms.reference.rewriting.site import Rule, Site

_ELLIPSIS = "..."
_DIGITS = "0123456789"


def einsum(site: Site) -> None:
    """Einsum: axes by letters; those that are not in the result are summed."""
    terms, result = _letters(site)
    sizes: dict[str, int] = {}
    factors = []
    for position, letters in enumerate(terms):
        shape = site.shape(site.input(position))
        if len(set(letters)) < len(letters) or len(letters) != len(shape) or not 1 <= len(terms) <= 2:  # noqa: PLR2004
            equation = site.attribute("equation", "")
            raise site.refused("an Einsum is of one or two tensors, each letter once in each", equation)
        found = dict(zip(letters, shape, strict=True))
        if any(sizes.get(letter, length) != length for letter, length in found.items()):
            raise site.refused("an axis of an Einsum has one length", f"{sizes} and {found}")
        sizes |= found
        elsewhere = set(result).union(*(other for i, other in enumerate(terms) if i != position))
        factors.append(_summed(site, site.input(position), letters, elsewhere))
    if len(factors) == 1:
        name, letters = factors[0]
        site.add("Transpose", name, perm=[letters.index(letter) for letter in result], output=site.output(0))
        return
    _product(site, factors, result, sizes)


def _letters(site: Site) -> tuple[list[str], str]:
    """The letters of each tensor and of the result; axes that an ellipsis stands for are digits."""
    left, arrow, right = site.attribute("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    more = [0] * len(terms)
    for position, term in enumerate(terms):
        if _ELLIPSIS in term and site.node.inputs[position:]:
            more[position] = max(0, len(site.shape(site.input(position))) - len(term) + len(_ELLIPSIS))
    if max(more) > len(_DIGITS):
        raise site.refused("an ellipsis stands for at most 10 axes", f"{max(more)}")
    if not arrow:
        every = "".join(terms).replace(_ELLIPSIS, "")
        right = _ELLIPSIS + "".join(sorted(letter for letter in set(every) if every.count(letter) == 1))
    result = right.replace(_ELLIPSIS, _DIGITS[len(_DIGITS) - max(more) :])
    ends = [_DIGITS[len(_DIGITS) - count :] for count in more]
    return [term.replace(_ELLIPSIS, end) for term, end in zip(terms, ends, strict=True)], result


def _summed(site: Site, name: str, letters: str, elsewhere: set[str]) -> tuple[str, str]:
    """A tensor without the axes that are nowhere else, and its letters."""
    alone = [axis for axis, letter in enumerate(letters) if letter not in elsewhere]
    if not alone:
        return name, letters
    kept = "".join(letter for letter in letters if letter in elsewhere)
    return site.add("ReduceSum", name, axes=alone, keepdims=0), kept


def _product(site: Site, factors: list[tuple[str, str]], result: str, sizes: dict[str, int]) -> None:
    """Both as batches of matrices: the letters of both and the result, then rows or columns, and the sum's."""
    (a, left), (b, right) = factors
    batch = [letter for letter in result if letter in left and letter in right]
    inner = [letter for letter in left if letter in right and letter not in result]
    rows = [letter for letter in left if letter not in right]
    columns = [letter for letter in right if letter not in left]
    a = _matrices(site, a, left, (batch, rows, inner), sizes)
    b = _matrices(site, b, right, (batch, inner, columns), sizes)
    order = [*batch, *rows, *columns]
    shape = [sizes[letter] for letter in order]
    y = site.add("Reshape", site.add("MatMul", a, b), site.constant(shape, np.int64))
    site.add("Transpose", y, perm=[order.index(letter) for letter in result], output=site.output(0))


def _matrices(
    site: Site, name: str, letters: str, groups: tuple[list[str], list[str], list[str]], sizes: dict[str, int]
) -> str:
    """A tensor as (batch, rows, columns)."""
    moved = site.add("Transpose", name, perm=[letters.index(letter) for group in groups for letter in group])
    batch, *others = (prod(sizes[letter] for letter in group) for group in groups)
    shape = [batch, *others] if groups[0] else others
    return site.add("Reshape", moved, site.constant(shape, np.int64))


RULES: dict[str, Rule] = {"Einsum": einsum}
