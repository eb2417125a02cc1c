"""What the drawings of records share: colours, the figure, and marks and axes. Only drawing imports matplotlib."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 6.4
DOTTED = (0, (2, 2))
_LONGEST_NAME = 15
_THOUSAND = 1000
_STEP = 0.05


@dataclass(frozen=True)
class Colours:
    """The colours of a drawing; those of the report's page are placeholders that its style sheet replaces."""

    muted: str = "#6b7280"
    blue: str = "#2563eb"
    orange: str = "#d9660a"
    green: str = "#0f8a5f"
    band: str = "#dbe4ee"


def figure(draw: Callable[[Axes, Colours], None], height_in: float) -> Figure:
    """The figure on which `draw` has drawn."""
    import matplotlib as mpl

    from ecm_edge.base.drawing import Drawing

    style: Any = {
        "text.parse_math": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
    with mpl.rc_context(style):  # a subject may be called $x
        drawn = Drawing(figsize=(WIDTH_IN, height_in), layout="constrained")
        draw(drawn.subplots(), Colours())
    return drawn


def short(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name that leaves room for the drawing.

    >>> short("S47"), short("a-very-long-subject-name")
    ('S47', 'a-very-long-su…')
    """
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def row_names(axes: Axes, names: Sequence[str], *, small: bool = False) -> None:
    """One row for each name, the first on top."""
    axes.set_yticks(range(len(names)), [short(name) for name in names], fontsize=7 if small else None)
    axes.set_ylim(len(names) - 0.4, -0.6)


def row_marks(axes: Axes, values: Sequence[float | None], offset: float, marker: str, colour: str, label: str) -> None:
    """One mark in each row, a little above or below its middle, so that equal figures do not hide each other."""
    points = [(value, row + offset) for row, value in enumerate(values) if value is not None]
    axes.plot([x for x, _ in points], [y for _, y in points], marker, color=colour, label=label, clip_on=False)


def whole_numbers(axes: Axes) -> None:
    """Ticks of the horizontal axis at whole numbers alone."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def legend(axes: Axes, columns: int) -> None:
    """The legend above the drawing."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, handletextpad=0.4, columnspacing=1.2)


def log_axis(axes: Axes, values: Sequence[int]) -> None:
    """A logarithmic horizontal axis around these values, with plain numbers at 1, 2 and 5 times powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(min(values) / 1.25, max(values) * 1.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / _THOUSAND:,.4g} k"))


def share_axis(axes: Axes, values: Iterable[float | None]) -> None:
    """From just below the least of these shares to 1: the axis begins where the data do."""
    least = min((value for value in values if value is not None), default=0.0)
    start = min(math.floor(least / _STEP) * _STEP, 1 - 2 * _STEP)
    room = (1 - start) * 0.03
    axes.set_xlim(start - room, 1 + room)


def unit_square(axes: Axes, below: str, beside: str) -> None:
    """Both axes from 0 to 1, with their names and the legend."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel(below)
    axes.set_ylabel(beside)
    legend(axes, columns=3)
