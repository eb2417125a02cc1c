"""Importing the contest's text files, against one `numpy.loadtxt` a file, and the WFDB records of a challenge.

The answer is checked before it is believed.

With the contest's segments beside the checkout 2,000 of them are written out and read; without, synthetic ones.
The whole set: `write_txt.py OUT` beside the segments, then `ecm-edge data import OUT -o D --format iesd
--sampling-rate-hz 250`.
"""

from __future__ import annotations

import csv
import itertools
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bars
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.rhythms import RhythmRules
from ecm_edge.data.synthetic import synthesise

SHARED = Path(__file__).parents[2] / "shared" / "iesd2024"
FILES = 2000
CINC2017 = Path(__file__).parents[2] / "shared" / "cinc2017"
KIB = 1024


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """(folder, {name: samples}) of `FILES` segments as text, with the values that were written."""
    folder = tmp_path_factory.mktemp("import") / "txt"
    if not (SHARED / "segments.npy").exists():
        synthesise(folder, subjects=FILES // 40, seed=1, file_format="iesd")
        return folder, {path.name: np.loadtxt(path) for path in folder.iterdir()}
    folder.mkdir()
    names = (SHARED / "names.txt").read_text().split()[:FILES]
    values = np.load(SHARED / "segments.npy", mmap_mode="r")[:FILES] / 16384  # (FILES, T)
    for name, samples in zip(names, values, strict=True):
        (folder / name).write_text("".join(f"{sample:.7f}\n" for sample in samples))
    return folder, dict(zip(names, values, strict=True))


@pytest.mark.benchmark(group="import of 2000 text files")
def test_data_import(benchmark, texts, tmp_path):
    folder, expected = texts
    places = (tmp_path / str(k) for k in itertools.count())

    def load():
        return import_recordings(
            folder, next(places), file_format="iesd", options=Options(sampling_rate_hz=250.0)
        ).dataset

    data = open_dataset(Path(benchmark.pedantic(load, rounds=5, warmup_rounds=1)))
    assert data.header.segments == FILES
    for name, samples in zip(data.names(np.arange(FILES)), data.samples, strict=True):
        assert np.abs(samples - expected[name]).max() < 5e-5
    benchmark.extra_info["checked"] = True


@pytest.mark.benchmark(group="import of 2000 text files")
def test_loadtxt_a_file(benchmark, texts):
    folder, expected = texts
    paths = sorted(folder.iterdir())
    read = benchmark.pedantic(lambda: [np.loadtxt(path) for path in paths], rounds=5, warmup_rounds=1)
    for path, samples in zip(paths, read, strict=True):
        assert np.abs(samples - expected[path.name]).max() < 5e-5
    benchmark.extra_info["checked"] = True


@pytest.mark.skipif(not CINC2017.exists(), reason="the challenge's records are not beside the checkout")
def test_import_of_wfdb_records(benchmark, tmp_path):
    """All 8,226 records, with their label table; the windows of each rhythm are counted again by NumPy alone."""
    folder = tmp_path / "wfdb"
    subprocess.run([sys.executable, CINC2017 / "write_wfdb.py", folder], check=True)
    options, rules = Options(labels=folder / "REFERENCE.csv"), RhythmRules("cinc2017")
    begin_s = time.process_time()
    record = benchmark.pedantic(
        lambda: import_recordings(folder, tmp_path / "d", file_format="wfdb", options=options, rules=rules), rounds=1
    )
    cpu_s = time.process_time() - begin_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    assert {row.written_as[0]: row.segments for row in record.labels} == windows_of_cinc2017()
    seconds = benchmark.stats.stats.max
    benchmark.extra_info.update(checked=True, cpu_s=cpu_s, peak_bytes=peak)
    benchmark.extra_info.update(records=record.leads["ECG"], segments=record.segments)
    assert seconds < bars.WFDB_IMPORT_S
    assert peak < bars.WFDB_IMPORT_BYTES


def windows_of_cinc2017():
    """The windows of 5 s that are not flat, by the challenge's own labels."""
    with (CINC2017 / "records.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    samples = np.cumsum(np.load(CINC2017 / "samples.npz")["difference"], dtype=np.int16)
    counts, begin = Counter(), 0
    for row in rows:
        length = int(row["samples"])
        whole = samples[begin : begin + length // 1500 * 1500].reshape(-1, 1500)
        counts[row["rhythm"]] += int((np.ptp(whole, axis=1) > 0).sum())
        begin += length
    return dict(counts)
