"""The episodes of a day of ECG: the whole command in a process of its own on one core, as a user would type it."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest

from benchmarks import bars, counts
from ecm_edge.data import synthetic
from ecm_edge.data.recordings.options import STEPS_PER_MV
from ecm_edge.data.recordings.physionet import write_rhythms

HOURS = 24
RATE_HZ = 250
KIB = 1024


@pytest.fixture(scope="module")
def holter(tmp_path_factory):
    """A WFDB record of two leads: the same hour again and again, 20 min of it AF."""
    folder = tmp_path_factory.mktemp("holter")
    hour = synthetic.recording(0, seed=1, segments=720)
    lead = np.round(hour.read(0, hour.length) * STEPS_PER_MV).astype("<i2")
    two = np.stack([lead, -lead // 2], axis=1)  # (t, 2)
    with (folder / "day.dat").open("wb") as stream:
        for _ in range(HOURS):
            stream.write(two.tobytes())
    signals = [f"day.dat 16 {STEPS_PER_MV}(0)/mV 16 0 0 0 0 {name}" for name in ("II", "V1")]
    (folder / "day.hea").write_text("\n".join([f"day 2 {RATE_HZ} {HOURS * hour.length}", *signals]) + "\n")
    notes = [
        (round(span.onset_s * RATE_HZ) + k * hour.length, f"({span.rhythm}")
        for k in range(HOURS)
        for span in hour.spans
    ]
    write_rhythms(folder, "day", RATE_HZ, notes, "atr")
    return folder / "day"


def test_episodes_of_24_hours(benchmark, holter, tmp_path):
    used = {}

    def run():
        given = [
            str(counts.incumbent("loongson-2k0500")),
            str(holter),
            "--lead",
            "II",
            "--reference",
            "-x",
            "AFL",
            "-o",
            str(tmp_path / "out"),
        ]
        child = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "ecm_edge.cli", "episodes", *given],
            {**os.environ, "OMP_NUM_THREADS": "1"},
        )
        os.sched_setaffinity(child, {min(os.sched_getaffinity(0))})
        _, status, usage = os.wait4(child, 0)
        assert status == 0
        used.update(cpu_s=usage.ru_utime + usage.ru_stime, peak_bytes=usage.ru_maxrss * KIB)

    benchmark.pedantic(run, rounds=1)
    record = json.loads((tmp_path / "out" / "episodes.json").read_text())
    (found,) = record["recordings"]
    assert found["answered"] == found["windows"] == HOURS * 720
    assert abs(found["burden"] - 1 / 3) < 0.02
    assert found["figures"]["episode_sensitivity"] == 1
    assert found["figures"]["duration_positive_predictivity"] > 0.95
    assert (tmp_path / "out" / "day.html").stat().st_size > 100_000
    benchmark.extra_info.update(checked=True, **used)
    assert used["peak_bytes"] <= bars.EPISODES_MEMORY_BYTES
    assert used["cpu_s"] <= bars.EPISODES_S
