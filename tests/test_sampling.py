"""Sampling: shares by hand, and draws that come as often as they should."""

import numpy as np
import pytest
import torch

from ecm_edge.candidate.training_config import Sampling
from ecm_edge.training.sampling import balanced_shares, draw

SOURCE = np.array([0] * 6 + [1] * 2)
LABEL = np.array([0, 0, 0, 0, 0, 1, 0, 1])


def shares(source=0.0, label=0.0):
    return balanced_shares([(SOURCE, source), (LABEL, label)])


def test_without_balance_every_segment_is_alike():
    assert shares() == pytest.approx(np.full(8, 1 / 8))


def test_balanced_sources_have_the_same_share_and_keep_their_classes():
    found = shares(source=1)
    assert found[:6].sum() == pytest.approx(0.5)
    assert found[:6] == pytest.approx(np.full(6, 0.5 / 6))


def test_balanced_classes_are_alike_within_each_source():
    found = shares(label=1)
    assert [found[:5].sum(), found[5], found[6], found[7]] == pytest.approx([6 / 16, 6 / 16, 2 / 16, 2 / 16])


def test_half_a_balance_takes_roots():
    found = shares(source=0.5)
    assert found[6:].sum() == pytest.approx(2**0.5 / (2**0.5 + 6**0.5))


@pytest.mark.parametrize("balances", [(0.3, 0.7), (1, 1), (0, 1)])
def test_shares_are_one_in_all(balances):
    assert shares(*balances).sum() == pytest.approx(1)


def test_an_epoch_draws_each_row_as_often_as_expected_up_or_down():
    rows, times = torch.arange(100, 104), torch.tensor([0.5, 1.0, 2.25, 0.25], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([torch.bincount(draw(rows, times, generator) - 100, minlength=4) for _ in range(400)]).double()
    assert (drawn.sum(1) == 4).all()
    assert ((drawn - times).abs() < 1).all()
    assert drawn.mean(0).tolist() == pytest.approx(times.tolist(), abs=0.08)


def test_the_same_seed_draws_the_same():
    rows, times = torch.arange(50), torch.full((50,), 0.5, dtype=torch.float64)
    first, again, other = (draw(rows, times, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_balances_lie_between_0_and_1():
    with pytest.raises(ValueError, match="less than or equal to 1"):
        Sampling(rhythm=1.5)
