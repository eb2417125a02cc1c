"""WFDB, EDF and CSV: what the generator wrote is read back; what cannot be used is named."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from ecm_edge.base.errors import RecordingError
from ecm_edge.cli import data as command
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.recordings.formats import FORMATS, Format
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.recordings.options import Labelled, Options, read_labels
from ecm_edge.data.recordings.physionet import write_rhythms
from ecm_edge.data.recordings.windows import Span
from ecm_edge.data.synthetic import SynthFormat, synthesise

README = (Path(__file__).parents[1] / "data" / "README.md").read_text()
SIZE = {"subjects": 3, "seed": 5, "segments_per_subject": 6}
RESOLUTION_MV = {
    "iesd": 0,
    "wfdb": 0,
    "edf": 1e-8,
    "csv": 0,
    "dicom": 1e-8,
}  # all write whole microvolts, EDF and DICOM scale them back


def choices(subcommand):
    """What `--format` of a subcommand of `ecm-edge data` may be."""
    return next(option.type.choices for option in subcommand.params if option.name == "file_format")


def test_the_table_the_types_the_options_and_the_readme_name_the_same_formats():
    names = tuple(FORMATS)
    assert get_args(Format) == names
    assert get_args(SynthFormat) == ("dataset", *names)
    assert tuple(choices(command.import_)) == names
    assert tuple(choices(command.synth)) == ("dataset", *names)
    table = README.split("\n## Formats\n")[1].split("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == names
    assert "--format " + r"\|".join(names) + "`" in README
    assert tuple(RESOLUTION_MV) == names


@pytest.mark.parametrize("name", FORMATS)
def test_a_formats_options_are_options_of_the_readers_and_of_the_command(name):
    taken = FORMATS[name].required | FORMATS[name].optional
    assert taken <= {field.name for field in fields(Options)}
    assert taken <= {parameter.name for parameter in command.import_.params}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One folder with the same synthetic recordings in every format, and as a data set."""
    folder = tmp_path_factory.mktemp("formats")
    for name in ("dataset", *RESOLUTION_MV):
        synthesise(folder / name, file_format=name, **SIZE)
    return folder


def options(source, file_format, **more):
    given = {
        "iesd": {"sampling_rate_hz": 250.0},
        "wfdb": {},
        "edf": {"labels": source / "labels.csv"},
        "csv": {"labels": source / "labels.csv", "sampling_rate_hz": 250.0},
        "dicom": {"labels": source / "labels.csv"},
    }[file_format]
    return Options(**{**given, **more})


def load(source, out, file_format, on_error="fail", **more):
    chosen = options(source, file_format, **more)
    return import_recordings(source, out, file_format=file_format, options=chosen, on_error=on_error)


@pytest.fixture
def copy(written, tmp_path):
    """A function that gives a folder of recordings that a test may spoil."""
    return lambda name: shutil.copytree(written / name, tmp_path / name)


@pytest.mark.parametrize("name", RESOLUTION_MV)
def test_every_format_gives_the_same_data_set(written, tmp_path, name):
    load(written / name, tmp_path / "d", name)
    made, read = open_dataset(written / "dataset"), open_dataset(tmp_path / "d")
    assert np.abs(made.samples - read.samples).max() <= RESOLUTION_MV[name]
    for field in ("subject", "rhythm", "episode"):
        assert (made.table[field] == read.table[field]).all()
    assert read.header.unit == ("mV" if name in {"wfdb", "edf", "dicom"} else "unstated")


@pytest.mark.parametrize("name", ["wfdb", "edf", "dicom"])
def test_a_stated_rate_must_be_that_of_the_file(copy, tmp_path, name):
    assert load(copy(name), tmp_path / "d", name, sampling_rate_hz=250.0).segments == 18
    with pytest.raises(RecordingError, match="250 Hz by its header, not at the 360 Hz stated"):
        load(tmp_path / name, tmp_path / "e", name, sampling_rate_hz=360.0)


@pytest.mark.parametrize("name", ["wfdb", "edf", "dicom"])
def test_a_lead_is_chosen_by_its_name(copy, tmp_path, name):
    assert load(copy(name), tmp_path / "d", name, lead="II").segments == 18
    with pytest.raises(RecordingError, match="no lead 'V5' among II"):
        load(tmp_path / name, tmp_path / "e", name, lead="V5")


@pytest.mark.parametrize(
    ("name", "file", "content", "reason"),
    [
        ("wfdb", "P1.hea", b"\xff\xfe\x00garbage", "P1: "),
        ("wfdb", "P1.hea", b"P1 1 250 7500\nS1.dat 16 1000/NU 16 0 0 0 0 II\n", "unit is 'NU'"),
        ("wfdb", "P1.dat", b"\x00\x01", "P1: "),
        ("wfdb", "P1.atr", b"", "P1: "),
        ("edf", "P1.edf", b"", "P1.edf: "),
        ("edf", "P1.edf", b"\xff" * 900, "P1.edf: "),
        ("dicom", "P1.dcm", b"", "not a DICOM file"),
        ("dicom", "P1.dcm", b"\0" * 128 + b"DICM", "P1.dcm: "),
        ("csv", "P1.csv", b"", "empty"),
        ("csv", "P1.csv", b"\xff\xfe\x00\x01", "line 1 is no number"),
        ("csv", "P1.csv", b"0.1\nnot a number\n", "line 2 is no number: 'not a number'"),
        ("csv", "P1.csv", b"0.1,0.2\n", r"2 leads \(0, 1\) and --lead names none"),
        ("csv", "P1.csv", b"0.1\n" * 1249, "one window is 5 s"),
    ],
)
def test_a_spoilt_file_is_named_and_the_rest_can_be_imported(copy, tmp_path, name, file, content, reason):
    source = copy(name)
    (source / file).write_bytes(content)
    with pytest.raises(RecordingError, match=reason):
        load(source, tmp_path / "d", name)
    assert not (tmp_path / "d").exists()
    assert load(source, tmp_path / "d", name, on_error="skip").segments == 12


@pytest.mark.parametrize(
    ("name", "file"),
    [("wfdb", "P1.dat"), ("wfdb", "P1.atr"), ("edf", "P1.edf"), ("csv", "P1.csv"), ("dicom", "P1.dcm")],
)
def test_a_missing_file_is_named(copy, tmp_path, name, file):
    source = copy(name)
    (source / file).unlink()
    with pytest.raises(RecordingError, match=r"1 that is not: P1"):
        load(source, tmp_path / "d", name)


@pytest.mark.parametrize(
    ("name", "file", "size"),
    [("wfdb", "P1.dat", 9000), ("wfdb", "P1.atr", 10), ("edf", "P1.edf", 9000), ("dicom", "P1.dcm", 9000)],
)
def test_a_truncated_file_is_named(copy, tmp_path, capfd, name, file, size):
    source = copy(name)
    os.truncate(source / file, size)
    with pytest.raises(RecordingError, match=r"1 that is not: P1"):
        load(source, tmp_path / "d", name)
    assert capfd.readouterr().out == ""  # EDFlib prints what it refuses


@pytest.mark.parametrize("name", ["edf", "csv"])
def test_a_file_without_a_label_is_named(copy, tmp_path, name):
    source = copy(name)
    shutil.copy(source / f"P1.{name}", source / f"P9.{name}")
    with pytest.raises(RecordingError, match=rf"P9\.{name}: not in the label table"):
        load(source, tmp_path / "d", name)


@pytest.mark.parametrize("name", ["wfdb", "edf", "csv", "dicom"])
def test_an_empty_folder_is_refused(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "labels.csv").write_text("file,subject,rhythm\n")
    with pytest.raises(RecordingError, match=r"none in|no row"):
        load(tmp_path / "in", tmp_path / "d", name)


def test_a_label_tables_columns_may_be_in_capitals_and_it_may_have_others(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("File, Subject,RHYTHM,gender,Onset_s,duration_s\n./sub//a,s1,N,f,5,10\n")
    assert read_labels(table) == {"sub/a": Labelled("s1", (Span(5.0, 15.0, "N"),))}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wfdb's own calls of pandas
def test_wfdb_notes_give_the_rhythm_from_their_onset(tmp_path):
    import wfdb

    (tmp_path / "in").mkdir()
    signal = np.random.default_rng(0).integers(-999, 999, (360 * 30, 2))
    leads = {"units": ["uV", "mV"], "sig_name": ["V1", "V5"], "fmt": ["16", "16"], "adc_gain": [1.0, 200.0]}
    wfdb.wrsamp("r1", fs=360, d_signal=signal, baseline=[0, 0], write_dir=str(tmp_path / "in"), **leads)
    onsets, notes = np.array([0, 360 * 10, 360 * 12]), ["(N", "(AFIB", ""]
    wfdb.wrann("r1", "atr", onsets, symbol=["+", "+", "N"], aux_note=notes, write_dir=str(tmp_path / "in"))
    assert load(tmp_path / "in", tmp_path / "d", "wfdb", lead="V1").rhythms == {"AFIB": 4, "N": 2}
    assert open_dataset(tmp_path / "d").samples.std() < 1  # uV were made mV
    with pytest.raises(RecordingError, match=r"2 leads \(V1, V5\)"):
        load(tmp_path / "in", tmp_path / "e", "wfdb")


def test_wfdb_subjects_can_come_from_a_table(copy, tmp_path):
    table = tmp_path / "subjects.csv"
    table.write_text("record,subject\nP0,ann\nP1,ann\nP2,bob\n")
    load(copy("wfdb"), tmp_path / "d", "wfdb", subjects=table)
    assert open_dataset(tmp_path / "d").header.subjects == ["ann", "bob"]
    table.write_text("record,subject\nP0,ann\n")
    with pytest.raises(RecordingError, match="no 'P1'"):
        load(tmp_path / "wfdb", tmp_path / "e", "wfdb", subjects=table)
    table.write_text("record,subject\nP0,ann\nP1,ann\nP2,bob\nP0,bob\n")
    with pytest.raises(RecordingError, match="two for 'P0' in line 5"):
        load(tmp_path / "wfdb", tmp_path / "e", "wfdb", subjects=table)


def test_a_csv_column_is_chosen_by_its_name(copy, tmp_path):
    source = copy("csv")
    for path in source.glob("P*.csv"):
        rows = [f"{k / 250},{line}" for k, line in enumerate(path.read_text().split())]
        path.write_text("\n".join(["time,II", *rows]) + "\n")
    load(source, tmp_path / "d", "csv", lead="II")
    made = open_dataset(tmp_path / "d")
    assert (made.header.segments, made.header.leads) == (18, {"II": 3})
    with pytest.raises(RecordingError, match="'time' holds times"):
        load(source, tmp_path / "t", "csv", lead="time")


def test_a_csv_rate_is_never_guessed(copy, tmp_path):
    with pytest.raises(RecordingError, match="--sampling-rate-hz"):
        load(copy("csv"), tmp_path / "d", "csv", sampling_rate_hz=None)


def test_a_rhythm_without_onset_holds_for_the_whole_file(copy, tmp_path):
    source = copy("csv")
    rows = "".join(f"P{k}.csv,S{k},N\n" for k in range(3))
    (source / "labels.csv").write_text(f"file,subject,rhythm\n{rows}")
    assert load(source, tmp_path / "d", "csv").rhythms == {"N": 18}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"file,subject\n", "columns file, subject"),
        (b"file,subject,rhythm\na,P1\n", "2 values in line 2"),
        (b"file,subject,rhythm\na,P1,N\na,P2,N\n", "line 3"),
        (b"file,subject,rhythm\n,P1,N\n", "file ''"),
        (b"file,subject,rhythm,onset_s,duration_s\na,P1,N,0,\n", "duration_s ''"),
        (b"file,subject,rhythm,onset_s,duration_s\na,P1,N,nan,5\n", "onset_s 'nan'"),
        (b"file,subject,rhythm,onset_s,duration_s\na,P1,N,-1,5\n", "onset_s '-1'"),
        (b"file,subject,rhythm,onset_s,duration_s\na,P1,N,0,0\n", "duration_s '0'"),
        (b"\xff\xfe", "utf-8"),
        (b"", "columns none"),
        (b"file,rhythm,onset,duration\na,N,0,10\n", "column 'onset'"),
        (b"file,rhythm,start_s,end_s\na,N,0,10\n", "column 'start_s'"),
        (b"file,rhythm,Patient ID\na,N,1\n", "column 'Patient ID'"),
        (b"file,rhythm,Rhythm\na,N,AFIB\n", "two columns for rhythm"),
        (b"record,file,rhythm\na,b,N\n", "two columns for file"),
        (b"file,rhythm\n../b/a,N\n", "'../b/a'"),
        (b"file,rhythm\n/etc/passwd,N\n", "'/etc/passwd'"),
    ],
)
def test_a_broken_label_table_is_refused(tmp_path, text, found):
    (tmp_path / "labels.csv").write_bytes(text)
    with pytest.raises(RecordingError, match=found):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wfdb's own calls of pandas
@pytest.mark.parametrize("notes", [[], [(0, "(N"), (21_600_000, "(AFIB"), (21_600_001, "(N")]])
def test_rhythm_notes_are_read_back_by_wfdb(tmp_path, notes):
    import wfdb

    write_rhythms(tmp_path, "r1", 128.5, notes, "ecm")
    read = wfdb.rdann(str(tmp_path / "r1"), "ecm")
    assert list(zip(read.sample, read.aux_note, strict=True)) == notes
    assert read.fs == (128.5 if notes else None)
