"""Norms: x less its mean, over its standard deviation, times a scale, plus a bias.

The mean is taken twice: of x, then of what is left of it, which takes off the rounding of the first. So a large mean
costs no digits of the variance, which is the mean of squares less the square of that second mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.forms.reference.rewriting.site import Rule, Shape, Site


def _normalised(site: Site, x: str, axes: Sequence[int], epsilon: float) -> tuple[str, str, str]:
    """The name of x with mean 0 and deviation 1 along axes, and those of the mean and of one over the deviation."""
    first = site.add("ReduceMean", x, axes=axes)
    moved = site.add("Sub", x, first)
    rest = site.add("ReduceMean", moved, axes=axes)
    squares = site.add("ReduceMean", site.add("Mul", moved, moved), axes=axes)
    variance = site.add("Sub", squares, site.add("Mul", rest, rest))
    factor = _over_root(site, variance, epsilon)
    return site.add("Mul", site.add("Sub", moved, rest), factor), site.add("Add", first, rest), factor


def _over_root(site: Site, squares: str, epsilon: float) -> str:
    """One over the root of a mean of squares and epsilon."""
    return site.add("Reciprocal", site.add("Sqrt", site.add("Add", squares, site.constant(epsilon))))


def _scaled(site: Site, x: str, parameters: Sequence[str], shape: Shape | None, output: str) -> None:
    """The node's output: x times a scale, plus a bias if there is one, each brought to a shape first if need be."""
    for op, name in zip(("Mul", "Add"), parameters, strict=False):
        last = op == "Add" or len(parameters) == 1
        spread = site.add("Reshape", name, site.constant(shape, "int64")) if shape else name
        x = site.add(op, x, spread, output=output if last else "")


def _axes_from(site: Site, axis: int) -> tuple[int, ...]:
    rank = len(site.shape(site.input(0)))
    return tuple(range(axis % rank, rank))


def layer(site: Site) -> None:
    """LayerNormalization: along the last axes; the mean and one over the deviation where they are wanted."""
    axes = _axes_from(site, site.attribute("axis", -1))
    x, mean, factor = _normalised(site, site.input(0), axes, site.attribute("epsilon", 1e-5))
    _scaled(site, x, [name for name in site.node.inputs[1:3] if name], None, site.output(0))
    for name, source in ((site.output(1), mean), (site.output(2), factor)):
        if name:
            site.add("Identity", source, output=name)


def root_mean_square(site: Site) -> None:
    """RMSNormalization: x over the root of the mean of its squares, along the last axes, times a scale."""
    x = site.input(0)
    axes = _axes_from(site, site.attribute("axis", -1))
    squares = site.add("ReduceMean", site.add("Mul", x, x), axes=axes)
    factor = _over_root(site, squares, site.attribute("epsilon", 1e-5))
    _scaled(site, site.add("Mul", x, factor), [site.input(1)], None, site.output(0))


def instance(site: Site) -> None:
    """InstanceNormalization: along all spatial axes, with a scale and a bias for each channel."""
    shape = site.shape(site.input(0))
    x, *_ = _normalised(site, site.input(0), range(2, len(shape)), site.attribute("epsilon", 1e-5))
    _scaled(site, x, site.node.inputs[1:3], (shape[1], *(1,) * (len(shape) - 2)), site.output(0))


def group(site: Site) -> None:
    """GroupNormalization: along groups of channels, with a scale and a bias for each channel or group."""
    shape, groups = site.shape(site.input(0)), site.attribute("num_groups", 1)
    if groups < 1 or shape[1] % groups:
        raise site.refused("groups divide the channels", f"{groups} groups of {shape[1]} channels")
    grouped = site.add("Reshape", site.input(0), site.constant((shape[0], groups, -1), "int64"))
    x, *_ = _normalised(site, grouped, (2,), site.attribute("epsilon", 1e-5))
    parameters = site.node.inputs[1:3]
    if site.shape(parameters[0]) == (groups,) != (shape[1],):  # opset 18 has one for each group
        x = site.add("Mul", x, site.add("Reshape", parameters[0], site.constant((groups, 1), "int64")))
        x = site.add("Add", x, site.add("Reshape", parameters[1], site.constant((groups, 1), "int64")))
        parameters = ()
    whole = site.constant(shape, "int64")
    x = site.add("Reshape", x, whole, output="" if parameters else site.output(0))
    _scaled(site, x, parameters, (shape[1], *(1,) * (len(shape) - 2)), site.output(0))


RULES: dict[str, Rule] = {
    "GroupNormalization": group,
    "InstanceNormalization": instance,
    "LayerNormalization": layer,
    "RMSNormalization": root_mean_square,
}
