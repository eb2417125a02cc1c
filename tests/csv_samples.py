"""A signal as CSV and text files hold it, and the recording or the import of one file."""

from __future__ import annotations

import numpy as np

from ecm_edge import tasks
from ecm_edge.data.recordings import csv_files
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.recordings.options import Options

RATE_HZ = 250.0
DURATION_S = 40.0


def signal(rate_hz=RATE_HZ, seconds=DURATION_S):
    """(t,) in mV, of whole microvolts."""
    return np.random.default_rng(0).integers(-999, 999, int(rate_hz * seconds)) / 1000


X = signal()


def lines(values, form="{:.3f}"):
    return [form.format(value) for value in values]


def table(times, values, header="time,ecg", form="{:.4f},{:.3f}"):
    return "\n".join([header, *(form.format(t, v) for t, v in zip(times, values, strict=True))]) + "\n"


def opened(tmp_path, content, rate_hz=RATE_HZ, **options):
    """The recording of a file with this content."""
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return csv_files.open_one(path, Options(sampling_rate_hz=rate_hz, **options), tasks.default())


def read(recording):
    return recording.read(0, recording.length)


def imported(tmp_path, content, rhythm="N", rate_hz=RATE_HZ, rules=None, **options):
    """The record of importing one file with one label."""
    folder = tmp_path / "in"
    folder.mkdir(exist_ok=True)
    (folder / "a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "labels.csv").write_text(f"file,subject,rhythm\na.csv,s,{rhythm}\n")
    given = Options(labels=folder / "labels.csv", sampling_rate_hz=rate_hz, **options)
    return import_recordings(folder, tmp_path / "d", file_format="csv", options=given, rules=rules)


def texts(record):
    return [note.text for note in record.notes]


WATCH = [
    *("Name,Somebody", "Recorded Date,2020-01-01 10:00:00 +0000", "Classification,Sinus Rhythm"),
    *('Device,"Watch6,1"', "Sample Rate,512 hertz", "", "", "Lead,Lead I", "Unit,µV", ""),
]
