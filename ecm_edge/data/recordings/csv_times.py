"""A column of times against the sampling rate: which rate it says, and where it jumps.

Times may be rounded, jitter, or be shared by the lines of a packet. A run is the lines of one time. n lines, m runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.data.recordings.csv_names import SECONDS
from ecm_edge.data.recordings.windows import Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable

_DAY_S = 86_400.0
_MAX_DURATION_S = 14 * _DAY_S
_RATE_TOLERANCE = 0.01
_RATE_TOLD = 0.001
_DRIFT_TOLD_S = 0.5  # by the end
_LIKELY_HZ = (50.0, 5_000.0)
_ROBUST = 200_000  # steps that a first look takes
_LEAST_JUMP = 0.5  # samples
_LEAST_JUMP_OF_PACKETS = 1.5
_SPREADS = 6.0


@dataclass(frozen=True)
class TimeColumn:
    """A column of times. `unit_s` is None where its unit is not written.

    `counts` is whether it counts lines, `is_clock` whether it holds dates or clock times, `hours_only` whether these
    are without a date.
    """

    index: int
    name: str
    unit_s: float | None
    counts: bool = False
    is_clock: bool = False
    hours_only: bool = False


@dataclass(frozen=True)
class Timing:
    """The rate of the samples and, if the times jump, (n,) int64 the place of each on the grid of that rate."""

    sampling_rate_hz: float
    places: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def timing(steps: np.ndarray, column: TimeColumn, stated_hz: float | None) -> Timing:
    """The rate and the jumps by a column of times.

    Args:
        steps: (n - 1,) float32, none below 0, from each line's time to the next, as they are written.
        column: what is known of it.
        stated_hz: the rate that is stated elsewhere.

    Raises:
        Unfit: the times say another rate than the one stated, or none that is clear, or jump too far.
    """
    if not np.isfinite(steps).all():
        raise Unfit("its times jump without an end")
    counts, spans = _runs(steps)
    if not len(spans):
        if stated_hz is None:
            raise Unfit(f"no sampling rate: column {column.name!r} has one time only. State it, --sampling-rate-hz")
        return Timing(stated_hz, notes=(f"column {column.name!r} has one time only: the rate was not checked",))
    step, jumps = _step(counts, spans, has_packets=len(spans) < len(steps))
    if column.counts:
        if stated_hz is None:
            raise Unfit("no sampling rate in the file: state it, --sampling-rate-hz")
        unit_s = 1 / (step * stated_hz)
    else:
        unit_s = column.unit_s or _likely_unit(step, column.name, stated_hz)
    rate_hz, notes = _rate(1 / (step * unit_s), column.name, stated_hz, len(steps) + 1)
    if not jumps.any():
        return Timing(rate_hz, None, notes)
    missing = spans[jumps].astype(np.float64) / step - counts[jumps]  # (j,) samples
    if (len(steps) + 1 + missing.sum()) / rate_hz > _MAX_DURATION_S:
        raise Unfit(f"its times jump so far that it would last more than {_MAX_DURATION_S / _DAY_S:g} days: split it")
    places = _places(counts, jumps, np.maximum(1, np.round(missing)).astype(np.int64), len(steps) + 1)
    return Timing(rate_hz, places, (*notes, f"column {column.name!r} jumps: what is missing there is a gap"))


def _runs(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m,) lines of each run but the last, and (m,) the time from each to the next."""
    if steps.all():
        return np.broadcast_to(np.float32(1), steps.shape), steps
    ends = np.flatnonzero(steps)
    return np.diff(ends, prepend=-1).astype(np.float32), steps[ends]


def _step(counts: np.ndarray, spans: np.ndarray, *, has_packets: bool) -> tuple[float, np.ndarray]:
    """The time of one sample, as it is written, and (m,) bool: where more is missing than times are rounded by."""
    every = slice(None, None, len(spans) // _ROBUST | 1)
    some = np.sort(spans[every] / counts[every])
    cut = len(some) // 20
    step = float(some[cut : len(some) - cut].mean(dtype=np.float64))
    least = _LEAST_JUMP_OF_PACKETS if has_packets else _LEAST_JUMP
    for _ in range(2):  # the second look has the step of the lines between the jumps
        missing = spans / np.float32(step) - counts  # (m,) samples
        if has_packets:
            missing[0] = 0  # the first packet may have begun before the file
        jumps: np.ndarray = missing > max(least, _SPREADS * float(np.median(np.abs(missing[every]))))
        step = float(spans[~jumps].sum(dtype=np.float64) / counts[~jumps].sum(dtype=np.float64))
    return step, jumps


def _likely_unit(step: float, name: str, stated_hz: float | None) -> float:
    """Seconds for each unit of the times: the one that is nearest to the stated rate, or gives a rate of an ECG."""
    if stated_hz is not None:
        return min(SECONDS.values(), key=lambda unit_s: abs(math.log(step * unit_s * stated_hz)))
    counts_lines = abs(step - 1) < _RATE_TOLD  # or milliseconds at 1000 Hz
    likely = (
        []
        if counts_lines
        else [unit_s for unit_s in SECONDS.values() if _LIKELY_HZ[0] <= 1 / (step * unit_s) < _LIKELY_HZ[1]]
    )
    if not likely:
        raise Unfit(
            f"no sampling rate: column {name!r} goes by {step:g} of an unknown unit. State it, --sampling-rate-hz"
        )
    return likely[0]


def _rate(said_hz: float, name: str, stated_hz: float | None, lines: int) -> tuple[float, tuple[str, ...]]:
    """The rate to use, and what is to be told of it: in a long recording a small difference shifts the labels."""
    told = min(_RATE_TOLD, _DRIFT_TOLD_S * said_hz / lines)
    whole = round(said_hz)
    said_hz = float(whole) if abs(said_hz - whole) <= told * said_hz else round(said_hz, 5)
    if stated_hz is None:
        if not _LIKELY_HZ[0] <= said_hz < _LIKELY_HZ[1]:
            raise Unfit(f"the times say {said_hz:g} Hz (column {name!r}): state the rate, --sampling-rate-hz")
        return said_hz, (f"sampled at {said_hz:g} Hz by its column {name!r}",)
    if abs(said_hz / stated_hz - 1) > _RATE_TOLERANCE:
        raise Unfit(
            f"the times say {said_hz:g} Hz (column {name!r}), not the {stated_hz:g} Hz stated: "
            "state the true rate, or name the column otherwise if it holds no times"
        )
    if abs(said_hz / stated_hz - 1) > told:
        return stated_hz, (f"the times of column {name!r} say {said_hz:g} Hz; the {stated_hz:g} Hz stated are used",)
    return stated_hz, ()


def _places(counts: np.ndarray, jumps: np.ndarray, missing: np.ndarray, lines: int) -> np.ndarray:
    """(n,) the place of each line, with so many places left free at each jump."""
    after = np.cumsum(counts, dtype=np.float64)[jumps].astype(np.int64)
    places: np.ndarray = np.ones(lines, np.int64)
    places[0] = 0
    places[after] += missing
    return np.cumsum(places, out=places)


def most_regular(columns: Iterable[tuple[TimeColumn, np.ndarray]]) -> TimeColumn | None:
    """Of some columns with their first times the one whose times go on at most lines, the first of equals."""
    ranked = [(float((np.diff(times) > 0).mean()) if len(times) > 1 else 0.0, column) for column, times in columns]
    return max(ranked, key=lambda pair: pair[0])[1] if ranked else None
