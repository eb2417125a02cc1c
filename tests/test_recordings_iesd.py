"""The contest's text files: every one that cannot be used is named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ecm_edge.base.errors import DatasetError, OutputError, RecordingError
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.recordings.options import Options

GOOD = "".join(f"{value:.4f}\n" for value in np.sin(np.arange(1250) / 9))
RATE = Options(sampling_rate_hz=250.0)


def folder_of(tmp_path, files):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def load(source, out, options=RATE, **more):
    return import_recordings(source, out, file_format="iesd", options=options, **more)


def test_order_episodes_and_values(tmp_path):
    names = ["S10-N-0.txt", "S2-N-10.txt", "S2-N-2.txt", "S2-N-3.txt", "S2-AFIB-2.txt"]
    record = load(folder_of(tmp_path, dict.fromkeys(names, GOOD)), tmp_path / "d")
    data = open_dataset(tmp_path / "d")
    assert data.names(np.arange(5)) == ["S2-AFIB-2.txt", "S2-N-2.txt", "S2-N-3.txt", "S2-N-10.txt", "S10-N-0.txt"]
    assert data.table["episode"].tolist() == [0, 1, 1, 2, 3]
    assert np.allclose(data.samples[0], np.sin(np.arange(1250) / 9), atol=5e-5)
    assert record.rhythms == {"AFIB": 1, "N": 4}
    assert data.header.source.options["signal"] == "as given: band-passed at source"


FAULTS = {
    "S1-N-0.txt": (GOOD * 2, "2500 lines"),
    "S1-N-1.txt": (GOOD[:-40], "lines instead of 1250"),
    "S1-N-2.txt": ("", "0 lines"),
    "S1-N-3.txt": ("nan\n" + GOOD.split("\n", 1)[1], "1 of 1250 samples are not finite"),
    "S1-N-4.txt": ("1e999\n" + GOOD.split("\n", 1)[1], "not finite"),
    "S1-N-12.txt": ("1e39\n" + GOOD.split("\n", 1)[1], "not finite"),
    "S1-N-5.txt": ("0.1 0.2\n" + GOOD.split("\n", 1)[1], "not one number a line"),
    "S1-N-6.txt": ("\n" + GOOD.split("\n", 1)[1], "not one number a line"),
    "S1-N-7.txt": ("1_0\n" + GOOD.split("\n", 1)[1], "underscore"),
    "S1-N-8.txt": ("0.5\n" * 1250, "flat"),
    "S1-N-9.txt": (bytes(range(256)) * 20, "instead of 1250"),
    "S1-N-10.txt": ("1,5\n" + GOOD.split("\n", 1)[1], "not one number a line"),
    "S1-N-11.txt": (b"\xff\n" + GOOD.split("\n", 1)[1].encode(), "not one number a line"),
    "S1_N_3.txt": (GOOD, "not named"),
    "S1-N-.txt": (GOOD, "not named"),
    "S1-N-1.csv": (GOOD, "not named"),
    "-N-1.txt": (GOOD, "not named"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_named_and_nothing_is_written(tmp_path, name):
    content, reason = FAULTS[name]
    source = folder_of(tmp_path, {"S0-N-0.txt": GOOD, name: content})
    with pytest.raises(RecordingError) as caught:
        load(source, tmp_path / "d")
    assert caught.value.found.startswith(f"1 that is not: {name}: ")
    assert reason in caught.value.found
    assert list(tmp_path.iterdir()) == [source]


def test_skip_imports_the_rest_and_records_what_it_left_out(tmp_path):
    files = {name: content for name, (content, _) in FAULTS.items()}
    record = load(folder_of(tmp_path, {"S0-N-0.txt": GOOD, **files}), tmp_path / "d", on_error="skip")
    assert record.segments == 1
    assert {one.name for one in record.left_out} == set(files)
    assert open_dataset(tmp_path / "d").header.left_out == record.left_out


def test_the_same_segment_twice_is_left_out_once(tmp_path):
    source = folder_of(tmp_path, {"S0-AFIB-1.txt": GOOD, "S0-AFIB-01.txt": GOOD})
    record = load(source, tmp_path / "d", on_error="skip")
    assert [(one.name, one.reason) for one in record.left_out] == [
        ("S0-AFIB-1.txt", "the same segment as S0-AFIB-01.txt")
    ]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_named(tmp_path, make):
    source = folder_of(tmp_path, {"S0-N-0.txt": GOOD})
    make(source / "S0-N-1.txt")
    with pytest.raises(RecordingError, match=r"S0-N-1\.txt: not a file"):
        load(source, tmp_path / "d")


def test_a_name_that_is_not_utf8_is_recorded_with_its_bytes(tmp_path):
    source = folder_of(tmp_path, {"S0-N-0.txt": GOOD})
    Path(os.fsdecode(os.fsencode(source) + b"/S0-\xff-0.txt")).write_text(GOOD)
    record = load(source, tmp_path / "d", on_error="skip")
    assert [one.name for one in record.left_out] == [r"S0-\udcff-0.txt"]


def test_a_reason_is_shown_once_with_some_names_unless_more_are_wanted(tmp_path):
    source = folder_of(tmp_path, {f"S0-N-{k}.txt": "" for k in range(12)})
    with pytest.raises(RecordingError, match=r"12 that are not: 12 recordings: 0 lines .* \(S0-N-0.txt, .*9.txt, …\)"):
        load(source, tmp_path / "d")
    with pytest.raises(RecordingError) as caught:
        load(source, tmp_path / "d", problems_shown=99)
    assert caught.value.found.count("0 lines") == 1
    assert caught.value.found.count("S0-N-") == 12


def test_only_the_first_reasons_are_shown(tmp_path):
    source = folder_of(tmp_path, {f"S0-N-{k}.txt": "1\n" * k for k in range(12)})
    with pytest.raises(RecordingError, match=r"12 that are not: S0-N-0.txt: .*9 lines .*; and 2 more reasons"):
        load(source, tmp_path / "d")


def test_nothing_usable_is_an_error_also_when_skipping(tmp_path):
    with pytest.raises(DatasetError, match="0 lines"):
        load(folder_of(tmp_path, {"S0-N-0.txt": ""}), tmp_path / "d", on_error="skip")


@pytest.mark.parametrize(("blank", "label"), [("negative", 0), ("drop", -1)])
def test_a_blank_rhythm_is_kept_as_blank(tmp_path, blank, label):
    record = load(folder_of(tmp_path, {"S47--12.txt": GOOD}), tmp_path / "d", blank=blank)
    assert (record.rhythms, record.blank_segments) == ({"": 1}, 1)
    assert open_dataset(tmp_path / "d").labels.tolist() == [label]


def test_windows_line_ends_are_read(tmp_path):
    assert load(folder_of(tmp_path, {"S0-N-0.txt": GOOD.replace("\n", "\r\n")}), tmp_path / "d").segments == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(), "--sampling-rate-hz"),
        (Options(sampling_rate_hz=360.0), "stated rate of 360 Hz"),
        (Options(sampling_rate_hz=float("nan")), "positive"),
        (Options(sampling_rate_hz=0.0), "positive"),
        (Options(sampling_rate_hz=250.0, lead="II"), "--lead"),
        (Options(sampling_rate_hz=250.0, splits=(("a", Path("x")), ("a", Path("y")))), "--split"),
    ],
)
def test_options_are_neither_guessed_nor_ignored(tmp_path, options, words):
    with pytest.raises(RecordingError, match=words):
        load(folder_of(tmp_path, {"S0-N-0.txt": GOOD}), tmp_path / "d", options)


def test_missing_empty_and_existing_places_are_named(tmp_path):
    with pytest.raises(RecordingError, match="no folder at"):
        load(tmp_path / "nowhere", tmp_path / "d")
    with pytest.raises(RecordingError, match="no file in"):
        load(folder_of(tmp_path, {}), tmp_path / "d")
    (tmp_path / "in" / "S0-N-0.txt").write_text(GOOD)
    (tmp_path / "d").mkdir()
    with pytest.raises(OutputError, match="exists"):
        load(tmp_path / "in", tmp_path / "d")


def with_tables(tmp_path, train, test):
    source = folder_of(tmp_path, dict.fromkeys(["S0-AFIB-0.txt", "S1-N-0.txt", "S2--0.txt"], GOOD))
    (source / "train.csv").write_text(f"label,Filename\n{train}")
    (tmp_path / "test.csv").write_text(f"label,Filename\n{test}")
    splits = (("train", source / "train.csv"), ("test", tmp_path / "test.csv"))
    return source, Options(sampling_rate_hz=250.0, splits=splits)


def test_index_tables_become_fixed_splits(tmp_path):
    source, options = with_tables(tmp_path, "1,S0-AFIB-0.txt\n", "0,S1-N-0.txt\n")
    record = load(source, tmp_path / "d", options)
    assert record.splits == {"train": 1, "test": 1}
    assert open_dataset(tmp_path / "d").table["split"].tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("0,S0-AFIB-0.txt", "label 0 contradicts the rhythm 'AFIB'"),
        ("1,S1-N-0.txt", "label 1 contradicts the rhythm 'N'"),
        ("1,S2--0.txt", "label 1 contradicts the rhythm 'blank'"),
        ("1,S9-N-0.txt", "no such segment"),
        ("7,S1-N-0.txt", "neither 0 nor 1"),
        ("0,S1-N-0.txt\n0,S1-N-0.txt", "listed twice: in split 'test' and in 'test'"),
    ],
)
def test_an_index_table_that_cannot_be_is_a_problem_with_its_line(tmp_path, row, reason):
    source, options = with_tables(tmp_path, "", row + "\n")
    with pytest.raises(RecordingError, match=rf"{reason}.*line \d of test\.csv"):
        load(source, tmp_path / "d", options)


def test_an_index_table_without_its_columns_is_refused(tmp_path):
    source, options = with_tables(tmp_path, "", "")
    (tmp_path / "test.csv").write_text("file\nx\n")
    with pytest.raises(RecordingError, match="label, Filename"):
        load(source, tmp_path / "d", options)


@pytest.mark.real_data
def test_the_contests_segments_come_back(tmp_path, real_data):
    names = (real_data / "names.txt").read_text().split()
    counts, rows = np.load(real_data / "segments.npy", mmap_mode="r"), [0, 17, names.index("S47--12.txt")]
    files = {names[row]: "".join(f"{v:.7f}\n" for v in counts[row] / 16384) for row in rows}
    load(folder_of(tmp_path, files), tmp_path / "d")
    data = open_dataset(tmp_path / "d")
    order = [names.index(name) for name in data.names(np.arange(3))]
    assert np.abs(data.samples - counts[order] / 16384).max() < 5e-5
