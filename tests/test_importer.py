"""The import as a whole: what it refuses at the door, what it tells, and what stops nothing."""

from __future__ import annotations

import json
import os
import re
import shutil

import numpy as np
import pytest

from ecm_edge import tasks
from ecm_edge.base.errors import DatasetError, RecordingError
from ecm_edge.data.dataset import Note, open_dataset
from ecm_edge.data.merge import merge
from ecm_edge.data.merge.agreement import MergeRules
from ecm_edge.data.recordings import sources
from ecm_edge.data.recordings.formats import FORMATS
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.recordings.windows import Recording, Span
from ecm_edge.data.synthetic import synthesise
from tests import tiny

NAMES = ("iesd", "wfdb", "edf", "csv")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of synthetic recordings of three subjects in every format."""
    folder = tmp_path_factory.mktemp("formats")
    for name in FORMATS:
        synthesise(folder / name, file_format=name, subjects=3, seed=5, segments_per_subject=4)
    return folder


@pytest.fixture
def copy(written, tmp_path):
    """A function that gives a folder of recordings that a test may change."""
    return lambda name: shutil.copytree(written / name, tmp_path / name)


def load(source, out, file_format, **more):
    rate = {"sampling_rate_hz": 250.0} if file_format in {"iesd", "csv"} else {}
    labels = {"labels": source / "labels.csv"} if file_format in {"edf", "csv"} else {}
    return import_recordings(source, out, file_format=file_format, options=Options(**rate, **labels), **more)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_a_data_set_or_a_place_inside_is_refused(copy, tmp_path, name):
    source = copy(name)
    made = load(source, tmp_path / "d", name).dataset
    for folder, out, words in (
        (source / "P0.txt", "e", "no folder at"),
        (tmp_path / "d" / "dataset.json", "e", f"a file, .*Give its folder: {tmp_path / 'd'}"),
        (tmp_path / "d", "e", "a data set at"),
        (source, f"{name}/e", "Choose another place"),
        (source, f"{name}/deep/er/e", "Choose another place"),
    ):
        with pytest.raises(RecordingError, match=words):
            import_recordings(
                folder, tmp_path / out, file_format=name, options=Options(sampling_rate_hz=250, labels=source)
            ) if name == "csv" else load(folder, tmp_path / out, name)
    assert open_dataset(tmp_path / "d").folder == tmp_path / "d"
    assert made == str(tmp_path / "d")


@pytest.mark.parametrize(
    ("files", "asked", "meant"),
    [
        ("edf", "wfdb", "--format edf"),
        ("wfdb", "edf", "--format wfdb"),
        ("iesd", "wfdb", "--format iesd or --format csv"),
        ("csv", "iesd", "--format csv"),
        ("dicom", "edf", "--format dicom"),
    ],
)
def test_another_format_is_recognised_by_its_files(copy, tmp_path, files, asked, meant):
    source = copy(files)
    (source / "labels.csv").touch()
    with pytest.raises(RecordingError, match=f"look like {meant}"):
        load(source, tmp_path / "d", asked)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_systems_own_files_are_told_and_stop_nothing(copy, tmp_path, name):
    source = copy(name)
    ending = {"iesd": "txt", "wfdb": "hea"}.get(name, name)
    for junk in (".DS_Store", f"._P1.{ending}", "Thumbs.db", "desktop.ini"):
        (source / junk).write_bytes(b"\0\5\26\7")
    record = load(source, tmp_path / "d", name)
    left = {one.name for one in record.left_out if one.reason.startswith("hidden")}
    looked_at = {
        "wfdb": {"._P1"},
        "edf": {"._P1.edf"},
        "csv": {"._P1.csv"},
    }  # these readers open only files of their ending
    assert left == looked_at.get(name, {".DS_Store", f"._P1.{ending}", "Thumbs.db", "desktop.ini"})


@pytest.mark.parametrize("name", NAMES)
def test_links_that_lead_nowhere_and_odd_names_never_end_in_a_traceback(copy, tmp_path, name):
    source = copy(name)
    (source / "loop").symlink_to(source / "loop")
    (source / "again").symlink_to(source)
    (source / "two\nlines, and a comma.txt").touch()
    (source / os.fsdecode(b"\xff.txt")).touch()
    record = load(source, tmp_path / "d", name, on_error="skip")
    assert record.segments == 12
    assert record.rates_hz == ({} if name == "iesd" else {"250": 3})
    if name in {"iesd", "csv"}:
        assert {"two\nlines, and a comma.txt", r"\udcff.txt"} <= {one.name for one in record.left_out}


def test_records_whose_names_are_not_utf8_come_in_under_escaped_names(copy, tmp_path):
    source = copy("wfdb")
    for ending in ("hea", "dat", "atr"):
        (source / f"P1.{ending}").rename(source / os.fsdecode(b"P\xff." + ending.encode()))
    header = source / os.fsdecode(b"P\xff.hea")
    header.write_bytes(header.read_bytes().replace(b"P1", b"P\xff"))
    record = load(source, tmp_path / "d", "wfdb", on_error="skip")
    data = open_dataset(tmp_path / "d")
    known = {*data.header.subjects, *(one.name for one in record.left_out)}
    assert r"P\udcff" in known


def test_a_folder_that_cannot_be_read_is_a_problem(copy, tmp_path, monkeypatch):
    source = copy("wfdb")
    (source / "locked").mkdir()
    real = os.scandir

    def scandir(path="."):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(sources.os, "scandir", scandir)
    with pytest.raises(RecordingError, match="locked: a folder that cannot be read: Permission denied"):
        load(source, tmp_path / "d", "wfdb")
    assert load(source, tmp_path / "d", "wfdb", on_error="skip").segments == 12


@pytest.mark.parametrize("name", ["wfdb", "csv"])
def test_copies_of_recordings_are_told(copy, tmp_path, name):
    source = copy(name)
    if name == "wfdb":
        (source / "x").mkdir()
        for path in [*source.glob("P1.*"), *source.glob("P2.*")]:
            shutil.copy(path, source / "x")
    else:
        shutil.copy(source / "P1.csv", source / "P1b.csv")
        shutil.copy(source / "P2.csv", source / "P2b.csv")
        rows = (source / "labels.csv").read_text().splitlines()
        more = [row.replace("P1.csv,P1,", "P1b.csv,P1,").replace("P2.csv,P2,", "P2b.csv,P9,") for row in rows[1:]]
        (source / "labels.csv").write_text("\n".join([*rows, *(row for row in more if "b.csv" in row)]) + "\n")
    notes = [note for note in load(source, tmp_path / "d", name).notes if "same samples" in note.text]
    names = [note.name for note in notes]
    assert names == (["x/P1 = P1", "x/P2 = P2"] if name == "wfdb" else ["P1b.csv = P1.csv", "P2b.csv = P2.csv"])
    subjects = ["two subjects" in note.text for note in notes]
    assert subjects == ([True, True] if name == "wfdb" else [False, True])


def test_copies_of_segments_are_told(copy, tmp_path):
    source = copy("iesd")
    first = min(source.glob("P0-N-*.txt"))
    shutil.copy(first, source / "P0-N-90.txt")
    shutil.copy(first, source / "P7-N-0.txt")
    assert load(source, tmp_path / "d", "iesd").notes == [
        Note(name=f"P0-N-90.txt = {first.name}", text="imported twice: the same samples under two names"),
        Note(
            name=f"P7-N-0.txt = {first.name}",
            text="imported twice: the same samples under two subjects, which no split by subject keeps apart",
        ),
    ]


def test_segments_of_other_kinds_of_files_are_refused_unread(copy, tmp_path):
    source = copy("iesd")
    os.mkfifo(source / "P0-N-91.txt")
    (source / "P0-N-92.txt").symlink_to("/dev/zero")
    (source / "P0-N-93.txt").touch()
    os.truncate(source / "P0-N-93.txt", 1 << 40)
    record = load(source, tmp_path / "d", "iesd", on_error="skip")
    reasons = {one.name: one.reason for one in record.left_out}
    assert reasons["P0-N-91.txt"] == reasons["P0-N-92.txt"] == "not a file"
    assert reasons["P0-N-93.txt"] == "larger than 125,000 bytes"


def test_an_import_of_nothing_says_why_once_for_each_reason(copy, tmp_path):
    source = copy("iesd")
    for path in source.iterdir():
        path.write_text("1\n" * 1250)
    with pytest.raises(DatasetError, match=r"Everything was left out: 12 recordings: flat: .* \(P0-") as caught:
        load(source, tmp_path / "d", "iesd", on_error="skip")
    assert str(caught.value).count("flat") == 1


def test_a_licence_is_kept_by_source_and_changes_no_hash(copy, tmp_path, capsys):
    folder = copy("iesd")
    stated = load(folder, tmp_path / "a", "iesd", licence=" ODC-By\n1.0 ")
    silent = load(folder, tmp_path / "b", "iesd", licence=" ")
    assert stated.content_sha256 == silent.content_sha256
    assert open_dataset(tmp_path / "a").header.source.licence == "ODC-By 1.0"
    assert open_dataset(tmp_path / "b").header.source.licence is None
    load(copy("wfdb"), tmp_path / "c", "wfdb")
    sets = [open_dataset(tmp_path / "a"), open_dataset(tmp_path / "c")]
    merged = merge(sets, tmp_path / "m", MergeRules(unit="unstated"))
    assert [one.licence for one in merged.sources] == ["ODC-By 1.0", None]
    assert tiny.run(["data", "info", tmp_path / "m"]) == tiny.run(["data", "info", tmp_path / "a"]) == 0
    told = capsys.readouterr().out
    assert re.findall("ODC-By 1.0|not stated|by source", told) == [
        "ODC-By 1.0", "not stated", "by source", "ODC-By 1.0",
    ]  # fmt: skip
    header = json.loads((tmp_path / "b" / "dataset.json").read_text())
    assert "licence" not in header["source"]  # earlier versions read it


def test_the_command_takes_a_licence(copy, tmp_path):
    options = ["--format", "wfdb", "--licence", "CC0"]
    assert tiny.run(["data", "import", copy("wfdb"), "-o", tmp_path / "d", *options]) == 0
    assert open_dataset(tmp_path / "d").header.source.licence == "CC0"


def test_rates_of_recordings_are_counted(tmp_path):
    (tmp_path / "in").mkdir()
    each = [
        Recording(
            f"r{k}", f"r{k}", rate * 12, rate, [Span(0, 12, "N")], lambda a, b: np.sin(np.arange(a, b)), unit="mV"
        )
        for k, rate in enumerate((300, 300, 128))
    ]
    FORMATS["wfdb"].write(tmp_path / "in", each, tasks.default())
    record = load(tmp_path / "in", tmp_path / "d", "wfdb")
    assert record.rates_hz == {"300": 2, "128": 1}
    assert open_dataset(tmp_path / "d").header.rates_hz == record.rates_hz
    assert [(note.name, "two subjects" in note.text) for note in record.notes] == [("r1 = r0", True)]


@pytest.mark.parametrize("kind", ["fifo", "zero", "huge", "long line", "folder"])
def test_a_table_that_is_no_table_is_refused(copy, tmp_path, kind):
    table = tmp_path / "table.csv"
    if kind == "fifo":
        os.mkfifo(table)
    elif kind == "zero":
        table.symlink_to("/dev/zero")
    elif kind == "huge":
        table.touch()
        os.truncate(table, 1 << 40)
    elif kind == "long line":
        table.write_text("file,subject,rhythm\n" + "x" * 200_000 + ",P0,N\n")
    else:
        table.mkdir()
    options = Options(sampling_rate_hz=250.0, labels=table)
    with pytest.raises(RecordingError, match="a table is CSV in UTF-8"):
        import_recordings(copy("csv"), tmp_path / "d", file_format="csv", options=options)
