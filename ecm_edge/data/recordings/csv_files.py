"""CSV and text recordings with a label table `file,subject,rhythm[,onset_s,duration_s]`.

One sample a line. `csv_layout` finds how the lines are written, `csv_times` checks a column of times. The rate and the
unit are stated by the options or by the file itself; where both do, they agree.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import RecordingError
from ecm_edge.data.dataset import UNSTATED, natural_key
from ecm_edge.data.recordings import csv_layout, csv_names
from ecm_edge.data.recordings.csv_times import TimeColumn, Timing, most_regular, timing
from ecm_edge.data.recordings.options import (
    MILLIVOLTS,
    Labelled,
    check_rate,
    choose_lead,
    foreign,
    given,
    read_labels,
    unlisted,
    write_labels,
)
from ecm_edge.data.recordings.windows import Listing, Recording, Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import TextIO

    from ecm_edge.data.recordings.csv_layout import Layout
    from ecm_edge.data.recordings.options import Options
    from ecm_edge.tasks import Task

_DECIMALS = 3  # of a millivolt: 1 µV
_MAX_BYTES = 4 << 30
_MAX_LINES = 45_000_000  # 24 h at 512 Hz
_SCANNED_BYTES = 1 << 20  # a longer line is refused
_BLOCK_CHARACTERS = 1 << 22
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ASCENDING = 10  # lines that show that a column without a name holds times


def list_recordings(source: Path, options: Options, task: Task) -> Listing:
    """Every file of the label table, by file name.

    Raises:
        RecordingError: a broken or empty label table, or a unit that is no voltage.
    """
    if options.unit is not None and csv_names.voltage(options.unit) is None:
        raise RecordingError(
            f"the unit of csv recordings is one of {', '.join(MILLIVOLTS)}",
            options.unit,
            "Leave --unit out if it is not known: the data set then says that it is unstated.",
        )
    table = given(options.labels)
    labels = read_labels(table)
    files = (path for path in source.rglob("*") if path.is_file() and path.resolve() != table.resolve())
    return Listing(
        sorted(labels, key=natural_key),
        lambda name: _open(source / name, labels[name], options, task, name),
        unlisted((path.relative_to(source).as_posix() for path in files), labels),
    )


def open_one(path: Path, options: Options, task: Task) -> Recording:
    """One file, without labels; else `Unfit`."""
    return _open(path, Labelled(path.stem, ()), options, task, path.name)


def write(folder: Path, recordings: Iterable[Recording], task: Task) -> None:
    """Write recordings with one sample a line, in mV, and their label table."""
    del task
    written = []
    for recording in recordings:
        name = f"{recording.name}.csv"
        lines = (f"{sample:.{_DECIMALS}f}\n" for sample in recording.read(0, recording.length))
        (folder / name).write_text("".join(lines), encoding="ascii")
        written.append((name, recording))
    write_labels(folder, written)


def _open(path: Path, labelled: Labelled, options: Options, task: Task, name: str) -> Recording:
    """One file, read whole; else `Unfit`."""
    with foreign():
        lines = _count_lines(path)
        layout = csv_layout.find_layout(path, options.delimiter, options.decimal)
        time = _time_column(layout)
        lead = _lead(layout, options, task)
        unit, unit_notes = _unit(layout, lead, options.unit)
        columns = _Columns(np.empty(lines), np.empty(lines if time else 0, np.float32))
        _read(path, layout, lead, time, columns)
        times = _timing(columns, time, _stated_rate(layout, options.sampling_rate_hz))
    samples = columns.samples[: columns.filled]
    samples *= MILLIVOLTS[unit] if unit else 1.0
    return Recording(
        name,
        labelled.subject,
        len(samples) if times.places is None else int(times.places[-1]) + 1,
        times.sampling_rate_hz,
        labelled.spans,
        lambda start, stop: _on_grid(samples, times.places, start, stop),
        lead=layout.facts.get("lead", "") if not layout.has_header and len(layout.names) == 1 else layout.names[lead],
        unit="mV" if unit else UNSTATED,
        notes=(*times.notes, *unit_notes, *columns.notes, *_layout_notes(layout)),
    )


def _count_lines(path: Path) -> int:
    """An upper bound of the number of lines; `Unfit` for what would take too long or too much memory to read."""
    state = os.stat(path)  # noqa: PTH116 - of a link's target, whatever it is
    if not stat.S_ISREG(state.st_mode):
        raise Unfit("not a regular file")
    if state.st_size > _MAX_BYTES:
        raise Unfit(f"{state.st_size:,} bytes; at most {_MAX_BYTES:,} are read: split it")
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


def _time_column(layout: Layout) -> TimeColumn | None:
    """The column of times whose first ones are the most regular; one that counts lines if there is none better."""
    kinds, found = layout.kinds, []
    for index, (name, kind) in enumerate(zip(layout.names, kinds, strict=True)):
        if not _is_time(layout, index, kind) or kind not in {"number", "clock"}:
            continue
        column = _as_time_column(layout, index, name, kind)
        found.append((column, np.array([_number_or_clock(row[index], layout.decimal) for row in layout.rows])))
    return most_regular(found)


def _is_time(layout: Layout, index: int, kind: csv_layout.Kind) -> bool:
    if len(layout.names) == 1:
        return False
    if kind == "clock":
        return True
    if layout.has_header:
        name = layout.names[index]
        return csv_names.is_time(name) or csv_names.is_counter(name)
    return index == 0 and kind == "number" and _ascends(layout)


def _ascends(layout: Layout) -> bool:
    """Whether the first column of a file without a header goes up at each of its first lines, and so holds times."""
    first = np.array([csv_layout.number(row[0], layout.decimal) for row in layout.rows])
    return len(first) >= _ASCENDING and bool((np.diff(first) > 0).all())


def _as_time_column(layout: Layout, index: int, name: str, kind: csv_layout.Kind) -> TimeColumn:
    if kind == "clock":
        return TimeColumn(index, name, 1.0, is_clock=True)
    if layout.has_header:
        unit = csv_names.time_unit(csv_names.unit_of(name) or name)
        return TimeColumn(index, name, csv_names.SECONDS[unit] if unit else None, not csv_names.is_time(name))
    counts = {float(row[0]) for row in layout.rows[:_ASCENDING]}
    return TimeColumn(index, name, None, len(counts) == _ASCENDING == max(counts) - min(counts) + 1)


def _lead(layout: Layout, options: Options, task: Task) -> int:
    """The index of the lead's column, which holds no times; `Unfit` if it is not clear which."""
    kinds = layout.kinds
    leads = [k for k, kind in enumerate(kinds) if kind == "number" and not _is_time(layout, k, kind)]
    if len(layout.names) == 1:
        leads = [0]
    names = [csv_names.bare(name) for name in layout.names]
    if not layout.has_header and len(names) == 1 and "lead" in layout.facts:
        names = [csv_names.bare(layout.facts["lead"])]
    if options.lead is None:
        cardiac = [names[k] for k in leads if "ecg" in names[k].lower() or "ekg" in names[k].lower()]
        preferred = [*map(csv_names.bare, task.leads), *(cardiac if len(cardiac) == 1 else [])]
        return leads[choose_lead([names[k] for k in leads], None, preferred)]
    wanted = ",".join(csv_names.bare(part.strip()) for part in options.lead.split(","))
    chosen = choose_lead(names, wanted)
    if chosen not in leads:
        held = "times" if _is_time(layout, chosen, kinds[chosen]) else "no numbers"
        raise Unfit(f"column {layout.names[chosen]!r} holds {held}: choose another --lead")
    return chosen


def _unit(layout: Layout, lead: int, stated: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The unit as `MILLIVOLTS` has it, None where no one says it, and what is to be told; `Unfit` if two differ."""
    written = csv_names.unit_of(layout.names[lead]) or layout.facts.get("unit", "")
    of_file, of_options = csv_names.voltage(written), csv_names.voltage(stated or "")
    if of_file and of_options and of_file != of_options:
        raise Unfit(f"its unit is {of_file} by its header, not the {of_options} stated")
    if of_file:
        return of_file, (f"read in {of_file} by its header, kept in mV",)
    if written and "unit" in layout.facts and of_options:
        raise Unfit(f"its unit is {written!r} by its header, not the {of_options} stated")
    if of_options:
        return of_options, ()
    return None, ("its unit is not stated, so its amplitude is unknown: --unit mV or uV states it",)


def _stated_rate(layout: Layout, stated_hz: float | None) -> float | None:
    """The rate by the facts before the samples or by the option; `Unfit` if both state one and they differ."""
    if "rate" not in layout.facts:
        return stated_hz
    read_hz = csv_names.sampling_rate_hz(layout.facts["rate"])
    if read_hz is None:
        raise Unfit(f"its sampling rate is {layout.facts['rate']!r}, which is no number of Hz")
    check_rate(read_hz, stated_hz)
    return read_hz


def _layout_notes(layout: Layout) -> Iterator[str]:
    if "rate" in layout.facts:
        yield f"sampled at {layout.facts['rate']} by its header"
    if layout.has_preamble:
        yield "the lines before its first sample are facts about it"
    if not layout.has_header and len(layout.names) > 1:
        yield "it names no columns: they are counted from 0"


@dataclass
class _Columns:
    """The columns of one file while it is read. `steps` are from each line's time to the next, if there are times."""

    samples: np.ndarray  # (upper bound of lines,) float64
    steps: np.ndarray  # (upper bound of lines,) float32
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
                self.steps[self.filled : self.filled + len(steps)] = steps
            if (steps < 0).any():
                line = first_line + int(np.flatnonzero(there)[np.argmax(steps < 0)])
                raise Unfit(f"its times go backwards in line {line}")
            self.last_time = float(times[-1])
        if np.isnan(samples).any():
            self.note("empty cells are missing samples")
        self.samples[self.filled : self.filled + len(samples)] = samples
        self.filled += len(samples)


def _read(path: Path, layout: Layout, lead: int, time: TimeColumn | None, columns: _Columns) -> None:
    """Read the lead and the times, some megabytes at a time; `Unfit` for a line that holds something else."""
    wanted = [lead, time.index] if time else [lead]
    line = layout.skipped + 1
    with path.open(encoding=layout.encoding, errors="replace") as stream:
        for _ in range(layout.skipped):
            stream.readline()
        for block in _blocks(stream):
            text = _by_tabs(block) if layout.delimiter == " " else block
            values = _fast(text, layout, wanted, time)
            if values is None:
                values = _line_by_line(text, layout, wanted, line)
            columns.add(values[:, 0], values[:, 1] if time else None, line)
            line += len(values)


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


def _line_by_line(text: str, layout: Layout, wanted: list[int], first_line: int) -> np.ndarray:
    """(n, columns wanted) numbers, times in seconds where they are clock times, NaN for what is missing."""
    delimiter = "\t" if layout.delimiter == " " else layout.delimiter
    values = np.full((text.count("\n") + 1, len(wanted)), np.nan)
    for k, line in enumerate(text.split("\n")):
        cells = csv_layout.cells_of(line, delimiter)
        if len(cells) != len(layout.names):
            if line.strip():
                raise Unfit(f"line {first_line + k} has {len(cells)} values, the others {len(layout.names)}")
            continue
        try:
            values[k] = [_number_or_clock(cells[column], layout.decimal) for column in wanted]
        except ValueError as problem:
            raise csv_layout.no_number(first_line + k, str(problem)) from None
    return values


def _number_or_clock(cell: str, decimal: str) -> float:
    """A number, or a date or clock time in seconds; raises ValueError with the cell."""
    if ":" not in cell:
        return csv_layout.number(cell, decimal)
    try:
        return _clock_s(cell)
    except ValueError:
        raise ValueError(cell) from None


def _clock_s(cell: str) -> float:
    """Seconds of a clock time, or of a date since 1970; raises ValueError."""
    if "-" not in cell:
        parts = [float(part) for part in cell.strip(" \t'").replace(",", ".").split(":")]
        return sum(part * 60.0**power for power, part in enumerate(reversed(parts)))
    date = dt.datetime.fromisoformat(cell.strip(" \t'"))
    return ((date if date.tzinfo else date.replace(tzinfo=dt.UTC)) - _EPOCH).total_seconds()


def _timing(columns: _Columns, time: TimeColumn | None, stated_hz: float | None) -> Timing:
    if time and columns.filled > 1:
        return timing(columns.steps[1 : columns.filled], time, stated_hz)
    if stated_hz is None:
        raise Unfit("no sampling rate in the file: state it, --sampling-rate-hz")
    return Timing(stated_hz)


def _on_grid(samples: np.ndarray, places: np.ndarray | None, start: int, stop: int) -> np.ndarray:
    """(stop - start,) samples; NaN where the times leave a gap."""
    if places is None:
        return samples[start:stop]
    first, last = np.searchsorted(places, [start, stop])
    read = np.full(stop - start, np.nan)
    read[places[first:last] - start] = samples[first:last]
    return read
