"""CSV and text recordings with a label table `file,subject,rhythm[,onset_s,duration_s]`.

One sample a line. `csv_layout` finds how the lines are written, `csv_times` checks a column of times. The rate and the
unit are stated by the options or by the file itself; where both do, they agree.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base import files
from ecm_edge.base.errors import RecordingError
from ecm_edge.data.dataset import UNSTATED, natural_key
from ecm_edge.data.recordings import csv_columns, csv_layout, csv_names, csv_times
from ecm_edge.data.recordings.csv_times import TimeColumn, Timing, most_regular
from ecm_edge.data.recordings.formats import FORMATS
from ecm_edge.data.recordings.options import (
    Labelled,
    check_rate,
    choose_lead,
    foreign,
    given,
    read_labels,
    unlisted,
    write_labels,
)
from ecm_edge.data.recordings.units import MILLIVOLTS, to_millivolts, voltage
from ecm_edge.data.recordings.windows import Listing, Recording, Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ecm_edge.data.recordings.csv_layout import Layout
    from ecm_edge.data.recordings.options import Options
    from ecm_edge.tasks import Task

_DATE = re.compile(r"\d[./-]\d+[./-]\d|\d:\d\d")  # in any form
_DECIMALS = 3  # of a millivolt: 1 µV
_ASCENDING = 10  # lines that show that a column without a name holds times


def list_recordings(source: Path, options: Options, task: Task) -> Listing:
    """Every file of the label table, by file name.

    Raises:
        RecordingError: a broken or empty label table, or a unit that is no voltage.
    """
    if options.unit is not None and voltage(options.unit) is None:
        raise RecordingError(
            f"the unit of csv recordings is one of {', '.join(MILLIVOLTS)}",
            options.unit,
            "Leave --unit out if it is not known: the data set then says that it is unstated.",
        )
    table = given(options.labels)
    labels = read_labels(table)
    suffixes = {*FORMATS["csv"].suffixes, *(PurePath(name).suffix.lower() for name in labels)}
    tables = (path for path in source.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    present = (path.relative_to(source).as_posix() for path in tables if files.resolved(path) != files.resolved(table))
    return Listing(
        sorted(labels, key=natural_key),
        lambda name: _open(source / name, labels[name], options, task, name),
        unlisted(present, labels),
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
        lines = csv_columns.count_lines(path)
        layout = csv_layout.find_layout(path, options.delimiter, options.decimal)
        times = _times(layout)
        time = _time_column(layout, times)
        lead = _lead(layout, times, options.lead, task)
        unit, unit_notes = _unit(layout, lead, options.unit)
        columns = csv_columns.read(path, layout, lead, time, lines)
        if options.decimal is None:
            csv_columns.check_thousands(path, layout, lead, columns.samples)
        timing = _timing(columns, time, _stated_rate(layout, options.sampling_rate_hz))
    samples = columns.samples
    if unit:
        samples *= MILLIVOLTS[unit]
    return Recording(
        name,
        labelled.subject,
        len(samples) if timing.places is None else int(timing.places[-1]) + 1,
        timing.sampling_rate_hz,
        labelled.spans,
        lambda start, stop: _on_grid(samples, timing.places, start, stop),
        lead=_lead_name(layout, lead),
        unit="mV" if unit else UNSTATED,
        notes=(*timing.notes, *unit_notes, *columns.notes, *_layout_notes(layout, time)),
    )


def _times(layout: Layout) -> set[int]:
    """The columns that hold times or count lines: no lead is read from them."""
    numbers = {k for k, kind in enumerate(layout.kinds) if kind == "number"}
    if len(layout.names) == 1:
        return set()
    times = {k for k, kind in enumerate(layout.kinds) if kind == "clock"}
    if not layout.has_header:
        return times | ({0} if 0 in numbers and _ascends(layout) else set())
    times |= {k for k in numbers if csv_names.is_time(layout.names[k])}
    counters = {k for k in numbers if csv_names.is_counter(layout.names[k])}
    return times | counters if numbers - times - counters or "text" in layout.kinds else times


def _time_column(layout: Layout, times: set[int]) -> TimeColumn | None:
    """The column whose first times are the most regular, None if there are no times."""
    found = []
    for index in sorted(times):
        column = _as_time_column(layout, index)
        try:
            first = [csv_columns.time_of(row[index], column, layout.decimal) for row in layout.rows]
        except ValueError as problem:
            raise Unfit(f"column {column.name!r}: {str(problem)!r} is no time") from None
        found.append((column, np.array(first)))
    return most_regular(found)


def _ascends(layout: Layout) -> bool:
    """Whether the first column of a file without a header goes up at each of its first lines, and so holds times."""
    first = np.array([csv_layout.number(row[0], layout.decimal) for row in layout.rows])
    return len(first) >= _ASCENDING and bool((np.diff(first) > 0).all())


def _as_time_column(layout: Layout, index: int) -> TimeColumn:
    name = layout.names[index]
    if layout.kinds[index] == "clock":
        hours_only = all(":" in row[index][:4] for row in layout.rows if not csv_layout.is_missing(row[index]))
        return TimeColumn(index, name, 1.0, is_clock=True, hours_only=hours_only)
    if layout.has_header:
        unit = csv_names.time_unit(csv_names.unit_of(name) or name)
        return TimeColumn(index, name, csv_names.SECONDS[unit] if unit else None, not csv_names.is_time(name))
    first = [csv_layout.number(row[index], layout.decimal) for row in layout.rows]
    return TimeColumn(index, name, None, bool((np.diff(first) == 1).all()))


def _lead(layout: Layout, times: set[int], wanted: str | None, task: Task) -> int:
    """The index of the lead's column; `Unfit` if it is not clear which."""
    leads = [k for k, kind in enumerate(layout.kinds) if kind == "number" and k not in times]
    names = [csv_names.bare(name) for name in layout.names]
    if len(names) == 1:
        leads, names = [0], [csv_names.bare(_lead_name(layout, 0) or names[0])]
    if wanted is None:
        cardiac = [names[k] for k in leads if re.search("ecg|ekg", layout.names[k], re.IGNORECASE)]
        preferred = [*map(csv_names.bare, task.leads), *(cardiac if len(cardiac) == 1 else [])]
        return leads[choose_lead([names[k] for k in leads], None, preferred)]
    chosen = choose_lead(names, ",".join(csv_names.bare(part.strip()) for part in wanted.split(",")))
    if chosen in times or (len(names) > 1 and layout.kinds[chosen] == "text"):
        held = "times" if chosen in times else "no numbers"
        raise Unfit(f"column {layout.names[chosen]!r} holds {held}: choose another --lead")
    return chosen


def _lead_name(layout: Layout, lead: int) -> str:
    """The name of the lead's column; of a single column without a header what the facts say, or nothing."""
    if layout.has_header or len(layout.names) > 1:
        return layout.names[lead]
    return layout.facts.get("lead", "")


def _unit(layout: Layout, lead: int, stated: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The unit as `MILLIVOLTS` has it, None where no one says it, and what is to be told; `Unfit` if two differ."""
    written = csv_names.unit_of(layout.names[lead]) or layout.facts.get("unit", "")
    of_file, of_options = voltage(written), voltage(stated or "")
    if stated is not None and of_options is None:
        to_millivolts(stated)
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


def _layout_notes(layout: Layout, time: TimeColumn | None) -> Iterator[str]:
    if "rate" in layout.facts:
        yield f"sampled at {layout.facts['rate']} by its header"
    if layout.has_preamble:
        yield "the lines before its first sample are facts about it"
    for k, (name, kind) in enumerate(zip(layout.names, layout.kinds, strict=True)):
        is_checked = time is not None and not time.counts
        if kind == "text" and not is_checked and (csv_names.is_time(name) or _DATE.search(layout.rows[0][k])):
            yield f"column {name!r} is in no form of times that is known: it was not checked"
    if not layout.has_header and len(layout.names) > 1:
        yield "it names no columns: they are counted from 0"


def _timing(columns: csv_columns.Columns, time: TimeColumn | None, stated_hz: float | None) -> Timing:
    if time and len(columns.steps) > 1:
        return csv_times.timing(columns.steps[1:], time, stated_hz)
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
