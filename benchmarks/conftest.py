"""What the benchmarks share: the candidate that is timed."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--candidate", type=Path, help="a candidate's folder to time, in place of a small untrained one")


@pytest.fixture(scope="session")
def candidate_option(request):
    """The folder given with --candidate, or None."""
    return request.config.getoption("--candidate")
