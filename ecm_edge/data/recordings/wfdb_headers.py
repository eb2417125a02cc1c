"""Headers of WFDB records, as the format's manual (header(5)) defines them.

They are read here and not by the `wfdb` package, which fills in 250 Hz for a rate and 200 for a gain that a header does
not state, drops what is not ASCII (µV becomes V), and refuses dates in the order of ISO 8601. No date is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.data.recordings.options import regular
from ecm_edge.data.recordings.windows import HIGHEST_RATE_HZ, Unfit

if TYPE_CHECKING:
    from pathlib import Path

MISSING_PART = "~"
"""The name of a part that is a hole."""

_MAX_BYTES = 4_000_000
_LOWEST_RATE_HZ = 1.0
_MAX_DIGITS = 18  # of a whole number

_RATE = re.compile(r"\d+\.?\d*|\.\d+")
_FORMAT = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?")
_GAIN = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?:\(([-+]?\d+)\))?(?:/(\S+))?")
_WHOLE = re.compile(rf"[-+]?\d{{1,{_MAX_DIGITS}}}")


@dataclass(frozen=True)
class Signal:
    """One signal line. `gain` is in counts per unit, None where none is stated; a `checksum` of 0 says none."""

    file: str
    fmt: str
    samples_per_frame: int
    skew: int  # frames
    offset: int  # bytes; samples where the file is compressed
    gain: float | None
    baseline: int
    unit: str
    initial: int
    checksum: int
    name: str


@dataclass(frozen=True)
class Header:
    """`frames` is None where no length is stated. A record has signals, or parts: (record name, frames) pairs."""

    path: Path
    rate_hz: float  # frames per second
    frames: int | None
    signals: tuple[Signal, ...]
    parts: tuple[tuple[str, int], ...] = ()


def beside(header: Path, name: str) -> Path:
    """The path of a file that a header names: it lies in the same folder; else `Unfit`."""
    if "/" in name or "\\" in name or name in {".", ".."}:
        raise Unfit(f"its header names the file {name!r}; a record's files lie beside its header")
    return header.with_name(name)


def read_header(path: Path) -> Header:
    """The header at this path; `Unfit` if it is not one."""
    lines = _lines(path)
    record = lines[0].split() if lines else []
    if len(record) < 2:  # noqa: PLR2004 - a name and a number of signals
        raise Unfit("its header has no record line")
    rate_hz, frames = _rate(record[2:]), _number(record[3], "length") if record[3:] else 0
    parts = record[0].partition("/")[2]
    promised = _number(parts or record[1], "number of lines")
    if promised != len(lines) - 1 or frames < 0:
        raise Unfit(f"its header promises {promised} lines and has {len(lines) - 1}")
    if parts:
        return Header(path, rate_hz, frames or None, (), tuple(map(_part, lines[1:])))
    return Header(path, rate_hz, frames or None, tuple(map(_signal, lines[1:])))


def part_names(path: Path) -> list[str]:
    """The names of the records beside it that are parts of this one; none if it is no header."""
    try:
        lines = _lines(path)
    except (Unfit, OSError):
        return []
    parts = lines[1:] if lines and "/" in lines[0].split()[0] else []
    return [name for name in (line.split()[0] for line in parts) if "/" not in name]


def _lines(path: Path) -> list[str]:
    """The lines of a header that are neither empty nor comments."""
    with regular(path, f"its {path.suffix}").open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise Unfit(f"its header is longer than {_MAX_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    stripped = map(str.strip, text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def _rate(fields: list[str]) -> float:
    """The sampling rate; behind a slash may stand the rate of a counter."""
    text = fields[0].split("/")[0] if fields else "none"
    if not _RATE.fullmatch(text) or not _LOWEST_RATE_HZ <= float(text) <= HIGHEST_RATE_HZ:
        limits = f"from {_LOWEST_RATE_HZ:g} to {HIGHEST_RATE_HZ:g}"
        raise Unfit(f"the sampling rate in its header is {text!r}; it must be a number of Hz {limits}")
    return float(text)


def _number(text: str, what: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise Unfit(f"its header has {text[:40]!r} as {what}")
    return int(text)


def _part(line: str) -> tuple[str, int]:
    name, *length = line.split()
    frames = _number("".join(length), "length of a part")
    if frames < 0:
        raise Unfit(f"its header has {frames} as length of a part")
    return name, frames


def _signal(line: str) -> Signal:
    """FILE FORMAT[xN][:SKEW][+OFFSET] [GAIN[(BASELINE)][/UNIT]] [BITS] [ZERO] [FIRST] [CHECKSUM] [BLOCK] [NAME]."""
    file, form, gain, _, zero, initial, checksum, _, name, *_ = [*line.split(maxsplit=8), *[""] * 9]
    layout, scale = _FORMAT.fullmatch(form), _GAIN.fullmatch(gain or "0")
    if layout is None or scale is None:
        raise Unfit(f"its header has the signal line {line[:80]!r}")
    fmt, per_frame, skew, offset = layout.groups(default="0")
    zero_count = _number(zero or "0", "zero of the converter")
    return Signal(
        file=file,
        fmt=fmt,
        samples_per_frame=_number(per_frame, "samples in a frame") or 1,
        skew=_number(skew, "skew"),
        offset=_number(offset, "offset"),
        gain=float(scale[1]) or None,
        baseline=_number(scale[2], "baseline") if scale[2] else zero_count,
        unit=scale[3] or "mV",
        initial=_number(initial or "0", "first sample"),
        checksum=_number(checksum or "0", "checksum"),
        name=name or "unnamed",
    )
