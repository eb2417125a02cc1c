"""Tables on stdout, for people."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ecm_edge.base.columns import GAP, Column, arrange, is_verdict, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console
    from rich.text import Text

    from ecm_edge.base.columns import Placed

__all__ = ["Column", "printable", "say", "show"]

_PIPE_WIDTH = 120
_LEAST_WIDTH = 40  # of a table; numbers alone need that much
_WIDEST, _DIGITS = 10_000, 6
_MOST_ROWS = 200  # thousands of rows take minutes to lay out, and nobody reads them
_STYLES = {"PASS": "green", "FAIL": "bold red", "NOT RUN": "yellow"}


def show(title: str, columns: Sequence[str | Column], rows: Iterable[Sequence[str]]) -> None:
    """Print one table, as wide as the terminal or `COLUMNS` has room for, and say what was left out for that.

    Text stands left, numbers right. Verdicts are whole, and coloured on a terminal. A long table is cut, and says so.
    """
    from rich.text import Text

    every = [[printable(cell) for cell in row] for row in rows]
    shown = every[:_MOST_ROWS]
    console = _console()
    placed, needed = arrange(columns, shown, console.width)
    names = [printable(column.name if isinstance(column, Column) else column) for column in columns]
    say(title)
    for line in _row(names, placed):
        console.print(Text(line.plain, "bold"), soft_wrap=True)
    console.print(" " + "─" * (sum(GAP + column.width for column in placed) - 1), soft_wrap=True)
    for row in shown:
        for line in _row(row, placed):
            console.print(line, soft_wrap=True)
    if len(placed) < len(columns):
        kept = {column.index for column in placed}
        names = [name for index, name in enumerate(names) if index not in kept]
        say(f"  Not shown: {', '.join(names)}. A wider terminal (or COLUMNS={needed}) or --json shows them.")
    if len(every) > _MOST_ROWS:
        say(f"  … and {len(every) - _MOST_ROWS:,} more rows: --json has all of them")
    console.print()


def say(text: str, indent: int | None = None) -> None:
    """Print one line, a verdict in front in colour; where a terminal or `COLUMNS` sets a width it breaks between words.

    What a terminal would act on is escaped: a text may hold names from anybody's file. Further lines have `indent`
    spaces in front, or stand under the text after a mark ("- ") and spaces.
    """
    import textwrap

    from rich.text import Text

    console = _console()
    text = printable(text)
    bare = text.lstrip(" -")
    before = len(text) - len(bare)
    lines = [text]
    if console.is_terminal or _stated_width():
        lines = textwrap.wrap(
            text,
            console.width,
            subsequent_indent=" " * (before if indent is None else indent),
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    for index, line in enumerate(lines):
        written = Text(line)
        if index == 0:
            for verdict, style in _STYLES.items():
                if re.match(rf"{verdict}\b", bare):
                    written.stylize(style, before, before + len(verdict))
        console.print(written, soft_wrap=True)


def _console() -> Console:
    """Of stdout: as wide as `COLUMNS` says, else as the terminal is; a pipe has a width of its own."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = max(_LEAST_WIDTH, _stated_width() or (console.width if console.is_terminal else _PIPE_WIDTH))
    return console


def _stated_width() -> int:
    """What `COLUMNS` says, or 0."""
    text = os.environ.get("COLUMNS", "")
    return min(int(text), _WIDEST) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else 0


def _row(cells: Sequence[str], placed: Sequence[Placed]) -> Iterator[Text]:
    """The lines of a row: each cell in its column, on as many lines as it needs."""
    from rich.cells import cell_len
    from rich.text import Text

    broken = [lines_of(cells[column.index], column.width) for column in placed]
    for number in range(max(map(len, broken), default=0)):
        line = Text()
        for column, lines in zip(placed, broken, strict=True):
            part = lines[number] if number < len(lines) else ""
            space = " " * (column.width - cell_len(part))
            style = _STYLES[part.split(" on ")[0]] if is_verdict(part) else ""
            line.append(" " * GAP + (space if column.align == "right" else ""))
            line.append(part, style)
            line.append("" if column.align == "right" else space)
        line.rstrip()
        yield line


def printable(text: str) -> str:
    r"""The text on one line, with what a terminal would act on escaped: a file may have any name.

    >>> printable("a\nb")
    'a\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
