"""The auxiliary output: it learns how RR intervals vary, changes no other weight's shape, and is gone afterwards."""

import numpy as np
import pytest
import torch
from torch import nn

from ecm_edge.base.errors import ModelError
from ecm_edge.candidate import candidate
from ecm_edge.candidate.networks import batch_last, fastest
from ecm_edge.data import splits
from ecm_edge.training import auxiliary, epochs, train
from ecm_edge.training.beats import find_beats, rr_variation

from .test_beats import RATE_HZ, REGULAR_S, UNEVEN_S, ecg
from .test_train import UNDISTURBED, as_it_is, configured


@pytest.fixture(scope="module")
def loaded(dataset):
    return train.load_data(dataset, splits.holdout(dataset, seed=0))


def segments(*each_s):
    return torch.from_numpy(np.stack([ecg(beats_s) for beats_s in each_s])).float().unsqueeze(1)


def test_a_widened_network_answers_as_before_and_can_be_narrowed(dataset, loaded):
    network = candidate.build_network(configured(dataset)).eval()
    samples = loaded.train_samples[:5]
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    with torch.no_grad():
        before = network(samples)
        auxiliary.widen(network, samples[:1])
        wide = network(samples)
        assert wide.shape == (5, 3)
        torch.testing.assert_close(wide[:, :2], before)
        assert wide[:, 2].tolist() == [0] * 5
        torch.testing.assert_close(batch_last.training_forward(network, compiled=False)(samples), wide)
        assert torch.equal(epochs.predict(network, samples, torch.device("cpu")), wide[:, :2])
        auxiliary.narrow(network)
        torch.testing.assert_close(network(samples), before)
    assert {name: value.shape for name, value in network.state_dict().items()} == shapes


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(1250, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(1250, 2), nn.Unflatten(1, (1, 2)), nn.AdaptiveAvgPool1d(2), nn.Flatten()),
        nn.Sequential(nn.Flatten(), nn.Linear(1250, 2), nn.Softmax(1)),
        nn.Sequential(nn.AdaptiveAvgPool1d(2), nn.Flatten()),
    ],
)
def test_a_network_that_does_not_end_in_its_scores_is_refused(network):
    with pytest.raises(ModelError, match=r"last Linear"):
        auxiliary.widen(network, torch.zeros(1, 1, 1250))


def test_the_loss_is_of_segments_with_beats_only():
    samples = segments(REGULAR_S, UNEVEN_S, ())
    variation, known = rr_variation(*find_beats(samples, RATE_HZ))
    assert known.tolist() == [True, True, False]
    told = variation / 0.1
    assert auxiliary.variation_loss(told, samples, RATE_HZ) == 0
    off = told + torch.tensor([0.0, 0.5, 100.0])
    assert auxiliary.variation_loss(off, samples, RATE_HZ).item() == pytest.approx(0.5**2 / 2 / 2)
    assert auxiliary.variation_loss(off[2:], samples[2:], RATE_HZ) == 0


LEARNS = {"epochs": 20, "learning_rate": 3e-2, "keep": "last", "augmentation": UNDISTURBED, "train_on_blank": True}


def test_the_third_output_learns_what_it_is_asked(dataset, loaded, monkeypatch):
    """From seeds 0 to 4 its loss comes to between 0.44 and 0.56 of that of the best constant."""
    kept = {}
    narrow = auxiliary.narrow

    def spy(network):
        network.eval()
        with torch.no_grad():
            kept["predicted"] = network(loaded.train_samples[:])[:, 2]
        narrow(network)

    monkeypatch.setattr(auxiliary, "narrow", spy)
    train.fit(configured(dataset, auxiliary=1.0, **LEARNS), loaded)
    variation, known = rr_variation(*find_beats(loaded.train_samples[:], RATE_HZ))
    constant = (variation[known] / 0.1).median().expand(len(known))
    loss, of_constant = (
        auxiliary.variation_loss(said, loaded.train_samples[:], RATE_HZ) for said in (kept["predicted"], constant)
    )
    assert loss < 0.8 * of_constant


@pytest.mark.parametrize(
    "how", [{"weight_average": "ema"}, {"loss": "focal"}, {"loss": "soft_fbeta"}, {"qat_epochs": 1, "keep": "last"}]
)
def test_a_training_with_it_gives_a_network_of_two_scores(dataset, loaded, how):
    plain, other = (train.fit(configured(dataset, **how, auxiliary=weight), loaded) for weight in (0, 0.5))
    state, theirs = other.network.state_dict(), plain.network.state_dict()
    assert {name: value.shape for name, value in state.items()} == {n: value.shape for n, value in theirs.items()}
    assert not all(torch.equal(value, theirs[name]) for name, value in state.items())
    with torch.no_grad():
        assert other.network(loaded.train_samples[:3]).shape == (3, 2)
    candidate.build_network(configured(dataset)).load_state_dict(state)


def test_it_runs_with_the_batch_innermost(dataset, loaded, monkeypatch):
    config = configured(dataset, auxiliary=0.5, keep="last")
    config = config.model_copy(update={"network": {**config.network, "dropout": 0.0}})
    plain = train.fit(config, loaded).record
    monkeypatch.setenv(fastest.VARIABLE, "compiled")
    monkeypatch.setattr(batch_last, "can_compile", lambda: True)
    monkeypatch.setattr(batch_last, "_compiled", as_it_is)
    fast = train.fit(config, loaded).record
    assert fast.compiled
    assert fast.best.train_loss == pytest.approx(plain.best.train_loss, rel=1e-4)
