"""Augmentation of whole batches: sign, gain, shift and noise, drawn for each segment; never a time-warp."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ecm_edge.candidate import Augmentation


def augment(batch: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """A changed copy of (N, 1, T) float32 samples; the same for the same state of `generator`, on any device."""
    count, _, length = batch.shape
    if how.shift:
        batch = _shifted(batch, how.shift, generator)
    scale = torch.ones(count)
    if how.gain:
        scale = 1 + how.gain * (2 * torch.rand(count, generator=generator) - 1)
    if how.sign_flip:
        scale = torch.where(torch.rand(count, generator=generator) < how.sign_flip, -scale, scale)
    batch = batch * scale.to(batch.device).view(count, 1, 1)
    if how.noise:
        spread = batch.std(2, keepdim=True) * how.noise  # (N, 1, 1)
        noise = torch.randn(count, 1, length, generator=generator).to(batch.device)
        batch = torch.addcmul(batch, noise, spread)
    return batch


def _shifted(batch: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each segment moved by up to `most` samples either way, its edge sample repeated."""
    count, _, length = batch.shape
    shift = torch.randint(-most, most + 1, (count, 1), generator=generator)
    places = (torch.arange(length) + shift).clamp_(0, length - 1)  # (N, T)
    return batch.gather(2, places.to(batch.device).unsqueeze(1))
