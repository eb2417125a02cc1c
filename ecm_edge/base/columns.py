"""Which columns of a table a width has room for, how wide each is, and where its cells break.

A verdict is never broken, and a number only before the parenthesis of its interval. A heading breaks between words.
Text breaks between words, and within a word only where nothing else is left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GAP = 2
"""Spaces before each column."""

_VERDICT = re.compile(r"(PASS|FAIL|NOT RUN)( on [\d,]+)?")
_NUMBER = re.compile(
    r"([-+±<≤≥]?\s?[\d.][\d,.]*([eE][-+]?\d+)?\s?(%|KiB|B|ms|s|Hz|dB|µV|mV)?( \(.*\)| → .*| of [\d,]+)?|[-–]|inf)?"
)
_BY_PLACE = 1_000_000  # names alone are left out from the right, after columns that say when
_JOINT = "\ue000"  # stands for a space that does not break, and is in no text
_DIGIT = re.compile(r"\d")
_LEAST_TEXT = 20  # a column of text is not made narrower than this before others are left out
_LEAST_NAME = 40  # of a text that stays on one line if it can
_LONGEST_WORD = 32  # a longer one, such as a hash or a path, may break


@dataclass(frozen=True)
class Column:
    """A column of a table.

    `align` is "right" for numbers and "left" for text; without it the cells decide. Where the width is too small,
    columns with `drop` 1 are left out first, then those with 2, and so on; a column with 0 always stands. `wraps` says
    that its text may take several lines; without it, the last column of text may.
    """

    name: str
    align: Literal["left", "right"] | None = None
    drop: int = 0
    wraps: bool | None = None


@dataclass(frozen=True)
class Placed:
    """A column that is shown: its place in the table, its width in characters, and where its cells stand."""

    index: int
    width: int
    align: Literal["left", "right"]


@dataclass(frozen=True)
class _Measured:
    """A column with the widths that it can have, when it is left out (0: never), and whether its text may wrap.

    `folds` says that its numbers may take two lines; `whole` is the width of the longest word of the heading, or of the
    longest verdict: what never breaks.
    """

    index: int
    align: Literal["left", "right"]
    widest: int
    least: int
    drop: float
    wraps: bool
    is_text: bool
    folds: bool
    whole: int


def is_verdict(cell: str) -> bool:
    """Whether a cell is a verdict, also one on some segments.

    >>> is_verdict("NOT RUN"), is_verdict("PASS on 1,240"), is_verdict("PASS it on")
    (True, True, False)
    """
    return _VERDICT.fullmatch(cell) is not None


def is_number(cell: str) -> bool:
    """Whether a cell is a number: alone, with a unit, an interval or a second number, or the mark for none.

    >>> [is_number(cell) for cell in ("1,024", "0.9 (0.8 … 1.0)", "4 of 7", "1 → 2", "–", "", "96-90", "int8")]
    [True, True, True, True, True, True, False, False]
    """
    return _NUMBER.fullmatch(cell) is not None


def arrange(columns: Sequence[str | Column], rows: Sequence[Sequence[str]], width: int) -> tuple[list[Placed], int]:
    """The columns that fit into `width` characters, and the least width that has room for all of them."""
    measured = [_measure(index, columns, [row[index] for row in rows]) for index in range(len(columns))]
    shown = list(measured)
    while _total(shown) > width and any(column.drop for column in shown):
        shown.remove(min((column for column in shown if column.drop), key=lambda column: column.drop))
    widths = _widths(shown, width - GAP * len(shown))
    return [Placed(column.index, widths[column.index], column.align) for column in shown], _total(measured)


def lines_of(cell: str, width: int) -> list[str]:
    """The cell on as many lines as a column of that width needs.

    >>> lines_of("0.973 (0.925 … 1.000)", 16), lines_of("better by 0.3 points", 12)
    (['0.973', '(0.925 … 1.000)'], ['better by', '0.3 points'])
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    if cell_len(cell) <= width or is_verdict(cell):
        return [cell]
    if is_number(cell):
        return _parts(cell)
    wrapped = Text(_joined(cell)).wrap(Console(width=width), width, overflow="fold")
    return [line.plain.rstrip().replace(_JOINT, " ") for line in wrapped]


def _joined(text: str) -> str:
    """The text with a number and its percent sign as one word."""
    return re.sub(r"(?<=\d) (?=%)", _JOINT, text)


def _parts(number: str) -> list[str]:
    """A number and its interval, what it is of, or what it changed to."""
    return re.sub(r" (?=\(|of )|(?<=→) ", "\n", number).split("\n")


def _measure(index: int, columns: Sequence[str | Column], cells: list[str]) -> _Measured:
    given = columns[index]
    column = given if isinstance(given, Column) else Column(given)
    verdicts, numbers = [*filter(is_verdict, cells)], any(map(_DIGIT.search, cells)) and all(map(is_number, cells))
    is_last, only_verdicts = index == len(columns) - 1, bool(verdicts) and len(verdicts) == len([*filter(None, cells)])
    wraps = not (numbers or only_verdicts) and (is_last if column.wraps is None else column.wraps)
    spared = isinstance(given, Column) or index == 0 or bool(verdicts) or wraps
    whole = _widest([*_joined(column.name).split(), *verdicts])
    least = _widest(map(_narrowed, cells)) if numbers else _least_of_text(cells, _LEAST_TEXT if wraps else _LEAST_NAME)
    return _Measured(
        index=index,
        align=column.align or ("right" if numbers else "left"),
        widest=_widest([column.name, *cells]),
        least=max(whole, least),
        drop=column.drop if spared else _BY_PLACE - index,
        wraps=wraps,
        is_text=not numbers,
        folds=numbers and least < _widest(cells),
        whole=whole,
    )


def _narrowed(cell: str) -> str:
    return max(_parts(cell), key=len) if is_number(cell) else cell


def _least_of_text(cells: Sequence[str], least: int) -> int:
    longest = min(_LONGEST_WORD, _widest(word for cell in cells for word in cell.split()))
    return min(_widest(cells), max(least, longest))


def _widest(texts: Iterable[str]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, texts), default=0)


def _total(columns: Sequence[_Measured]) -> int:
    return sum(GAP + column.least for column in columns)


def _widths(columns: Sequence[_Measured], width: int) -> dict[int, int]:
    """The width of each column, by its index; together at most `width`, if texts can be made narrow enough for that.

    Each gets all that it can use or no more than it needs; of numbers that may fold, either all get it or none. The
    texts that wrap get the rest. What is still too much is taken from the widest texts.
    """
    widths = {column.index: column.least for column in columns}
    spare = width - sum(widths.values())
    fold = sum(column.widest - column.least for column in columns if not column.wraps) > spare
    for column in sorted(columns, key=lambda column: column.wraps):
        more = column.widest - column.least
        if column.wraps or (more <= spare and not (fold and column.folds)):
            more = max(0, min(more, spare))
            widths[column.index] += more
            spare -= more
    least = {column.index: column.whole for column in columns if column.is_text}
    for _ in range(-spare):
        above = [index for index, floor in least.items() if widths[index] > floor]
        if above:
            widths[max(above, key=widths.__getitem__)] -= 1
    return widths
