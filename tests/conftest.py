"""What many tests share: a small synthetic data set, and a quiet, single-threaded torch."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "iesd2024"


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tests run side by side, one process a core; more threads would only take turns."""
    import torch

    torch.set_num_threads(1)


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
    if not (SHARED / "segments.npy").exists():
        pytest.skip("the contest's segments are not beside the checkout (../shared/iesd2024)")
    return SHARED
