"""A data set of any size for measuring: windows cut out of synthetic recordings, no two of them alike.

    python -m benchmarks.large_set FOLDER --segments 2000000

Some recordings are those of `data synth`. Every window is cut out of these at a drawn place, at one of several tempi,
and scaled, with noise added. So it is no near duplicate of another, and is made in microseconds. Subjects have
recordings of a hundred windows, by whose names passages are known. A model that learns from it shows nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ecm_edge.data import synthetic
from ecm_edge.data.dataset import Description, SegmentBlock, Source
from ecm_edge.data.dataset_writer import write_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ecm_edge.data.dataset import DatasetHeader

    Samples = NDArray[np.float32]

RATE_HZ, T, WINDOW_S = 250.0, 1250, 5
WINDOWS = 100  # of a recording, which has one rhythm
RECORDINGS = 2  # of a subject: one with AF, one without
RHYTHMS = ("AFIB", "N")
_BLOCK = 10_000  # segments
_BASE_SUBJECTS, _BASE_WINDOWS = 50, 60
_TEMPI = np.linspace(0.7, 1.3, 16)
_NOISE_MV, _NOISE = 0.02, 1 << 22  # and samples


def make(folder: Path, segments: int, seed: int = 0) -> DatasetHeader:
    """Write a data set of so many segments; memory stays at a block and the table."""
    description = Description(
        sampling_rate_hz=RATE_HZ,
        samples_per_segment=T,
        unit="mV",
        synthetic=True,
        source=Source(format="made for measuring"),
    )
    return write_dataset(folder, description, _blocks(segments, seed))


def _blocks(segments: int, seed: int) -> Iterator[SegmentBlock]:
    base = [_base(rhythm, seed) for rhythm in RHYTHMS]
    rng = np.random.default_rng(seed)
    noise = _NOISE_MV * rng.standard_normal(_NOISE, np.float32)
    for start in range(0, segments, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, segments))
        recordings = rows // WINDOWS
        rhythms = recordings % RECORDINGS
        samples = np.empty((len(rows), T), np.float32)
        for place, flat in enumerate(base):
            own = rhythms == place
            samples[own] = _cut(flat, noise, int(own.sum()), rng)
        names = [f"R{row // WINDOWS}+{row % WINDOWS * WINDOW_S}s" for row in rows.tolist()]
        subjects = [f"S{one}" for one in (recordings // RECORDINGS).tolist()]
        of_rhythm = [RHYTHMS[place] for place in rhythms.tolist()]
        episodes = [f"{one}" for one in (rows // 2).tolist()]
        yield SegmentBlock(samples, names, subjects, of_rhythm, episodes, [""] * len(rows))


def _base(rhythm: str, seed: int) -> Samples:
    """(M,) samples of this rhythm, of several synthetic subjects one after the other, at every tempo."""
    pieces = []
    for subject in range(_BASE_SUBJECTS):
        one = synthetic.recording(subject, seed, _BASE_WINDOWS)
        spans = [span for span in one.spans if span.rhythm == rhythm]
        pieces += [one.read(round(span.onset_s * RATE_HZ), round(span.end_s * RATE_HZ)) for span in spans]
    flat = np.concatenate(pieces)
    at_tempo = [np.interp(np.arange(0, len(flat) - 1, tempo), np.arange(len(flat)), flat) for tempo in _TEMPI]
    return np.concatenate(at_tempo).astype(np.float32)


def _cut(flat: Samples, noise: Samples, count: int, rng: np.random.Generator) -> Samples:
    """(count, T) windows out of (M,) samples, scaled, with a part of the noise added to each."""
    cut: Samples = sliding_window_view(flat, T)[rng.integers(0, len(flat) - T, count)]
    cut *= rng.uniform(0.7, 1.3, (count, 1)).astype(np.float32)
    cut += sliding_window_view(noise, T)[rng.integers(0, len(noise) - T, count)]
    return cut


def main(arguments: list[str]) -> None:
    """Make a set, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_set", description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--segments", type=int, default=2_000_000)
    asked = parser.parse_args(arguments)
    sys.stdout.write(f"{make(asked.folder, asked.segments).content_sha256}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
