"""What a text file of samples looks like: its encoding, delimiter, decimal sign, columns and the facts before them.

What is not stated is found from the first lines. What is not clear is refused with the option that states it.
"""

from __future__ import annotations

import csv
import re
import reprlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ecm_edge.data.recordings import csv_names
from ecm_edge.data.recordings.units import voltage
from ecm_edge.data.recordings.windows import Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ecm_edge.data.recordings.options import DecimalSign, Delimiter

Kind = Literal["number", "clock", "empty", "text"]
"""What the cells of a column are, but for missing ones."""

DELIMITERS: dict[Delimiter, str] = {",": ",", ";": ";", "tab": "\t", "space": " "}
"""The delimiters by their name on the command line. A file of one column has none: ""."""

_HEAD_BYTES = 1 << 16
_LINES_LOOKED_AT = 100
_MAX_COLUMNS = 200
_MISSING = {"", "-", "na", "nan", "null", "inf", "+inf", "-inf"}
_DIGITS = r"[+-]?(?:\d+(?:{0}\d*)?|{0}\d+)(?:[eE][+-]?\d+)?"
_NUMBERS = {sign: re.compile(_DIGITS.format(re.escape(sign))) for sign in ".,"}
_DATE = r"\d{4}-\d\d-\d\d[T ]|\d{1,2}\.\d{1,2}\.\d{4},? "
_CLOCK = re.compile(rf"(?:(?:{_DATE})\d\d|\d{{1,3}}):\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_COMMENT_SIGNS = " \t#%/\"'"
_SHOWN = 40  # characters of a line in a message


@dataclass(frozen=True)
class Layout:
    """How a file is to be read. `rows` are the first lines of samples, as cells; `facts` has "rate", "unit" and "lead".

    `names` are those of the columns, their numbers where there is no header.
    """

    encoding: str
    delimiter: str
    decimal: str
    skipped: int  # lines before the first sample
    names: tuple[str, ...]
    has_header: bool
    has_preamble: bool
    rows: Sequence[Sequence[str]]
    facts: Mapping[str, str]

    @cached_property
    def kinds(self) -> list[Kind]:
        """What the cells of each column are, as far as the first lines show."""
        return [self._kind([row[k] for row in self.rows]) for k in range(len(self.names))]

    def _kind(self, cells: Iterable[str]) -> Kind:
        there = [cell for cell in cells if not is_missing(cell)]
        if not there:
            return "empty"
        if all(_is_number(cell, self.decimal) for cell in there):
            return "number"
        return "clock" if all(map(_CLOCK.fullmatch, there)) else "text"


def find_layout(path: Path, delimiter: Delimiter | None, decimal: DecimalSign | None) -> Layout:
    """The layout of a file that is there.

    Args:
        path: the file.
        delimiter: None to find it.
        decimal: None to find it.

    Raises:
        Unfit: no line of samples at the beginning, or more than one way to read them.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if not head.strip():
        raise Unfit("empty")
    encoding = _encoding(head)
    lines = re.split("\r\n|\r|\n", head.decode(encoding, errors="replace"))
    if len(head) == _HEAD_BYTES and len(lines) > 1:
        del lines[-1]  # it may be cut
    lines = lines[:_LINES_LOOKED_AT]
    ways = _ways(lines, _marks(lines) if delimiter is None else [DELIMITERS[delimiter]], decimal or ".,")
    if not ways and (delimiter or decimal) and _ways(lines, _marks(lines), ".,"):
        stated = " ".join(f"--{name} {sign}" for name, sign in (("delimiter", delimiter), ("decimal", decimal)) if sign)
        raise Unfit(f"no line holds numbers as stated, {stated}: leave the option out, and they are found")
    return _layout(_best(ways, lines), lines, encoding)


def _marks(lines: Sequence[str]) -> list[str]:
    """The delimiters that the lines may have; "" is that of a single column."""
    return ["", *(mark for mark in DELIMITERS.values() if any(mark in line for line in lines))]


def _ways(lines: Sequence[str], marks: Sequence[str], signs: str) -> list[_Way]:
    return [way for mark in marks for sign in signs if (way := _way(lines, mark, sign))]


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of a line, without spaces and quotes around them.

    >>> cells_of('1; "2;5" ;', ";")
    ['1', '2;5', '']
    """
    if delimiter == " ":
        cells = line.split()
    elif not delimiter:
        cells = [line]
    elif '"' in line:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    else:
        cells = line.split(delimiter)
    return [cell.strip(" \t'\"") for cell in cells]


def is_missing(cell: str) -> bool:
    """Whether a cell stands for a sample that is missing."""
    return cell.casefold() in _MISSING


def number(cell: str, decimal: str) -> float:
    """The number of a cell, NaN for a missing one.

    Raises:
        ValueError: it is none.
    """
    if is_missing(cell):
        return float("nan")
    if not _is_number(cell, decimal):
        raise ValueError(cell)
    return float(cell.replace(decimal, "."))


def no_number(line: int, text: str) -> Unfit:
    """The reason for a line (from 1) that holds something else."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return Unfit(f"line {line} is no number: {shown!r}")


def _is_number(cell: str, decimal: str) -> bool:
    return _NUMBERS[decimal].fullmatch(cell) is not None


def _encoding(head: bytes) -> str:
    """The encoding by the byte-order mark; else UTF-8 where it is valid, Latin-1 where not."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in head:
        raise Unfit("binary, or UTF-16 without a byte-order mark: it holds zero bytes")
    try:
        head[: head.rfind(b"\n") + 1 or None].decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


@dataclass(frozen=True)
class _Way:
    """One way to read the first lines: all of them as cells, the numbers of those that are samples, and the first.

    `numbers` counts the cells of samples that are numbers; `is_pure` is whether no other cell is text.
    """

    delimiter: str
    decimal: str
    rows: Sequence[Sequence[str]]
    fitting: Sequence[int]
    start: int
    numbers: int
    is_pure: bool

    @property
    def columns(self) -> int:
        return len(self.rows[self.start])

    def is_header(self, k: int) -> bool:
        """Whether line k may name the columns."""
        row = self.rows[k]
        has_letter = any(c.isalpha() for cell in row for c in cell)
        return len(row) == self.columns and has_letter and not any(_is_number(cell, self.decimal) for cell in row)


def _way(lines: Sequence[str], delimiter: str, decimal: str) -> _Way | None:
    """The lines read in one way; None if that gives no samples.

    A column of text is allowed below a header, and only where no line has nothing but numbers and times.
    """
    rows = [cells_of(line, delimiter) for line in lines]
    with_number = [k for k, row in enumerate(rows) if any(_is_number(cell, decimal) for cell in row)]
    pure = [k for k in with_number if all(_is_sample(cell, decimal) for cell in rows[k])]
    usable = pure or [k for k in with_number if len(rows[k]) > 1]
    if not usable:
        return None
    columns = Counter(len(rows[k]) for k in usable).most_common(1)[0][0]
    fitting = [k for k in usable if len(rows[k]) == columns]
    start = fitting[0]
    while (
        start and lines[start - 1].strip() and len(rows[start - 1]) == columns and all(map(is_missing, rows[start - 1]))
    ):
        start -= 1
    numbers = sum(_is_number(cell, decimal) for k in fitting for cell in rows[k])
    way = _Way(delimiter, decimal, rows, fitting, start, numbers, bool(pure))
    return way if pure or (start and way.is_header(start - 1)) else None


def _is_sample(cell: str, decimal: str) -> bool:
    return _is_number(cell, decimal) or is_missing(cell) or _CLOCK.fullmatch(cell) is not None


def _best(ways: Sequence[_Way], lines: Sequence[str]) -> _Way:
    """The way that fits most lines; `Unfit` if none does, or if two do and read other columns."""
    there = [line for line in lines if line.strip()]
    if not ways and len(there) == 1 and _starts_with_letter(there[0]) and any(mark in there[0] for mark in ",;\t"):
        raise Unfit(f"no samples below its only line, {reprlib.repr(there[0])}")
    if not ways:
        raise next((no_number(k, line) for k, line in enumerate(lines, 1) if line.strip()), Unfit("no line of numbers"))
    most = max((len(way.fitting), way.is_pure) for way in ways)
    tied = [way for way in ways if (len(way.fitting), way.is_pure) == most]
    if len({way.columns for way in tied}) == 1:
        return max(tied, key=lambda way: way.numbers)
    comma = [way for way in tied if way.decimal == "," and way.delimiter != ","]
    if comma and all(way.decimal == "," for way in tied):  # it is stated
        return comma[0]
    columns = [way for way in tied if way.delimiter == ","]
    if comma and columns and columns[0].start and columns[0].is_header(columns[0].start - 1):
        return columns[0]
    named = [way for way in comma if way.start and way.is_header(way.start - 1)]
    if named:
        return named[0]
    if comma and any(re.fullmatch("-0|0[0-9]+", cell) for way in tied for row in way.rows for cell in row):
        return comma[0]
    raise Unfit(
        f"{lines[tied[0].start]!r} may be a number with a decimal comma, or several: state --decimal , or --delimiter ,"
    )


def _layout(way: _Way, lines: Sequence[str], encoding: str) -> Layout:
    if way.columns > _MAX_COLUMNS:
        raise Unfit(f"{way.columns} columns: the samples of a lead stand one below the other, not side by side")
    header = _header(way, lines)
    preamble = [k for k in range(way.start) if lines[k].strip() and k not in header]
    for k in preamble:
        if not _starts_with_letter(lines[k]):
            raise no_number(k + 1, lines[k])
    stated = [fact for k in preamble if (fact := csv_names.fact(lines[k]))]
    return Layout(
        encoding=encoding,
        delimiter=way.delimiter,
        decimal=way.decimal,
        skipped=way.start,
        names=_names(way, header),
        has_header=bool(header),
        has_preamble=bool(preamble),
        rows=[way.rows[k] for k in way.fitting],
        facts=dict(reversed(stated)),
    )


def _header(way: _Way, lines: Sequence[str]) -> list[int]:
    """The last lines above the samples, if they name the columns: one, or a second one with their units."""
    last = max((k for k in range(way.start) if lines[k].strip()), default=-1)
    if last < 0 or not way.is_header(last):
        return []
    if way.columns == 1 and (re.search("[,;:=\t]", lines[last]) or not _starts_with_letter(lines[last])):
        return []  # a fact, or a sample that is no number
    if csv_names.fact(lines[last]) and way.columns == 2:  # noqa: PLR2004 - a name and a value
        return []
    units = [voltage(cell) or csv_names.time_unit(cell) for cell in way.rows[last]]
    return [last - 1, last] if any(units) and last and way.is_header(last - 1) else [last]


def _starts_with_letter(line: str) -> bool:
    return line.lstrip(_COMMENT_SIGNS + ",;")[:1].isalpha()


def _names(way: _Way, header: Sequence[int]) -> tuple[str, ...]:
    if not header:
        return tuple(map(str, range(way.columns)))
    names = [name.lstrip(_COMMENT_SIGNS) for name in way.rows[header[0]]]
    if len(header) == 1:
        return tuple(names)
    units = way.rows[header[1]]
    return tuple(f"{name} [{unit}]" if unit else name for name, unit in zip(names, units, strict=True))
