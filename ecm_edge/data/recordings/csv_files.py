"""CSV and text recordings with a label table `file,subject,rhythm[,onset_s,duration_s]`.

One sample a line without a header, or a table with a header of which `lead` names the column. The rate is stated.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.data.dataset import UNSTATED, natural_key
from ecm_edge.data.recordings.options import (
    Labelled,
    choose_lead,
    foreign,
    given,
    read_labels,
    unlisted,
    write_labels,
)
from ecm_edge.data.recordings.windows import Listing, Recording, Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ecm_edge.data.recordings.options import Options
    from ecm_edge.tasks import Task

_DECIMALS = 3  # of a millivolt: 1 µV


def list_recordings(source: Path, options: Options, task: Task) -> Listing:
    """Every file of the label table, by file name.

    Raises:
        RecordingError: a broken or empty label table.
    """
    del task
    table = given(options.labels)
    labels = read_labels(table)
    files = (path for path in source.rglob("*") if path.is_file() and path.resolve() != table.resolve())
    return Listing(
        sorted(labels, key=natural_key),
        lambda name: _open(source / name, labels[name], options, name),
        unlisted((path.relative_to(source).as_posix() for path in files), labels),
    )


def open_one(path: Path, options: Options, task: Task) -> Recording:
    """One file, without labels; else `Unfit`."""
    del task
    return _open(path, Labelled(path.stem, ()), options, path.name)


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


def _open(path: Path, labelled: Labelled, options: Options, name: str) -> Recording:
    """One file, read whole; else `Unfit`."""
    with foreign():
        column = _column(path, options.lead)
        samples = np.loadtxt(  # (t,)
            path,
            delimiter=",",
            comments=None,
            skiprows=0 if options.lead is None else 1,
            usecols=column,
            ndmin=1,
            encoding="utf-8",
        )
        blank = _lines(path) - len(samples) - (options.lead is not None)
    if blank:
        raise Unfit(f"{blank} blank lines: a sample may be missing there")
    rate_hz = given(options.sampling_rate_hz)
    return Recording(
        name,
        labelled.subject,
        len(samples),
        rate_hz,
        labelled.spans,
        lambda a, b: samples[a:b],
        unit=options.unit or UNSTATED,
    )


def _column(path: Path, lead: str | None) -> int:
    """The index of the lead's column; a file without a header has one column. `Unfit` otherwise."""
    with path.open(newline="", encoding="utf-8") as stream:
        first = [value.strip() for value in next(csv.reader(stream), [])]
    if not first:
        raise Unfit("empty, or its first line is")
    if lead is not None:
        return choose_lead(first, lead)
    if len(first) > 1:
        raise Unfit(f"{len(first)} columns and --lead names none")
    return 0


def _lines(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(1 for _ in stream)
