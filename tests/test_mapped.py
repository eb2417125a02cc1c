"""Batches from a memory map are those from memory, bit by bit, and little is read at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.training import epochs, mapped, train
from ecm_edge.training.batches import Batches
from ecm_edge.training.data import NOT_TAUGHT
from ecm_edge.training.interpolation import interpolated
from ecm_edge.training.mapped import MappedSamples, in_blocks
from ecm_edge.training.random_crop import RandomCrop, _runs
from ecm_edge.training.read_ahead import AHEAD, read_ahead
from ecm_edge.training.train_rows import quiet_rows

CPU = torch.device("cpu")
OPTIONS = [
    {},
    {"augmentation": {"recut": True}},
    {"augmentation": {"recut": True, "tempo": 0.4, "disturbance": 0.5, "stretch": 0.2, "cutout": 100}},
    {"mixup": 0.7, "augmentation": {"noise": 0.1, "shift": 40}},
    {"bag_windows": 4, "bag": "mean", "mixup": 0.5, "augmentation": {"recut": True}},
    {"sampling": {"segments": 100, "label": 1.0, "subject": 0.5}},
    {"quiet_below": 0.9, "data_share": 0.5},
]


@pytest.fixture(scope="module")
def loaded(dataset):
    return train.load_data(dataset, splits.holdout(dataset, seed=0))


def in_memory(loaded):
    return replace(loaded, train_samples=loaded.train_samples[:], validation_samples=loaded.validation_samples[:])


def configured(dataset, **training):
    how = TrainingConfig.model_validate({"epochs": 2, "batch_size": 32, "keep": "last", **training})
    params = {"channels": 4, "depth": 2, "kernel": 5, "stride": 4}
    return candidate.configure(dataset, splits.holdout(dataset, seed=0), "separable", params, how, 0)


@pytest.mark.parametrize("training", OPTIONS)
def test_batches_from_the_map_are_those_from_memory(dataset, loaded, training):
    config = configured(dataset, **training)
    both = [Batches(config, data, NOT_TAUGHT, CPU) for data in (loaded, in_memory(loaded))]
    for _ in range(2):
        for ours, theirs in zip(*both, strict=True):
            assert all(map(torch.equal, ours, theirs))


def test_crops_have_the_values_of_the_whole_array(loaded):
    """The same values at the same places as where all samples lie in one flat array."""
    count, length = len(loaded.train_labels), loaded.train_samples.shape[2]
    crop = RandomCrop(loaded.train_samples, loaded.train_passages, np.zeros(count), np.arange(count), 0.5)
    first, size = _runs(loaded.train_passages, np.zeros(count), np.ones(count, bool))
    assert size.max() > 1
    last = torch.from_numpy(size * length - 1).unsqueeze(1)
    begin = torch.from_numpy(first * length).unsqueeze(1)
    generator = torch.Generator().manual_seed(3)
    rate = 0.6 + 0.8 * torch.rand((count, 1), generator=generator)
    rate = torch.minimum(rate, last / (length - 1))
    for share in (torch.zeros(count, 1), torch.rand((count, 1), generator=generator), torch.ones(count, 1)):
        places = torch.arange(length) * rate + share * (last - rate * (length - 1))
        expected = interpolated(loaded.train_samples[:].reshape(-1), begin, places, last)
        assert torch.equal(crop.read(torch.from_numpy(first).unsqueeze(1), places, last), expected)


def test_the_weights_are_those_of_a_training_in_memory(dataset, loaded):
    config = configured(dataset, augmentation={"recut": True, "tempo": 0.2})
    ours, theirs = (train.fit(config, data).network.state_dict() for data in (loaded, in_memory(loaded)))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_samples_of_a_split_are_indexed_as_a_tensor(dataset, loaded):
    samples, whole = loaded.train_samples, loaded.train_samples[:]
    assert samples.shape == whole.shape
    assert torch.equal(whole[:, 0], torch.from_numpy(dataset.samples[samples.rows]))
    chosen = torch.tensor([5, 3, 3])
    for index in (slice(2, 9, 3), chosen, chosen.numpy(), whole[:, 0, 0] > 0, (slice(None, 1), 0), (chosen, 0)):
        assert torch.equal(samples[index], whole[index])
    assert torch.equal(torch.cat(list(in_blocks(samples))), whole)


def test_quiet_windows_are_found_in_blocks(loaded, monkeypatch):
    monkeypatch.setattr(mapped, "_BLOCK", 7)
    in_blocks_of_seven = quiet_rows(loaded, 0.9)
    deviation = loaded.train_samples[:][:, 0].std(1).numpy()
    median = {one: np.median(deviation[loaded.train_passages == one]) for one in set(loaded.train_passages)}
    expected = [value < 0.9 * median[one] for value, one in zip(deviation, loaded.train_passages, strict=True)]
    assert in_blocks_of_seven.tolist() == expected
    assert any(expected)


class Counted(MappedSamples):
    """Keeps how many rows were read at a time."""

    def __getitem__(self, index):
        read = super().__getitem__(index)
        self.most.append(len(read))
        return read


def test_a_training_reads_a_batch_or_a_block_at_a_time(dataset, loaded, monkeypatch):
    monkeypatch.setattr(mapped, "_BLOCK", 40)
    monkeypatch.setattr(Counted, "most", [], raising=False)
    parts = {
        name: Counted(dataset.samples, getattr(loaded, name).rows) for name in ("train_samples", "validation_samples")
    }
    train.fit(configured(dataset, quiet_below=0.1), replace(loaded, **parts))
    assert len(loaded.train_labels) > 90
    assert max(Counted.most) == 40


def test_no_validation_segments_have_no_scores(dataset):
    network = candidate.build_network(configured(dataset))
    nothing = mapped.mapped_samples(dataset, np.arange(0))
    assert epochs.predict(network, nothing, CPU).shape == (0, 2)


def test_items_are_made_in_order_and_some_ahead():
    made = []

    def items():
        for number in range(10):
            made.append(number)
            yield number

    coming = read_ahead(items())
    assert [next(coming), next(coming)] == [0, 1]
    coming.close()
    assert made == list(range(2 + AHEAD))
    assert list(read_ahead(iter(range(10)))) == list(range(10))


def test_what_the_items_raise_comes_in_its_place():
    def items():
        yield 1
        raise ValueError("at the second")

    coming = read_ahead(items())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="at the second"):
        next(coming)
