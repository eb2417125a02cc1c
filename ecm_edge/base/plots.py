"""Drawings of records with matplotlib, which is imported with this module: the colours and the figure they share."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

WIDTH_IN = 6.4
DOTTED = (0, (2, 2))
_LONGEST_NAME = 15
_DOTS_PER_INCH = 110


@dataclass(frozen=True)
class Colours:
    """The colours of a drawing; those of the report's page are placeholders that its style sheet replaces."""

    muted: str = "#6b7280"
    blue: str = "#2563eb"
    orange: str = "#d9660a"
    green: str = "#0f8a5f"
    band: str = "#dbe4ee"


class Drawing(Figure):
    """A figure that a notebook shows, whether pyplot was imported there or not."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=_DOTS_PER_INCH)
        return stream.getvalue()


def figure(draw: Callable[[Axes, Colours], None], height_in: float) -> Figure:
    """The figure on which `draw` has drawn."""
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


def short(name: str) -> str:
    """A name that leaves room for the drawing.

    >>> short("S47"), short("a-very-long-subject-name")
    ('S47', 'a-very-long-su…')
    """
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def row_names(axes: Axes, names: Sequence[str]) -> None:
    """One row for each name, the first on top."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)


def row_marks(axes: Axes, values: Sequence[float | None], offset: float, marker: str, colour: str, label: str) -> None:
    """One mark in each row, a little above or below its middle, so that equal figures do not hide each other."""
    points = [(value, row + offset) for row, value in enumerate(values) if value is not None]
    axes.plot([x for x, _ in points], [y for _, y in points], marker, color=colour, label=label, clip_on=False)


def whole_numbers(axes: Axes) -> None:
    """Ticks of the horizontal axis at whole numbers alone."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def legend(axes: Axes, columns: int) -> None:
    """The legend above the drawing."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, handletextpad=0.4, columnspacing=1.2)
