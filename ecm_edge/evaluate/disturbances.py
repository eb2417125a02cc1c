"""The disturbances that robustness is measured under: units, gain, sign, offset, noise, faults, other recorders.

n segments of a block, T samples; σ is a segment's own standard deviation. Each segment has noise of its own, drawn by
seed, row and kind, so that two strengths of one kind differ in nothing else.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ecm_edge.data import disturb

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ecm_edge.forms.onnx_model import Floats

    Samples = NDArray[np.floating[Any]]
    Noise = Callable[[np.random.Generator, int, float], Samples]

CLIP_AT = 0.6
"""Where the amplifier clips: this share of a segment's largest deviation from its median."""

_CUT_OUT_S = 1.0


@dataclass(frozen=True)
class Block:
    """Segments (n, T) and their rows (n,) in the data set; seed, row and kind of noise decide on the noise of each."""

    samples: Floats
    rows: NDArray[np.int64]
    sampling_rate_hz: float
    seed: int

    def generators(self, kind: str) -> list[np.random.Generator]:
        """One for each segment; the same for the same seed, row and kind."""
        return [np.random.default_rng([self.seed, int(row), zlib.crc32(kind.encode())]) for row in self.rows]


Disturbance: TypeAlias = "Callable[[Block], Samples]"
"""A block to its disturbed samples, (n, T)."""


def scaled(factor: float, offset: float = 0.0) -> Disturbance:
    """Another unit, gain or sign, and an offset in σ."""
    return lambda block: block.samples * np.float32(factor) + offset * _deviation(block)


def added(kind: str, strength: float, noise: Noise) -> Disturbance:
    """Noise of `strength` σ; `noise` gives (T,) of unit standard deviation."""

    def disturbance(block: Block) -> Samples:
        count, rate = block.samples.shape[1], block.sampling_rate_hz
        drawn = [noise(generator, count, rate) for generator in block.generators(kind)]
        return block.samples + strength * _deviation(block) * np.stack(drawn)

    return disturbance


def mains(frequency_hz: float) -> Noise:
    """The hum of one mains frequency; `disturb.hum` draws 50 or 60 Hz."""

    def hum(generator: np.random.Generator, samples: int, sampling_rate_hz: float) -> Samples:
        cycles = frequency_hz * np.arange(samples) / sampling_rate_hz + generator.uniform()
        wave: Samples = math.sqrt(2) * np.sin(2 * np.pi * cycles)
        return wave

    return hum


def clipped(block: Block) -> Samples:
    """Held within `CLIP_AT` of the largest deviation from the median."""
    middle = np.median(block.samples, axis=1, keepdims=True)
    most = CLIP_AT * np.abs(block.samples - middle).max(axis=1, keepdims=True)
    return np.clip(block.samples, middle - most, middle + most)


def recorded_at(rate_hz: float) -> Disturbance:
    """Resampled, polyphase, to a recorder's rate and back; frequencies above half of that rate are lost."""

    def disturbance(block: Block) -> Samples:
        from scipy import signal

        ratio = Fraction(rate_hz / block.sampling_rate_hz).limit_denominator(10_000)
        up, down, count = ratio.numerator, ratio.denominator, block.samples.shape[1]
        there = signal.resample_poly(block.samples.astype(np.float64), up, down, axis=1, padtype="line")
        back: Samples = signal.resample_poly(there, down, up, axis=1, padtype="line")
        return back[:, :count]

    return disturbance


def cut_out(block: Block) -> Samples:
    """One second, drawn anywhere, held at its first value; the whole of a segment that is shorter."""
    samples = block.samples.copy()
    length = min(samples.shape[1], round(_CUT_OUT_S * block.sampling_rate_hz))
    for segment, generator in zip(samples, block.generators("cut out"), strict=True):
        start = int(generator.integers(samples.shape[1] - length + 1))
        segment[start : start + length] = segment[start]
    return samples


DISTURBANCES: dict[str, Disturbance] = {
    "µV for mV (×1000)": scaled(1000.0),
    "V for mV (×0.001)": scaled(0.001),
    "gain ×0.5": scaled(0.5),
    "gain ×2": scaled(2.0),
    "inverted leads": scaled(-1.0),
    "DC offset, 10 σ": scaled(1.0, offset=10.0),
    "baseline wander, 0.5 σ": added("wander", 0.5, disturb.wander),
    "baseline wander, 1 σ": added("wander", 1.0, disturb.wander),
    "50 Hz hum, 0.2 σ": added("hum", 0.2, mains(50.0)),
    "50 Hz hum, 0.5 σ": added("hum", 0.5, mains(50.0)),
    "60 Hz hum, 0.2 σ": added("hum", 0.2, mains(60.0)),
    "60 Hz hum, 0.5 σ": added("hum", 0.5, mains(60.0)),
    "white noise, 0.1 σ": added("white", 0.1, disturb.white),
    "white noise, 0.3 σ": added("white", 0.3, disturb.white),
    "muscle noise, 0.3 σ": added("muscle", 0.3, disturb.muscle),
    "motion, 1 σ": added("motion", 1.0, disturb.motion),
    "steps, 1 σ": added("steps", 1.0, disturb.steps),
    "in-band noise, 0.5 σ": added("in_band", 0.5, disturb.in_band),
    f"clipped at {CLIP_AT:.0%}": clipped,
    "recorded at 125 Hz": recorded_at(125.0),
    "recorded at 200 Hz": recorded_at(200.0),
    "recorded at 360 Hz": recorded_at(360.0),
    "recorded at 500 Hz": recorded_at(500.0),
    "cut out for 1 s": cut_out,
}
"""Every disturbance by its name in the record, in the order of its table."""


def _deviation(block: Block) -> NDArray[np.float32]:
    """σ of each segment, (n, 1)."""
    deviation: NDArray[np.float32] = block.samples.std(axis=1, keepdims=True)
    return deviation
