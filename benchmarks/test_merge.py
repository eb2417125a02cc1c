"""Merging two data sets of 50,000 segments, as a user does it: the time of the command, and its memory.

The segments are drawn. The samples of both sets take 500 MB, so that a peak far below shows that they are copied in
blocks.
"""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import bars
from ecm_edge.data.dataset import Description, SegmentBlock, Source, open_dataset
from ecm_edge.data.dataset_writer import write_dataset

SEGMENTS, T, BLOCK, SEGMENTS_PER_SUBJECT = 50_000, 1250, 1000, 6
KIB = 1024


def _blocks(seed):
    generator = np.random.default_rng(seed)
    for start in range(0, SEGMENTS, BLOCK):
        rows = range(start, start + BLOCK)
        yield SegmentBlock(
            generator.standard_normal((BLOCK, T), np.float32),
            [f"{row}" for row in rows],
            [f"S{row // SEGMENTS_PER_SUBJECT}" for row in rows],
            ["AFIB" if row % 9 == 0 else "N" for row in rows],
            [f"{row // 2}" for row in rows],
            [""] * BLOCK,
        )


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two sets of 8,334 subjects each, all of them with the same names."""
    folder = tmp_path_factory.mktemp("merge")
    description = Description(sampling_rate_hz=250, samples_per_segment=T, unit="mV", source=Source(format="drawn"))
    for seed in (1, 2):
        write_dataset(folder / f"set{seed}", description, _blocks(seed))
    return [folder / "set1", folder / "set2"]


def test_data_merge(benchmark, sets, tmp_path):
    places = (tmp_path / str(k) for k in itertools.count())

    def merge():
        out = next(places)
        command = [sys.executable, "-m", "ecm_edge.cli", "data", "merge", *map(str, sets), "-o", str(out)]
        subprocess.run(command, check=True, capture_output=True)
        return out

    data = open_dataset(benchmark.pedantic(merge, rounds=3))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIB
    for place, source in enumerate(map(open_dataset, sets)):
        rows = np.arange(place * SEGMENTS, (place + 1) * SEGMENTS)
        assert set(data.source_names(rows)) == {source.folder.name}
        assert all(np.array_equal(data.samples[part], source.samples[part - rows[0]]) for part in np.split(rows, 50))
    benchmark.extra_info.update(checked=True, segments=2 * SEGMENTS, peak_bytes=peak)
    assert benchmark.stats.stats.min < bars.MERGE_S
    assert peak < bars.MERGE_MEMORY_BYTES
