"""Recordings into data sets: one reader a file, and what they share.

iesd         the contest's text files, one segment each
physionet    WFDB records with rhythm notes
edf          EDF files with a label table
csv_files    CSV and text files with a label table
options      what the readers are asked for, and the tables beside recordings
windows      continuous recordings into segments
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ecm_edge.base.errors import RecordingError
from ecm_edge.base.records import Record
from ecm_edge.data.dataset import (
    BLANK_RHYTHM,
    SAMPLES_PER_SEGMENT,
    SAMPLING_RATE_HZ,
    Blank,
    Description,
    LeftOut,
    Source,
    open_dataset,
    write_dataset,
)
from ecm_edge.data.info import counts
from ecm_edge.data.recordings.iesd import SIGNAL
from ecm_edge.data.recordings.options import Format, Options, check
from ecm_edge.data.recordings.windows import FILTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ecm_edge.data.dataset import SegmentBlock

OnError = Literal["fail", "skip"]

_READERS: dict[Format, str] = {"iesd": "iesd", "wfdb": "physionet", "edf": "edf", "csv": "csv_files"}
_VOLTAGE_FORMATS = ("wfdb", "edf")  # their files state a unit, which is converted


class ImportRecord(Record):
    """What an import made. `rhythms` and `splits` count segments; `left_out` names everything that is not in it."""

    dataset: str
    format: Format
    segments: int
    subjects: int
    rhythms: dict[str, int]
    splits: dict[str, int]
    blank: Blank
    blank_segments: int
    sampling_rate_hz: float
    unit: str
    synthetic: bool
    left_out: list[LeftOut]
    content_sha256: str
    seconds: float


def import_recordings(
    source: Path,
    out: Path,
    *,
    file_format: Format,
    options: Options | None = None,
    on_error: OnError = "fail",
    blank: Blank = "negative",
    synthetic: bool = False,
    problems_shown: int = 10,
) -> ImportRecord:
    """Read every recording of a folder into a new data set at `out`.

    With `on_error="fail"` one problem is enough to write nothing; with "skip" the rest is imported and the header
    keeps what was left out, and why. The error shows the first `problems_shown` problems.

    Raises:
        RecordingError: no such folder, an option that is missing or has no effect, or recordings with problems.
        DatasetError: nothing usable is left.
        OutputError: `out` exists or cannot be written.
    """
    begin_s = time.perf_counter()
    options = options or Options()
    check(options, file_format)
    if not source.is_dir():
        raise RecordingError("recordings are read from a folder", f"no folder at {source}", "Check the path.")
    reader = importlib.import_module(f"ecm_edge.data.recordings.{_READERS[file_format]}")
    blocks = reader.read(source, options)
    if on_error == "fail":
        blocks = _all_good(blocks, problems_shown)
    header = write_dataset(out, _describe(file_format, options, blank, on_error, synthetic=synthetic), blocks)
    found = counts(open_dataset(out))
    return ImportRecord(
        dataset=str(out),
        format=file_format,
        segments=header.segments,
        subjects=len(header.subjects),
        rhythms=found.rhythms,
        splits=found.splits,
        blank=blank,
        blank_segments=found.rhythms.get(BLANK_RHYTHM, 0),
        sampling_rate_hz=header.sampling_rate_hz,
        unit=header.unit,
        synthetic=synthetic,
        left_out=header.left_out,
        content_sha256=header.content_sha256,
        seconds=round(time.perf_counter() - begin_s, 3),
    )


def _all_good(blocks: Iterable[SegmentBlock], shown: int) -> Iterator[SegmentBlock]:
    """The blocks; at their end an error if any had a problem, so that all of them are known."""
    problems: list[LeftOut] = []
    for block in blocks:
        problems.extend(block.problems)
        yield block
    if problems:
        listed = "; ".join(f"{problem.name}: {problem.reason}" for problem in problems[:shown])
        more = f"; and {len(problems) - shown} more" if len(problems) > shown else ""
        raise RecordingError(
            "every recording has to be usable",
            f"{len(problems)} that {'is' if len(problems) == 1 else 'are'} not: {listed}{more}",
            "Nothing was written. Mend them, or import the rest with --on-error skip.",
        )


def _describe(
    file_format: Format, options: Options, blank: Blank, on_error: OnError, *, synthetic: bool
) -> Description:
    stated = {name: _text(value) for name, value in vars(options).items() if value not in (None, ())}
    signal = SIGNAL if file_format == "iesd" else FILTER
    return Description(
        sampling_rate_hz=SAMPLING_RATE_HZ,
        samples_per_segment=SAMPLES_PER_SEGMENT,
        unit="mV" if file_format in _VOLTAGE_FORMATS else options.unit or "unstated",
        splits=[name for name, _ in options.splits],
        blank=blank,
        synthetic=synthetic,
        source=Source(format=file_format, options={**stated, "on_error": on_error, "signal": signal}),
    )


def _text(value: object) -> str:
    """An option as text; of a path only the name, so that a header does not depend on the machine."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, tuple):
        return ", ".join(f"{name}={path.name}" for name, path in value)
    return str(value)
