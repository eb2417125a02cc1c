"""Augmentation of whole batches, drawn for each segment. The rhythm stays, but for a piece that is cut out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ecm_edge.data import disturb
from ecm_edge.training import beat_shape
from ecm_edge.training.interpolation import interpolated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from ecm_edge.candidate.training_config import Augmentation

_POOL = 1536  # disturbances; 8 MB of five seconds at 250 Hz
_STRETCHED = 0.5  # of the segments
_DISTURBED = 0.5  # of the segments, for each layer
_FILTERED = 0.5  # of the segments
_TAPS = 9  # of the random filter
_SNR_RANGE_DB = 24
_CUT_OUT = 0.3  # of the segments
_SPLICED = 0.3  # of the segments
_LEAST_SPLICE = 0.2  # of the longest cut
_AT_EDGE = 0.1  # of a segment, where no cut begins
_FLAT = 1e-5  # of the mean: float32 rounds sums of a thousand values to about that
_MIXING = 0.4  # both parameters of the Beta distribution: mostly one segment with little of the other


class Augmenter:
    """Changes batches as its options say; its disturbances come from a pool made once, by `seed`.

    Args:
        options: what is drawn.
        samples: T.
        sampling_rate_hz: what the disturbances' frequencies refer to.
        seed: of the pool; what a batch draws comes from the generator given with it.
        noise: what `options.recorded` names, each signal longer than T.
    """

    def __init__(
        self,
        options: Augmentation,
        samples: int,
        sampling_rate_hz: float,
        seed: int,
        noise: Sequence[NDArray[np.float32]] = (),
    ) -> None:
        self._options, self._rate_hz = options, sampling_rate_hz
        self._noise = torch.from_numpy(np.concatenate([np.zeros(0, np.float32), *noise]))
        ends = np.cumsum([len(signal) for signal in noise])
        starts = [np.arange(end - len(signal), end - samples + 1) for end, signal in zip(ends, noise, strict=True)]
        self._starts = torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *starts]))  # where T samples are left
        self._pool = torch.empty(0, samples)
        if options.disturbance:
            rng = np.random.default_rng(seed)
            self._pool = torch.from_numpy(
                disturb.pool(rng, _POOL, samples, sampling_rate_hz, in_band_share=options.in_band)
            )

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """A changed copy of (N, 1, T) float32 samples; the same for the same state of `generator`, on any device."""
        options, length = self._options, batch.shape[2]
        batch = beat_shape.reshaped(batch, options, self._rate_hz, generator)
        if options.shift:
            batch = _shifted(batch, options.shift, generator)
        batch = _scaled(
            batch, options.gain, options.sign_flip, generator
        )  # a copy, which all that follows changes in place
        for change, amount in ((_stretch, options.stretch), (_splice, options.splice), (_filter, options.filter)):
            if amount:
                change(batch, amount, generator)
        if not (options.noise or options.disturbance or options.cutout or options.recorded):
            return batch
        mean = batch.mean(2, keepdim=True)  # (N, 1, 1)
        spread = _spread(batch, mean)
        if options.noise:
            noise = torch.randn(len(batch), 1, length, generator=generator).to(batch.device)
            batch.addcmul_(noise, spread * options.noise)
        for _ in range(options.disturbance_layers if options.disturbance else 0):
            self._disturb(batch, spread, generator)
        if options.recorded:
            self._add_recorded(batch, spread, generator)
        if options.cutout:
            _cut_out(batch, mean, options.cutout, generator)
        return batch

    def _add_recorded(self, batch: Tensor, spread: Tensor, generator: torch.Generator) -> None:
        """Half of the segments get a passage of recorded noise, at a drawn ratio of ECG to noise in decibels."""
        count, _, length = batch.shape
        drawn = torch.rand(count, 3, generator=generator)
        chosen = torch.nonzero(drawn[:, 0] < _DISTURBED)[:, 0]
        starts = self._starts[(drawn[chosen, 1] * len(self._starts)).long().clamp(max=len(self._starts) - 1)]
        passages = self._noise[starts.unsqueeze(1) + torch.arange(length)].unsqueeze(1)  # (n, 1, T)
        passages -= passages.mean(2, keepdim=True)
        ratio_db = self._options.recorded_snr_db + _SNR_RANGE_DB * drawn[chosen, 2].view(-1, 1, 1)
        passages *= 10 ** (-ratio_db / 20) / _spread(passages, torch.zeros(())).clamp(min=_FLAT)
        chosen = chosen.to(batch.device)
        batch.index_add_(0, chosen, passages.to(batch.device) * spread[chosen])

    def _disturb(self, batch: Tensor, spread: Tensor, generator: torch.Generator) -> None:
        """One layer of disturbances: small ones more often than large ones, and none on half of the segments."""
        count = len(batch)
        share = self._options.disturbance * torch.rand(count, generator=generator) ** 2
        share *= torch.rand(count, generator=generator) < _DISTURBED
        drawn = self._pool.index_select(0, torch.randint(len(self._pool), (count,), generator=generator))  # (N, T)
        batch.addcmul_(drawn.to(batch.device).unsqueeze(1), spread * share.to(batch.device).view(-1, 1, 1))


def _spread(batch: Tensor, mean: Tensor) -> Tensor:
    """(N, 1, 1) standard deviations, twenty times as fast as `Tensor.std`."""
    length: Tensor = torch.linalg.vector_norm(batch - mean, dim=2, keepdim=True)
    return length / math.sqrt(batch.shape[2] - 1)


def _shifted(batch: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each segment moved by up to `most` samples either way, its edge sample repeated."""
    count, _, length = batch.shape
    shift = torch.randint(-most, most + 1, (count, 1), generator=generator)
    places = (torch.arange(length) + shift).clamp_(0, length - 1)  # (N, T)
    return batch.gather(2, places.to(batch.device).unsqueeze(1))


def _scaled(batch: Tensor, gain: float, sign_flip: float, generator: torch.Generator) -> Tensor:
    """A copy, each segment times a factor around 1, and some of them upside down."""
    count = len(batch)
    scale = torch.ones(count)
    if gain:
        scale = 1 + gain * (2 * torch.rand(count, generator=generator) - 1)
    if sign_flip:
        scale = torch.where(torch.rand(count, generator=generator) < sign_flip, -scale, scale)
    return batch * scale.to(batch.device).view(count, 1, 1)


def _stretch(batch: Tensor, most: float, generator: torch.Generator) -> None:
    """Of half of the segments a part, at least 1 - `most` of it, over the whole length; linear between samples."""
    count, _, length = batch.shape
    chosen = torch.nonzero(torch.rand(count, generator=generator) < _STRETCHED)[:, 0]
    rate = 1 - most * torch.rand(count, generator=generator)[chosen].unsqueeze(1)  # (n, 1)
    start = torch.rand(count, generator=generator)[chosen].unsqueeze(1) * (1 - rate) * (length - 1)
    places = (torch.arange(length) * rate).add_(start)
    _resample(batch, chosen, places)


def _splice(batch: Tensor, most: float, generator: torch.Generator) -> None:
    """Of three of ten segments a piece of at most `most` samples is cut out, and what is left fills the length.

    One beat comes early then, as an extrasystole does, while all waves are those of the rhythm: AF differs
    from ectopy in more than one uneven interval.
    """
    count, _, length = batch.shape
    chosen = torch.nonzero(torch.rand(count, generator=generator) < _SPLICED)[:, 0]
    share = torch.rand(count, 2, generator=generator)[chosen]  # (n, 2)
    cut = min(most, length / 2) * (_LEAST_SPLICE + (1 - _LEAST_SPLICE) * share[:, :1])  # (n, 1)
    begin = length * (_AT_EDGE + (1 - 2 * _AT_EDGE) * share[:, 1:])
    time = torch.arange(length)
    places = time * ((length - 1 - cut) / (length - 1)) + cut * (time >= begin)
    _resample(batch, chosen, places)


def _resample(batch: Tensor, chosen: Tensor, places: Tensor) -> None:
    """The segments `chosen` (n,) take their values at `places` (n, T), in samples; linear between samples."""
    length = batch.shape[2]
    chosen = chosen.to(batch.device)
    read = interpolated(batch.reshape(-1), chosen.unsqueeze(1) * length, places.to(batch.device), length - 1)
    batch.index_copy_(0, chosen, read.unsqueeze(1))


def _filter(batch: Tensor, strength: float, generator: torch.Generator) -> None:
    """Half of the segments through a short filter each, drawn around doing nothing; edges as if zeros followed."""
    count, _, length = batch.shape
    taps = strength * torch.randn(count, _TAPS, generator=generator)
    taps *= torch.rand(count, 1, generator=generator)
    taps[:, _TAPS // 2] += 1
    chosen = torch.nonzero(torch.rand(count, generator=generator) < _FILTERED)[:, 0].to(batch.device)
    padded = torch.nn.functional.pad(batch[chosen, 0], (_TAPS // 2, _TAPS // 2))  # (n, T + 8)
    windows = padded.unfold(1, length, 1)  # (n, 9, T), a view
    own = taps.to(batch.device)[chosen].unsqueeze(1)  # (n, 1, 9)
    batch.index_copy_(0, chosen, own @ windows)


def _cut_out(batch: Tensor, mean: Tensor, most: int, generator: torch.Generator) -> None:
    """`most` samples in a row, somewhere, are the segment's mean in three of ten segments."""
    count, _, length = batch.shape
    start = torch.randint(0, max(1, length - most + 1), (count, 1), generator=generator)
    chosen = torch.nonzero(torch.rand(count, generator=generator) < _CUT_OUT)[:, 0]
    places = (start[chosen] + torch.arange(min(most, length))).to(batch.device).unsqueeze(1)  # (n, 1, most)
    chosen = chosen.to(batch.device)
    batch.index_copy_(0, chosen, batch[chosen].scatter_(2, places, mean[chosen].expand(places.shape)))


def mix(batch: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mixup: each segment with another of the batch, brought to its own spread first; targets are mixed alike.

    Args:
        batch: (N, k, T) samples; where k is not 1, a bag of windows, each of which is mixed with one of the other bag.
        targets: (N, …) what is to be answered, by segment.
        rng: draws one share for the whole batch, and the partners.
    """
    share = float(rng.beta(_MIXING, _MIXING))
    partner = torch.from_numpy(rng.permutation(len(batch))).to(batch.device)
    mean = batch.mean(2, keepdim=True)
    spread = _spread(batch, mean)
    flat = spread <= _FLAT * mean.abs()  # what is left of a constant is rounding, and has no spread to be brought to
    other = batch[partner] * torch.where(flat | flat[partner], 1.0, spread / spread[partner])
    return torch.lerp(other, batch, share), torch.lerp(targets[partner], targets, share)
