"""The files of EDF, EDF+, BDF and BDF+: header, samples and annotations (https://www.edfplus.info/specs/).

pyEDFlib refuses discontinuous files, units beyond ASCII and files of which any channel has no range. Here only the
channel that is read has to be sound.

R data records follow the header. Each holds one stretch of time of every channel, so n samples of a channel.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.data.recordings.options import regular
from ecm_edge.data.recordings.windows import LONGEST_S, Unfit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEADER = 256  # bytes of the header, and again for each channel
_FIELDS = {"label": 16, "transducer": 80, "unit": 8, "low": 8, "high": 8, "digital_low": 8, "digital_high": 8}
_BEFORE_SAMPLES = 216  # bytes of a channel's fields before its number of samples
_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
_LONGEST_RECORD = 2**26  # bytes; EDFlib's limit is 15 MB
_BLOCK = 2**24  # bytes read at a time
_MOST_TEXTS = 500_000  # more than the beats of four days
_TAL = re.compile(
    rb"(?P<onset>[+-]\d{1,12}(\.\d{0,12})?)(\x15(?P<duration>\d{1,12}(\.\d{0,12})?))?\x14(?P<texts>.*)\x14", re.DOTALL
)


@dataclass(frozen=True)
class Channel:
    """One channel: `place` is that of its first byte in a data record, `fields` its header as text."""

    place: int
    samples: int  # n, of a data record
    fields: dict[str, str]

    @property
    def label(self) -> str:
        """Its name."""
        return self.fields["label"]

    @property
    def unit(self) -> str:
        """The unit of a sample, "" where none is stated."""
        return self.fields["unit"]

    def scale(self) -> tuple[float, float]:
        """(gain, offset) in its unit: a sample is gain · (number + offset)."""
        low, high = (_number(self.fields[name], f"the {name}est value") for name in ("low", "high"))
        first, last = (_whole(self.fields[name], "a digital limit") for name in ("digital_low", "digital_high"))
        if first >= last:
            raise Unfit(f"{self.label!r} has the digital minimum {first} and the maximum {last}")
        gain = (high - low) / (last - first)
        if gain == 0 or not math.isfinite(high / gain):
            raise Unfit(f"{self.label!r} has the physical minimum {low:g} and the maximum {high:g}")
        return gain, high / gain - last


@dataclass(frozen=True)
class Annotation:
    """A text at `onset_s` of the file's clock; `duration_s` is 0 where none is stated."""

    onset_s: float
    duration_s: float
    text: str


@dataclass(frozen=True)
class EdfFile:
    """The header of one file. `records` is R, `sample_bytes` 2 or 3, `record_s` the time of a record."""

    path: Path
    header_bytes: int
    record_bytes: int
    records: int
    record_s: float
    sample_bytes: int
    discontinuous: bool
    channels: tuple[Channel, ...]
    annotated: tuple[Channel, ...]
    notes: tuple[str, ...]

    def rate_hz(self, channel: Channel) -> float:
        """Samples a second; `Unfit` where the time of a record makes no sense."""
        if self.record_s <= 0 or self.records * self.record_s > LONGEST_S:
            raise Unfit(f"{self.records} data records of {self.record_s:g} s: no time of a recording")
        return channel.samples / self.record_s

    def digital(self, channel: Channel, first: int, last: int) -> np.ndarray:
        """The samples of the records `first` to `last` - 1, ((last - first) · n,) int32."""
        width = channel.samples * self.sample_bytes
        rows = [block[:, channel.place : channel.place + width] for _, block in self._blocks(first, last)]
        narrow = np.concatenate(rows).reshape(-1, self.sample_bytes)  # little endian, with a sign
        wide = np.zeros((len(narrow), 4), np.uint8)
        wide[:, 4 - self.sample_bytes :] = narrow
        numbers: np.ndarray = wide.view("<i4")[:, 0] >> 8 * (4 - self.sample_bytes)
        return numbers

    def annotations(self) -> tuple[np.ndarray, list[Annotation]]:
        """The onset of each record, (R,) s, NaN where it is not stated, and all texts, both by the file's clock."""
        onsets, found = np.full(self.records, np.nan), []
        for first, block in self._blocks(0, self.records) if self.annotated else ():
            for number, channel in enumerate(self.annotated):
                rows = block[:, channel.place : channel.place + channel.samples * self.sample_bytes]
                for record, row in enumerate(rows, first):
                    for one in _annotations(row.tobytes(), record):
                        if one.text:
                            found.append(one)
                            if len(found) > _MOST_TEXTS:
                                raise Unfit(f"more than {_MOST_TEXTS} annotations")
                        elif number == 0 and math.isnan(onsets[record]):
                            onsets[record] = one.onset_s
        return onsets, found

    def _blocks(self, first: int, last: int) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first, (k, record_bytes) uint8) of some records at a time."""
        step = max(1, _BLOCK // self.record_bytes)
        for begin in range(first, last, step):
            count = min(step, last - begin)
            offset = self.header_bytes + begin * self.record_bytes
            data = np.fromfile(self.path, np.uint8, count * self.record_bytes, offset=offset)
            if len(data) < count * self.record_bytes:
                raise Unfit("truncated while it was read")
            yield begin, data.reshape(count, self.record_bytes)


def open_file(path: Path) -> EdfFile:
    """Read the header and hold it against the file's size; `Unfit` where they contradict each other."""
    with regular(path).open("rb") as stream:
        main = stream.read(_HEADER)
        sample_bytes = {b"0": 2, b"\xffBIOSEMI": 3}.get(main[:8].strip(b" \0"))
        if sample_bytes is None or len(main) < _HEADER:
            raise Unfit("neither EDF nor BDF by its first bytes")
        count = _whole(_text(main[252:256]), "the number of signals")
        if count < 1 or _whole(_text(main[184:192]), "the header's size") != _HEADER * (count + 1):
            raise Unfit(f"its header's size does not fit {count} signals")
        signals = stream.read(_HEADER * count)
    channels = _channels(signals, count, sample_bytes)
    record_bytes = sum(channel.samples for channel in channels) * sample_bytes
    header_bytes, data_bytes = _HEADER * (count + 1), path.stat().st_size - _HEADER * (count + 1)
    if not 0 < record_bytes <= _LONGEST_RECORD:
        raise Unfit(f"its data records have {record_bytes} bytes; from 1 to {_LONGEST_RECORD} are read")
    records, notes = _records(_whole(_text(main[236:244]), "the number of data records"), data_bytes, record_bytes)
    return EdfFile(
        path,
        header_bytes,
        record_bytes,
        records,
        _number(_text(main[244:252]), "the duration of a data record"),
        sample_bytes,
        main[196:197] == b"D" and main[192:196] in {b"EDF+", b"BDF+"},
        tuple(channel for channel in channels if channel.label not in _ANNOTATIONS),
        tuple(channel for channel in channels if channel.label in _ANNOTATIONS),
        notes,
    )


def starts(file: EdfFile, onsets: np.ndarray, rate_hz: float, samples: int) -> np.ndarray:
    """The place of each record on the time line that begins with the first, (R,) samples.

    A record that begins where the one before ends, within a sample, follows it without a gap.

    Args:
        file: its `records` and `record_s` count.
        onsets: (R,) in s, as the records state them.
        rate_hz: of a channel.
        samples: n of that channel.

    Raises:
        Unfit: an onset is missing, records overlap, or they span more than a year.
    """
    if np.isnan(onsets).any():
        raise Unfit("a data record of a discontinuous file does not state when it begins")
    if np.ptp(onsets) > LONGEST_S:
        raise Unfit("its data records span more than a year")
    late = np.round((onsets - onsets[0] - np.arange(file.records) * file.record_s) * rate_hz).astype(np.int64)
    jumps = np.diff(late, prepend=0)
    jumps[np.abs(jumps) <= 1] = 0
    if (jumps < 0).any():
        raise Unfit("its data records overlap, or are not in the order of time")
    places: np.ndarray = np.arange(file.records) * samples + np.cumsum(jumps)
    return places


def _channels(signals: bytes, count: int, sample_bytes: int) -> list[Channel]:
    """The channels of a header: field by field, the values of all channels side by side."""
    if len(signals) < _HEADER * count:
        raise Unfit("truncated in its header")
    columns, place = {}, 0
    for name, width in _FIELDS.items():
        part = signals[place : place + width * count]
        columns[name] = [_text(part[k * width : (k + 1) * width]) for k in range(count)]
        place += width * count
    part = signals[_BEFORE_SAMPLES * count :]
    channels, place = [], 0
    for k in range(count):
        samples = _whole(_text(part[8 * k : 8 * k + 8]), "the number of samples of a data record")
        if samples < 0:
            raise Unfit(f"{samples} samples in a data record")
        channels.append(Channel(place, samples, {name: values[k] for name, values in columns.items()}))
        place += samples * sample_bytes
    return channels


def _records(stated: int, data_bytes: int, record_bytes: int) -> tuple[int, tuple[str, ...]]:
    """R, and what is to be told of it. -1 stands in a header whose recording was not ended properly."""
    there = data_bytes // record_bytes
    notes: tuple[str, ...] = ()
    if stated == -1:
        stated, notes = there, ("its number of data records is not stated: taken from the file's size",)
    elif data_bytes > stated * record_bytes:
        notes = ("there are bytes after its last data record: they are not read",)
    if stated < 1:
        raise Unfit("it has no data record")
    if there < stated:
        raise Unfit(f"truncated: {there} data records where {stated} are promised")
    return stated, notes


def _annotations(data: bytes, record: int) -> Iterator[Annotation]:
    """The texts of one record's annotation channel; the empty one is the record's own onset."""
    if max(data.count(b"\x14"), data.count(b"\0\0+")) > _MOST_TEXTS:
        raise Unfit(f"more than {_MOST_TEXTS} annotations")
    for each in filter(None, data.split(b"\0")):
        tal = _TAL.fullmatch(each)
        if tal is None:
            raise Unfit(f"a damaged annotation in data record {record}")
        for text in tal["texts"].split(b"\x14"):
            words = text.decode("utf-8", errors="replace").strip()
            yield Annotation(float(tal["onset"]), float(tal["duration"] or 0), words)


def _text(field: bytes) -> str:
    """A field as text; the standard is ASCII, and files have Latin-1 or UTF-8 for µ."""
    try:
        return field.decode("utf-8").strip(" \0")
    except UnicodeDecodeError:
        return field.decode("latin-1").strip(" \0")


def _number(text: str, name: str) -> float:
    """A number; some devices write a comma for the point."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Unfit(f"{name} is {text!r} in its header")
    return value


def _whole(text: str, name: str) -> int:
    value = _number(text, name)
    if not value.is_integer():
        raise Unfit(f"{name} is {text!r} in its header")
    return int(value)
