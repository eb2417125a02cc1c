"""How a chart is drawn as inline SVG: matplotlib draws it, the page's style sheet colours it.

Every colour is drawn as a placeholder that becomes a variable of the style sheet, so that one drawing suits light,
dark and paper. Ids are made unique, since all charts stand in one page.
"""

from __future__ import annotations

import io
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import escape

from ecm_edge.base.plots import Colours

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

_WIDTH_IN = 4.6
MARK = 5.5
"""The size of a mark, in points."""

_VARIABLES = {
    "#010101": "ink",
    "#020202": "muted",
    "#030303": "line",
    "#040404": "blue",
    "#050505": "orange",
    "#060606": "green",
    "#070707": "paper",
    "#080808": "band",
}
INK, MUTED, LINE, BLUE, ORANGE, GREEN, PAPER, BAND = _VARIABLES
COLOURS = Colours(muted=MUTED, blue=BLUE, orange=ORANGE, green=GREEN, band=BAND)
"""The placeholders, for a record that draws itself."""

_STYLE: Any = {  # matplotlib's own type names every key there is
    "svg.fonttype": "none",
    "svg.hashsalt": "ecm-edge",
    "text.parse_math": False,  # a subject may be called $x
    "font.size": 9,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": MARK,
}


@contextmanager
def chart(name: str, label: str, height_in: float = 2.8) -> Iterator[tuple[list[str], Axes]]:
    """Axes to draw on; the list holds the SVG once the block has ended."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    svg: list[str] = []
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's browser has the font
        figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        yield svg, figure.subplots()
        stream = io.StringIO()
        figure.savefig(
            stream, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    svg.append(inline(stream.getvalue(), name, label))


def inline(document: str, name: str, label: str) -> str:
    """The <svg> element of an SVG document, to stand in a page under a unique name; `label` is for screen readers.

    >>> inline('<?xml version="1.0"?><svg width="1pt"><path id="a" fill="#010101"/><use href="#a"/></svg>', "x", "X")
    '<svg role="img" aria-label="X" width="1pt"><path id="x-a" fill="var(--ink)"/><use href="#x-a"/></svg>'
    """
    svg = document[document.index("<svg") :].strip()
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for the whole page
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg
