"""Operators that move values without changing them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.model_rules import bounded
from ecm_edge.forms.reference.operators._common import (
    Array,
    Attributes,
    Operator,
    aligned,
    axes_of,
    axis_of,
    constant,
    given,
    needed,
    same_batch,
)


def reshape(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Another shape; 0 keeps an axis (unless allowzero), -1 takes what is left."""
    x = needed(inputs, 0)
    wanted = constant(given(inputs, 1), "a shape").tolist()
    if not attributes.get("allowzero", 0):
        wanted = [x.shape[i + 1] if size == 0 else size for i, size in enumerate(wanted)]
    return [x.reshape(len(x), *wanted)]


def flatten(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Two axes: those before `axis`, and the others."""
    x = needed(inputs, 0)
    axis = attributes.get("axis", 1)
    axis = axis + x.ndim - 1 if axis < 0 else axis
    return [x.reshape(len(x), int(np.prod(x.shape[1 : axis + 1])), -1)]


def squeeze(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Without axes of length 1: those named, or all."""
    x = needed(inputs, 0)
    axes = axes_of(x, attributes, inputs)
    return [x.squeeze(tuple(i for i in range(1, x.ndim) if x.shape[i] == 1) if axes is None else axes)]


def unsqueeze(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """With axes of length 1 put in; they are counted in the result."""
    x, argument = needed(inputs, 0), given(inputs, 1)
    axes = attributes["axes"] if argument is None else constant(argument, "axes").ravel().tolist()
    rank = x.ndim + len(axes)
    return [np.expand_dims(x, tuple(axis % (rank - 1) + 1 for axis in axes))]


def transpose(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Axes in another order."""
    x = needed(inputs, 0)
    order = attributes.get("perm", range(x.ndim - 1)[::-1])
    return [x.transpose(0, *(axis + 1 for axis in order))]


def concat(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Tensors one behind the other."""
    arrays = same_batch([x for x in inputs if x is not None])
    bounded([sum(x[:1].size for x in arrays)])
    return [np.concatenate(arrays, axis=axis_of(arrays[0], attributes["axis"]))]


def split(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Parts of given sizes, or of equal size with a smaller last one."""
    x, sizes = needed(inputs, 0), given(inputs, 1)
    axis = axis_of(x, attributes.get("axis", 0))
    if sizes is None and "split" not in attributes:
        part = -(-x.shape[axis] // attributes["num_outputs"])
        return np.split(x, range(part, x.shape[axis], part), axis=axis)
    lengths = attributes["split"] if sizes is None else constant(sizes, "sizes of a split")
    return np.split(x, np.cumsum(lengths)[:-1], axis=axis)


def slice_(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Ranges along axes, with steps."""
    x = needed(inputs, 0)
    if "starts" in attributes:
        inputs = [
            x,
            *(np.array([attributes[name]]) if name in attributes else None for name in ("starts", "ends", "axes")),
        ]
    starts, ends = (constant(given(inputs, i), "the range of a slice").tolist() for i in (1, 2))
    axes = axes_of(x, {}, inputs, 3) or tuple(range(1, len(starts) + 1))
    given_steps = given(inputs, 4)
    steps = [1] * len(starts) if given_steps is None else constant(given_steps, "steps of a slice").tolist()
    ranges = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        before_first = step < 0 and end < -x.shape[axis]  # Python would count such an end from the back
        ranges[axis] = slice(start, None if before_first else end, step)
    return [x[tuple(ranges)]]


def pad(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Values around a tensor: a constant, its edge or its reflection; what negative sizes remove goes first."""
    x, mode = needed(inputs, 0), attributes.get("mode", "constant")
    sizes = attributes["pads"] if "pads" in attributes else constant(given(inputs, 1), "padding").tolist()
    axes = axes_of(x, {}, inputs, 3) or tuple(range(1, x.ndim))
    widths, kept = [(0, 0)] * x.ndim, [slice(None)] * x.ndim
    for axis, before, after in zip(axes, sizes[: len(axes)], sizes[len(axes) :], strict=True):
        widths[axis] = (max(before, 0), max(after, 0))
        kept[axis] = slice(max(-before, 0), x.shape[axis] - max(-after, 0))
    if mode not in {"constant", "edge", "reflect", "wrap"}:
        raise ModelError("Pad knows constant, edge, reflect and wrap", f"mode {mode!r}", "Export it another way.")
    if any(part.start is not None and part.start > part.stop for part in kept):
        raise ModelError("Pad removes no more than there is", f"pads {sizes} of {x.shape[1:]}", "Export it again.")
    x = x[tuple(kept)]
    bounded(size + sum(width) for size, width in zip(x.shape[1:], widths[1:], strict=True))
    if mode != "constant":
        return [np.pad(x, widths, mode=mode)]
    value = given(inputs, 2)
    fill = attributes.get("value", 0) if value is None else constant(value, "a padding value").item()
    return [np.pad(x, widths, constant_values=fill)]


def gather(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Entries of one axis by constant indices."""
    x, indices = needed(inputs, 0), constant(given(inputs, 1), "indices")
    axis = axis_of(x, attributes.get("axis", 0))
    bounded([*x.shape[1:axis], *indices.shape, *x.shape[axis + 1 :]])
    return [np.take(x, indices, axis=axis)]


def gather_elements(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Entries by a constant index along one axis, one for each element."""
    x, indices = needed(inputs, 0), constant(given(inputs, 1), "indices")
    places: list[Array] = list(np.indices(indices.shape))
    places[attributes.get("axis", 0) % indices.ndim] = indices
    return [_taken(x, places)]


def gather_nd(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Entries by constant indices along the first axes, of which `batch_dims` are those of the indices too."""
    x, indices = needed(inputs, 0), constant(given(inputs, 1), "indices")
    batch = attributes.get("batch_dims", 0)
    bounded([*indices.shape[:-1], *x.shape[1 + batch + indices.shape[-1] :]])
    inner = (1,) * (indices.ndim - 1 - batch)
    leading = [places.reshape(*places.shape, *inner) for places in np.indices(indices.shape[:batch])]
    return [_taken(x, [*leading, *np.moveaxis(indices, -1, 0)])]


def _taken(x: Array, places: list[Array]) -> Array:
    """The entries at places along the first axes, of every segment."""
    at: tuple[Any, ...] = (slice(None), *places)
    return np.asarray(x[at])


def expand(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Broadcast to a shape, both ways."""
    del attributes
    x, wanted = needed(inputs, 0), constant(given(inputs, 1), "a shape").tolist()
    bounded(wanted)
    x, like = aligned([x, np.empty((1, *wanted), np.bool_)])
    return [np.broadcast_to(x, (len(x), *np.broadcast_shapes(x.shape[1:], like.shape[1:])))]


def shape(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The lengths of the axes, a constant."""
    x = needed(inputs, 0)
    return [np.array([x.shape[1:][attributes.get("start", 0) : attributes.get("end")]], np.int64)]


def size(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """How many elements there are, a constant."""
    del attributes
    return [np.array([int(np.prod(needed(inputs, 0).shape[1:]))], np.int64)]


def range_(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Numbers from a start up to a limit, a constant."""
    del attributes
    start, limit, step = (constant(given(inputs, i), "the bound of a range").reshape(-1)[0] for i in range(3))
    count = max(0, int(np.ceil((limit - start) / step)))
    bounded([count])
    return [(start + np.arange(count) * step).astype(start.dtype)[None]]


def tile(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """A tensor repeated along its axes."""
    del attributes
    x, repeats = needed(inputs, 0), constant(given(inputs, 1), "repeats").tolist()
    bounded(size * times for size, times in zip(x.shape[1:], repeats, strict=True))
    return [np.tile(x, (1, *repeats))]


def constant_node(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """A tensor, or numbers, from the node itself."""
    del inputs
    if "value" in attributes:
        return [np.asarray(attributes["value"])[None]]
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in attributes:
            return [np.array([attributes[name]], dtype)]
    raise ModelError("a Constant holds numbers", ", ".join(attributes) or "nothing", "Export the model again.")


def constant_of_shape(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """One value in a shape."""
    sizes = constant(given(inputs, 0), "a shape").tolist()
    bounded(sizes)
    value = np.asarray(attributes.get("value", np.zeros(1, np.float32))).ravel()
    return [np.full((1, *sizes), value[0], value.dtype)]


OPERATORS: dict[str, Operator] = {
    "Concat": concat,
    "Constant": constant_node,
    "ConstantOfShape": constant_of_shape,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Pad": pad,
    "Range": range_,
    "Reshape": reshape,
    "Shape": shape,
    "Size": size,
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
