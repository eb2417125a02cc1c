"""WFDB records: `<record>.hea` with its signals, and rhythm notes such as `(AFIB` in `<record>.atr`, or a label table.

A rhythm lasts until the next note, the last one until the end. The subject is the record's name unless a table gives
another: some databases have several records of one person. A record of several parts is read as one, with holes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import RecordingError
from ecm_edge.data.dataset import UNSTATED, LeftOut, natural_key
from ecm_edge.data.recordings.options import (
    STEPS_PER_MV,
    check_rate,
    foreign,
    given,
    inside,
    read_labels,
    rows,
    unlisted,
)
from ecm_edge.data.recordings.wfdb_headers import part_names, read_header
from ecm_edge.data.recordings.wfdb_notes import END, rhythms
from ecm_edge.data.recordings.wfdb_signals import UNCALIBRATED, deprecations_ignored, find_lead, reader
from ecm_edge.data.recordings.windows import Listing, Recording, Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ecm_edge.data.recordings.options import Labelled, Options
    from ecm_edge.data.recordings.wfdb_headers import Header
    from ecm_edge.data.recordings.windows import Span
    from ecm_edge.tasks import Task

ANNOTATOR = "atr"
LEAD = "II"
"""The lead that `write` names."""

_RHYTHM_NOTE = "+"
_SUFFIXES = (".hea", ".dat", ".mat")


def list_recordings(source: Path, options: Options, task: Task) -> Listing:
    """Every record under a folder, by its name; the parts of a record are not records of their own.

    Raises:
        RecordingError: no record, a broken label table, an annotator beside it or that is no word, or a table of
            subjects that does not name every record.
    """
    _check_annotator(options)
    paths = list(source.rglob("*.hea"))
    parts = {path.with_name(f"{part}.hea") for path in paths for part in part_names(path)}
    names = [path.relative_to(source).with_suffix("").as_posix() for path in paths if path not in parts]
    if not names:
        raise RecordingError("a folder of WFDB records holds headers (*.hea)", f"none in {source}", "Check the path.")
    subjects = _subjects(names, options.subjects)

    def header(name: str) -> Header:
        return read_header(source / f"{name}.hea")

    if options.labels is None:
        names = sorted(names, key=natural_key)
        return Listing(names, lambda name: _annotated(header(name), name, subjects.get(name, name), options, task))
    labels, problems = _labels(names, given(options.labels))

    def load(name: str) -> Recording:
        labelled = labels[name]
        return _labelled(header(name), name, subjects.get(name, labelled.subject), labelled.spans, options, task)

    return Listing(sorted(labels, key=natural_key), load, problems)


def open_one(path: Path, options: Options, task: Task) -> Recording:
    """One record, given by its name, its header or its signal file; else `Unfit`.

    Its rhythms are those of its notes. Where there are none that can be used, it has no rhythm.

    Raises:
        RecordingError: the annotator is no word.
    """
    _check_annotator(options)
    name = path.name.removesuffix(path.suffix) if path.suffix in _SUFFIXES else path.name
    header = read_header(path.with_name(f"{name}.hea"))
    recording = _open(header, name, name, options, task)
    if not _notes_of(header, options).exists():
        return recording
    try:
        return _annotated(header, name, name, options, task)
    except Unfit as problem:
        return replace(recording, notes=(*recording.notes, f"without its rhythms: {problem}"))


def write(folder: Path, recordings: Iterable[Recording], task: Task) -> None:
    """Write recordings as 16-bit records of one lead in steps of 1 µV, with their rhythms."""
    lead = task.leads[0] if task.leads else LEAD
    for recording in recordings:
        with deprecations_ignored():
            _write(folder, recording, lead)


def _write(folder: Path, recording: Recording, lead: str) -> None:
    import wfdb

    digital = np.round(recording.read(0, recording.length) * STEPS_PER_MV).astype(np.int64)
    wfdb.wrsamp(
        recording.name,
        fs=recording.sampling_rate_hz,
        units=["mV"],
        sig_name=[lead],
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
    folder: Path, record_name: str, sampling_rate_hz: float, notes: Sequence[tuple[int, str]], annotator: str
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
        (folder / f"{record_name}.{annotator}").write_bytes(END)
        return
    with deprecations_ignored():
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


def _check_annotator(options: Options) -> None:
    if options.annotator is None:
        return
    if options.labels is not None:
        found = f"--labels {options.labels} and --annotator {options.annotator}"
        raise RecordingError("rhythms come from a table or from an annotator", found, "Leave one of them out.")
    if not options.annotator.isalnum():
        raise RecordingError("an annotator is a word, such as atr", f"{options.annotator!r}", "Give the files' suffix.")


def _subjects(names: Sequence[str], path: Path | None) -> Mapping[str, str]:
    if path is None:
        return {}
    subjects: dict[str, str] = {}
    for line, row in rows(path, ("record", "subject")):
        name = inside(path, line, row["record"])
        if row["subject"] and subjects.setdefault(name, row["subject"]) != row["subject"]:
            rule, found = "each record has one subject", f"two for {name!r} in line {line} of {path}"
            raise RecordingError(rule, found, "Leave one of them out.")
    missing = sorted(set(names) - set(subjects), key=natural_key)
    if missing:
        raise RecordingError("the table of subjects names every record", f"no {missing[0]!r} in {path}", "Add a row.")
    return subjects


def _labels(names: Sequence[str], table: Path) -> tuple[dict[str, Labelled], list[LeftOut]]:
    """The rows of each record, which a table names by its path in the folder or, if only one has it, by its name."""
    times = Counter(name.rpartition("/")[2] for name in names)
    known = {name.rpartition("/")[2]: name for name in names if times[name.rpartition("/")[2]] == 1}
    known |= {name: name for name in names}
    labels, problems = {}, []
    for row, labelled in read_labels(table).items():
        stem = row[:-4] if row.endswith(_SUFFIXES) else row
        if stem in known and known[stem] in labels:
            problems.append(LeftOut(name=row, reason="in the label table under two names: it is read by the first one"))
        elif stem in known:
            labels[known[stem]] = labelled
        else:
            problems.append(LeftOut(name=row, reason="in the label table, and no such record is there"))
    return labels, [*problems, *unlisted(names, labels)]


def _open(header: Header, name: str, subject: str, options: Options, task: Task) -> Recording:
    """One record without rhythms, its samples not yet read; else `Unfit`."""
    with foreign():
        pieces, length = find_lead(header, options.lead, task.leads)
        lead = pieces[0][1]
        check_rate(lead.rate_hz, options.sampling_rate_hz)
        unstated = any(lead.unit == UNSTATED for _, lead in pieces)
        return Recording(
            name,
            subject,
            length,
            lead.rate_hz,
            (),
            reader(pieces),
            lead=lead.signal.name,
            unit=UNSTATED if unstated else lead.unit,
            notes=(UNCALIBRATED,) if unstated else (),
        )


def _annotated(header: Header, name: str, subject: str, options: Options, task: Task) -> Recording:
    """One record with the rhythms of its notes; else `Unfit`."""
    notes_file = _notes_of(header, options)
    if not notes_file.is_file():
        raise Unfit(
            f"it has no {notes_file.suffix} of rhythms: name another --annotator, or give a table with --labels"
        )
    recording = _open(header, name, subject, options, task)
    with foreign():
        spans, notes = rhythms(notes_file, header.rate_hz, recording.duration_s)
    return replace(recording, spans=spans, notes=(*recording.notes, *notes))


def _labelled(
    header: Header, name: str, subject: str, spans: Sequence[Span], options: Options, task: Task
) -> Recording:
    """One record with the rhythms of a table; else `Unfit`."""
    recording = replace(_open(header, name, subject, options, task), spans=spans)
    if not _notes_of(header, options).exists():
        return recording
    return replace(recording, notes=(*recording.notes, f"its rhythms are the label table's, not its .{ANNOTATOR}'s"))


def _notes_of(header: Header, options: Options) -> Path:
    return header.path.with_suffix(f".{options.annotator or ANNOTATOR}")
