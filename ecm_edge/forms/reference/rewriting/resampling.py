"""ConvTranspose as a Conv of samples with zeros between them; Resize and Upsample as weighted sums of Gathers.

DepthToSpace and SpaceToDepth only change the order of values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ecm_edge.forms.model_rules import bounded
from ecm_edge.forms.reference.rewriting.kernels import CUBIC, Resampling, taps

if TYPE_CHECKING:
    from ecm_edge.forms.reference.rewriting.site import Rule, Shape, Site


def conv_transpose(site: Site) -> None:
    """ConvTranspose by constant weights (C, O / groups, *K)."""
    w, shape = site.value(1, "a convolution's weight"), site.shape(site.input(0))
    if w is None:
        raise site.refused("a convolution has weights", "none")
    groups, rank, kernel = site.attribute("group", 1), len(shape) - 2, w.shape[2:]
    if groups < 1 or shape[1] % groups or w.shape[0] != shape[1]:
        raise site.refused("groups divide a convolution's channels", f"{groups} groups of {shape[1]} channels")
    strides, dilations = (list(site.attribute(name, (1,) * rank)) for name in ("strides", "dilations"))
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    ends = _ends(site, shape[2:], strides, reach)
    spread = _with_zeros(site, site.input(0), shape, strides)
    pads = [[r - before for r, (before, _) in zip(reach, ends, strict=True)]]
    pads += [[r - after - (s - 1) for r, s, (_, after) in zip(reach, strides, ends, strict=True)]]
    padded = site.add("Pad", spread, site.constant([0, 0, *pads[0], 0, 0, *pads[1]], np.int64))
    by_group = w.reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2)  # (groups, O / groups, C / groups, *K)
    turned = np.flip(by_group.reshape(-1, *by_group.shape[2:]), tuple(range(2, 2 + rank)))
    inputs = [padded, site.constant(turned), *([site.input(2)] if site.input(2) else [])]
    site.add("Conv", *inputs, output=site.output(0), dilations=dilations, group=groups)


def _ends(site: Site, lengths: Shape, strides: list[int], reach: list[int]) -> list[tuple[int, int]]:
    """What is taken off at either end of each axis; less than nothing where more is wanted."""
    rank, automatic = len(lengths), site.attribute("auto_pad", "NOTSET")
    more = list(site.attribute("output_padding", (0,) * rank))
    wanted = site.attribute("output_shape", None)
    if wanted is None and automatic in {"SAME_UPPER", "SAME_LOWER"}:
        wanted = [length * stride for length, stride in zip(lengths, strides, strict=True)]
    if wanted is None:
        flat = list(site.attribute("pads", (0,) * 2 * rank)) if automatic == "NOTSET" else [0] * 2 * rank
        return [(before, after - m) for before, after, m in zip(flat[:rank], flat[rank:], more, strict=True)]
    ends = []
    for length, stride, r, m, size in zip(lengths, strides, reach, more, wanted[-rank:], strict=True):
        total = stride * (length - 1) + m + r + 1 - size
        less, rest = total // 2, total - total // 2
        before, after = (less, rest) if automatic == "SAME_UPPER" else (rest, less)
        ends.append((before, after - m))
    return ends


def _with_zeros(site: Site, x: str, shape: Shape, strides: list[int]) -> str:
    """Each sample with stride - 1 zeros behind it, along every spatial axis."""
    if all(stride == 1 for stride in strides):
        return x
    apart = [n for length in shape[2:] for n in (length, 1)]
    pads = [n for stride in strides for n in (0, stride - 1)]
    x = site.add("Reshape", x, site.constant([*shape[:2], *apart], np.int64))
    x = site.add("Pad", x, site.constant([0] * (2 + len(apart)) + [0, 0, *pads], np.int64))
    whole = [length * stride for length, stride in zip(shape[2:], strides, strict=True)]
    return site.add("Reshape", x, site.constant([*shape[:2], *whole], np.int64))


class _Size(NamedTuple):
    """What becomes of one axis: its new length, and the scale, new by old."""

    length: int
    scale: float


def resize(site: Site) -> None:
    """Resize; of operator set 10, which has two inputs, without any choice of coordinates."""
    old = len(site.node.inputs) == 2  # noqa: PLR2004 - the samples and the scales
    form = Resampling(
        mode=site.attribute("mode", "nearest"),
        coordinates="asymmetric" if old else site.attribute("coordinate_transformation_mode", "half_pixel"),
        nearest="floor" if old else site.attribute("nearest_mode", "round_prefer_floor"),
        cubic=site.attribute("cubic_coeff_a", CUBIC),
        excludes=bool(site.attribute("exclude_outside", 0)),
        antialias=bool(site.attribute("antialias", 0)),
    )
    shape = site.shape(site.input(0))
    axes = [axis % len(shape) for axis in site.attribute("axes", range(len(shape)))]
    scales = site.value(1 if old else 2, "a scale")
    sizes = None if old else site.value(3, "a size")
    roi = None if old or form.coordinates != "tf_crop_and_resize" else site.value(1, "a region")
    _resampled(site, form, dict(zip(axes, _sizes(site, shape, axes, scales, sizes), strict=True)), roi)


def upsample(site: Site) -> None:
    """Upsample: as Resize of operator set 10."""
    mode = site.attribute("mode", "nearest")
    form = Resampling(mode="linear" if mode == "bilinear" else mode, coordinates="asymmetric", nearest="floor")
    shape = site.shape(site.input(0))
    scales = site.attribute("scales", None) or site.value(1, "a scale")
    sizes = _sizes(site, shape, list(range(len(shape))), np.asarray(scales), None)
    _resampled(site, form, dict(enumerate(sizes)), None)


def _sizes(
    site: Site, shape: Shape, axes: list[int], scales: np.ndarray | None, sizes: np.ndarray | None
) -> list[_Size]:
    lengths = [shape[axis] for axis in axes]
    if scales is not None and scales.size:
        given = [float(scale) for scale in scales]
        rounded = [int(np.floor(np.float32(length) * np.float32(s))) for length, s in zip(lengths, given, strict=True)]
        return [_Size(length, s) for length, s in zip(rounded, given, strict=True)]
    if sizes is None:
        raise site.refused("a Resize has scales or sizes", "neither")
    ratios = [float(size) / length for size, length in zip(sizes, lengths, strict=True)]
    policy = site.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        same = min(ratios) if policy == "not_larger" else max(ratios)
        return [_Size(int(np.floor(same * length + 0.5)), same) for length in lengths]
    return [_Size(int(size), ratio) for size, ratio in zip(sizes, ratios, strict=True)]


def _resampled(site: Site, form: Resampling, sizes: dict[int, _Size], roi: np.ndarray | None) -> None:
    """One axis after the other; what lies outside of a region is another value."""
    x, shape = site.input(0), list(site.shape(site.input(0)))
    bounded(sizes[axis].length if axis in sizes else length for axis, length in enumerate(shape))
    outside = np.zeros((1,) * len(shape), np.bool_)
    for position, (axis, size) in enumerate(sizes.items()):
        ends = (0.0, 1.0) if roi is None else (float(roi[position]), float(roi[position + len(sizes)]))
        if size.length == shape[axis] and size.scale == 1 and ends == (0.0, 1.0):
            continue
        if size.length < 1:
            raise site.refused("a resized axis has samples", f"{size.length}")
        along = taps(form, shape[axis], size.length, size.scale, ends)
        spread = [size.length if each == axis else 1 for each in range(len(shape))]
        outside = outside | along.outside.reshape(spread)
        terms = []
        for places, weights in zip(along.places, along.weights, strict=True):
            term = site.add("Gather", x, site.constant(places, np.int64), axis=axis)
            whole = (weights == 1).all()
            terms.append(term if whole else site.add("Mul", term, site.constant(weights.reshape(spread))))
        x = terms[0]
        for term in terms[1:]:
            x = site.add("Add", x, term)
    if outside.any():
        value = site.constant(site.attribute("extrapolation_value", 0.0))
        x = site.add("Where", site.constant(outside, np.bool_), value, x)
    site.add("Identity", x, output=site.output(0))


def depth_to_space(site: Site) -> None:
    """DepthToSpace: channels become blocks of samples, by the first part of a channel's number or by the last."""
    n, channels, height, width = site.shape(site.input(0))
    size = _block(site, channels)
    depth = channels // size**2
    crd = site.attribute("mode", "DCR") == "CRD"
    apart, order = ([depth, size, size], [0, 1, 4, 2, 5, 3]) if crd else ([size, size, depth], [0, 3, 4, 1, 5, 2])
    _reordered(site, [n, *apart, height, width], order, [n, depth, height * size, width * size])


def space_to_depth(site: Site) -> None:
    """SpaceToDepth: blocks of samples become channels; the inverse of DepthToSpace, in both modes."""
    n, channels, height, width = site.shape(site.input(0))
    size = _block(site, height, width, square=False)
    apart = [n, channels, height // size, size, width // size, size]
    crd = site.attribute("mode", "DCR") == "CRD"
    order = [0, 1, 3, 5, 2, 4] if crd else [0, 3, 5, 1, 2, 4]
    _reordered(site, apart, order, [n, channels * size**2, height // size, width // size])


def _block(site: Site, *lengths: int, square: bool = True) -> int:
    size = int(site.attribute("blocksize", 0))
    if size < 1 or any(length % (size**2 if square else size) for length in lengths):
        raise site.refused("blocks divide the channels or the axes", f"a blocksize of {size} for {list(lengths)}")
    return size


def _reordered(site: Site, apart: list[int], order: list[int], whole: list[int]) -> None:
    x = site.add("Reshape", site.input(0), site.constant(apart, np.int64))
    x = site.add("Transpose", x, perm=order)
    site.add("Reshape", x, site.constant(whole, np.int64), output=site.output(0))


RULES: dict[str, Rule] = {
    "ConvTranspose": conv_transpose,
    "DepthToSpace": depth_to_space,
    "Resize": resize,
    "SpaceToDepth": space_to_depth,
    "Upsample": upsample,
}
