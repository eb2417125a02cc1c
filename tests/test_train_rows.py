"""Rows that are trained on: shares are nested and spread over all subjects, episodes whole; doubts by confidence."""

from itertools import pairwise

import numpy as np
import pytest

from ecm_edge.training.train_rows import contradicted, in_share


def episodes_of(sizes):
    """Subjects with so many episodes of two segments each."""
    subjects = np.repeat([f"S{i}" for i in range(len(sizes))], [2 * size for size in sizes])
    return subjects, np.repeat(np.random.default_rng(1).permutation(sum(sizes)), 2)


def test_shares_are_nested():
    subjects, episodes = episodes_of([40, 7, 12])
    chosen = [in_share(subjects, episodes, share, seed=3) for share in (0.05, 0.25, 0.5, 1.0)]
    for smaller, larger in pairwise(chosen):
        assert smaller.sum() < larger.sum()
        assert not (smaller & ~larger).any()
    assert chosen[-1].all()


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5])
def test_every_subject_gives_its_share_of_whole_episodes(share):
    sizes = [40, 8, 12]
    subjects, episodes = episodes_of(sizes)
    chosen = in_share(subjects, episodes, share, seed=0)
    for number, size in enumerate(sizes):
        assert chosen[subjects == f"S{number}"].sum() == 2 * np.ceil(share * size)
    assert np.array_equal(chosen[::2], chosen[1::2])


def test_shares_are_drawn_by_seed():
    subjects, episodes = episodes_of([40, 40])
    first, again, other = (in_share(subjects, episodes, 0.5, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_only_a_confident_contradiction_is_a_doubt():
    labels = np.array([1, 1, 1, 0, 0, 0])
    probabilities = np.array([0.01, 0.2, 0.99, 0.99, 0.8, 0.01], np.float32)
    assert contradicted(labels, probabilities, 0.95).tolist() == [True, False, False, True, False, False]
