"""What the benchmarks share: the candidate that is timed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--candidate", type=Path, help="a candidate's folder to time, in place of a small untrained one")


@pytest.fixture(scope="session")
def candidate_option(request):
    """The folder given with --candidate, or None."""
    return request.config.getoption("--candidate")


SHARED = Path(__file__).parents[2] / "shared" / "iesd2024"


@pytest.fixture(scope="session")
def real_text(tmp_path_factory):
    """The contest's 50,000 segments as text files, or a skip that says so."""
    if not SHARED.exists():
        pytest.skip("the contest's segments are not beside the checkout (../shared/iesd2024)")
    folder = tmp_path_factory.mktemp("iesd") / "text"
    subprocess.run([sys.executable, SHARED / "write_txt.py", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def real_dataset(real_text, tmp_path_factory):
    """The same, imported."""
    from ecm_edge.data.dataset import open_dataset
    from ecm_edge.data.recordings.importer import import_recordings
    from ecm_edge.data.recordings.options import Options

    out = tmp_path_factory.mktemp("imported") / "iesd"
    import_recordings(real_text, out, file_format="iesd", options=Options(sampling_rate_hz=250.0))
    return open_dataset(out)
