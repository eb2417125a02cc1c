"""Values of signals between their samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def interpolated(flat: Tensor, begin: Tensor, places: Tensor, last: Tensor | int) -> Tensor:
    """(n, T) values at `places`, linear between samples.

    Args:
        flat: (M,) samples of many passages, one after the other.
        begin: (n, 1) where in `flat` each one's passage begins.
        places: (n, T) in samples from there; what lies outside 0 ... `last` is read at that edge.
        last: of the passage, the same for all or (n, 1); at least 1.
    """
    last = torch.as_tensor(last, device=places.device)
    places = places.clamp(min=0).minimum(last)
    before = places.floor().minimum(last - 1)
    share = places.sub_(before)
    index = before.long().add_(begin).view(-1)  # of the sample before
    left, right = flat.index_select(0, index), flat.index_select(0, index.add_(1))
    return torch.lerp(left.view_as(share), right.view_as(share), share)
