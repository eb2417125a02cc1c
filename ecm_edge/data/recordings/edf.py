"""EDF and EDF+ files with a label table `file,subject,rhythm[,onset_s,duration_s]`."""

from __future__ import annotations

import ctypes
import datetime as dt
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.data.dataset import natural_key
from ecm_edge.data.recordings.options import (
    STEPS_PER_MV,
    Labelled,
    check_rate,
    choose_lead,
    foreign,
    given,
    read_labels,
    to_millivolts,
    unlisted,
    whole,
    write_labels,
)
from ecm_edge.data.recordings.windows import Listing, Recording

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ecm_edge.data.recordings.options import Options
    from ecm_edge.tasks import Task

LEAD = "II"
"""The lead that `write` names."""

_DIGITAL_LIMIT = 32767
_STDOUT, _STDERR = 1, 2
_DATE = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - EDF knows no time zone


def list_recordings(source: Path, options: Options, task: Task) -> Listing:
    """Every file of the label table, by file name.

    Raises:
        RecordingError: a broken or empty label table.
    """
    del task
    labels = read_labels(given(options.labels))
    present = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.suffix.lower() == ".edf"]
    return Listing(
        sorted(labels, key=natural_key),
        lambda name: _open(source / name, labels[name], options, name),
        unlisted(present, labels),
    )


def open_one(path: Path, options: Options, task: Task) -> Recording:
    """One file, without labels; else `Unfit`."""
    del task
    return _open(path, Labelled(path.stem, ()), options, path.name)


def write(folder: Path, recordings: Iterable[Recording], task: Task) -> None:
    """Write recordings as EDF files of one lead in steps of 1 µV, with their label table; whole seconds only."""
    import pyedflib

    del task
    written = []
    for recording in recordings:
        name = f"{recording.name}.edf"
        digital = np.round(recording.read(0, recording.length) * STEPS_PER_MV).astype(np.int32)  # (t,)
        with pyedflib.EdfWriter(str(folder / name), 1, file_type=pyedflib.FILETYPE_EDF) as writer:
            writer.setStartdatetime(_DATE)
            writer.setSignalHeader(0, _header(recording.sampling_rate_hz))
            writer.writeSamples([digital], digital=True)
        written.append((name, recording))
    write_labels(folder, written)


def _header(sampling_rate_hz: float) -> dict[str, str | int | float | None]:
    return {
        "label": LEAD,
        "dimension": "mV",
        "sample_frequency": sampling_rate_hz,
        "physical_max": _DIGITAL_LIMIT / STEPS_PER_MV,
        "physical_min": -_DIGITAL_LIMIT / STEPS_PER_MV,
        "digital_max": _DIGITAL_LIMIT,
        "digital_min": -_DIGITAL_LIMIT,
        "transducer": "",
        "prefilter": "",
    }


@contextmanager
def _prints_on_stderr() -> Iterator[None]:
    """EDFlib prints in C what it refuses; stdout is for results."""
    sys.stdout.flush()
    stdout = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(stdout, _STDOUT)
        os.close(stdout)


def _open(path: Path, labelled: Labelled, options: Options, name: str) -> Recording:
    """One file, its header read and its signal not yet; else `Unfit`."""
    import pyedflib

    with foreign(), _prints_on_stderr(), pyedflib.EdfReader(str(path)) as reader:
        channel = choose_lead([label.strip() for label in reader.getSignalLabels()], options.lead)
        rate_hz = float(reader.getSampleFrequency(channel))
        check_rate(rate_hz, options.sampling_rate_hz)
        factor = to_millivolts(reader.getPhysicalDimension(channel).strip())
        length = int(reader.getNSamples()[channel])

    def signal(start: int, stop: int) -> np.ndarray:
        with foreign(), _prints_on_stderr(), pyedflib.EdfReader(str(path)) as reader:
            return whole(reader.readSignal(channel, start, stop - start) * factor, stop - start)

    return Recording(name, labelled.subject, length, rate_hz, labelled.spans, signal, unit="mV")
