"""The table of recording formats: one record for each, which the command line, the readers and the writers use.

The code of a format is a module of this package with two functions. `read(source, options)` yields the segments of a
folder in blocks, with a reason for each file that cannot be used. `write(folder, recordings)` writes recordings, for
`ecm-edge data synth`. A module is imported when its format is used, so that this table costs nothing to import.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ecm_edge.data.dataset import SegmentBlock
    from ecm_edge.data.recordings.options import Options
    from ecm_edge.data.recordings.windows import Recording

Format = Literal["iesd", "wfdb", "edf", "csv"]


@dataclass(frozen=True)
class RecordingFormat:
    """What is particular to one format. `required` and `optional` are names of fields of `Options`."""

    module: str
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    states_unit: bool = False
    """Whether its files state the unit of a sample: it is converted to mV. Otherwise `--unit` names it."""
    filtered: bool = False
    """Whether its signal is band-passed already; otherwise `windows` does it."""

    def read(self, source: Path, options: Options) -> Iterator[SegmentBlock]:
        """The segments of a folder, in blocks; raises RecordingError where the folder as a whole cannot be read."""
        blocks: Iterator[SegmentBlock] = importlib.import_module(self.module).read(source, options)
        return blocks

    def write(self, folder: Path, recordings: Iterable[Recording]) -> None:
        """Write recordings into a folder that is there."""
        importlib.import_module(self.module).write(folder, recordings)


FORMATS: dict[Format, RecordingFormat] = {
    "iesd": RecordingFormat(
        "ecm_edge.data.recordings.iesd",
        required=frozenset({"sampling_rate_hz"}),
        optional=frozenset({"splits", "unit"}),
        filtered=True,
    ),
    "wfdb": RecordingFormat(
        "ecm_edge.data.recordings.physionet",
        optional=frozenset({"lead", "sampling_rate_hz", "subjects"}),
        states_unit=True,
    ),
    "edf": RecordingFormat(
        "ecm_edge.data.recordings.edf",
        required=frozenset({"labels"}),
        optional=frozenset({"lead", "sampling_rate_hz"}),
        states_unit=True,
    ),
    "csv": RecordingFormat(
        "ecm_edge.data.recordings.csv_files",
        required=frozenset({"labels", "sampling_rate_hz"}),
        optional=frozenset({"lead", "unit"}),
    ),
}
"""Every format by its name on the command line."""


def usage(option: str) -> str:
    """Which formats need a field of `Options` and which only take it, for a help text.

    >>> usage("sampling_rate_hz")
    'needed for iesd, csv; optional for wfdb, edf'
    """
    needed = ", ".join(name for name, entry in FORMATS.items() if option in entry.required)
    optional = ", ".join(name for name, entry in FORMATS.items() if option in entry.optional)
    return "; ".join(filter(None, [needed and f"needed for {needed}", optional and f"optional for {optional}"]))
