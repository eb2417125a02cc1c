"""What many tests share: a small synthetic data set, one thread, no draw without a seed, and no skips in CI."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from . import postgres

SHARED = Path(__file__).parents[2] / "shared" / "iesd2024"
MAY_SKIP = {
    "real_data": not (SHARED / "segments.npy").exists(),
    "not_root": os.geteuid() == 0,
}
"""The markers of tests that may be skipped in CI, and whether what they need is missing here."""

_RANDOM = pytest.StashKey()

hypothesis.settings.register_profile("same examples in every run", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same examples in every run")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Another random state before every test, in every run: a test that depends on it does not stay unnoticed."""
    import torch

    np.random.seed()  # noqa: NPY002 - the state that tests must not depend on
    item.stash[_RANDOM] = torch.seed(), torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A test, or a fixture made for it, that draws from the process's random state has to seed it."""
    import torch

    result = yield
    seed, of_torch, of_numpy = item.stash[_RANDOM]
    unseeded = torch.initial_seed() == seed and not torch.equal(torch.get_rng_state(), of_torch)
    assert not unseeded, "drawn from torch's random state without a seed: torch.manual_seed(0)"
    drawn = not np.array_equal(np.random.get_state()[1], of_numpy)  # noqa: NPY002
    assert not drawn, "drawn from numpy's random state: take numpy.random.default_rng(0)"
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """In CI (`.ci/run` sets ECM_EDGE_CI) what is missing is a failure, but for the tests that MAY_SKIP."""
    report = yield
    allowed = any(missing and item.get_closest_marker(name) for name, missing in MAY_SKIP.items())
    if report.skipped and not allowed and os.environ.get("ECM_EDGE_CI"):
        report.outcome, report.longrepr = "failed", f"skipped, and CI skips no such test: {report.longrepr[2]}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tests run side by side, one process a core; more threads would only take turns."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_width():
    """What is printed is as wide as in a pipe, also where the tests run side by side, which sets COLUMNS."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session", autouse=True)
def _trust(tmp_path_factory):
    """Tests may run what they make themselves; a command of theirs trusts what a user's would, and no folder more."""
    from ecm_edge.base import trust

    os.environ[trust.LIST_VARIABLE] = str(tmp_path_factory.mktemp("trust") / "list")
    trust.allow_everything()


@pytest.fixture(scope="session", autouse=True)
def _believed():
    """`promote` believes the invented records of tests/tiny.py; those of all other candidates it proves."""
    from ecm_edge.registry import proof

    from . import tiny

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "prove", tiny.believing(proof.prove))
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Twelve synthetic subjects with twelve segments each; read-only."""
    from ecm_edge.data.dataset import open_dataset
    from ecm_edge.data.synthetic import synthesise

    folder = tmp_path_factory.mktemp("data") / "synthetic"
    synthesise(folder, subjects=12, seed=3, segments_per_subject=12)
    return open_dataset(folder)


@pytest.fixture(scope="session")
def real_data():
    """The folder of the contest's segments, or a skip that says so."""
    if MAY_SKIP["real_data"]:
        pytest.skip("the contest's segments are not beside the checkout (../shared/iesd2024)")
    return SHARED


@pytest.fixture(scope="session")
def postgresql():
    """A running PostgreSQL of this process's own, or a skip that says so: `tests/postgres.py`."""
    with postgres.running() as server:
        yield server
