"""Segments cut anew: from their own passage only, in order, and slower or faster by no more than was asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import Augmentation, TrainingConfig
from ecm_edge.data import splits
from ecm_edge.training import epochs, train
from ecm_edge.training.random_crop import RandomCrop

LENGTH = 200


def clock(sizes):
    """(N, 1, T) samples that say when they are, passages 100,000 apart; and the passage of each row."""
    times = [100_000 * k + torch.arange(size * LENGTH) for k, size in enumerate(sizes)]
    return torch.cat(times).float().view(-1, 1, LENGTH), np.repeat(np.arange(len(sizes)), sizes)


def cropped(sizes, rows, tempo=0.0, seed=1):
    samples, episodes = clock(sizes)
    everyone = np.arange(len(samples))
    crop = RandomCrop(samples, episodes, np.zeros(len(samples), np.int64), everyone, tempo)
    return crop(torch.as_tensor(rows), torch.Generator().manual_seed(seed))[:, 0]


def test_a_segment_is_cut_from_anywhere_in_its_own_passage():
    for row, begin in ((0, 0), (1, 0), (2, 100_000), (3, 100_000)):
        found = cropped([2, 2], [row] * 500) - begin  # (500, T)
        assert torch.equal(found.diff(), torch.ones(500, LENGTH - 1))  # samples as they were recorded
        assert 0 <= found.min() < 5
        assert 2 * LENGTH - 6 < found.max() <= 2 * LENGTH - 1


def test_half_of_the_segments_are_slowed_or_hastened_evenly():
    found = cropped([2], [0] * 4000, tempo=0.25)
    rate = (found[:, -1] - found[:, 0]) / (LENGTH - 1)
    torch.testing.assert_close(found.diff(), rate.unsqueeze(1).expand(-1, LENGTH - 1), rtol=0, atol=0.01)
    other = rate[(rate - 1).abs() > 1e-4]
    assert len(other) == pytest.approx(2000, abs=150)
    assert 1 / 1.25 - 1e-4 <= other.min() < 0.81
    assert 1.24 < other.max() <= 1.25 + 1e-4
    assert (other > 1).float().mean() == pytest.approx(0.5, abs=0.05)


def test_a_segment_without_a_neighbour_is_only_slowed():
    found = cropped([1, 1], [1] * 500, tempo=0.25) - 100_000
    rate = (found[:, -1] - found[:, 0]) / (LENGTH - 1)
    assert rate.max() <= 1 + 1e-4
    assert rate.min() < 0.85
    assert found.min() >= 0
    assert found.max() <= LENGTH - 1
    assert torch.equal(cropped([1, 1], [1]) - 100_000, torch.arange(float(LENGTH)).unsqueeze(0))


def test_the_same_generator_cuts_the_same():
    assert torch.equal(cropped([2], [0, 1], 0.2, seed=3), cropped([2], [0, 1], 0.2, seed=3))
    assert not torch.equal(cropped([2], [0, 1], 0.2, seed=3), cropped([2], [0, 1], 0.2, seed=4))


def test_what_is_cut_from_is_of_one_passage_and_one_label_and_trained_on():
    passages = np.array([7, 7, 8, 8, 9, 9, 10, 11, 11])
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0])
    samples = torch.arange(9.0 * LENGTH).view(9, 1, LENGTH)
    crop = RandomCrop(samples, passages, labels, np.array([0, 1, 2, 3, 4, 6, 7, 8]), tempo=0)
    together = {0: 0, 1: 0, 7: 7, 8: 7}  # where the passage of two begins
    for row in range(9):
        found = crop(torch.full((200,), row), torch.Generator().manual_seed(row)) / LENGTH
        first, count = (together[row], 2) if row in together else (row, 1)
        assert found.min() == pytest.approx(first, abs=0.1)
        assert found.max() == pytest.approx(first + count, abs=0.1)


def test_a_training_takes_its_segments_from_what_is_trained_on(dataset):
    """A window whose rhythm is blank is not read, though its label and its passage are those of its neighbour."""
    data = train.load_data(dataset, splits.holdout(dataset, seed=0))
    count = len(data.train_labels)
    samples = torch.arange(float(count)).view(-1, 1, 1).expand(-1, 1, data.train_samples.shape[2]).contiguous()
    blank = np.arange(count) == 5
    training = TrainingConfig(augmentation=Augmentation(recut=True, tempo=0.2), batch_size=16)
    config = candidate.configure(
        dataset, splits.holdout(dataset, seed=0), "tcn", {"channels": 4, "depth": 2, "kernel": 3}, training, seed=0
    )
    told = replace(data, train_samples=samples, train_blank=blank)
    loop = epochs.Loop(candidate.build_network(config), config, told, torch.device("cpu"), None)
    assert 5 not in loop.batches.rows
    assert data.train_passages[:6].tolist() == [0] * 6
    assert data.train_labels[:6].tolist() == [1, 1, 1, 1, 0, 0]
    for row, first, last in ((0, 0, 3), (2, 0, 3), (3, 0, 3), (4, 4, 4)):
        found = loop.batches.crop(torch.full((100,), row), torch.Generator().manual_seed(0))
        assert (found.min().item(), found.max().item()) == (first, last)
