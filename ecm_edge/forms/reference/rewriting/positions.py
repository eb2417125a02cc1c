"""Operators that pick, place or replace values at constant positions, as Gathers; and tests of positions."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from ecm_edge.forms.model_rules import bounded
from ecm_edge.forms.reference.operators.windows import geometry, windows

if TYPE_CHECKING:
    from ecm_edge.forms.reference.rewriting.site import Rule, Site

_MOST_ROUNDS = 64


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
    depth, shape = site.needed(1, "a depth"), site.shape(site.input(0))
    rank = len(shape) + 1
    axis, count = site.attribute("axis", -1) % rank, int(depth.item())
    bounded([*shape, count])
    places = np.arange(count).reshape([count if each == axis else 1 for each in range(rank)])
    index = site.add("Cast", site.add("Unsqueeze", site.input(0), axes=[axis]), to=1)
    hits = [site.add("Equal", index, site.constant(places - back)) for back in (0, count)]
    off, on = (site.add("Gather", site.input(2), site.constant(which, np.int64), axis=0) for which in (0, 1))
    site.add("Where", site.add("Or", *hits), on, off, output=site.output(0))


def triangle(site: Site) -> None:
    """Trilu: the upper or the lower triangle of matrices, 0 elsewhere."""
    shape, by = site.shape(site.input(0)), site.value(1, "a diagonal")
    diagonal = 0 if by is None else int(by.item())
    keep = np.triu if site.attribute("upper", 1) else np.tril
    inside = keep(np.ones(shape[-2:], np.bool_), diagonal)
    zero = site.constant(0, site.values[site.input(0)].dtype)
    site.add("Where", site.constant(inside, np.bool_), site.input(0), zero, output=site.output(0))


def eye_like(site: Site) -> None:
    """EyeLike: 1 on a diagonal of a matrix of the same shape, 0 elsewhere."""
    own = helper.np_dtype_to_tensor_dtype(site.values[site.input(0)].dtype)
    rows, columns = site.shape(site.input(0))
    unit = site.constant(np.eye(rows, columns, k=site.attribute("k", 0)))
    site.add("Cast", unit, output=site.output(0), to=site.attribute("dtype", own))


def compress(site: Site) -> None:
    """Compress by a constant condition: the entries of an axis, or of the whole tensor, where it holds."""
    condition, x = site.needed(1, "a condition"), site.input(0)
    axis = site.attribute("axis", None)
    if axis is None:
        x, axis = site.add("Reshape", x, site.constant([-1], np.int64)), 0
    site.add("Gather", x, site.constant(np.flatnonzero(condition), np.int64), output=site.output(0), axis=axis)


def reverse_sequence(site: Site) -> None:
    """ReverseSequence: the first values along time of each sequence in reverse, as many as its constant length."""
    shape, lengths = site.shape(site.input(0)), site.needed(1, "the lengths of sequences")
    time, batch = site.attribute("time_axis", 0), site.attribute("batch_axis", 1)
    if (
        {time, batch} != {0, 1}
        or len(lengths) != shape[batch]
        or not 0 <= lengths.min() <= lengths.max() <= shape[time]
    ):
        raise site.refused("ReverseSequence has a length for each sequence", f"{lengths.tolist()} for {list(shape)}")
    steps, rows = np.indices((shape[time], shape[batch]))
    steps = np.where(steps < lengths[rows], lengths[rows] - 1 - steps, steps)
    places = steps * shape[batch] + rows if time == 0 else (rows * shape[time] + steps).T
    flat = site.add("Reshape", site.input(0), site.constant([shape[0] * shape[1], *shape[2:]], np.int64))
    site.add("Gather", flat, site.constant(places, np.int64), output=site.output(0), axis=0)


def scatter(site: Site) -> None:
    """Scatter, ScatterElements and ScatterND by constant indices: a Gather from both tensors behind each other.

    With a reduction, one round for each update of the same place.
    """
    shape, indices = site.shape(site.input(0)), site.needed(1, "indices")
    numbers = np.arange(prod(shape)).reshape(shape)
    if site.node.op == "ScatterND":
        places = numbers[tuple(np.moveaxis(indices, -1, 0))]
    else:
        at = list(np.indices(indices.shape))
        at[site.attribute("axis", 0) % len(shape)] = indices
        places = numbers[tuple(at)]
    reduction = site.attribute("reduction", "none")
    if reduction == "none":
        _placed(site, site.input(0), places, site.input(2), site.output(0))
        return
    op, neutral = {"add": ("Add", 0), "mul": ("Mul", 1), "max": ("Max", -np.inf), "min": ("Min", np.inf)}[reduction]
    updates = site.add("Reshape", site.input(2), site.constant([-1], np.int64))
    updates = site.add("Concat", updates, site.constant([neutral], site.values[site.input(2)].dtype), axis=0)
    x = site.input(0)
    for taken in _rounds(site, places.ravel(), prod(shape)):
        x = site.add(op, x, site.add("Gather", updates, site.constant(taken.reshape(shape), np.int64), axis=0))
    site.add("Identity", x, output=site.output(0))


def _rounds(site: Site, places: np.ndarray, size: int) -> list[np.ndarray]:
    """For each round and every place the number of the update that it gets, or that of the neutral value behind."""
    rounds: list[np.ndarray] = []
    uses = np.zeros(size, np.int64)
    for number, place in enumerate(places):
        if uses[place] == len(rounds):
            bounded([size, len(rounds) + 1])
            rounds.append(np.full(size, len(places)))
        rounds[uses[place]][place] = number
        uses[place] += 1
        if len(rounds) > _MOST_ROUNDS:
            raise site.refused(f"a scatter changes a place at most {_MOST_ROUNDS} times", "more")
    return rounds


def _placed(site: Site, x: str, places: np.ndarray, updates: str, output: str) -> None:
    """X with updates in its places, given by number; the last of several counts."""
    shape = site.shape(x)
    sources = np.arange(prod(shape))
    sources[places.ravel()] = sources.size + np.arange(places.size).reshape(places.shape).ravel()
    flat = [site.add("Reshape", each, site.constant([-1], np.int64)) for each in (x, updates)]
    joined = site.add("Concat", *flat, axis=0)
    site.add("Gather", joined, site.constant(sources.reshape(shape), np.int64), output=output, axis=0)


def tensor_scatter(site: Site) -> None:
    """TensorScatter: a stretch of an axis replaced from constant places on, which may come round to its begin."""
    shape, update = site.shape(site.input(0)), site.shape(site.input(1))
    axis = site.attribute("axis", -2) % len(shape)
    first = site.value(2, "an index")
    at = list(np.indices(update))
    at[axis] = at[axis] + (0 if first is None else first.reshape(-1, *[1] * (len(shape) - 1)))
    if site.attribute("mode", "linear") == "circular":
        at[axis] %= shape[axis]
    places = np.arange(prod(shape)).reshape(shape)[tuple(at)]
    _placed(site, site.input(0), places, site.input(1), site.output(0))


def max_pool(site: Site) -> None:
    """MaxPool with the places of the values it gives: by number in the whole input, rows or columns first."""
    plain = {name: value for name, value in site.node.attributes.items() if name != "storage_order"}
    if site.output(0):
        site.add("MaxPool", site.input(0), output=site.output(0), **plain)
    batch, channels, *lengths = site.shape(site.input(0))
    size = prod(lengths)
    rank = len(lengths)
    shape = geometry(plain, tuple(plain["kernel_shape"]), tuple(lengths))
    sources = windows(np.arange(size).reshape(1, 1, *lengths), shape, size)[0, 0]
    bounded([batch, channels, *sources.shape])
    sources = sources.reshape(*sources.shape[:rank], -1)
    x = site.add("Reshape", site.input(0), site.constant([batch, channels, size], np.int64))
    x = site.add("Concat", x, site.constant(np.full((batch, channels, 1), -np.inf)), axis=2)
    seen = site.add("Gather", x, site.constant(sources, np.int64), axis=2)
    tap = site.add("ArgMax", seen, axis=-1, keepdims=0)
    columns_first = np.arange(size).reshape(lengths[::-1]).transpose()
    numbers = columns_first.ravel() if site.attribute("storage_order", 0) else np.arange(size)
    numbers = np.append(numbers, 0)[sources]
    place = site.constant(numbers[..., 0])
    for number in range(1, sources.shape[-1]):
        hit = site.add("Equal", tap, site.constant(number, np.int64))
        place = site.add("Where", hit, site.constant(numbers[..., number]), place)
    first = np.arange(batch * channels).reshape(batch, channels, *[1] * rank) * size
    site.add("Cast", site.add("Add", place, site.constant(first)), output=site.output(1), to=7)


def max_unpool(site: Site) -> None:
    """MaxUnpool: each value back at the constant place that it came from, 0 elsewhere."""
    shape, indices = site.shape(site.input(0)), site.needed(1, "indices")
    kernel, rank = site.attribute("kernel_shape", ()), len(shape) - 2
    strides, pads = site.attribute("strides", [1] * rank), site.attribute("pads", [0] * 2 * rank)
    ends = zip(shape[2:], strides, kernel, pads[:rank], pads[rank:], strict=True)
    own = [*shape[:2], *((length - 1) * stride + k - before - after for length, stride, k, before, after in ends)]
    wanted = site.value(2, "a shape")
    whole = own if wanted is None else [int(size) for size in wanted]
    bounded(own)
    bounded(whole)
    sources = np.full(own, indices.size)
    sources.reshape(-1)[indices.ravel()] = np.arange(indices.size)
    sources = np.pad(sources, [(0, b - a) for a, b in zip(own, whole, strict=True)], constant_values=indices.size)
    flat = site.add("Reshape", site.input(0), site.constant([-1], np.int64))
    joined = site.add("Concat", flat, site.constant([0]), axis=0)
    site.add("Gather", joined, site.constant(sources, np.int64), output=site.output(0), axis=0)


def col2im(site: Site) -> None:
    """Col2Im: blocks added where they lie in an image, as the ConvTranspose by a unit matrix."""
    image, block = (site.needed(i, "a shape").tolist() for i in (1, 2))
    batch, rows, _ = site.shape(site.input(0))
    rank = len(block)
    strides, dilations = (list(site.attribute(name, [1] * rank)) for name in ("strides", "dilations"))
    pads = list(site.attribute("pads", [0] * 2 * rank))
    reach = zip(image, block, strides, dilations, pads[:rank], pads[rank:], strict=True)
    counts = [(size + before + after - (k - 1) * d - 1) // s + 1 for size, k, s, d, before, after in reach]
    cells = prod(block)
    bounded([batch, rows // cells, *image])
    bounded([rows, cells])
    more = [
        size - ((count - 1) * s - pads[i] - pads[rank + i] + (k - 1) * d + 1)
        for i, (size, count, s, k, d) in enumerate(zip(image, counts, strides, block, dilations, strict=True))
    ]
    x = site.add("Reshape", site.input(0), site.constant([batch, rows, *counts], np.int64))
    unit = np.tile(np.eye(cells).reshape(cells, 1, *block), (rows // cells, *[1] * (rank + 1)))
    ends = {"strides": strides, "dilations": dilations, "pads": pads, "output_padding": more}
    site.add("ConvTranspose", x, site.constant(unit), output=site.output(0), group=rows // cells, **ends)


RULES: dict[str, Rule] = {
    "Col2Im": col2im,
    "Compress": compress,
    "EyeLike": eye_like,
    "Hardmax": hardmax,
    "MaxPool": max_pool,
    "MaxUnpool": max_unpool,
    "OneHot": one_hot,
    "ReverseSequence": reverse_sequence,
    "Scatter": scatter,
    "ScatterElements": scatter,
    "ScatterND": scatter,
    "TensorScatter": tensor_scatter,
    "Trilu": triangle,
}
