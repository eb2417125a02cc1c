"""Changes of the shape of beats while the rhythm stays: all beats of a segment alike, and every R peak in its place.

A network that learns from few people takes the width of their beats for a sign of AF. With these changes the shape says
nothing, and what is left to learn is when beats come and whether P waves come before them.

Widths and times are those of an adult's beat: a QRS lasts 60 to 100 ms, a P wave begins 120 to 200 ms before it, a T
wave ends some 400 ms after it. Shapes: N segments, n of them changed, T samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ecm_edge.training.beats import find_beats
from ecm_edge.training.interpolation import interpolated

if TYPE_CHECKING:
    from torch import Tensor

    from ecm_edge.candidate.training_config import Augmentation

_HALF_QRS_S = 0.05
_BROADENED = (1.2, 2.2)  # so 100 ms become 120 to 220 ms
_QRS_REACH_S = 0.35  # around a beat; what lies further away stays
_QRS_ROOM = 0.7  # of the way to the middle between two beats: what is broadened ends before
_P_FROM_S, _P_TO_S = 0.22, 0.06  # before a beat
_P_FACTORS = (-1.0, 2.0)
_P_TAKEN_OUT = 0.5  # of the segments whose P waves are changed; the others have them scaled or inverted
_T_FROM_S, _T_TO_S = 0.1, 0.5  # behind a beat
_T_MOVED_S = 0.06  # at most
_T_SHARE = 0.7  # of the time to the next beat: a T wave ends before
_EDGE = 0.25  # of a wave's span, over which a change sets in


@dataclass(frozen=True)
class _Distances:
    """How far each sample is from the beats around it; more than T where there is none.

    behind:  (N, T) samples since the last beat, 0 at a beat.
    ahead:   (N, T) samples to the next beat, 0 at a beat.
    """

    behind: Tensor
    ahead: Tensor

    def of(self, chosen: Tensor) -> _Distances:
        """Those of the segments `chosen` (n,)."""
        return _Distances(self.behind[chosen], self.ahead[chosen])


def reshaped(batch: Tensor, options: Augmentation, sampling_rate_hz: float, generator: torch.Generator) -> Tensor:
    """The (N, 1, T) batch, or a copy of it in which some segments have beats of another shape."""
    changes = ((_change_p_waves, options.p_wave), (_move_t_waves, options.t_wave), (_broaden_qrs, options.qrs))
    if not any(share for _, share in changes):
        return batch
    batch, distances = batch.clone(), _distances(batch, sampling_rate_hz)
    for change, share in changes:
        chosen, drawn = _chosen(batch, share, generator)
        if len(chosen):
            change(batch, chosen, drawn, distances.of(chosen), sampling_rate_hz)
    return batch


def _distances(batch: Tensor, sampling_rate_hz: float) -> _Distances:
    """Beats are looked for in every second sample, which takes half the time and is as good to 8 ms at 250 Hz."""
    count, _, length = batch.shape
    places, valid = find_beats(batch[:, :, ::2], sampling_rate_hz / 2)  # (N, K)
    is_beat = torch.zeros(count, length + 1, dtype=torch.bool, device=batch.device)
    is_beat.scatter_(1, torch.where(valid, 2 * places, length), value=True)
    is_beat = is_beat[:, :length]
    time = torch.arange(length, dtype=torch.float32, device=batch.device)
    far = 2.0 * length
    last = torch.where(is_beat, time, -far).cummax(1).values
    following = torch.where(is_beat, time, length + far).flip(1).cummin(1).values.flip(1)
    return _Distances(time - last, following - time)


def _broaden_qrs(batch: Tensor, chosen: Tensor, drawn: Tensor, beats: _Distances, rate_hz: float) -> None:
    """The QRS is stretched, and the time between beats takes it up."""
    low, high = _BROADENED
    half = torch.tensor(_HALF_QRS_S * rate_hz)
    offset = torch.minimum(beats.behind, beats.ahead)
    reach = torch.clamp((beats.behind + beats.ahead) / 2, 1, _QRS_REACH_S * rate_hz)  # both are 0 at a beat
    wide = torch.minimum((low + (high - low) * drawn) * half, _QRS_ROOM * reach)
    own = torch.minimum(wide, half)
    inside = offset * own / wide
    outside = reach - (reach - offset) * (reach - own) / (reach - wide)
    source = torch.where(offset <= wide, inside, torch.where(offset < reach, outside, offset))
    shift = torch.where(beats.behind <= beats.ahead, source - offset, offset - source)
    _read_at(batch, chosen, shift)


def _change_p_waves(batch: Tensor, chosen: Tensor, drawn: Tensor, beats: _Distances, rate_hz: float) -> None:
    """P waves are taken out, or scaled, where a negative factor inverts them."""
    low, high = _P_FACTORS
    scaled = low + (high - low) * (drawn - _P_TAKEN_OUT) / (1 - _P_TAKEN_OUT)
    factor = torch.where(drawn < _P_TAKEN_OUT, 0.0, scaled)  # (n, 1)
    first, last = _P_FROM_S * rate_hz, _P_TO_S * rate_hz
    part = (first - beats.ahead) / (first - last)  # of the P wave's span
    segment = batch[chosen, 0]
    places = torch.arange(segment.shape[1], device=batch.device) + beats.ahead
    begin, end = (segment.gather(1, _within(places - side, segment)) for side in (first, last))
    line = torch.lerp(begin, end, part.clamp(0, 1))  # the baseline under the wave
    batch[chosen, 0] = segment + _window(part) * (factor - 1) * (segment - line)


def _move_t_waves(batch: Tensor, chosen: Tensor, drawn: Tensor, beats: _Distances, rate_hz: float) -> None:
    """T waves come earlier or later."""
    first = _T_FROM_S * rate_hz
    last = torch.clamp(_T_SHARE * (beats.behind + beats.ahead), max=_T_TO_S * rate_hz)
    span = (last - first).clamp(min=1)
    weight = torch.where(last > first, _hill((beats.behind - first) / span), 0.0)
    most = torch.clamp(span / 4, max=_T_MOVED_S * rate_hz)  # less than where time would run backwards
    _read_at(batch, chosen, (2 * drawn - 1) * most * weight)


def _chosen(batch: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(n,) the segments that are drawn, and (n, 1) a number from 0 to 1 for each."""
    drawn = torch.rand(len(batch), 2, generator=generator)
    chosen = torch.nonzero(drawn[:, 0] < share)[:, 0]
    return chosen.to(batch.device), drawn[chosen, 1:].to(batch.device)


def _read_at(batch: Tensor, chosen: Tensor, shift: Tensor) -> None:
    """The segments `chosen` (n,) take at each time the value that lies `shift` (n, T) samples later."""
    length = batch.shape[2]
    places = torch.arange(length, device=batch.device) + shift
    read = interpolated(batch.reshape(-1), chosen.unsqueeze(1) * length, places, length - 1)
    batch.index_copy_(0, chosen, read.unsqueeze(1))


def _within(places: Tensor, segment: Tensor) -> Tensor:
    return places.round().long().clamp(0, segment.shape[1] - 1)


def _window(place: Tensor) -> Tensor:
    """1 where `place` is between 0 and 1, 0 outside, with edges of half a cosine."""
    edge = torch.minimum(place, 1 - place).div(_EDGE).clamp(0, 1)
    return (1 - torch.cos(math.pi * edge)) / 2


def _hill(place: Tensor) -> Tensor:
    """A whole cosine over 0 to 1, which is 1 in its middle; 0 outside."""
    return (1 - torch.cos(2 * math.pi * place.clamp(0, 1))) / 2
