"""The table of recording formats: one record for each, which the command line, the readers and the writers use.

The code of a format is a module of this package with these functions, of which one that holds segments instead of
continuous recordings has `read(source, options, task)` in place of the first two. A module is imported when its format
is used, so that this table costs nothing to import.

    list_recordings(source, options, task)   the `Listing` of a folder, with a reason for each file that cannot be used
    open_one(path, options, task)            the `Recording` of one file, with or without labels; else `Unfit`
    write(folder, recordings, task)          writes recordings, for `ecm-edge data synth`
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ecm_edge.data.recordings.windows import read_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ecm_edge.data.dataset import SegmentBlock
    from ecm_edge.data.recordings.options import Options
    from ecm_edge.data.recordings.windows import Recording
    from ecm_edge.tasks import Task

Format = Literal["iesd", "wfdb", "edf", "csv", "dicom"]


@dataclass(frozen=True)
class RecordingFormat:
    """What is particular to one format. `required` and `optional` are names of fields of `Options`."""

    module: str
    suffixes: tuple[str, ...]
    """Of its files, in small letters."""
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    states_unit: bool = False
    """Whether samples are converted to mV, or said to be of no stated unit. Otherwise `--unit` names it, as text."""
    continuous: bool = True
    """Whether it holds recordings, which `windows` filters and cuts; otherwise segments that are ready."""
    any_suffix: bool = False
    """Whether its files are known by what is in them, and may have any name."""

    def read(self, source: Path, options: Options, task: Task) -> Iterator[SegmentBlock]:
        """The segments of a folder, in blocks; raises RecordingError where the folder as a whole cannot be read."""
        module = importlib.import_module(self.module)
        if self.continuous:
            return read_all(module.list_recordings(source, options, task), task)
        blocks: Iterator[SegmentBlock] = module.read(source, options, task)
        return blocks

    def open_one(self, path: Path, options: Options, task: Task) -> Recording:
        """One recording of a continuous format, with its rhythms if it has any; raises `Unfit`."""
        recording: Recording = importlib.import_module(self.module).open_one(path, options, task)
        return recording

    def write(self, folder: Path, recordings: Iterable[Recording], task: Task) -> None:
        """Write recordings into a folder that is there."""
        importlib.import_module(self.module).write(folder, recordings, task)


FORMATS: dict[Format, RecordingFormat] = {
    "iesd": RecordingFormat(
        "ecm_edge.data.recordings.iesd",
        (".txt",),
        required=frozenset({"sampling_rate_hz"}),
        optional=frozenset({"splits", "unit"}),
        continuous=False,
    ),
    "wfdb": RecordingFormat(
        "ecm_edge.data.recordings.physionet",
        (".hea",),
        optional=frozenset({"annotator", "labels", "lead", "sampling_rate_hz", "subjects"}),
        states_unit=True,
    ),
    "edf": RecordingFormat(
        "ecm_edge.data.recordings.edf",
        (".edf", ".bdf"),
        optional=frozenset({"labels", "lead", "sampling_rate_hz"}),
        states_unit=True,
    ),
    "csv": RecordingFormat(
        "ecm_edge.data.recordings.csv_files",
        (".csv", ".tsv", ".txt"),
        required=frozenset({"labels"}),
        optional=frozenset({"lead", "sampling_rate_hz", "unit", "delimiter", "decimal"}),
        states_unit=True,
    ),
    "dicom": RecordingFormat(
        "ecm_edge.data.recordings.dicom",
        (".dcm",),
        required=frozenset({"labels"}),
        optional=frozenset({"lead", "sampling_rate_hz"}),
        states_unit=True,
        any_suffix=True,
    ),
}
"""Every format by its name on the command line."""

BY_SUFFIX: dict[str, Format] = {
    suffix: name for name, entry in FORMATS.items() if entry.continuous for suffix in entry.suffixes
}
"""The continuous format of a file, by its suffix in small letters."""


def known_suffixes() -> str:
    """Each suffix of a continuous format with the format's name, for texts."""
    return ", ".join(f"{suffix} {name}" for suffix, name in BY_SUFFIX.items())


def usage(option: str) -> str:
    """Which formats need a field of `Options` and which only take it, for a help text.

    >>> usage("sampling_rate_hz")
    'needed for iesd; optional for wfdb, edf, csv, dicom'
    """
    needed = ", ".join(name for name, entry in FORMATS.items() if option in entry.required)
    optional = ", ".join(name for name, entry in FORMATS.items() if option in entry.optional)
    return "; ".join(filter(None, [needed and f"needed for {needed}", optional and f"optional for {optional}"]))
