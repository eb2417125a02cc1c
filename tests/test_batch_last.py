"""The forward pass with the batch innermost gives what the network itself gives in training mode."""

import copy
import logging

import pytest
import torch
from torch import nn

from ecm_edge.candidate import networks
from ecm_edge.candidate.networks import batch_last
from ecm_edge.candidate.networks.blocks import Pool
from ecm_edge.candidate.networks.window_conv import copying_conv, window_conv

RICH = {"squeeze_excite": True, "normalize": True, "decimation": 2, "hidden": 3, "pooling": "mean_max_std"}
NETWORKS = [
    ("afnet", {"channel_factor": 1, "head_factor": 1}),
    ("afnet", {"channel_factor": 2, "head_factor": 1, "activation": "gelu", "squeeze_excite": False}),
    ("separable", {"channels": 4, "depth": 2, "kernel": 5}),
    (
        "separable",
        {"channels": 2, "depth": 2, "kernel": 4, "stride": 3, "separable": False, "activation": "silu", **RICH},
    ),
    ("tcn", {"channels": 4, "depth": 2, "kernel": 3}),
    ("tcn", {"channels": 4, "depth": 2, "kernel": 3, "separable": True, "activation": "hardswish", **RICH}),
    ("tcn", {"channels": 4, "depth": 2, "kernel": 5, "stem_depth": 3, "stride": 2, "first_channels": 3}),
    ("tcn", {"channels": 4, "depth": 2, "kernel": 3, "times_channels": 3, "times_depth": 2}),
    ("rhythm_wave", {"wave_channels": 4, "rhythm_channels": 4, "depth": 2}),
    ("rhythm_wave", {"wave_channels": 2, "rhythm_channels": 3, "depth": 2, "activation": "leaky_relu", **RICH}),
]
TORCHS_OWN = {
    "linear layer along time": lambda: nn.Sequential(nn.Linear(60, 7), nn.Tanh(), nn.Flatten(), nn.Linear(7, 2)),
    "batch norm of features": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(60), nn.Linear(60, 2)),
    "no head": lambda: nn.Sequential(nn.Conv1d(1, 2, 3), nn.ELU()),
    "frozen batch norm": lambda: nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2).eval(), nn.Flatten()),
}


def compare(network, forward_of, samples, **tolerance):
    """Scores, gradients and statistics of a network and of its twin, run the other way."""
    twin = copy.deepcopy(network)
    ours, theirs = forward_of(twin)(samples), network(samples)
    assert ours.shape == theirs.shape
    weights = torch.arange(ours.numel(), dtype=ours.dtype).view(ours.shape)
    for scores in (ours, theirs):
        (scores * weights).square().sum().backward()
    torch.testing.assert_close(ours, theirs, **tolerance)
    for (name, mine), given in zip(twin.named_parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, given.grad, msg=lambda said, name=name: f"{name}: {said}", **tolerance)
    for (name, mine), given in zip(twin.named_buffers(), network.buffers(), strict=True):
        torch.testing.assert_close(mine, given, msg=lambda said, name=name: f"{name}: {said}", **tolerance)


def as_it_is(network):
    return batch_last.training_forward(network, compiled=False)


def test_every_family_is_tested():
    assert {family for family, _ in NETWORKS} == set(networks.FAMILIES)


@pytest.mark.parametrize(("family", "params"), NETWORKS)
def test_it_is_the_same_network(family, params):
    torch.manual_seed(0)
    network = networks.build(family, {**params, "dropout": 0}, 300).double()
    assert batch_last.supports(network)
    compare(network, as_it_is, torch.randn(5, 1, 300, dtype=torch.float64), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("family", "params"), NETWORKS)
def test_in_evaluation_mode_it_answers_as_the_network_does_and_changes_nothing(family, params):
    torch.manual_seed(0)
    network = networks.build(family, params, 300).double()
    network(torch.randn(5, 1, 300, dtype=torch.float64))  # so that the running statistics are some
    network.eval()
    before = copy.deepcopy(network.state_dict())
    samples = torch.randn(5, 1, 300, dtype=torch.float64)
    torch.testing.assert_close(as_it_is(network)(samples), network(samples), rtol=1e-8, atol=1e-9)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("make", TORCHS_OWN.values(), ids=TORCHS_OWN)
def test_torchs_own_modules_mean_what_they_mean_to_torch(make):
    torch.manual_seed(0)
    compare(make().double(), as_it_is, torch.randn(4, 1, 60, dtype=torch.float64), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("kernel", "stride", "length"), [(1, 1, 7), (1, 3, 8), (4, 2, 23), (5, 2, 22), (3, 4, 21)])
@pytest.mark.parametrize("conv", [window_conv, copying_conv])
def test_a_convolution_by_windows_is_torchs(conv, kernel, stride, length):
    torch.manual_seed(0)
    x = torch.randn(3, 2, length, dtype=torch.float64, requires_grad=True)  # N, C, T
    weight = torch.randn(4, 2, kernel, dtype=torch.float64, requires_grad=True)
    theirs = nn.functional.conv1d(x, weight, stride=stride)
    ours = conv(x.permute(2, 1, 0), weight, stride).permute(2, 1, 0)
    torch.testing.assert_close(ours, theirs)
    toward = torch.randn_like(theirs)
    expected = torch.autograd.grad(theirs, (x, weight), toward)
    torch.testing.assert_close(torch.autograd.grad(ours, (x, weight), toward), expected)


def test_float32_is_close_under_an_offset_of_many_deviations():
    torch.manual_seed(0)
    network = networks.build("tcn", {"channels": 4, "depth": 2, "kernel": 3, "dropout": 0}, 300)
    samples = 0.1 * torch.randn(8, 1, 300) + 2
    torch.testing.assert_close(as_it_is(copy.deepcopy(network))(samples), network(samples), rtol=1e-3, atol=1e-3)


def test_dropout_drops():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.25))
    kept = as_it_is(network)(torch.ones(100, 1, 100))
    assert float((kept == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(as_it_is(network.eval())(torch.ones(3, 1, 4)), torch.ones(3, 4))


class Louder(nn.Conv1d):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked():
    network = nn.Conv1d(1, 2, 3)
    network.register_forward_hook(lambda *_: None)
    return network


UNSUPPORTED = {
    "unknown": nn.GRU(1, 2),
    "subclass": Louder(1, 2, 3),
    "hooks": hooked(),
    "groups": nn.Conv1d(4, 4, 3, groups=2),
    "padding by name": nn.Conv1d(1, 2, 3, padding="same"),
    "padding mode": nn.Conv1d(1, 2, 3, padding=1, padding_mode="circular"),
    "no momentum": nn.BatchNorm1d(2, momentum=None),
    "no statistics": nn.BatchNorm1d(2, track_running_stats=False),
    "overlapping means": nn.AvgPool1d(3, 2),
    "flattens less": nn.Flatten(2),
}


@pytest.mark.parametrize("module", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_is_not_known_is_not_supported(module):
    network = nn.Sequential(nn.ReLU(), nn.Sequential(module))
    assert not batch_last.supports(network)
    with pytest.raises(ValueError, match=type(module).__name__):
        as_it_is(network)


def small():
    torch.manual_seed(0)
    params = {"channels": 2, "depth": 1, "kernel": 3, "separable": True, "dropout": 0}
    return networks.build("tcn", params, 100)


def test_one_batch_size_is_compiled(monkeypatch):
    sizes = []

    def recording(function, **_):
        return lambda x: sizes.append(x.shape[2]) or function(x)

    monkeypatch.setattr(torch, "compile", recording)
    forward = batch_last.training_forward(small(), compiled=True)
    for size in (4, 4, 3, 2, 4):
        assert forward(torch.randn(size, 1, 100)).shape == (size, 2)
    assert sizes == [4, 4, 4]
    assert forward.compiled


def test_a_training_outlives_a_compiler_that_fails(monkeypatch, caplog):
    attempts = []

    def failing(_function, **_):
        def fails(x):
            attempts.append(x)
            raise RuntimeError("g++ is out of order\nand out of memory")

        return fails

    monkeypatch.setattr(torch, "compile", failing)
    network, samples = small(), torch.randn(4, 1, 100)
    forward, expected = batch_last.training_forward(copy.deepcopy(network), compiled=True), network(samples)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            torch.testing.assert_close(forward(samples), expected, rtol=1e-4, atol=1e-4)
    assert len(attempts) == len(caplog.records) == 1
    assert not forward.compiled
    assert "without compiling" in caplog.text
    assert "RuntimeError: g++ is out of order. Compiling takes a C++ compiler" in caplog.text


def test_a_machine_without_a_compiler_is_a_normal_case():
    from torch._inductor import config

    with config.patch({"cpp.cxx": "no-such-compiler"}):
        assert not batch_last.can_compile()


def test_compiled_it_is_the_same_network(caplog):
    if not batch_last.can_compile():
        pytest.skip("compiling takes a C++ compiler, and torch finds none (CXX, or g++)")

    def compiled(network):
        return batch_last.training_forward(network, compiled=True)

    torch.manual_seed(0)
    tiny = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.ReLU(), Pool("mean"), nn.Linear(2, 2))
    compare(tiny, compiled, torch.randn(4, 1, 40), rtol=1e-3, atol=1e-4)
    assert "without compiling" not in caplog.text
