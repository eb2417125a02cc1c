"""Recordings to be answered by a model: one file or a folder of them, with or without labels."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

from ecm_edge.base.errors import RecordingError
from ecm_edge.base.names import path_meant
from ecm_edge.data.dataset import natural_key
from ecm_edge.data.recordings.formats import BY_SUFFIX, FORMATS, Format, known_suffixes
from ecm_edge.data.recordings.importer import check_options
from ecm_edge.data.recordings.wfdb_headers import part_names
from ecm_edge.data.recordings.windows import Listing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ecm_edge.data.recordings.options import Options
    from ecm_edge.data.recordings.windows import Recording
    from ecm_edge.tasks import Task

_WFDB_HEADER = ".hea"


def open_recordings(source: Path, file_format: Format | None, options: Options, task: Task) -> Listing:
    """The recordings of a file, of a WFDB record by its name, or of a folder; each is opened when it is loaded.

    The format is that of the suffix where none is stated. Labels are those of a label table, if one is given, or of the
    files themselves. A folder's recordings are named by their paths in it.

    Raises:
        RecordingError: nothing there, no recording, a format that is not known or not continuous, or an option that is
            missing or has no effect.
    """
    header = source.with_name(source.name + _WFDB_HEADER)
    if not source.exists() and header.is_file():
        source = header
    if not (source.is_file() or source.is_dir()):
        raise RecordingError(
            "a recording is a file, or a folder holds some", f"none at {source}", f"{path_meant(source)}Check the path."
        )
    paths = [source] if source.is_file() else _files(source, file_format)
    chosen = file_format or _one_format(paths, source)
    if not FORMATS[chosen].continuous:
        hint = "Import them with `ecm-edge data import`, and give the data set."
        raise RecordingError("a recording is continuous", f"the format {chosen}, which holds segments", hint)
    check_options(options, chosen, labelled=False)
    if options.labels or options.subjects:
        return _listed(source, chosen, options, task)
    folder = source if source.is_dir() else source.parent
    by_name = {_name(path, folder, chosen): path for path in paths}
    return Listing(list(by_name), _opener(by_name, chosen, options, task))


def _files(folder: Path, file_format: Format | None) -> list[Path]:
    """The files of a folder whose suffix is that of a recording, in their natural order, no parts of WFDB records."""
    wanted = {suffix for suffix, name in BY_SUFFIX.items() if file_format in {None, name}}
    found = {path for path in folder.rglob("*") if path.suffix.lower() in wanted and path.is_file()}
    headers = [path for path in found if path.suffix == _WFDB_HEADER]
    found -= {path.parent / f"{part}{_WFDB_HEADER}" for path in headers for part in part_names(path)}
    if not found:
        suffixes = ", ".join(sorted(wanted)) or "any"
        raise RecordingError(f"a folder holds recordings ({suffixes})", f"none in {folder}", "Check the path.")
    return sorted(found, key=lambda path: natural_key(str(path)))


def _one_format(paths: list[Path], source: Path) -> Format:
    formats = {BY_SUFFIX.get(path.suffix.lower()) for path in paths}
    (only,) = formats if len(formats) == 1 else (None,)
    if only is None:
        found = f"{', '.join(sorted({path.suffix or 'none' for path in paths}))} of {source}"
        raise RecordingError(
            f"the format is that of the suffix, if it is one ({known_suffixes()})", found, "Name it: --format."
        )
    return only


def _name(path: Path, folder: Path, file_format: Format) -> str:
    """A file's name in its folder; a WFDB record has none of its header's suffix."""
    inside = path.relative_to(folder)
    return (inside.with_suffix("") if file_format == "wfdb" else inside).as_posix()


def _opener(by_name: dict[str, Path], file_format: Format, options: Options, task: Task) -> Callable[[str], Recording]:
    return lambda name: replace(FORMATS[file_format].open_one(by_name[name], options, task), name=name)


def _listed(source: Path, file_format: Format, options: Options, task: Task) -> Listing:
    """The recordings that the tables name; of those the one file, if `source` is one."""
    module = importlib.import_module(FORMATS[file_format].module)
    if source.is_dir():
        listing: Listing = module.list_recordings(source, options, task)
        return listing
    listing = module.list_recordings(source.parent, options, task)
    own = _name(source, source.parent, file_format)
    if own not in listing.names:
        table = options.labels or options.subjects
        raise RecordingError("the table names the recording", f"no {own!r} in {table}", "Add a row.")
    return Listing([own], listing.load)
