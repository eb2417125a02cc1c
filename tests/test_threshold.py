"""The threshold in the last bias: where the margin falls, what a tie is, and which networks cannot take it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ecm_edge.base.errors import ModelError
from ecm_edge.evaluate.verify.forms import torch_scores
from ecm_edge.forms import parity
from ecm_edge.training.threshold_in_bias import fold_threshold

from . import nets

PROBE = torch.from_numpy(nets.segments(4))[:, None]


@pytest.mark.parametrize("threshold", [0.0, 0.3, -1.5])
def test_threshold_is_folded_so_that_a_tie_is_af(threshold):
    network, samples = nets.trained(), nets.segments(32)
    margins = np.subtract(*torch_scores(network, samples).T[::-1])
    folded = torch_scores(fold_threshold(network, threshold, PROBE), samples)
    assert np.subtract(*folded.T[::-1]) == pytest.approx(margins - threshold, abs=1e-5)
    assert not np.shares_memory(network.head.bias.detach().numpy(), folded)


def test_margin_of_exactly_the_threshold_is_af():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(nets.T, 2))
    nn.init.zeros_(network[1].weight)
    network[1].bias.data = torch.tensor([0.25, 1.0])
    assert parity.labels_of(torch_scores(fold_threshold(network, 0.75, PROBE), nets.segments(1))).tolist() == [1]
    assert parity.labels_of(torch_scores(fold_threshold(network, 0.875, PROBE), nets.segments(1))).tolist() == [0]


def test_threshold_needs_a_last_bias():
    torch.manual_seed(0)
    for network in (nn.Flatten(), nn.Linear(4, 3), nn.Linear(4, 2, bias=False)):
        with pytest.raises(ModelError, match="last Linear"):
            fold_threshold(network, 0.1, PROBE)


class HeadFirst(nn.Module):
    """Its last module by name is not the last one to be called."""

    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Linear(2, 2), nn.Linear(nets.T, 2)

    def forward(self, x):
        return self.head(self.body(x[:, 0]))


@pytest.mark.parametrize("network", [HeadFirst(), nn.Sequential(nn.Flatten(), nn.Linear(nets.T, 2), nn.Softmax(1))])
def test_the_last_linear_has_to_give_the_scores(network):
    with pytest.raises(ModelError, match="not added to the scores themselves"):
        fold_threshold(network, 0.5, PROBE)
