"""Losses: by hand, on labels and on probabilities."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ecm_edge.training import losses

SCORES = torch.tensor([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
LABELS = torch.tensor([1.0, 0.0, 1.0])


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
    assert float(losses.loss_function(name)(sure, torch.tensor([1.0, 0.0]))) == pytest.approx(0, abs=1e-5)


def test_cross_entropy_of_labels_is_torchs():
    assert torch.allclose(losses.cross_entropy(SCORES, LABELS), F.cross_entropy(SCORES, LABELS.long()))


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_a_probability_weighs_the_losses_of_both_labels(name):
    loss = losses.loss_function(name)
    between = loss(SCORES, torch.full((3,), 0.3))
    assert float(between) == pytest.approx(0.7 * loss(SCORES, torch.zeros(3)) + 0.3 * loss(SCORES, torch.ones(3)))


def test_soft_fbeta_counts_shares_of_a_segment():
    p = 1 / (1 + np.exp(-2))
    found = losses.soft_fbeta(SCORES[:1], torch.tensor([0.6]))
    fbeta = 5 * 0.6 * p / (5 * 0.6 * p + 4 * 0.6 * (1 - p) + 0.4 * p)
    cross_entropy = -0.6 * np.log(p) - 0.4 * np.log(1 - p)
    assert float(found) == pytest.approx(1 - fbeta + 0.5 * cross_entropy, rel=1e-5)


def test_without_focus_the_focal_loss_is_the_cross_entropy():
    assert torch.allclose(losses.loss_function("focal", focus=0)(SCORES, LABELS), losses.cross_entropy(SCORES, LABELS))


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "soft_fbeta"])
def test_gradients_stay_finite_however_sure_the_network_is(name):
    scores = torch.tensor([[-500.0, 500.0], [500.0, -500.0]], requires_grad=True)
    losses.loss_function(name)(scores, torch.tensor([0.0, 0.9])).backward()
    assert scores.grad.isfinite().all()
