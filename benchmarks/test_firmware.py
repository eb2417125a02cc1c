"""Generated firmware, as far as it is timed: on this host. Its counts are in counts.json."""

from __future__ import annotations

import pytest

from benchmarks import bars, counts, firmware
from ecm_edge import targets
from ecm_edge.firmware import emulate


def test_time_on_this_host(benchmark):
    times = benchmark.pedantic(firmware.host_times_us, rounds=1)
    benchmark.extra_info |= {"checked": True, **{f"{name}_us": least for name, least in times.items()}}
    assert times["ours"] <= times["onnxruntime"] / 2


def test_fit_of_one_candidate(benchmark):
    for board in counts.BOARDS:
        if missing := emulate.available(targets.load(board)):
            pytest.skip(missing.reason)
    records = benchmark.pedantic(firmware.fit_demo, rounds=1)
    for record in records:
        float32, int8 = record.forms  # int8 is calibrated on noise here
        known = counts.load().of("demo", record.target, "float32")
        assert (float32.instructions.total, float32.flash_bytes) == (known.instructions, known.flash_bytes)
        assert int8.instructions is not None
    benchmark.extra_info["checked"] = True
    assert benchmark.stats.stats.min <= bars.FIT_S
