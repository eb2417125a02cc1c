"""One lead of a WFDB record: where it lies in its files, and its samples, decoded by the `wfdb` package block by block.

A block is decoded once for several short reads, and no more of a file is in memory than two of them.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ecm_edge.data.dataset import UNSTATED
from ecm_edge.data.recordings.options import choose_lead, foreign, regular, whole
from ecm_edge.data.recordings.units import to_millivolts
from ecm_edge.data.recordings.wfdb_headers import MISSING_PART, beside, read_header
from ecm_edge.data.recordings.windows import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from ecm_edge.data.recordings.wfdb_headers import Header, Signal

UNCALIBRATED = "its header states no gain, so the amplitude is unknown: taken as WFDB's 200 counts per mV"

_DEFAULT_GAIN = 200.0
_BLOCK_SAMPLES = 2**22  # of all signals of a file
_BLOCKS_KEPT = 2
_MAX_SAMPLES = 2**31
_MOST_PARTS = 10_000
_MAX_DIFFERENCES = 2**26
_DIFFERENCES = "8"  # each sample is the difference from the one before: decoded only as a whole


@dataclass(frozen=True)
class Lead:
    """One signal of a single-segment record, and the other signals of its file, which are stored frame by frame."""

    header: Header
    file_signals: tuple[Signal, ...]
    place: int
    """The index of the signal in `file_signals`."""
    frames: int

    @property
    def signal(self) -> Signal:
        """The signal's line of the header."""
        return self.file_signals[self.place]

    @property
    def length(self) -> int:
        """Samples of the lead."""
        return self.frames * self.signal.samples_per_frame

    @property
    def rate_hz(self) -> float:
        """Samples of the lead per second."""
        return self.header.rate_hz * self.signal.samples_per_frame

    @property
    def unit(self) -> str:
        """The unit of what `read` gives."""
        return "mV" if self.signal.gain else UNSTATED

    @property
    def block(self) -> int:
        """Frames of a block."""
        if self.signal.fmt == _DIFFERENCES:
            return max(1, self.frames)
        return max(1, _BLOCK_SAMPLES // _per_frame(self.file_signals))


Decode: TypeAlias = "Callable[[Lead, int], np.ndarray]"
"""Gives the (t,) counts of a lead in the block of this number."""


def open_lead(header: Header, number: int) -> Lead:
    """A signal of a header; `Unfit` if its file does not hold what the header promises."""
    chosen = header.signals[number]
    to_millivolts(chosen.unit)
    file_signals = tuple(signal for signal in header.signals if signal.file == chosen.file)
    held = _frames_held(header, file_signals)
    frames = held if header.frames is None else header.frames
    if frames > held:
        raise Unfit(f"truncated: {held} samples where {frames} are promised")
    limit = _MAX_DIFFERENCES if chosen.fmt == _DIFFERENCES else _MAX_SAMPLES
    if frames * _per_frame(file_signals) > limit:
        raise Unfit(f"{frames} samples of {len(file_signals)} signals are too long; {limit} in all can be read")
    place = sum(signal.file == chosen.file for signal in header.signals[:number])
    return Lead(header, file_signals, place, frames)


def find_lead(header: Header, wanted: str | None, preferred: Sequence[str]) -> tuple[list[tuple[int, Lead]], int]:
    """Where the lead of this name lies: (first sample, lead) of each part that has it, and the length in samples.

    `wanted` and `preferred` are those of `choose_lead`. A record of one segment is one part.
    """
    if header.parts:
        return _find_in_parts(header, wanted, preferred)
    if not header.signals:
        raise Unfit("its header has no signal")
    lead = open_lead(header, choose_lead([signal.name for signal in header.signals], wanted, preferred))
    return [(0, lead)], lead.length


def _find_in_parts(header: Header, wanted: str | None, preferred: Sequence[str]) -> tuple[list[tuple[int, Lead]], int]:
    """The same for a record of several parts. If the first has no length, it only names the signals of the others."""
    names = [name for name, _ in header.parts if name != MISSING_PART]
    if not names:
        raise Unfit("it has no part with a signal")
    if len(header.parts) > _MOST_PARTS:
        raise Unfit(f"{len(header.parts)} parts; at most {_MOST_PARTS} are read")
    part_of = cache(lambda name: _part(header, name))
    layout = [signal.name for signal in part_of(names[0]).signals]
    number = choose_lead(layout, wanted, preferred)
    found, begin = [], 0
    for name, frames in header.parts:
        if name != MISSING_PART and frames:
            part = part_of(name)
            there = [signal.name for signal in part.signals]
            if layout[number] in there:
                place = number if there == layout else choose_lead(there, layout[number])
                found.append((begin, _open_part(part, place, frames)))
        begin += frames
    if not found:
        raise Unfit(f"no part has the lead {layout[number]!r}")
    if len({lead.rate_hz for _, lead in found}) > 1 or begin != (header.frames or begin) or begin > _MAX_SAMPLES:
        raise Unfit("its parts do not fit together: their rates or their lengths differ from what its header says")
    per_frame = found[0][1].signal.samples_per_frame
    return [(first * per_frame, lead) for first, lead in found], begin * per_frame


def _part(header: Header, name: str) -> Header:
    part = read_header(beside(header.path, f"{name}.hea"))
    if part.parts or part.rate_hz != header.rate_hz:
        raise Unfit(f"its part {name} is of another rate, or has parts of its own")
    return part


def _open_part(part: Header, number: int, frames: int) -> Lead:
    lead = open_lead(part, number)
    if lead.frames != frames:
        raise Unfit(f"truncated: its part {part.path.stem} has {lead.frames} samples where {frames} are promised")
    return lead


def reader(pieces: Sequence[tuple[int, Lead]]) -> Callable[[int, int], np.ndarray]:
    """A function that reads samples in mV from leads that begin at these samples; between them all is missing.

    Raises:
        Unfit: a file is damaged. All of a piece whose header has a checksum, or that is compressed, is decoded for it.
    """
    decode = lru_cache(maxsize=_BLOCKS_KEPT)(_decode)
    for _, lead in pieces:
        _check(lead, decode)

    def read(start: int, stop: int) -> np.ndarray:
        samples = np.full(stop - start, np.nan)
        for begin, lead in pieces:
            first, last = max(start, begin), min(stop, begin + lead.length)
            if first < last:
                samples[first - start : last - start] = _millivolts(lead, first - begin, last - begin, decode)
        return samples

    return read


@contextmanager
def deprecations_ignored() -> Iterator[None]:
    """Wfdb 4.3 calls functions that pandas is about to remove; a user could do nothing about the warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _codec() -> ModuleType:
    """The part of wfdb that decodes; `rdrecord`, which is public, reads the header in wfdb's own way."""
    with deprecations_ignored():
        from wfdb.io import _signal
    return _signal  # type: ignore[no-any-return]


def _per_frame(signals: Sequence[Signal]) -> int:
    return sum(signal.samples_per_frame for signal in signals)


def _frames_held(header: Header, signals: Sequence[Signal]) -> int:
    """The whole frames that fit into a file of this size."""
    codec = _codec()
    first = signals[0]
    path = beside(header.path, first.file)
    size = regular(path, f"its {path.suffix}").stat().st_size
    if first.fmt not in codec.BYTES_PER_SAMPLE:
        raise Unfit(f"signal format {first.fmt} is none of {', '.join(codec.BYTES_PER_SAMPLE)}")
    if first.fmt in codec.COMPRESSED_FMTS:  # which `_check` decodes
        return header.frames or 0
    return int(max(0, size - first.offset) / codec.BYTES_PER_SAMPLE[first.fmt] / _per_frame(signals) + 1e-9)


def _decode(lead: Lead, number: int) -> np.ndarray:
    """The (t,) counts of a lead in one block."""
    codec = _codec()
    first = number * lead.block
    last = min(first + lead.block, lead.frames)
    signals = lead.file_signals
    with foreign():
        counts: np.ndarray = codec._rd_dat_signals(  # noqa: SLF001 - see `_codec`
            file_name=signals[0].file,
            dir_name=str(lead.header.path.parent),
            pn_dir=None,
            fmt=signals[0].fmt,
            n_sig=len(signals),
            sig_len=lead.frames,
            byte_offset=signals[0].offset,
            samps_per_frame=[signal.samples_per_frame for signal in signals],
            skew=[0] * len(signals),  # `_millivolts` shifts the one signal that is read
            init_value=[signal.initial for signal in signals],
            sampfrom=first,
            sampto=last,
        )[lead.place]
    return whole(counts, (last - first) * lead.signal.samples_per_frame)


def _check(lead: Lead, decode: Decode) -> None:
    """Decode everything, if there is something to hold it against: the sum of all samples in 16 bits."""
    codec = _codec()
    if not (lead.signal.checksum or lead.signal.fmt in codec.COMPRESSED_FMTS):
        return
    total = sum(int(decode(lead, number).sum(dtype=np.int64)) for number in range(-(-lead.frames // lead.block)))
    if lead.signal.checksum and lead.header.frames and (total - lead.signal.checksum) % 2**16:
        raise Unfit("damaged: the samples do not add up to the checksum in its header")


def _millivolts(lead: Lead, start: int, stop: int, decode: Decode) -> np.ndarray:
    """(stop - start,) samples in mV, missing where the file says so or where the skew reaches behind its end."""
    codec = _codec()
    per_frame = lead.signal.samples_per_frame
    per_block, shift = lead.block * per_frame, lead.signal.skew * per_frame
    to_mv = to_millivolts(lead.signal.unit)
    missing = codec.INVALID_SAMPLE_VALUE[lead.signal.fmt]
    samples = np.full(stop - start, np.nan)
    for number in range((start + shift) // per_block, -(-min(stop + shift, lead.length) // per_block)):
        begin = number * per_block - shift  # of the block, as samples of the lead
        first, last = max(start, begin), min(stop, begin + per_block, lead.length - shift)
        if last <= first:
            break
        counts = decode(lead, number)[first - begin : last - begin]
        with np.errstate(all="ignore"):
            values = (counts.astype(np.float64) - lead.signal.baseline) / (lead.signal.gain or _DEFAULT_GAIN)
        samples[first - start : last - start] = np.where(counts == missing, np.nan, values * to_mv)
    return samples
