"""The numbers in the columns of a text file: a lead and, if there is one, a column of times."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.data.recordings import csv_layout
from ecm_edge.data.recordings.options import regular
from ecm_edge.data.recordings.windows import Unfit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from ecm_edge.data.recordings.csv_layout import Layout
    from ecm_edge.data.recordings.csv_times import TimeColumn

_MAX_BYTES = 4 << 30
_MAX_LINES = 45_000_000  # 24 h at 512 Hz
_SCANNED_BYTES = 1 << 20  # a longer line is refused
_BLOCK_CHARACTERS = 1 << 22
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY_FIRST = re.compile(r"\b(\d{1,2})\.(\d{1,2})\.(\d{4}),? ")
_DAY_S = 86_400.0


def count_lines(path: Path) -> int:
    """An upper bound of the number of lines; `Unfit` for what would take too long or too much memory to read."""
    size = regular(path).stat().st_size
    if size > _MAX_BYTES:
        raise Unfit(f"{size:,} bytes; at most {_MAX_BYTES:,} are read: split it")
    lines = 1
    with path.open("rb") as stream:
        while block := stream.read(_SCANNED_BYTES):
            breaks = block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")
            if not breaks and len(block) == _SCANNED_BYTES:
                raise Unfit(f"line {lines} is longer than {_SCANNED_BYTES:,} bytes")
            lines += breaks
            if lines > _MAX_LINES:
                raise Unfit(f"more than {_MAX_LINES:,} lines: split it")
    return lines


@dataclass
class Columns:
    """The columns of one file while it is read.

    `steps` are from each line's time to the next, if there are times. `hours_only` is whether these are times of day
    without a date, which go on after midnight.
    """

    samples: np.ndarray  # (upper bound of lines,) float64
    steps: np.ndarray  # (upper bound of lines,) float32
    hours_only: bool = False
    filled: int = 0
    last_time: float = np.nan
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep something to be told, once."""
        if text not in self.notes:
            self.notes.append(text)

    def add(self, samples: np.ndarray, times: np.ndarray | None, first_line: int) -> None:
        """Some lines more; `Unfit` where the times go backwards. A line without a time is left out."""
        if times is not None:
            there = np.isfinite(times)
            if not there.all():
                self.note("lines without a time are left out: they count as missing samples")
            samples, times = samples[there], times[there]
            if not len(times):
                return
            with np.errstate(over="ignore"):
                steps = np.diff(times, prepend=self.last_time if self.filled else times[0])
                if self.hours_only:
                    steps[steps < -_DAY_S / 2] += _DAY_S
                self.steps[self.filled : self.filled + len(steps)] = steps
            if (steps < 0).any():
                line = first_line + int(np.flatnonzero(there)[np.argmax(steps < 0)])
                raise Unfit(f"its times go backwards in line {line}")
            self.last_time = float(times[-1])
        missing = ~np.isfinite(samples)
        if missing.any():
            samples[missing] = np.nan
            self.note("cells that are empty or not finite are missing samples")
        self.samples[self.filled : self.filled + len(samples)] = samples
        self.filled += len(samples)


def read(path: Path, layout: Layout, lead: int, time: TimeColumn | None, lines: int) -> Columns:
    """The lead and the times of a file of at most so many lines, read some megabytes at a time.

    Raises:
        Unfit: a line that holds something else, or times that go backwards.
    """
    hours_only = time is not None and time.hours_only
    columns = Columns(np.empty(lines), np.empty(lines if time else 0, np.float32), hours_only)
    wanted = [lead, time.index] if time else [lead]
    line = layout.skipped + 1
    with path.open(encoding=layout.encoding, errors="replace") as stream:
        for _ in range(layout.skipped):
            stream.readline()
        for block in _blocks(stream):
            text = _by_tabs(block) if layout.delimiter == " " else block
            values = _fast(text, layout, wanted, time)
            if values is None:
                values = _line_by_line(text, layout, lead, time, line)
            columns.add(values[:, 0], values[:, 1] if time else None, line)
            line += len(values)
    columns.samples, columns.steps = columns.samples[: columns.filled], columns.steps[: columns.filled]
    return columns


def check_thousands(path: Path, layout: Layout, lead: int, samples: np.ndarray) -> None:
    """Refuse samples whose decimal sign was guessed and may part thousands: all such as 1,045, or also 567 beside them.

    A point between three digits is only doubted beside numbers without one.

    Raises:
        Unfit: with such a number.
    """
    broken = np.abs(samples[np.isfinite(samples) & (samples != np.round(samples))])
    if not len(broken) or broken.min() < 1 or broken.max() >= 1000:  # noqa: PLR2004 - 1,000 is read as 1
        return
    shown, beside = "", layout.decimal == ","
    with path.open(encoding=layout.encoding, errors="replace") as stream:
        for line in itertools.islice(stream, layout.skipped, None):
            cell = [*csv_layout.cells_of(line.strip("\n"), layout.delimiter), *[""] * len(layout.names)][lead]
            if layout.decimal not in cell:
                beside = beside or cell.isdigit()
            elif _THOUSANDS.fullmatch(cell):
                shown = cell
            else:
                return
    if shown and beside:
        raise Unfit(
            f"{shown!r} may be {shown.replace(layout.decimal, '')} with a sign between thousands: "
            f"write it without, or state --decimal {layout.decimal}"
        )


def _blocks(stream: TextIO) -> Iterator[str]:
    """Whole lines, the last blank ones left out."""
    block = stream.read(_BLOCK_CHARACTERS) + stream.readline()
    while block:
        following = stream.read(_BLOCK_CHARACTERS) + stream.readline()
        block = block if following else block.rstrip("\n")
        if block:
            yield block.removesuffix("\n")
        block = following


def _by_tabs(text: str) -> str:
    return "\n".join("\t".join(line.split()) for line in text.split("\n"))


def _fast(text: str, layout: Layout, wanted: list[int], time: TimeColumn | None) -> np.ndarray | None:
    """(n, columns wanted) numbers; None if a line is not as the first ones are, or the layout is not NumPy's."""
    if time and time.is_clock:
        text = _year_first(text)
    delimiter = "\t" if layout.delimiter == " " else layout.delimiter
    lines = text.count("\n") + 1
    if delimiter and text.count(delimiter) != lines * (len(layout.names) - 1):
        return None
    if layout.decimal == ",":
        if "." in text or delimiter == ",":
            return None
        text = text.replace(",", ".")
    if text.isspace():
        return None
    try:
        values = np.loadtxt(
            io.StringIO(text),
            delimiter=delimiter or ",",
            comments=None,
            quotechar='"' if '"' in text else None,
            usecols=wanted if delimiter else None,
            converters={time.index: _clock_s} if time and time.is_clock else None,
            ndmin=2,
        )
    except ValueError:
        return None
    return values if values.shape == (lines, len(wanted)) else None


def _line_by_line(text: str, layout: Layout, lead: int, time: TimeColumn | None, first_line: int) -> np.ndarray:
    """(n, 1 or 2) the lead and the times, NaN for what is missing."""
    delimiter = "\t" if layout.delimiter == " " else layout.delimiter
    values = np.full((text.count("\n") + 1, 2 if time else 1), np.nan)
    for k, line in enumerate(text.split("\n")):
        cells = csv_layout.cells_of(line, delimiter)
        if len(cells) != len(layout.names):
            if line.strip():
                raise Unfit(f"line {first_line + k} has {len(cells)} values, the others {len(layout.names)}")
            continue
        try:
            values[k, 0] = csv_layout.number(cells[lead], layout.decimal)
            if time:
                values[k, 1] = time_of(cells[time.index], time, layout.decimal)
        except ValueError as problem:
            raise csv_layout.no_number(first_line + k, str(problem)) from None
    return values


def time_of(cell: str, column: TimeColumn, decimal: str) -> float:
    """The time of a cell, NaN if it is missing; raises ValueError with the cell."""
    if not column.is_clock or csv_layout.is_missing(cell):
        return csv_layout.number(cell, decimal)
    try:
        return _clock_s(_year_first(cell))
    except ValueError:
        raise ValueError(cell) from None


def _year_first(text: str) -> str:
    """Dates such as 28.3.2026 as 2026-03-28."""
    return _DAY_FIRST.sub(lambda date: f"{date[3]}-{date[2]:0>2}-{date[1]:0>2} ", text)


def _clock_s(cell: str) -> float:
    """Seconds of a clock time, or of a date since 1970; raises ValueError."""
    text = cell.strip(" \t'").replace(",", ".")
    if "-" not in text:
        return sum(float(part) * 60.0**power for power, part in enumerate(reversed(text.split(":"))))
    date = dt.datetime.fromisoformat(text)
    return ((date if date.tzinfo else date.replace(tzinfo=dt.UTC)) - _EPOCH).total_seconds()
