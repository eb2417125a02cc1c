"""Fine-tuning with int8 simulated: what is simulated is what `quantize` makes, and int8 is the better for it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ecm_edge import metrics
from ecm_edge.base.errors import CandidateError, ModelError
from ecm_edge.candidate import candidate, networks
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.forms import export, onnx_model, quantize, simplify
from ecm_edge.training import epochs, qat, train
from ecm_edge.training.data import NOT_TAUGHT
from ecm_edge.training.epochs import Loop
from ecm_edge.training.losses import cross_entropy

from . import nets

T = nets.T
RICH = {"squeeze_excite": True, "normalize": True, "decimation": 2, "hidden": 3, "pooling": "mean_max_std"}
NETWORKS = {
    "afnet": ("afnet", {"channel_factor": 2, "head_factor": 1}),
    "separable": ("separable", {"channels": 4, "depth": 2, "kernel": 5, "activation": "silu", **RICH}),
    "tcn": ("tcn", {"channels": 4, "depth": 2, "kernel": 3, "separable": True, "activation": "hardswish", **RICH}),
    "times": (
        "tcn",
        {"channels": 4, "depth": 2, "kernel": 3, "times_channels": 4, "times_depth": 2, "normalize": True},
    ),
    "rhythm_wave": ("rhythm_wave", {"wave_channels": 4, "rhythm_channels": 4, "depth": 2, "activation": "leaky_relu"}),
    "user's own": None,
}


def varied(network, seed=2):
    """The network with batch norms that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "running" in name or (value.ndim == 1 and value.is_floating_point()):
                value.add_(torch.rand(value.shape, generator=generator) * 0.5)
    return network.eval()


def built(name):
    torch.manual_seed(0)
    return nets.trained() if NETWORKS[name] is None else varied(networks.build(*NETWORKS[name], T))


def forms(network, samples):
    """Scores (n, 2) of the float form and of the uncorrected int8 form."""
    simplified, _ = simplify.simplify(export.to_onnx(network, samples.shape[1]), samples[:1])
    return [
        onnx_model.run_scores(onnx_model.classifier_of(proto), samples)
        for proto in (simplified, quantize.quantize_int8(simplified, samples))
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_simulated_is_the_int8_form(name):
    network, samples = built(name), nets.segments(24)
    float32, int8 = forms(network, samples)
    with torch.no_grad():
        simulated = qat.Simulated(network, samples, batch=32)(torch.from_numpy(samples).unsqueeze(1)).numpy()
    lost, missed = np.abs(int8 - float32).mean(), np.abs(int8 - simulated).mean()
    assert missed < 0.2 * lost


def coarse(network, factor=60):
    """The network, one channel of whose first activation is so large that int8 has few steps left for the others.

    Nothing reads that channel and no gradient reaches it, so that no training makes it smaller.
    """
    (_, norm, _), (_, depthwise_norm, pointwise, *_) = network[1], network[2]
    with torch.no_grad():
        norm.weight[0] *= factor
        depthwise_norm.weight[0] = depthwise_norm.bias[0] = 0
        pointwise.weight[:, 0] = 0
    return network


def configured(dataset, **training):
    how = {"epochs": 12, "batch_size": 16, "keep": "last", "learning_rate": 1e-2, "qat_learning_rate": 2e-3, **training}
    params = {"channels": 4, "depth": 2, "kernel": 5, "stride": 4}
    split = splits.holdout(dataset, seed=0)
    return candidate.configure(dataset, split, "separable", params, TrainingConfig.model_validate(how), seed=0)


@pytest.fixture(scope="module")
def loaded(dataset):
    return train.load_data(dataset, splits.holdout(dataset, seed=0))


class Unrounded:
    """The same frozen batch norm, and no rounding: what the epochs alone would do."""

    def __init__(self, network, *_, **__):
        self._network = network

    def calibrate(self):
        pass

    def __call__(self, samples):
        return self._network.eval()(samples)


def losses_of(network, data):
    """The cross-entropy of the float form and of int8."""
    found = forms(network.eval(), data.train_samples[:, 0].numpy())
    return [float(cross_entropy(torch.from_numpy(scores), data.train_labels.float())) for scores in found]


def test_int8_learns_more_than_by_the_same_epochs_without_rounding(dataset, loaded, monkeypatch):
    """What int8 has lost can be learnt again, and the float form, which has learnt nearly all there is, does not.

    From seeds 0 to 8 the loss of int8, 0.27 to 1.04 before, came to between 0.24 and 0.82 of that without rounding.
    What int8 loses to the float form came to at most 0.10, and to at least 0.15 without rounding.
    """
    undisturbed = {"sign_flip": 0, "gain": 0, "noise": 0, "shift": 0}
    learnt = {"epochs": 40, "learning_rate": 3e-2, "train_on_blank": True, "augmentation": undisturbed}
    config = configured(dataset, **learnt, qat_epochs=6, qat_learning_rate=3e-3)
    torch.manual_seed(0)
    network = coarse(candidate.build_network(config))
    before = Loop(network, config, loaded, torch.device("cpu"), None)
    before.run()
    float32_before, int8_before = losses_of(network, loaded)
    assert float32_before < 0.5 * int8_before
    found = []
    for forward in (qat.Simulated, Unrounded):
        monkeypatch.setattr(qat, "Simulated", forward)
        twin = copy.deepcopy(network)
        qat.fine_tune(twin, config, before, NOT_TAUGHT)
        found.append(losses_of(twin, loaded))
    (float32, int8), (plain_float32, plain_int8) = found
    assert int8 < min(int8_before, plain_int8)
    assert int8 - float32 < plain_int8 - plain_float32


def test_a_fine_tuned_candidate_is_a_float_network_with_its_own_threshold(dataset, loaded):
    numbers = []
    config = configured(dataset, epochs=2, qat_epochs=2)
    trained = train.fit(config, loaded, on_epoch=lambda epoch: numbers.append(epoch.epoch))
    record = trained.record
    assert numbers == [epoch.epoch for epoch in record.epochs] == [1, 2, 3, 4]
    assert (record.qat_epochs, record.best, record.stopped) == (2, record.epochs[-1], "finished")
    assert trained.network.state_dict().keys() == candidate.build_network(config).state_dict().keys()
    scores = epochs.predict(trained.network, loaded.validation_samples, torch.device("cpu")).numpy()
    f1 = metrics.f1(loaded.validation_labels, scores[:, 1] - scores[:, 0], loaded.validation_subjects)
    assert f1 == pytest.approx(record.best.f1, abs=0.03)  # folding rounds margins next to the threshold
    plain = train.fit(configured(dataset, epochs=2), loaded)
    assert plain.record.qat_epochs == 0
    statistics = [name for name in plain.network.state_dict() if "running" in name]
    ours, theirs = trained.network.state_dict(), plain.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in statistics)
    assert not torch.equal(ours["1.0.weight"], theirs["1.0.weight"])


def test_more_segments_can_be_drawn_for_it_than_there_are(dataset, loaded):
    sampled = configured(dataset, epochs=1, qat_epochs=1, batch_size=512, sampling={"segments": 600})
    assert len(loaded.train_labels) < 512
    record = train.fit(sampled, loaded).record
    assert (record.qat_epochs, record.windows_seen) == (1, 1200)


def test_what_is_pruned_is_not_fine_tuned(dataset, loaded):
    record = train.fit(configured(dataset, epochs=2, qat_epochs=2), loaded, should_stop=lambda _: True).record
    assert (record.stopped, len(record.epochs), record.qat_epochs) == ("pruned", 1, 0)
    record = train.fit(configured(dataset, epochs=1, qat_epochs=3), loaded, should_stop=lambda e: e.epoch == 2).record
    assert (record.stopped, len(record.epochs), record.qat_epochs) == ("pruned", 2, 1)


class Squared(nn.Module):
    """Products with weights that are no layer's."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(T))
        self.head = nn.Linear(T, 2)

    def forward(self, x):
        return self.head(x.flatten(1) @ self.weight)


class OneByOne(nn.Module):
    """Takes one segment only."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(T, 2)

    def forward(self, x):
        return self.head(x.reshape(1, T))


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        (Squared(), CandidateError, r"finds every rounded value in the network; found 1 layers for 2 weights"),
        (OneByOne(), ModelError, "takes 4 segments at once"),
    ],
)
def test_a_network_that_cannot_be_simulated_is_refused(network, error, message):
    with pytest.raises(error, match=message):
        qat.Simulated(network, nets.segments(4), batch=4)


def test_an_epoch_may_draw_more_segments_than_there_are(dataset, loaded):
    count = len(loaded.train_labels)
    how = {"epochs": 1, "qat_epochs": 1, "batch_size": 2 * count, "sampling": {"segments": 2 * count}}
    record = train.fit(configured(dataset, **how), loaded).record
    assert (record.windows_seen, len(record.epochs)) == (4 * count, 2)
