"""The chart of a figure over the incumbents of a board."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base.numbers import number
from ecm_edge.base.plots import short
from ecm_edge.report.svg import BLUE, chart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_NAMES = 8
_LONGEST_NAME = 9


@dataclass(frozen=True)
class Point:
    """One incumbent: its name, and a figure with its interval; None where it is not known."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None


def trend(name: str, points: Sequence[Point], label: str) -> str | None:
    """The figure of each incumbent in turn, joined by a line, intervals as bars; None where no figure is known.

    `name` is unique in the page. The label has the figures in words, for whoever does not see the drawing.
    """
    if all(point.value is None for point in points):
        return None
    told = ", ".join(f"{point.name} {number(point.value)}" for point in points)
    with chart(name, f"{label}: {told}", height_in=2.0) as (svg, axes):
        known = [(place, point.value) for place, point in enumerate(points) if point.value is not None]
        axes.plot(*zip(*known, strict=True), "o-", color=BLUE)
        for place, point in enumerate(points):
            if point.low is not None and point.high is not None:
                axes.vlines(place, point.low, point.high, color=BLUE, linewidth=7, alpha=0.3)
        _scales(axes, points)
    return svg[0]


def _scales(axes: Axes, points: Sequence[Point]) -> None:
    """Plain numbers at the left; names below, of some where there are many, the last one among them."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    step = -(-len(points) // _NAMES)
    named = range((len(points) - 1) % step, len(points), step)
    axes.set_xticks(named, [short(points[place].name, _LONGEST_NAME) for place in named])
    axes.set_xlim(-0.5, len(points) - 0.5)
    axes.margins(y=0.1)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.grid(visible=False, axis="x")
