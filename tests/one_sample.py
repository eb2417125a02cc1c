"""A task of 8 samples in 1 s, and recordings for the model that reads the first sample of a window as its margin."""

from __future__ import annotations

import numpy as np

from ecm_edge import tasks
from ecm_edge.data.recordings.options import Options
from tests import tiny

RATE_HZ = 8.0
TASK = tasks.Task(
    name="tiny", title="one sample", label="AF", positive=["AFIB"], window_s=1, sampling_rate_hz=RATE_HZ, band_hz=None
)
OPTIONS = Options(sampling_rate_hz=RATE_HZ)


def windows(margins):
    """Samples of windows of 1 s whose first sample is the margin; None is a gap, "flat" a flat line."""
    samples = np.tile(np.linspace(0.1, 0.8, tiny.T), (len(margins), 1))
    for row, margin in zip(samples, margins, strict=True):
        if margin == "flat":
            row[:] = 0.5
        else:
            row[0] = np.nan if margin is None else margin
    return samples.ravel()


def write(path, margins, rest=()):
    np.savetxt(path, [*windows(margins), *rest], fmt="%.6f")
    return path
