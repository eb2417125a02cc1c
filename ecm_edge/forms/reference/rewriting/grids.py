"""AffineGrid, and GridSample by a constant grid: weighted sums of Gathers."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.forms.model_rules import bounded
from ecm_edge.forms.reference.rewriting.kernels import CUBIC, cubic

if TYPE_CHECKING:
    from ecm_edge.forms.reference.rewriting.site import Rule, Site


def affine_grid(site: Site) -> None:
    """AffineGrid: the places of a regular grid under an affine map of the segment."""
    sizes = site.needed(1, "a size").tolist()[2:]
    batch, rank, _ = site.shape(site.input(0))
    bounded([batch, *sizes, rank + 1])
    lines = [_line(length, corners=bool(site.attribute("align_corners", 0))) for length in sizes]
    regular = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(sizes)])  # x comes first
    y = site.add("MatMul", site.input(0), site.constant(regular.reshape(rank + 1, -1)))
    y = site.add("Transpose", y, perm=[0, 2, 1])
    site.add("Reshape", y, site.constant([batch, *sizes, rank], np.int64), output=site.output(0))


def _line(length: int, *, corners: bool) -> np.ndarray:
    """Places from -1 to 1: of the first and the last sample, or of their outer edges."""
    if corners:
        return np.linspace(-1, 1, length) if length > 1 else np.zeros(1)
    return (np.arange(length) * 2 + 1) / length - 1


def grid_sample(site: Site) -> None:
    """GridSample: values between samples, at constant places."""
    shape, grid = site.shape(site.input(0)), site.needed(1, "a grid")
    batch, channels, *lengths = shape
    out = grid.shape[1:-1]
    bounded([batch, channels, *out])
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(site.attribute("mode", "linear"), site.attribute("mode", ""))
    axes = [_taps(site, grid[..., -1 - axis], length, mode or "linear") for axis, length in enumerate(lengths)]
    moved = site.add("Transpose", site.input(0), perm=[1, 0, *range(2, len(shape))])
    flat = site.add("Reshape", moved, site.constant([channels, batch * prod(lengths)], np.int64))
    bounded([batch, *out, prod(map(len, axes))])
    first = np.arange(batch).reshape(-1, *[1] * len(out)) * prod(lengths)
    total = ""
    for taps in product(*axes):
        places, weights = first, np.ones(())
        for axis, (index, weight) in enumerate(taps):
            places, weights = places + index * prod(lengths[axis + 1 :]), weights * weight
        if not weights.any():
            continue
        term = site.add("Gather", flat, site.constant(places, np.int64), axis=1)
        term = site.add("Mul", term, site.constant(weights))
        total = site.add("Add", total, term) if total else term
    if not total:
        raise site.refused("a grid has places within the samples", "none")
    site.add("Transpose", total, output=site.output(0), perm=[1, 0, *range(2, len(shape))])


def _taps(site: Site, places: np.ndarray, length: int, mode: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Along one axis, for each sample that counts: its index at every place, and its weight."""
    corners = bool(site.attribute("align_corners", 0))
    outside = site.attribute("padding_mode", "zeros")
    low, high = (0.0, length - 1.0) if corners else (-0.5, length - 0.5)
    x = (places + 1) / 2 * (length - 1) if corners else ((places + 1) * length - 1) / 2
    x = np.rint(x) if mode == "nearest" else x
    x = np.clip(x, 0, length - 1) if outside == "border" and mode != "cubic" else x
    x = _reflected(x, low, high) if outside == "reflection" else x
    x = np.clip(x, -2, length + 1)  # beyond, nothing counts
    base = np.floor(x)
    weights = _weights(x - base, mode)
    taps = []
    for step, weight in weights.items():
        index = base + step
        if outside == "reflection":
            index = np.trunc(_reflected(index, low, high))
        inside = (index >= 0) & (index < length) | (outside != "zeros")
        taps.append((np.clip(index, 0, length - 1).astype(np.int64), np.where(inside, weight, 0)))
    return taps


def _weights(t: np.ndarray, mode: str) -> dict[int, np.ndarray]:
    """The weight of each sample by its distance from the one before the place, t in 0 ... 1 from it."""
    if mode == "nearest":
        return {0: np.ones_like(t)}
    if mode == "linear":
        return {0: 1 - t, 1: t}
    return {step: cubic(np.abs(step - t), CUBIC) for step in (-1, 0, 1, 2)}


def _reflected(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Places beyond an edge thrown back, as often as it takes."""
    if high <= low:
        return np.full_like(x, low)
    period = 2 * (high - low)
    along = np.mod(x - low, period)
    return low + np.minimum(along, period - along)


RULES: dict[str, Rule] = {"AffineGrid": affine_grid, "GridSample": grid_sample}
