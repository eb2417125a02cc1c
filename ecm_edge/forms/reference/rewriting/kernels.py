"""Which samples of an axis a resampled one is made of, and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.base.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CUBIC = -0.75
"""The coefficient of the cubic kernel that the standard takes where none is given."""
_HALF = 1e-6
"""How far from the middle of two samples onnxruntime takes a place for that middle."""


@dataclass(frozen=True)
class Resampling:
    """The attributes of Resize: how coordinates are turned into those of the input, and what is made there."""

    mode: str
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic: float = CUBIC
    excludes: bool = False
    antialias: bool = False


@dataclass(frozen=True)
class Taps:
    """For each new sample (M) its places in the axis and their weights (taps, M); `outside` of a region (M)."""

    places: NDArray[np.int64]
    weights: NDArray[np.float32]
    outside: NDArray[np.bool_]


def taps(form: Resampling, length: int, new: int, scale: float, region: tuple[float, float]) -> Taps:
    """The samples of an axis of `length` that `new` ones are made of.

    Raises:
        ModelError: a mode that the standard does not have.
    """
    x = _coordinates(form.coordinates, length, new, scale, region)
    outside = (x < 0) | (x > length - 1) if form.coordinates == "tf_crop_and_resize" else np.zeros(new, np.bool_)
    if form.mode == "nearest":
        places = np.clip(_nearest(form.nearest, x.astype(np.float64)), 0, length - 1)
        return Taps(places[None], np.ones((1, new), np.float32), outside)
    if form.mode not in {"linear", "cubic"}:
        raise ModelError("Resize knows nearest, linear and cubic", repr(form.mode), "Export it another way.")
    first = np.floor(x)
    narrowed = min(scale, 1.0) if form.antialias else 1.0
    reach = int(np.ceil((1 if form.mode == "linear" else 2) / narrowed))
    offsets = np.arange(-reach + 1, reach + 1)[:, None]  # (taps, 1)
    distance = np.abs(offsets - (x - first)) * narrowed
    weights = np.clip(1 - distance, 0, None) if form.mode == "linear" else cubic(distance, form.cubic)
    places = (first + offsets).astype(np.int64)
    if form.excludes:
        weights = np.where((places < 0) | (places >= length), 0, weights)
    weights = weights / weights.sum(0)
    used = (weights != 0).any(1)
    return Taps(np.clip(places[used], 0, length - 1), weights[used].astype(np.float32), outside)


def _coordinates(kind: str, length: int, new: int, scale: float, region: tuple[float, float]) -> NDArray[Any]:
    """Where each new sample lies in the axis, in float32 as onnxruntime computes it: a sample may lie on a rounding."""
    i = np.arange(new, dtype=np.float32)
    last = scale * length - 1  # of the new axis before its length was rounded
    if kind == "asymmetric":
        return i / scale
    if kind == "align_corners":
        return i * (length - 1) / last if new > 1 else np.zeros(1)
    if kind == "tf_crop_and_resize":
        start, end = (value * (length - 1) for value in region)
        return start + i * (end - start) / last if new > 1 else np.array([(start + end) / 2])
    x = (i + 0.5) / scale - 0.5
    if kind == "pytorch_half_pixel":
        return x if new > 1 else np.zeros(1)
    if kind == "half_pixel_symmetric":
        return np.asarray(x + length / 2 * (1 - new / (scale * length)))
    if kind != "half_pixel":
        raise ModelError("Resize knows the coordinates of the standard", repr(kind), "Export it another way.")
    return x


def _nearest(kind: str, x: NDArray[Any]) -> NDArray[np.int64]:
    rounding: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
        "round_prefer_floor": lambda v: np.ceil(v - 0.5 - _HALF),
        "round_prefer_ceil": lambda v: np.floor(v + 0.5 + _HALF),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if kind not in rounding:
        raise ModelError("Resize knows the roundings of the standard", repr(kind), "Export it another way.")
    return np.asarray(rounding[kind](x)).astype(np.int64)


def cubic(distance: NDArray[Any], a: float) -> NDArray[Any]:
    """The weights of Keys' cubic convolution, by the distance from the place in samples."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))  # noqa: PLR2004 - its reach
