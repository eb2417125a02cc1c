"""Segments cut anew: from their own stretch only, in order, and slower or faster by no more than was asked."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ecm_edge.candidate import Augmentation
from ecm_edge.recut import Recutter, stretches

LENGTH = 200


def clock(stretch_sizes):
    """(N, 1, T) samples that say when they are, a thousand stretches' worth apart; and the stretches."""
    sizes = np.array(stretch_sizes)
    times = [100_000 * k + torch.arange(size * LENGTH) for k, size in enumerate(stretch_sizes)]
    samples = torch.cat(times).float().view(-1, 1, LENGTH)
    return samples, np.repeat(np.cumsum(sizes) - sizes, sizes), np.repeat(sizes, sizes)


def recut(stretch_sizes, rows, tempo=0.0, seed=1):
    samples, first, count = clock(stretch_sizes)
    return Recutter(samples, first, count, tempo)(torch.as_tensor(rows), torch.Generator().manual_seed(seed))[:, 0]


def test_a_segment_is_cut_from_anywhere_in_its_own_stretch():
    for row, begin in ((0, 0), (1, 0), (2, 100_000), (3, 100_000)):
        found = recut([2, 2], [row] * 500) - begin  # (500, T)
        torch.testing.assert_close(found.diff(), torch.ones(500, LENGTH - 1), rtol=0, atol=0.02)
        assert 0 <= found.min() < 5
        assert 2 * LENGTH - 6 < found.max() <= 2 * LENGTH - 1


def test_half_of_the_segments_are_slowed_or_hastened_evenly():
    found = recut([2], [0] * 4000, tempo=0.25)
    rate = (found[:, -1] - found[:, 0]) / (LENGTH - 1)
    torch.testing.assert_close(found.diff(), rate.unsqueeze(1).expand(-1, LENGTH - 1), rtol=0, atol=0.01)
    other = rate[(rate - 1).abs() > 1e-4]
    assert len(other) == pytest.approx(2000, abs=150)
    assert 1 / 1.25 - 1e-4 <= other.min() < 0.81
    assert 1.24 < other.max() <= 1.25 + 1e-4
    assert (other > 1).float().mean() == pytest.approx(0.5, abs=0.05)


def test_a_segment_without_a_neighbour_is_only_slowed():
    found = recut([1, 1], [1] * 500, tempo=0.25) - 100_000
    rate = (found[:, -1] - found[:, 0]) / (LENGTH - 1)
    assert rate.max() <= 1 + 1e-4
    assert rate.min() < 0.85
    assert found.min() >= 0
    assert found.max() <= LENGTH - 1
    assert torch.equal(recut([1, 1], [1]) - 100_000, torch.arange(float(LENGTH)).unsqueeze(0))


def test_the_same_generator_cuts_the_same():
    assert torch.equal(recut([2], [0, 1], 0.2, seed=3), recut([2], [0, 1], 0.2, seed=3))
    assert not torch.equal(recut([2], [0, 1], 0.2, seed=3), recut([2], [0, 1], 0.2, seed=4))


def test_a_stretch_is_of_one_episode_and_one_label_and_trained_on():
    episodes = np.array([7, 7, 8, 8, 9, 9, 10, 11, 11])
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0])
    used = np.array([1, 1, 1, 1, 1, 0, 1, 1, 1], bool)
    first, count = stretches(episodes, labels, used)
    assert first.tolist() == [0, 0, 2, 3, 4, 5, 6, 7, 7]
    assert count.tolist() == [2, 2, 1, 1, 1, 1, 1, 2, 2]


def test_tempo_without_recutting_is_refused():
    with pytest.raises(ValidationError, match="recut = true"):
        Augmentation(tempo=0.2)
