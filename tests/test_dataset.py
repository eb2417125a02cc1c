"""Data sets: what is written is what is read, and nothing is half-written."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ecm_edge.base.errors import DatasetError, OutputError
from ecm_edge.data.dataset import Description, LeftOut, SegmentBlock, Source, check_content, open_dataset
from ecm_edge.data.dataset_writer import write_dataset

T = 4
DESCRIPTION = Description(sampling_rate_hz=250, samples_per_segment=T, unit="mV", source=Source(format="test"))


def block(*keys, split="", first=0.0, **more):
    """Segments from (subject, rhythm) keys; sample values count up from `first`."""
    samples = np.arange(len(keys) * T, dtype=np.float32).reshape(-1, T) + first
    subjects, rhythms = zip(*keys, strict=True)
    names = [f"{s}-{r}-{place}" for place, (s, r) in enumerate(keys)]
    episodes = [f"{s}-{r}" for s, r in keys]
    return SegmentBlock(samples, names, subjects, rhythms, episodes, [split] * len(keys), **more)


def write(folder, *blocks, **changes):
    write_dataset(folder, DESCRIPTION.model_copy(update=changes), blocks)
    return open_dataset(folder)


def test_rows_are_read_as_written(tmp_path):
    data = write(tmp_path / "d", block(("S10", "N"), ("S10", "N")), block(("S2", "AFIB"), first=9))
    assert data.samples.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [9, 10, 11, 12]]
    assert data.header.subjects == ["S2", "S10"]
    assert data.names(np.array([2, 0])) == ["S2-AFIB-0", "S10-N-0"]
    assert data.subject_names(np.array([2, 0])) == ["S2", "S10"]
    assert data.table["episode"].tolist() == [0, 0, 1]
    assert data.labels.tolist() == [0, 0, 1]
    check_content(data)


def test_episodes_of_the_same_key_are_one_across_blocks(tmp_path):
    data = write(tmp_path / "d", block(("S1", "N")), block(("S2", "N")), block(("S1", "N")))
    assert data.table["episode"].tolist() == [0, 1, 0]


@pytest.mark.parametrize(("blank", "labels", "rows"), [("negative", [0, 1], [0, 1]), ("drop", [-1, 1], [1])])
def test_blank_rhythm_follows_the_header(tmp_path, blank, labels, rows):
    data = write(tmp_path / "d", block(("S1", ""), ("S1", "AFIB")), blank=blank)
    assert data.header.rhythms == ["", "AFIB"]
    assert data.labels.tolist() == labels
    assert data.rows_of(["S1"]).tolist() == rows


def test_rows_of_refuses_an_unknown_subject(tmp_path):
    data = write(tmp_path / "d", block(("S1", "N"), ("S2", "N"), ("S1", "N")))
    assert data.rows_of({"S1"}).tolist() == [0, 2]
    assert data.rows_of([]).tolist() == []
    with pytest.raises(DatasetError, match="'S3'"):
        data.rows_of(["S1", "S3"])


def test_splits_are_indices_into_the_header(tmp_path):
    blocks = [block(("S1", "N"), split="test"), block(("S2", "N")), block(("S3", "N"), split="train")]
    data = write(tmp_path / "d", *blocks, splits=["train", "test"])
    assert data.table["split"].tolist() == [1, -1, 0]


def test_problems_and_left_out_are_kept(tmp_path):
    noted = block(("S1", "N"), problems=[LeftOut(name="a", reason="odd")], left_out=[LeftOut(name="b", reason="rest")])
    assert [one.name for one in write(tmp_path / "d", noted).header.left_out] == ["a", "b"]


def test_the_same_content_has_the_same_bytes_and_hash(tmp_path):
    one, two = (write(tmp_path / name, block(("S1", "N"), ("S2", "AFIB"))) for name in "ab")
    other = write(tmp_path / "c", block(("S1", "N"), ("S2", "AFIB"), first=1))
    assert one.header == two.header
    assert (one.folder / "samples.npy").read_bytes() == (two.folder / "samples.npy").read_bytes()
    assert other.header.content_sha256 != one.header.content_sha256


def test_a_changed_sample_is_noticed(tmp_path):
    data = write(tmp_path / "d", block(("S1", "N")))
    samples = np.load(data.folder / "samples.npy")
    np.save(data.folder / "samples.npy", samples + 1)
    with pytest.raises(DatasetError, match=r"samples\.npy"):
        check_content(open_dataset(data.folder))


@pytest.mark.parametrize(("was", "now"), [('"blank": "negative"', '"blank": "drop"'), ('"S1"', '"S2"')])
def test_a_changed_meaning_is_noticed_on_opening(tmp_path, was, now):
    data = write(tmp_path / "d", block(("S1", "")))
    header = data.folder / "dataset.json"
    header.write_text(header.read_text().replace(was, now))
    with pytest.raises(DatasetError, match=r"dataset\.json .* changed"):
        open_dataset(data.folder)


def test_segments_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="finite"):
        write(tmp_path / "d", block(("S1", "N"), first=np.inf))
    assert not (tmp_path / "d").exists()


def test_a_table_of_other_types_is_refused(tmp_path):
    data = write(tmp_path / "d", block(("S1", "N")))
    np.save(data.folder / "table.npy", np.zeros(1))
    with pytest.raises(DatasetError, match="float64"):
        open_dataset(data.folder)


def test_opening_nothing_or_half_of_it_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"no dataset\.json in .*missing"):
        open_dataset(tmp_path / "missing")
    data = write(tmp_path / "d", block(("S1", "N"), ("S2", "N")))
    os.truncate(data.folder / "samples.npy", 140)
    with pytest.raises(DatasetError, match=r"samples\.npy"):
        open_dataset(data.folder)


def test_arrays_of_another_shape_are_refused(tmp_path):
    data = write(tmp_path / "d", block(("S1", "N"), ("S2", "N")))
    np.save(data.folder / "samples.npy", np.zeros((1, T), np.float32))
    with pytest.raises(DatasetError, match=r"\(1, 4\)"):
        open_dataset(data.folder)


def test_pickled_arrays_are_never_loaded(tmp_path):
    data = write(tmp_path / "d", block(("S1", "N")))
    np.save(data.folder / "table.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"table\.npy"):
        open_dataset(data.folder)


def test_nothing_to_write_is_an_error_with_the_reason(tmp_path):
    empty = SegmentBlock(np.empty((0, T), np.float32), (), (), (), (), (), problems=[LeftOut(name="x", reason="flat")])
    with pytest.raises(DatasetError, match="x: flat"):
        write(tmp_path / "d", empty)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_touched(tmp_path):
    data = write(tmp_path / "d", block(("S1", "N")))
    with pytest.raises(OutputError, match="exists"):
        write(tmp_path / "d", block(("S2", "N")))
    assert open_dataset(tmp_path / "d").header == data.header


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, DatasetError("rule", "found", "hint")])
def test_trouble_in_the_middle_leaves_nothing(tmp_path, trouble):
    def blocks():
        yield block(("S1", "N"))
        raise trouble

    with pytest.raises(BaseException, match=r"^$|rule"):
        write_dataset(tmp_path / "d", DESCRIPTION, blocks())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path / "d", block(("S1", "N")))
    assert not list(tmp_path.iterdir())


def test_a_killed_process_leaves_nothing_under_the_final_name(tmp_path):
    code = (
        "import itertools, sys, pathlib; from tests.test_dataset import *\n"
        "endless = (block(('S1', 'N')) for _ in itertools.count())\n"
        "write_dataset(pathlib.Path(sys.argv[1]), DESCRIPTION, endless)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "d")])
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".d.*/samples.npy")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob(".d.*/samples.npy"))
    assert not (tmp_path / "d").exists()


def bytes_touched():
    """What this process has read of files up to now, and what it has of them in its memory by mapping."""
    read = re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())
    mapped = re.search(r"RssFile:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(read[1]) + 1024 * int(mapped[1])


def test_opening_a_million_segments_reads_none_of_them(tmp_path):
    data = write(tmp_path / "d", block(("S1", "N")), splits=["train"])  # rows of zeros have a split
    n, header = 1_000_000, data.header
    for name, dtype, shape in (("samples.npy", data.samples.dtype, (n, T)), ("table.npy", data.table.dtype, (n,))):
        np.lib.format.open_memmap(data.folder / name, "w+", dtype, shape)
    (data.folder / "dataset.json").write_text(header.model_copy(update={"segments": n}).to_json())
    before = bytes_touched()
    opened = open_dataset(data.folder)
    assert bytes_touched() - before < opened.samples.nbytes / 8
    assert opened.labels.shape == (n,)
    assert opened.samples.sum() == 0
    assert bytes_touched() - before > opened.samples.nbytes  # so that reading would have been seen


def test_segments_of_another_length_are_refused(tmp_path):
    wrong = SegmentBlock(np.zeros((1, T + 1), np.float32), ["a"], ["S1"], ["N"], ["e"], [""])
    with pytest.raises(DatasetError, match=r"\(1, 5\)"):
        write(tmp_path / "d", wrong)
