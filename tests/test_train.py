"""Training: deterministic, early stopping by its rules, a threshold folded in, checkpoints without pickle."""

import csv

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ecm_edge import candidate, epochs, losses, splits, train
from ecm_edge.augment import augment
from ecm_edge.candidate import Augmentation, TrainingConfig
from ecm_edge.errors import CandidateError, DatasetError

from .tiny import data

NOTHING = Augmentation(sign_flip=0, gain=0, noise=0, shift=0)


def configured(dataset, seed=0, split=None, **training):
    """A very small net's configuration."""
    how = TrainingConfig.model_validate({"epochs": 2, "batch_size": 16, **training})
    params = {"channels": 4, "depth": 2, "kernel": 5, "stride": 4}
    return candidate.configure(dataset, split or splits.holdout(dataset, seed=0), "separable", params, how, seed)


@pytest.fixture(scope="module")
def loaded(dataset):
    return train.load_data(dataset, splits.holdout(dataset, seed=0))


def test_the_same_seed_gives_the_same_weights(dataset, loaded):
    first, second = (train.fit(configured(dataset), loaded).network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights(dataset, loaded):
    first, second = (train.fit(configured(dataset, seed), loaded).network.state_dict() for seed in (0, 1))
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_training_learns(dataset, loaded):
    record = train.fit(configured(dataset, epochs=12, learning_rate=1e-2), loaded).record
    assert record.epochs[-1].train_loss < 0.8 * record.epochs[0].train_loss


def test_the_best_epoch_is_the_one_of_least_validation_loss(dataset, loaded):
    record = train.fit(configured(dataset, epochs=6, patience=6), loaded).record
    assert record.best.validation_loss == min(epoch.validation_loss for epoch in record.epochs)


def test_patience(dataset, loaded):
    record = train.fit(configured(dataset, epochs=40, patience=1, learning_rate=0.2), loaded).record
    assert record.stopped == "patience"
    assert len(record.epochs) == record.best.epoch + 1


def test_the_gap_rule(dataset, loaded):
    record = train.fit(configured(dataset, epochs=40, patience=40, gap_limit=1e-9, learning_rate=0.05), loaded).record
    last = record.epochs[-1]
    assert record.stopped == "gap"
    assert last.validation_loss - last.train_loss > 1e-9


def test_pruning_stops_after_the_epoch(dataset, loaded):
    record = train.fit(configured(dataset, epochs=9), loaded, prune=lambda epoch: epoch.epoch == 1).record
    assert (record.stopped, len(record.epochs)) == ("pruned", 1)


@pytest.mark.parametrize("option", [{"weight_average": "ema"}, {"schedule": "plateau"}, {"loss": "focal"}])
def test_options_change_the_weights(dataset, loaded, option):
    plain, other = (train.fit(configured(dataset, **o), loaded).network.state_dict() for o in ({}, option))
    assert not all(torch.equal(plain[name], other[name]) for name in plain)


def test_a_diverging_training_is_a_clear_error(dataset, loaded):
    broken = epochs.TrainingData(
        **{**loaded.__dict__, "train_samples": torch.full_like(loaded.train_samples, float("nan"))}
    )
    with pytest.raises(CandidateError, match="finite losses"):
        train.fit(configured(dataset), broken)


def test_the_threshold_is_folded_into_what_is_saved(dataset, loaded, tmp_path):
    config = configured(dataset)
    trained = train.fit(config, loaded)
    train.save_trained(tmp_path, config, trained)
    scores = epochs.predict(candidate.load_network(tmp_path), loaded.validation_samples, torch.device("cpu"))
    from ecm_edge import metrics

    f1 = metrics.f1(loaded.validation_labels, (scores[:, 1] - scores[:, 0]).numpy(), loaded.validation_subjects)
    assert f1 == pytest.approx(trained.record.best.f1, abs=0.02)  # folding rounds margins next to the threshold


def test_epochs_are_written_for_spreadsheets(dataset, loaded, tmp_path):
    config = configured(dataset)
    train.save_trained(tmp_path, config, train.fit(config, loaded))
    rows = list(csv.DictReader((tmp_path / candidate.EPOCHS).read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x80\x04pickle."])
def test_a_broken_checkpoint_is_refused(dataset, loaded, tmp_path, content):
    config = configured(dataset)
    train.save_trained(tmp_path, config, train.fit(config, loaded))
    (tmp_path / candidate.CHECKPOINT).write_bytes(content)
    with pytest.raises(CandidateError, match="a checkpoint fits its configuration"):
        candidate.load_network(tmp_path)


def test_a_checkpoint_that_was_trained_for_another_configuration_is_refused(dataset, loaded, tmp_path):
    config = configured(dataset)
    train.save_trained(tmp_path, config, train.fit(config, loaded))
    config.model_copy(update={"seed": config.seed + 1}).save(tmp_path / candidate.CONFIG)
    with pytest.raises(CandidateError, match="was trained for the configuration beside it"):
        candidate.load_network(tmp_path)


def test_a_checkpoint_of_another_net_is_refused(dataset, loaded, tmp_path):
    config = configured(dataset)
    train.save_trained(tmp_path, config, train.fit(config, loaded))
    state = load_file(tmp_path / candidate.CHECKPOINT)
    state.popitem()
    save_file(state, tmp_path / candidate.CHECKPOINT)
    with pytest.raises(CandidateError, match="a checkpoint fits its configuration"):
        candidate.load_network(tmp_path)


def test_validation_of_one_class_is_refused(tmp_path):
    rows = {f"A{i}": [("AFIB", [1]), ("N", [-1])] for i in range(6)} | {"B0": [("N", [0])], "B1": [("N", [0])]}
    made = data(tmp_path / "d", rows)
    split = splits.Split(train=[f"A{i}" for i in range(6)], validation=["B0"], test=["B1"])
    with pytest.raises(DatasetError, match="validation needs segments with AF and without"):
        train.load_data(made, split)


def test_training_on_one_class_is_refused(tmp_path):
    rows = {f"A{i}": [("AFIB", [1]), ("", [-1])] for i in range(6)}
    made = data(tmp_path / "d", rows)
    loaded = train.load_data(made, splits.holdout(made, seed=0))
    with pytest.raises(DatasetError, match="with AF and without; found 4 with AF of 4"):
        train.fit(configured(made), loaded)


def batch(count=64, length=100):
    return torch.randn(count, 1, length, generator=torch.Generator().manual_seed(0))


def test_no_augmentation_changes_nothing():
    assert torch.equal(augment(batch(), NOTHING, torch.Generator()), batch())


def test_sign_flip_flips_whole_segments():
    flipped = augment(batch(), NOTHING.model_copy(update={"sign_flip": 0.5}), torch.Generator().manual_seed(1))
    signs = (flipped / batch())[:, 0, 0].sign()
    assert torch.equal(flipped, batch() * signs.view(-1, 1, 1))
    assert 0 < (signs < 0).sum() < len(signs)


def test_gain_stays_within_its_limits():
    scaled = augment(batch(), NOTHING.model_copy(update={"gain": 0.2}), torch.Generator().manual_seed(1))
    ratio = (scaled / batch())[:, 0, 0]
    assert 0.8 <= ratio.min() < ratio.max() <= 1.2


def test_a_shift_moves_samples_and_repeats_the_edge():
    ramp = torch.arange(100.0).repeat(64, 1).unsqueeze(1)
    moved = augment(ramp, NOTHING.model_copy(update={"shift": 5}), torch.Generator().manual_seed(1))
    offset = moved[:, 0, 50] - 50
    assert offset.abs().max() == 5
    expected = (torch.arange(100.0) + offset.unsqueeze(1)).clamp(0, 99)
    assert torch.equal(moved[:, 0], expected)


def test_noise_is_a_share_of_the_segments_own_spread():
    noisy = augment(batch(256, 1000) * 7, NOTHING.model_copy(update={"noise": 0.1}), torch.Generator().manual_seed(1))
    assert (noisy - batch(256, 1000) * 7).std() == pytest.approx(0.7, rel=0.02)


SCORES = torch.tensor([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
LABELS = torch.tensor([1, 0, 1])


def test_focal_loss_by_hand():
    p = np.array([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-1)), 0.5])
    assert float(losses.focal(SCORES, LABELS)) == pytest.approx(np.mean((1 - p) ** 2 * -np.log(p)), rel=1e-5)


def test_soft_fbeta_by_hand():
    p = np.array([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(1)), 0.5])
    tp, fp, fn = p[0] + p[2], p[1], 2 - p[0] - p[2]
    fbeta = 5 * tp / (5 * tp + 4 * fn + fp)
    cross_entropy = -np.log([p[0], 1 - p[1], p[2]]).mean()
    assert float(losses.soft_fbeta(SCORES, LABELS)) == pytest.approx(1 - fbeta + 0.5 * cross_entropy, rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "soft_fbeta"])
def test_certain_and_right_costs_nothing(name):
    sure = torch.tensor([[-50.0, 50.0], [50.0, -50.0]])
    assert float(losses.loss_function(name)(sure, torch.tensor([1, 0]))) == pytest.approx(0, abs=1e-5)
