"""Bags: k windows of one passage have one answer, and only that is held against the label."""

import numpy as np
import pytest
import torch

from ecm_edge.candidate import candidate
from ecm_edge.candidate.networks import batch_last
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.training import batches, train
from ecm_edge.training.augment import mix
from ecm_edge.training.bags import pooled
from ecm_edge.training.data import NOT_TAUGHT, Teaching

from .test_train import TEACHER, UNDISTURBED, Says, configured

CUT = {**UNDISTURBED, "recut": True}


def bag(dataset, k, kind="mean", **how):
    return configured(dataset, **{"bag_windows": k, "bag": kind, "augmentation": CUT, "epochs": 1, **how})


@pytest.fixture(scope="module")
def loaded(dataset):
    return train.load_data(dataset, splits.holdout(dataset, seed=0))


def margins(kind, scores, windows=3):
    training = TrainingConfig(bag_windows=windows, bag=kind, batch_size=6, augmentation={"recut": True})
    found = pooled(scores, training)
    return found[:, 1] - found[:, 0]


def test_the_answer_of_a_bag():
    scores = torch.tensor([[0.0, 1], [1, 5], [0, -2], [0, -1], [7, 4], [2, 0]], requires_grad=True)
    assert margins("mean", scores).tolist() == [1.0, -2.0]
    loudest = margins("loudest", scores)
    assert loudest.tolist() == [4.0, -1.0]
    loudest.sum().backward()
    assert scores.grad.tolist() == [[0, 0], [-1, 1], [0, 0], [-1, 1], [0, 0], [0, 0]]  # one window of each learns
    assert pooled(scores, TrainingConfig()) is scores


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bag_windows": 2}, "takes random crops: set augmentation.recut = true"),
        ({"bag_windows": 3, "augmentation": {"recut": True}}, "256 is not a multiple of bag_windows 3"),
    ],
)
def test_a_bag_that_cannot_be_made_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig.model_validate(fields)


def test_a_batch_is_bags_of_windows_of_one_passage(dataset, loaded):
    """Sample values say which passage they are of."""
    place = torch.from_numpy(loaded.train_passages).float()
    told = loaded.train_samples[:] * 0 + place.view(-1, 1, 1)
    config = bag(dataset, 4, train_on_blank=True)
    made = batches.Batches(config, loaded.__class__(**{**loaded.__dict__, "train_samples": told}), NOT_TAUGHT, CPU)
    assert made.passes == 4 * len(loaded.train_labels)
    assert made.per_epoch == -(-len(loaded.train_labels) // 4)  # of 16 windows each
    seen = 0
    for samples, labels, targets in made:
        assert samples.shape[0] == 4 * len(labels) == 4 * len(targets)
        own = samples[:, 0, 0].view(-1, 4)
        assert (own == own[:, :1]).all()
        for passage, label in zip(own[:, 0], labels, strict=True):
            assert label in loaded.train_labels[place == passage]
        seen += len(labels)
    assert seen == len(loaded.train_labels)


CPU = torch.device("cpu")


def test_the_windows_of_a_bag_are_drawn_one_by_one(dataset, loaded):
    samples, _, _ = next(iter(batches.Batches(bag(dataset, 4), loaded, NOT_TAUGHT, CPU)))
    bags = samples.view(-1, 4, samples.shape[2])
    assert not (bags[:, 0] == bags[:, 1]).all(1).all()


def test_every_window_counts_for_budgets(dataset, loaded):
    record = train.fit(bag(dataset, 4, epochs=2), loaded).record
    assert record.windows_seen == 4 * 2 * record.train_segments
    assert train.fit(bag(dataset, 1), loaded).record.windows_seen == record.train_segments


def test_a_bag_of_one_is_no_bag_and_kinds_differ(dataset, loaded):
    one, loud, mean, loudest = (
        train.fit(bag(dataset, *how), loaded).network.state_dict()
        for how in ((1, "mean"), (1, "loudest"), (2, "mean"), (2, "loudest"))
    )
    assert all(torch.equal(one[name], loud[name]) for name in one)
    assert not all(torch.equal(mean[name], loudest[name]) for name in one)
    assert not all(torch.equal(one[name], mean[name]) for name in one)


def test_bags_are_mixed_window_by_window():
    """Window w of a bag is mixed with window w of another bag, all with one share, and so is the label."""
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(4, 1, 50, generator=generator)
    bags = torch.cat([wave, 3 * wave], 1)  # (4, 2, 50): the second window is three times the first
    mixed, labels = mix(bags, torch.tensor([0.0, 1, 0, 1]), np.random.default_rng(3))
    assert mixed.shape == bags.shape
    torch.testing.assert_close(mixed[:, 1], 3 * mixed[:, 0], rtol=1e-4, atol=1e-4)
    assert ((labels > 0) & (labels < 1)).any()


def test_mixed_bags_are_trained_on(dataset, loaded):
    record = train.fit(bag(dataset, 2, mixup=1.0, loss="focal"), loaded).record
    assert record.windows_seen == 2 * record.train_segments


def test_a_teachers_windows_are_one_answer_too(dataset, loaded):
    teacher = Says(0.0, 2.0)
    config = bag(dataset, 4, distill=1.0, teacher=TEACHER)
    for samples, _, targets in batches.Batches(config, loaded, Teaching((teacher,)), CPU):
        assert len(teacher.asked[-1]) == len(samples) == 4 * len(targets)
        assert targets.numpy() == pytest.approx(1 / (1 + np.exp(-2)))


def test_bags_run_with_the_batch_innermost_and_with_int8(dataset, loaded):
    config = bag(dataset, 2, keep="last", qat_epochs=1)
    network = candidate.build_network(config).eval()
    scores = batch_last.training_forward(network, compiled=False)(loaded.train_samples[:6])
    assert pooled(scores, config.training).shape == (3, 2)
    record = train.fit(config, loaded).record
    assert (record.qat_epochs, record.windows_seen) == (1, 2 * 2 * record.train_segments)
