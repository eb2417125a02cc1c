"""WFDB records: `<record>.hea` with its signals, and rhythm notes such as `(AFIB` in `<record>.atr`.

A rhythm lasts until the next note, the last one until the end. The subject is the record's name unless a table
`record,subject` gives another: some databases have several records of one person.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import RecordingError
from ecm_edge.data.dataset import natural_key
from ecm_edge.data.recordings.options import STEPS_PER_MV, check_rate, choose_lead, foreign, rows, to_millivolts, whole
from ecm_edge.data.recordings.windows import Listing, Recording, Span, Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import wfdb

    from ecm_edge.data.recordings.options import Options
    from ecm_edge.tasks import Task

ANNOTATOR = "atr"
LEAD = "II"
"""The lead that `write` names."""

_RHYTHM_NOTE = "+"
_END_OF_NOTES = b"\0\0"  # wfdb reads on without it


def list_recordings(source: Path, options: Options, task: Task) -> Listing:
    """Every record under a folder, by its name.

    Raises:
        RecordingError: no record, or a table of subjects that does not name every record.
    """
    del task
    headers = [path.relative_to(source).with_suffix("").as_posix() for path in source.rglob("*.hea")]
    if not headers:
        raise RecordingError("a folder of WFDB records holds headers (*.hea)", f"none in {source}", "Check the path.")
    subjects = _subjects(headers, options.subjects)
    return Listing(sorted(headers, key=natural_key), lambda name: _open(source / name, name, subjects[name], options))


def open_one(path: Path, options: Options, task: Task) -> Recording:
    """One record, given by its header or its name; else `Unfit`."""
    del task
    return _open(path.with_suffix(""), path.stem, path.stem, options)


def write(folder: Path, recordings: Iterable[Recording], task: Task) -> None:
    """Write recordings as 16-bit records of one lead in steps of 1 µV, with their rhythms."""
    del task
    for recording in recordings:
        with _deprecations_ignored():
            _write(folder, recording)


def _write(folder: Path, recording: Recording) -> None:
    import wfdb

    digital = np.round(recording.read(0, recording.length) * STEPS_PER_MV).astype(np.int64)
    wfdb.wrsamp(
        recording.name,
        fs=recording.sampling_rate_hz,
        units=["mV"],
        sig_name=[LEAD],
        d_signal=digital[:, None],  # (t, 1)
        fmt=["16"],
        adc_gain=[STEPS_PER_MV],
        baseline=[0],
        write_dir=str(folder),
    )
    rate_hz = recording.sampling_rate_hz
    notes = [(round(span.onset_s * rate_hz), f"({span.rhythm}") for span in recording.spans]
    write_rhythms(folder, recording.name, rate_hz, notes, ANNOTATOR)


def write_rhythms(
    folder: Path, record_name: str, sampling_rate_hz: float, notes: Sequence[tuple[int, str]], annotator: str = "ecm"
) -> None:
    """Write rhythm notes as the annotation file `<record_name>.<annotator>`; without a note it is empty but valid.

    Args:
        folder: it is there.
        record_name: letters, digits, `-` and `_`, as WFDB demands.
        sampling_rate_hz: what the samples of `notes` count in; it is written into the file.
        notes: (sample from the record's start, text such as "(AFIB"), in ascending order.
        annotator: letters only.
    """
    if not notes:  # which wfdb does not write
        (folder / f"{record_name}.{annotator}").write_bytes(_END_OF_NOTES)
        return
    with _deprecations_ignored():
        import wfdb

        wfdb.wrann(
            record_name,
            annotator,
            np.array([sample for sample, _ in notes]),
            symbol=[_RHYTHM_NOTE] * len(notes),
            aux_note=[text for _, text in notes],
            fs=sampling_rate_hz,
            write_dir=str(folder),
        )


@contextmanager
def _deprecations_ignored() -> Iterator[None]:
    """Wfdb 4.3 calls functions that pandas is about to remove; a user could do nothing about the warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _subjects(headers: list[str], path: Path | None) -> Mapping[str, str]:
    if path is None:
        return {name: name for name in headers}
    subjects = {row["record"]: row["subject"] for _, row in rows(path, ("record", "subject")) if row["subject"]}
    missing = sorted(set(headers) - set(subjects), key=natural_key)
    if missing:
        raise RecordingError("the table of subjects names every record", f"no {missing[0]!r} in {path}", "Add a row.")
    return subjects


def _open(path: Path, name: str, subject: str, options: Options) -> Recording:
    """One record, its header and notes read and its signal not yet; else `Unfit`."""
    import wfdb

    with foreign(), _deprecations_ignored():
        header = wfdb.rdheader(str(path))
        if isinstance(header, wfdb.MultiRecord):
            raise Unfit("a record of several segments; only single ones are read")
        check_rate(header.fs, options.sampling_rate_hz)
        channel = choose_lead(header.sig_name or [], options.lead)
        factor = to_millivolts(header.units[channel])
        if not path.with_name(f"{path.name}.{ANNOTATOR}").read_bytes().endswith(_END_OF_NOTES):
            raise Unfit("truncated: its notes do not end as they must")
        notes = wfdb.rdann(str(path), ANNOTATOR)
        spans = _spans(notes, header)

    def signal(start: int, stop: int) -> np.ndarray:
        with foreign(), _deprecations_ignored():
            record = wfdb.rdrecord(str(path), sampfrom=start, sampto=stop, channels=[channel])
            return whole(record.p_signal[:, 0] * factor, stop - start)

    return Recording(name, subject, header.sig_len, header.fs, spans, signal, unit="mV")


def _spans(notes: wfdb.Annotation, header: wfdb.Record) -> list[Span]:
    """The rhythms of an annotation file, in seconds."""
    fs = notes.fs or header.fs
    texts = [
        (sample / fs, note.rstrip("\0").strip()) for sample, note in zip(notes.sample, notes.aux_note, strict=True)
    ]
    starts = [(onset_s, text[1:]) for onset_s, text in texts if text.startswith("(")]
    ends = [onset_s for onset_s, _ in starts[1:]] + [header.sig_len / header.fs]
    return [Span(onset_s, end_s, rhythm) for (onset_s, rhythm), end_s in zip(starts, ends, strict=True)]
