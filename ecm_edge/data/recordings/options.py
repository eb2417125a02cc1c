"""What the readers share: their options, the tables beside recordings, and faults in a file turned into reasons."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeVar

from ecm_edge.base.errors import RecordingError
from ecm_edge.base.files import read_bounded
from ecm_edge.base.names import path_meant
from ecm_edge.data.dataset import LeftOut, natural_key
from ecm_edge.data.recordings.windows import HIGHEST_RATE_HZ, Span, Unfit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from ecm_edge.data.recordings.windows import Recording

Value = TypeVar("Value")

Delimiter = Literal[",", ";", "tab", "space"]
DecimalSign = Literal[".", ","]

STEPS_PER_MV = 1000
"""Resolution of the recordings that the writers and the generator make: 1 µV."""

LABELS_FILE = "labels.csv"
_LARGEST_TABLE_BYTES = 1 << 26
_LABEL_COLUMNS = ("file", "subject", "rhythm", "onset_s", "duration_s")
_MEANT = re.compile(
    r"(?<![a-z])(onset|start|begin|from|end|stop|until|to|duration|dur|length|subject|patient|person|participant)(?![a-z])",
    re.IGNORECASE,
)
"""Words of column names that say when or who: such a column is never passed over."""
_WITHOUT_SUFFIX = ", which names it without its suffix: write the whole file name there"
_SHOWN = 60  # characters of a header in a message
_SAVE_AGAIN = "Save the table as CSV: UTF-8, columns separated by commas."


@dataclass(frozen=True)
class Options:
    """How recordings are read. The import refuses an option that the format does not take.

    `splits` are (name, index file) pairs, `labels` the label table, `subjects` the table of record and subject,
    `annotator` the suffix of the files with rhythm notes.
    """

    sampling_rate_hz: float | None = None
    lead: str | None = None
    labels: Path | None = None
    subjects: Path | None = None
    splits: tuple[tuple[str, Path], ...] = ()
    unit: str | None = None
    delimiter: Delimiter | None = None
    decimal: DecimalSign | None = None
    annotator: str | None = None


def given(value: Value | None) -> Value:
    """The value of an option that the format requires: the import has refused its absence."""
    if value is None:
        raise AssertionError("an option is read only where it is required")
    return value


@contextmanager
def foreign() -> Iterator[None]:
    """Any error of a library that reads a foreign file becomes `Unfit`, with the library's own message."""
    try:
        yield
    except Unfit:
        raise
    except OSError as problem:  # without the path, which the reason stands beside: equal reasons are told once
        raise Unfit(f"cannot be read: {problem.strerror or problem}") from problem
    except Exception as problem:  # a parser of foreign bytes may raise anything
        words = " ".join(str(problem).split())
        raise Unfit(f"{type(problem).__name__}: {words}") from problem


def regular(path: Path, what: str = "it") -> Path:
    """The path, if it is a file that ends, and no folder, pipe or device; else `Unfit`, which calls it `what`."""
    if not path.is_file():
        raise Unfit(f"{what} is {'not a regular file' if path.exists() else 'not there'}")
    return path


def check_rate(read_hz: float, stated_hz: float | None) -> None:
    """`Unfit` if the file's rate is none of an ECG, or if a rate was stated that is not the file's own."""
    if not 0 < read_hz <= HIGHEST_RATE_HZ:
        raise Unfit(f"sampled at {read_hz:g} Hz: no rate of an ECG")
    if stated_hz is not None and read_hz != stated_hz:
        raise Unfit(f"sampled at {read_hz:g} Hz by its header, not at the {stated_hz:g} Hz stated")


def choose_lead(leads: Sequence[str], wanted: str | None, preferred: Sequence[str] = ()) -> int:
    """The index of the lead to read; `Unfit` if it is not clear which.

    Args:
        leads: names, as the file has them.
        wanted: `--lead`: names or numbers from 0, by commas, of which the first that is there is taken.
        preferred: the task's, in this order, where `wanted` is None and there are several leads.

    >>> choose_lead(["MLII", "V1"], "II,MLII"), choose_lead(["ECG", "ECG"], "1")
    (0, 1)
    >>> choose_lead(["V1", "II"], None, ["II"])
    1
    """
    if wanted is None and len(leads) == 1:
        return 0
    there = ", ".join(leads) or "none"
    for name in preferred if wanted is None else map(str.strip, wanted.split(",")):
        if leads.count(name) > 1:
            numbers = " or ".join(str(number) for number, lead in enumerate(leads) if lead == name)
            raise Unfit(f"it has {leads.count(name)} leads named {name!r}: choose one by its number, --lead {numbers}")
        if name in leads:
            return leads.index(name)
        if wanted is not None and name.isascii() and name.isdigit() and int(name) < len(leads):
            return int(name)
    if wanted is None:
        raise Unfit(f"it has {len(leads)} leads ({there}) and --lead names none")
    raise Unfit(f"it has no lead {wanted!r} among {there}")


@dataclass(frozen=True)
class Labelled:
    """The subject and the rhythms of one file."""

    subject: str
    spans: tuple[Span, ...]


def whole(samples: np.ndarray, expected: int) -> np.ndarray:
    """The samples, if they are as many as the file's header promised; else `Unfit`."""
    if len(samples) != expected:
        raise Unfit(f"truncated: {len(samples)} samples where {expected} are promised")
    return samples


def read_labels(path: Path) -> dict[str, Labelled]:
    """The label table, by file: `file,rhythm[,subject,onset_s,duration_s]`, or `record` in place of `file`.

    Without an onset a rhythm holds for the whole file. Without a subject the file is one. Two columns without a header
    are `record,rhythm`. Files are named by their paths in the folder, with `/`.

    Raises:
        RecordingError: no such table, an empty one, a missing column, a row that its header does not fit, or a path
            that leads out of the folder.
    """
    subjects: dict[str, str] = {}
    spans: dict[str, list[Span]] = {}
    for line, row in rows(path, ("file", "rhythm"), _LABEL_COLUMNS, {"record": "file"}, bare=("file", "rhythm")):
        file = inside(path, line, row["file"])
        subject = row.get("subject", file)
        if not file or not subject or subjects.setdefault(file, subject) != subject:
            raise _bad(path, line, f"file {file!r} of subject {subject!r}", "Each file has one subject.")
        spans.setdefault(file, []).append(_span(path, line, row))
    if not spans:
        raise _bad(path, 1, "no row", "Name at least one file.")
    return {file: Labelled(subjects[file], tuple(spans[file])) for file in spans}


def inside(table: Path, line: int, name: str) -> str:
    """A path that a table names, as a listing has it: `./a` is `a`.

    Raises:
        RecordingError: it leads out of the folder.
    """
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts:
        raise _bad(table, line, f"the path {name!r}", "Name files by their paths in the folder, such as sub/a.")
    return place.as_posix() if name else name


def write_labels(folder: Path, written: Iterable[tuple[str, Recording]]) -> None:
    """Write the label table of (file name, recording) pairs as `labels.csv`."""
    with (folder / LABELS_FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_LABEL_COLUMNS)
        for name, recording in written:
            for span in recording.spans:
                duration_s = span.end_s - span.onset_s
                writer.writerow([name, recording.subject, span.rhythm, f"{span.onset_s:g}", f"{duration_s:g}"])


def unlisted(present: Iterable[str], labelled: Collection[str]) -> list[LeftOut]:
    """A problem for each file that no row of the label table names."""
    return [
        LeftOut(name=name, reason=f"not in the label table{_WITHOUT_SUFFIX if PurePath(name).stem in labelled else ''}")
        for name in sorted(set(present) - set(labelled), key=natural_key)
    ]


def _span(path: Path, line: int, row: Mapping[str, str]) -> Span:
    onset, duration = row.get("onset_s", ""), row.get("duration_s", "")
    if not onset and not duration:
        return Span(0.0, math.inf, row["rhythm"])
    try:
        onset_s, duration_s = float(onset), float(duration)
    except ValueError:
        onset_s = duration_s = math.nan
    if not (math.isfinite(onset_s) and math.isfinite(duration_s) and onset_s >= 0 and duration_s > 0):
        raise _bad(path, line, f"onset_s {onset!r}, duration_s {duration!r}", "Give both, in seconds, or neither.")
    return Span(onset_s, onset_s + duration_s, row["rhythm"])


def rows(
    path: Path,
    columns: Sequence[str],
    known: Sequence[str] = (),
    aliases: Mapping[str, str] = MappingProxyType({}),
    bare: Sequence[str] = (),
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a CSV table with at least these columns; values are stripped.

    Args:
        path: the table.
        columns: names that its header has to have, in small or capital letters.
        known: all names that are read; then others that say when or who are refused.
        aliases: other names for them.
        bare: the columns of a table without a header: as many, and none of these names in the first line.

    Raises:
        RecordingError: no such file, not UTF-8, a missing column, one that is there twice, or a row of another width.
    """
    spelt = {name.casefold(): name for name in (*columns, *known)}
    spelt |= {other.casefold(): name for other, name in aliases.items()}
    try:
        with io.StringIO(read_bounded(path, _LARGEST_TABLE_BYTES).decode("utf-8-sig"), newline="") as stream:
            reader = csv.reader(stream, strict=True)
            first = [name.strip() for name in next(reader, [])]
            without_header = len(first) == len(bare) > 0 and not set(spelt) & {name.casefold() for name in first}
            header = list(bare) if without_header else [spelt.get(name.casefold(), name) for name in first]
            _check_header(path, header, columns, known)
            for row in filter(None, itertools.chain([first] if without_header else [], reader)):
                if len(row) != len(header):
                    raise _bad(path, reader.line_num, f"{len(row)} values", f"The header has {len(header)}.")
                yield reader.line_num, dict(zip(header, map(str.strip, row), strict=True))
    except OSError as problem:
        raise RecordingError(
            "a table is CSV in UTF-8", f"{problem.strerror} at {path}", f"{path_meant(path)}Check the path."
        ) from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise RecordingError("a table is CSV in UTF-8", f"{problem} in {path}", _SAVE_AGAIN) from None


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str], known: Sequence[str]) -> None:
    names = ", ".join(known or columns)
    missing = [name for name in columns if name not in header]
    if missing:
        written = (", ".join(header) or "none")[:_SHOWN]
        one = f"Name one of them {missing[0]}" if len(header) > 1 else _SAVE_AGAIN.removesuffix(".")
        found = f"columns {written}, and none is called {' or '.join(missing)},"
        raise _bad(path, 1, found, f"{one}; a table's columns are {names}.")
    twice = [name for name in (*columns, *known) if header.count(name) > 1]
    if twice:
        raise _bad(path, 1, f"two columns for {twice[0]}", "Leave one of them out.")
    meant = [name for name in header if name not in {*columns, *known} and _MEANT.search(name)]
    if known and meant:
        raise _bad(path, 1, f"the column {meant[0]!r}", f"Its columns are {names}: name it so, or leave it out.")


def _bad(path: Path, line: int, fault: str, hint: str) -> RecordingError:
    return RecordingError("every row of a table fits its header", f"{fault} in line {line} of {path}", hint)
