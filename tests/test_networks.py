"""The contract of every registered family, and the seed work's net in particular."""

import sys

import pytest
import torch

from ecm_edge.base.errors import SpaceError
from ecm_edge.candidate import networks
from ecm_edge.candidate.networks.beat_times import STEP, BeatTimes
from ecm_edge.candidate.networks.blocks import Normalize, Pool, convolution

SMALLEST = {
    "afnet": {"channel_factor": 1, "head_factor": 1},
    "separable": {"channels": 4, "depth": 2, "kernel": 5},
    "tcn": {"channels": 4, "depth": 2, "kernel": 3},
    "rhythm_wave": {"wave_channels": 4, "rhythm_channels": 4, "depth": 2},
}


def test_every_family_is_tested():
    assert set(SMALLEST) == set(networks.FAMILIES)


@pytest.mark.parametrize("family", networks.FAMILIES)
def test_segments_in_two_scores_out(family):
    torch.manual_seed(0)
    network = networks.build(family, SMALLEST[family], 1250).eval()
    assert network(torch.randn(3, 1, 1250)).shape == (3, 2)


@pytest.mark.parametrize("family", networks.FAMILIES)
def test_every_weight_gets_a_gradient(family):
    torch.manual_seed(0)
    network = networks.build(family, SMALLEST[family], 1250)
    network(torch.randn(4, 1, 1250)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("family", networks.FAMILIES)
def test_widths_are_parameters_that_make_it_wider(family):
    torch.manual_seed(0)
    wider = {**SMALLEST[family], **dict.fromkeys(networks.widths(family), 8)}
    narrow, wide = (networks.build(family, p, 1250) for p in (SMALLEST[family], wider))
    assert sum(p.numel() for p in wide.parameters()) > sum(p.numel() for p in narrow.parameters())


def test_afnet_is_the_seed_works_net():
    torch.manual_seed(0)
    network = networks.build("afnet", {"channel_factor": 3, "head_factor": 2}, 1250)
    convolutions = [m for m in network if isinstance(m, torch.nn.Conv1d)]
    assert [c.kernel_size[0] for c in convolutions] == [6, 5, 4, 4, 4]
    assert [c.out_channels for c in convolutions] == [3, 6, 12, 24, 24]
    assert {c.stride[0] for c in convolutions} == {2}
    assert [m.out_features for m in network.modules() if isinstance(m, torch.nn.Linear)] == [10, 2]
    squeezed = [m.squeeze.out_channels for m in network if type(m).__name__ == "SqueezeExcite"]
    assert squeezed == [12 // 4, 24 // 4]


@pytest.mark.parametrize(("stride", "dilation", "length"), [(1, 1, 100), (2, 1, 50), (1, 4, 100)])
def test_a_convolution_keeps_the_rate_over_the_stride(stride, dilation, length):
    torch.manual_seed(0)
    block = convolution(2, 3, kernel=5, stride=stride, dilation=dilation, act="relu", separable=True)
    assert block(torch.randn(1, 2, 100)).shape == (1, 3, length)


def test_pooling_by_hand():
    pooled = Pool("mean_max_std")(torch.tensor([[[1.0, 3.0]]]))
    assert pooled.tolist() == [[2.0, 3.0, pytest.approx(1.0, abs=1e-4)]]


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])  # volts, millivolts, microvolts
def test_normalizing_takes_away_offset_and_unit(unit):
    shape = torch.randn(2, 1, 1250, generator=torch.Generator().manual_seed(0))
    for offset in (0.0, 5.0):
        normal = Normalize()(unit * (0.2 * shape + offset))
        torch.testing.assert_close(normal.mean(2), torch.zeros(2, 1), rtol=0, atol=1e-3)
        torch.testing.assert_close(normal.std(2, correction=0), torch.ones(2, 1), rtol=0, atol=0.06)


@pytest.mark.parametrize("level", [0.0, 0.1, -3.3, 5e3])
def test_a_flat_segment_normalizes_to_zeros(level):
    assert not Normalize()(torch.full((2, 1, 1250), level)).any()


def test_one_sample_off_a_flat_segment_normalizes_to_something_finite():
    samples = torch.full((2, 1, 1250), 0.1)
    samples[0, 0, 0], samples[1, 0, 700] = 4.0, 4.0
    normal = Normalize()(samples)
    torch.testing.assert_close(normal.std(2, correction=0), torch.ones(2, 1), rtol=0, atol=0.01)


@pytest.mark.parametrize("family", ["separable", "tcn", "rhythm_wave"])
def test_a_normalized_network_answers_alike_in_every_unit(family):
    torch.manual_seed(0)
    params = {**SMALLEST[family], "normalize": True, "decimation": 2}
    network = networks.build(family, params, 1250).eval()
    samples = torch.randn(3, 1, 1250)
    torch.testing.assert_close(network(50 * samples + 7), network(samples), rtol=1e-2, atol=1e-3)
    assert network.state_dict().keys() == networks.build(family, SMALLEST[family], 1250).state_dict().keys()


def test_a_tcn_of_several_widths_kernels_and_strides():
    torch.manual_seed(0)
    params = {"channels": 16, "depth": 4, "kernel": 9, "stride": 2, "stem_depth": 3, "separable": True}
    first = {"first_channels": 8, "first_kernel": 11, "first_stride": 4, "stem_channels": 12, "block_kernel": 5}
    network = networks.build("tcn", {**params, **first}, 1250)
    found = [
        (m.out_channels, m.kernel_size[0], m.stride[0], m.dilation[0])
        for m in network.modules()
        if isinstance(m, torch.nn.Conv1d) and m.groups == 1
    ]
    along_time = [
        (m.out_channels, m.kernel_size[0], m.stride[0], m.dilation[0])
        for m in network.modules()
        if isinstance(m, torch.nn.Conv1d) and m.groups > 1
    ]
    assert found == [(8, 11, 4, 1), (12, 1, 1, 1), *[(16, 1, 1, 1)] * 5]
    assert along_time == [(8, 9, 2, 1), (12, 9, 2, 1), *((16, 5, 1, dilation) for dilation in (1, 2, 4, 8))]
    one = networks.build("tcn", {**params, **first, "stem_depth": 1}, 1250)
    assert next(m.out_channels for m in one.modules() if isinstance(m, torch.nn.Conv1d)) == 16


BEATS = [150, 330, 560, 700, 960, 1130]  # samples of 1,250


def beats(width, t_wave=0.25):
    """A segment (1, 1, 1250) in mV: a QRS of that width in samples at each of BEATS, a T wave 70 samples later."""
    at = torch.arange(1250.0) - torch.tensor(BEATS).view(-1, 1)
    waves = torch.exp(-((at / width) ** 2)) + t_wave * torch.exp(-(((at - 70) / 15) ** 2))
    return waves.sum(0).view(1, 1, -1)


def pulses(segment):
    """Where the pulses of a segment are in samples, each from its first step above a third to its last."""
    found = BeatTimes()(segment)[0, 0] > 1 / 3
    edges = torch.diff(torch.cat([torch.zeros(1), found.float(), torch.zeros(1)])).nonzero().flatten().view(-1, 2)
    return (edges[:, :1] + (edges[:, 1:] - 1)).flatten() / 2 * STEP + 5 * STEP, edges.diff(dim=1).flatten()


@pytest.mark.parametrize("width", [4, 8, 12])  # a QRS of some 70, 130 and 200 ms
def test_a_pulse_stands_where_a_beat_is_however_broad_it_is(width):
    times, steps = pulses(beats(width))
    assert times.tolist() == pytest.approx(BEATS, abs=3 * STEP)
    torch.testing.assert_close(times.diff(), torch.tensor(BEATS).diff().float(), rtol=0, atol=STEP)
    assert steps.max() <= 4  # of 16 ms


@pytest.mark.parametrize(("gain", "offset"), [(1e-3, 0.0), (-1.0, 2.0), (1e3, -7e3)])
def test_pulses_know_neither_unit_nor_sign_nor_offset(gain, offset):
    segment = beats(5)
    torch.testing.assert_close(BeatTimes()(gain * segment + offset), BeatTimes()(segment), rtol=0, atol=0.05)


def test_a_flat_segment_has_no_pulses_and_the_shortest_has_one_step():
    assert not BeatTimes()(torch.full((2, 1, 1250), 0.3)).any()
    assert BeatTimes()(torch.zeros(1, 1, 10 * STEP)).shape == (1, 1, 1)


def test_without_the_branch_of_beat_times_a_tcn_is_what_it_was_and_with_it_the_head_sees_more():
    torch.manual_seed(0)
    plain, more = (networks.build("tcn", {**SMALLEST["tcn"], "times_channels": n}, 1250) for n in (0, 8))
    assert plain.state_dict().keys() == networks.build("tcn", SMALLEST["tcn"], 1250).state_dict().keys()
    heads = [[m for m in network.modules() if isinstance(m, torch.nn.Linear)] for network in (plain, more)]
    assert [head.in_features for (head,) in heads] == [2 * 4, 2 * (4 + 8)]


def test_the_same_seed_builds_the_same_weights():
    def weights():
        torch.manual_seed(1)
        return networks.build("tcn", SMALLEST["tcn"], 1250).state_dict()

    first, second = weights(), weights()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("family", "params", "message"),
    [
        ("vgg", {}, "a family is one of afnet"),
        ("afnet", {"channel_factor": 0, "head_factor": 1}, "greater than or equal to 1 at channel_factor"),
        ("afnet", {"channel_factor": 1, "head_factor": 1, "colour": 2}, "unknown field colour"),
    ],
)
def test_what_does_not_fit_is_named(family, params, message):
    with pytest.raises(SpaceError, match=message):
        networks.build(family, params, 1250)


def users_own(params, samples_per_segment):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(samples_per_segment, params["outputs"]))


def test_a_users_own_factory():
    torch.manual_seed(0)
    network = networks.build("mine", {"outputs": 2}, 50, f"{__name__}:users_own")
    assert network(torch.zeros(1, 1, 50)).shape == (1, 2)


def leaves(_params, _samples):
    sys.exit(0)


def empty(_params, _samples):
    return torch.nn.ReLU()


@pytest.mark.parametrize(
    "factory",
    [
        "nowhere:build",
        "os:nothing",
        f"{__name__}:users_own",
        "builtins:dict",
        f"{__name__}:leaves",
        f"{__name__}:empty",
    ],
)
def test_a_factory_that_fails_is_one_clear_error(factory):
    with pytest.raises(SpaceError, match="a factory"):
        networks.build("mine", {}, 50, factory)


def test_every_missing_parameter_is_named_at_once():
    with pytest.raises(SpaceError, match="Field required at channels, kernel"):
        networks.build("separable", {"depth": 2}, 50)
