"""Sliding windows of any number of axes, as convolution and pooling see them.

Arrays are (N, C, *S) with spatial axes S; a kernel is (*K).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.model_rules import bounded

if TYPE_CHECKING:
    from ecm_edge.forms.reference.operators._common import Array, Attributes


_LEAST_SAME = -2
"""Padding that SAME may ask for along an axis: where it is less, some runtimes pad by 0, and onnxruntime cuts."""


@dataclass(frozen=True)
class Geometry:
    """Kernel, strides, dilations and padding (before, after) of each spatial axis; `extra` is ceil_mode's padding."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    extra: tuple[int, ...]


def geometry(attributes: Attributes, kernel: tuple[int, ...], spatial: tuple[int, ...]) -> Geometry:
    """The geometry that ONNX's attributes describe for an input of `spatial` axes."""
    rank = len(kernel)
    if len(spatial) != rank:
        raise ModelError("a kernel has the input's spatial axes", f"{kernel} for {spatial}", "Export the model again.")
    strides = tuple(attributes.get("strides", (1,) * rank))
    dilations = tuple(attributes.get("dilations", (1,) * rank))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    pads = _pads(attributes, reach, strides, spatial)
    ceil = attributes.get("ceil_mode", 0)
    extra = tuple(_ceil_pad(*sizes) if ceil else 0 for sizes in zip(spatial, pads, reach, strides, strict=True))
    if any(size + sum(pad) + more < r for size, pad, more, r in zip(spatial, pads, extra, reach, strict=True)):
        found = f"one that reaches over {list(reach)} of {list(spatial)} with pads {list(pads)}"
        raise ModelError("windows lie within the padded input", found, "Export it with a smaller kernel or more pads.")
    return Geometry(kernel, strides, dilations, pads, extra)


def _pads(
    attributes: Attributes, reach: tuple[int, ...], strides: tuple[int, ...], spatial: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    automatic = attributes.get("auto_pad", "NOTSET")
    if automatic == "NOTSET":
        flat = tuple(attributes.get("pads", (0,) * 2 * len(spatial)))
        return tuple(zip(flat[: len(spatial)], flat[len(spatial) :], strict=True))
    if automatic == "VALID":
        return ((0, 0),) * len(spatial)
    if automatic not in {"SAME_UPPER", "SAME_LOWER"}:
        rule = "auto_pad is one of NOTSET, VALID, SAME_UPPER and SAME_LOWER"
        raise ModelError(rule, repr(automatic), "Export the model again.")
    totals = [(-(-s // step) - 1) * step + r - s for s, step, r in zip(spatial, strides, reach, strict=True)]
    if min(totals) < _LEAST_SAME:
        found = f"{automatic} with strides {list(strides)} of a kernel that reaches over {list(reach)}"
        raise ModelError("windows have the padding that all runtimes give them", found, "Export it with pads.")
    less = [(total // 2, total - total // 2) for total in (max(0, each) for each in totals)]
    return tuple(less if automatic == "SAME_UPPER" else [(after, before) for before, after in less])


def _ceil_pad(size: int, pad: tuple[int, int], reach: int, stride: int) -> int:
    """More padding at the end so that a last, partial window counts; it starts within input or front padding."""
    outputs = -(-(size + sum(pad) - reach) // stride) + 1
    if (outputs - 1) * stride >= size + pad[0]:
        outputs -= 1
    return max(0, (outputs - 1) * stride + reach - size - sum(pad))


def windows(x: Array, shape: Geometry, fill: float) -> Array:
    """A view (N, C, *out, *K) of x (N, C, *S) padded with `fill`."""
    pads = [(before, after + more) for (before, after), more in zip(shape.pads, shape.extra, strict=True)]
    if any(sum(pad) for pad in pads):
        bounded((*x.shape[1:2], *(size + sum(pad) for size, pad in zip(x.shape[2:], pads, strict=True))))
        x = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    reach = [(k - 1) * d + 1 for k, d in zip(shape.kernel, shape.dilations, strict=True)]
    view = sliding_window_view(x, reach, axis=tuple(range(2, x.ndim)))
    steps = [slice(None), slice(None), *(slice(None, None, s) for s in (*shape.strides, *shape.dilations))]
    return view[tuple(steps)]
