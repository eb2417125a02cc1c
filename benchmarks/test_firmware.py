"""Generated firmware against other runtimes; the bars are the assertions. See benchmarks/firmware.py."""

from __future__ import annotations

import pytest

from benchmarks import firmware
from ecm_edge import targets
from ecm_edge.firmware import emulate


def test_every_bar_is_met(benchmark):
    for name in ("loongson-2k0500", "nucleo-l432kc"):
        missing = emulate.available(targets.load(name))
        if missing is not None:
            pytest.skip(missing.reason)
    found = benchmark.pedantic(lambda: list(firmware.rows()), rounds=1)
    print(firmware.table(found))  # noqa: T201 - what `-s` shows
    assert [row.what for row in found if not row.meets_bar] == []
