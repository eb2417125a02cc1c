"""Recorded noise: WFDB records of what disturbs an ECG, without an ECG in them.

PhysioNet's noise stress test database (Moody et al. 1984, "A noise stress test for arrhythmia detectors") has half an
hour each of baseline wander, electrode motion and muscle noise. It is resampled and filtered as recordings of the task
are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base import files
from ecm_edge.base.errors import RecordingError
from ecm_edge.data.recordings.wfdb_headers import read_header
from ecm_edge.data.recordings.wfdb_signals import deprecations_ignored, open_lead, reader
from ecm_edge.data.recordings.windows import Unfit, condition

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.data.recordings.wfdb_signals import Lead
    from ecm_edge.tasks import Task

_MOST_SAMPLES = 2**25  # of all signals, as recorded and at the task's rate
_LEAST_SPREAD, _LARGEST_SPREAD = 1e-4, 1e6  # mV; beyond, float32 or a gain that is wrong leave nothing of it


@dataclass(frozen=True)
class RecordedNoise:
    """Noise at the task's rate: a (M,) float32 signal of each channel of each record, and the hash of all of them."""

    signals: tuple[NDArray[np.float32], ...]
    sha256: str


def read(source: Path, task: Task) -> RecordedNoise:
    """The noise of the WFDB records in the folder `source`, in the order of their names.

    Raises:
        RecordingError: no record there, one that cannot be read, more than 2^25 samples, or a signal that is shorter
            than a window of the task, constant or not of finite samples.
    """
    headers = _headers(source)
    if not headers:
        raise RecordingError(
            "recorded noise is a folder of WFDB records", f"no .hea file in {source}", "Check the path."
        )
    signals: list[NDArray[np.float32]] = []
    left = _MOST_SAMPLES
    for path in headers:
        try:
            found = _signals(path, task, left)
        except Unfit as problem:
            raise RecordingError(
                "recorded noise can be read", f"{path}: {problem}", "Mend the record, or take it out of the folder."
            ) from None
        signals += found
        left -= sum(map(len, found))
    return RecordedNoise(tuple(signals), files.sha256_bytes(b"".join(signal.tobytes() for signal in signals)))


def _headers(source: Path) -> list[Path]:
    """The headers in a folder, by name; none where it is no folder that can be read."""
    try:
        return sorted(source.glob("*.hea")) if source.is_dir() else []
    except (OSError, ValueError):  # a name that is too long, or that no file can have
        return []


def _signals(path: Path, task: Task, most: int) -> list[NDArray[np.float32]]:
    """Every signal of a record."""
    header = read_header(path)
    if header.parts:
        raise Unfit("it has several parts")
    if not header.signals:
        raise Unfit("its header has no signal")
    leads = [open_lead(header, number) for number in range(len(header.signals))]
    if sum(max(lead.length, _length(lead, task)) for lead in leads) > most:
        raise Unfit(f"with it there are more than {_MOST_SAMPLES:,} samples")
    return [_signal(lead, task) for lead in leads]


def _length(lead: Lead, task: Task) -> int:
    """How many samples a lead has at the rate of the task."""
    return round(lead.length / lead.rate_hz * task.sampling_rate_hz)


def _signal(lead: Lead, task: Task) -> NDArray[np.float32]:
    """A whole lead as noise."""
    name = repr(lead.signal.name)
    if _length(lead, task) <= task.samples_per_segment:
        raise Unfit(f"{lead.length} samples of {name} are shorter than a window")
    with deprecations_ignored():
        raw = reader([(0, lead)])(0, lead.length)
    known = raw[np.isfinite(raw)]
    if not known.size or np.ptp(known) == 0:
        raise Unfit(f"{name} is flat, or no sample of it is there: it adds nothing")
    with np.errstate(over="ignore", invalid="ignore"):
        signal = condition(raw, lead.rate_hz, task).astype(np.float32)
        spread = float(signal.std(dtype=np.float64))
    if not _LEAST_SPREAD < spread < _LARGEST_SPREAD:
        raise Unfit(f"{name} has a standard deviation of {spread:.3g} mV, which is no noise")
    return signal
