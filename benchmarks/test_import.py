"""Importing the contest's text files, against one `numpy.loadtxt` a file; the answer is checked before it is believed.

With the contest's segments beside the checkout 2,000 of them are written out and read; without, synthetic ones.
The whole set: `write_txt.py OUT` beside the segments, then `ecm-edge data import OUT -o D --format iesd
--sampling-rate-hz 250`.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.synthetic import synthesise

SHARED = Path(__file__).parents[2] / "shared" / "iesd2024"
FILES = 2000


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
