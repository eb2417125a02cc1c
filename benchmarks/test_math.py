"""Every one of the 2^32 inputs of each elementary function of ecm_math.h against float64, within its stated bound.

    pytest benchmarks/test_math.py --benchmark-only

takes a minute or two a function and core: libm's float64 is what takes the time. `extra_info` holds the largest error
and the input that has it.
"""

from __future__ import annotations

import pytest

from tests import firmware_math
from tests.firmware_math import RELATIVE_BOUNDS, ULP_BOUNDS

BOUNDS = [(*row, False) for row in ULP_BOUNDS] + [(*row, True) for row in RELATIVE_BOUNDS]


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return firmware_math.build(tmp_path_factory.mktemp("math"))


@pytest.mark.parametrize(("name", "low", "high", "bound", "relative"), BOUNDS)
def test_every_input_is_within_the_bound(benchmark, library, name, low, high, bound, relative):
    def largest():
        return firmware_math.worst(library, name, low, high, 1, relative=relative)

    error, where = benchmark.pedantic(largest, rounds=1)
    benchmark.extra_info |= {"largest": error, "where": where, "unit": "2^-24 |x|" if relative else "ULP"}
    assert error <= bound, f"{name}({where!r}) is {error:.3f} off"
