"""Augmentation: each option does what it says and nothing else, and the same seed draws the same."""

import numpy as np
import pytest
import torch

from ecm_edge.candidate.training_config import Augmentation
from ecm_edge.training.augment import Augmenter, mix

NOTHING = Augmentation(sign_flip=0, gain=0, noise=0, shift=0)
RATE_HZ = 250.0


def batch(count=64, length=100):
    return torch.randn(count, 1, length, generator=torch.Generator().manual_seed(0))


def augment(samples, seed=1, **options):
    """`samples` changed by these options alone."""
    how = NOTHING.model_copy(update=options)
    return Augmenter(how, samples.shape[2], RATE_HZ, seed=0)(samples, torch.Generator().manual_seed(seed))


def changed(found, samples):
    """(N,) whether a segment is another one now."""
    return (found != samples).any(2)[:, 0]


OPTIONS = [
    {"sign_flip": 0.5}, {"gain": 0.2}, {"noise": 0.1}, {"shift": 5}, {"stretch": 0.2}, {"splice": 100},
    {"filter": 0.3}, {"disturbance": 0.5}, {"cutout": 20},
]  # fmt: skip


def test_no_augmentation_changes_nothing():
    assert torch.equal(augment(batch()), batch())


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_changes_a_copy_by_its_seed(option):
    samples = batch(length=400)
    first, again, other = (augment(samples, seed, **option) for seed in (1, 1, 2))
    assert torch.equal(samples, batch(length=400))
    assert torch.equal(first, again)
    assert not torch.equal(first, samples)
    assert not torch.equal(first, other)
    assert first.isfinite().all()


def test_sign_flip_flips_whole_segments():
    flipped = augment(batch(), sign_flip=0.5)
    signs = (flipped / batch())[:, 0, 0].sign()
    assert torch.equal(flipped, batch() * signs.view(-1, 1, 1))
    assert 0 < (signs < 0).sum() < len(signs)


def test_gain_stays_within_its_limits():
    ratio = (augment(batch(), gain=0.2) / batch())[:, 0, 0]
    assert 0.8 <= ratio.min() < ratio.max() <= 1.2


def test_a_shift_moves_samples_and_repeats_the_edge():
    ramp = torch.arange(100.0).repeat(64, 1).unsqueeze(1)
    moved = augment(ramp, shift=5)
    offset = moved[:, 0, 50] - 50
    assert offset.abs().max() == 5
    expected = (torch.arange(100.0) + offset.unsqueeze(1)).clamp(0, 99)
    assert torch.equal(moved[:, 0], expected)


def test_noise_is_a_share_of_the_segments_own_spread():
    noisy = augment(batch(256, 1000) * 7, noise=0.1)
    assert (noisy - batch(256, 1000) * 7).std() == pytest.approx(0.7, rel=0.02)


def test_a_stretch_is_even_slows_down_and_leaves_half_of_the_segments_alone():
    ramp = torch.arange(1000.0).repeat(256, 1).unsqueeze(1)
    stretched = augment(ramp, stretch=0.2)[:, 0]
    steps = stretched.diff()
    rate = steps.mean(1, keepdim=True)
    assert torch.allclose(steps, rate.expand_as(steps), atol=1e-3)
    assert 0.8 - 1e-4 <= rate.min() < rate.max() <= 1 + 1e-6
    assert 0.4 < (rate == 1).float().mean() < 0.6
    assert stretched.min() >= 0
    assert stretched.max() <= 999


def test_a_stretch_keeps_the_ratios_of_rr_intervals():
    beats = np.array([180, 300, 540, 700, 980])  # R peaks, as irregular as in AF
    pulse = np.exp(-0.5 * ((np.arange(1250)[:, None] - beats) / 6.0) ** 2).sum(1)
    samples = torch.from_numpy(pulse.astype(np.float32)).repeat(64, 1).unsqueeze(1)
    seen = 0
    for row in augment(samples, stretch=0.2)[:, 0].numpy():
        peaks = np.flatnonzero((row[1:-1] > row[:-2]) & (row[1:-1] >= row[2:]) & (row[1:-1] > 0.5)) + 1
        if len(peaks) == len(beats):  # none was left outside
            ratios = np.diff(peaks) / np.diff(beats)
            assert ratios == pytest.approx(ratios.mean(), abs=0.02)
            seen += 1
    assert seen > 20


def test_a_splice_cuts_one_piece_out_of_some_segments_and_fills_the_length():
    ramp = torch.arange(1250.0).repeat(256, 1).unsqueeze(1)
    spliced = augment(ramp, splice=100)[:, 0]
    cut = changed(spliced.unsqueeze(1), ramp)
    assert 0.2 < cut.float().mean() < 0.4
    steps = spliced[cut].diff()
    usual = steps.median(1, keepdim=True).values
    jumps = steps > usual + 1
    assert (jumps.sum(1) == 1).all()
    assert torch.allclose(steps[~jumps], usual.expand_as(steps)[~jumps], atol=1e-3)
    lost = (steps - usual)[jumps]
    assert 20 - 1e-2 <= lost.min() < lost.max() <= 100 + 1e-2
    where = jumps.nonzero()[:, 1]
    assert 125 - 1 <= where.min() < where.max() <= 1125
    assert (spliced[cut, 0] == 0).all()
    assert torch.allclose(spliced[cut, -1], torch.tensor(1249.0))


def test_a_splice_of_a_short_segment_leaves_half_of_it():
    assert augment(torch.arange(20.0).repeat(64, 1).unsqueeze(1), splice=100).diff(dim=2).max() <= 11


def test_a_filter_is_short_and_the_same_along_a_segment():
    samples = torch.zeros(64, 1, 100)
    samples[:, 0, [20, 60]] = 1.0
    found = augment(samples, filter=0.5)
    filtered = changed(found, samples)
    assert 0.3 < filtered.float().mean() < 0.7
    assert torch.allclose(found[:, 0, 16:25], found[:, 0, 56:65])
    assert found[:, 0, 25:56].abs().max() == 0


@pytest.mark.parametrize("layers", [1, 3])
def test_disturbances_are_within_their_strength(layers):
    samples = batch(256, 1000) * 7
    added = augment(samples, disturbance=0.6, disturbance_layers=layers) - samples
    share = (added.std(2) / samples.std(2))[:, 0]
    assert 0.5 * 0.6 * 0.5 < share.max() <= 0.6 * layers
    assert (share < 1e-6).float().mean() == pytest.approx(0.5**layers, abs=0.1)


def test_what_is_cut_out_is_one_stretch_at_the_segments_mean():
    samples = batch(256) + 3
    found = augment(samples, cutout=20)
    cut = (found != samples)[:, 0]
    assert set(cut.sum(1).tolist()) == {0, 20}
    assert 0.2 < cut.any(1).float().mean() < 0.4
    row = int(cut.any(1).nonzero()[0])
    places = cut[row].nonzero()[:, 0]
    assert int(places[-1] - places[0]) == 19
    assert found[row, 0, places].unique() == pytest.approx(float(samples[row].mean()), abs=1e-5)


def test_a_cut_longer_than_the_segment_takes_all_of_it():
    assert (augment(batch(), cutout=500).std(2) < 1e-5).any()


def test_a_mixture_is_of_the_first_segments_spread_and_mixes_targets_alike():
    samples = torch.zeros(2, 1, 4)
    samples[0, 0], samples[1, 0] = torch.tensor([1.0, -1, 1, -1]), torch.tensor([30.0, 30, -30, -30])
    mixed, targets = mix(samples, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), np.random.default_rng(0))
    share = float(targets[1, 0])
    assert 0 < share < 1
    assert torch.allclose(targets, torch.tensor([[1 - share, share], [share, 1 - share]]))
    first, second = samples[0, 0], samples[1, 0] / 30
    assert torch.allclose(mixed[0, 0], share * first + (1 - share) * second)
    assert torch.allclose(mixed[1, 0], 30 * (share * second + (1 - share) * first))


def test_a_mixture_of_flat_segments_is_finite():
    flat = torch.tensor([0.0, 0.5, -3.1]).view(3, 1, 1).expand(3, 1, 50)
    for seed in range(20):
        mixed, _ = mix(torch.cat([flat, batch(3, 50)]), torch.zeros(6, 2), np.random.default_rng(seed))
        assert mixed.abs().max() < 10
