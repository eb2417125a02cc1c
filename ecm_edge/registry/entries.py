"""An entry of a registry: a copy of a candidate's files, and a manifest that binds them by their hashes."""

from __future__ import annotations

import math
import shutil
from itertools import count
from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, RegistryError
from ecm_edge.base.names import LONGEST_FILE_NAME, is_file_name
from ecm_edge.base.records import Evidence, FileName, Form, Latency, Name, Provenance, Record, Verdict
from ecm_edge.candidate.candidate import IMAGES
from ecm_edge.registry.signatures import SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ecm_edge.metrics import Scores

MANIFEST = "manifest.json"
PAPERS = "papers"  # a folder, of signed entries: neither in the manifest nor hashed by it, and under the signature
_ELSE = "Restore it from a copy, or roll back to another entry."
_MOST_BYTES = 1 << 30  # of a candidate; an entry is a copy, and all of it is read to be checked
_NAMING = ("accuracy", "precision", "recall", "f1", "fbeta_mean")


class ShippedImage(Record):
    """The image for the board: `file` in the entry, and what it was built of, by SHA-256.

    `sources` are the generated files that `verify` ran on the emulated board; `evidence` says so. `model_object` is the
    compiled model in both images.
    """

    file: FileName
    sha256: str
    sources: dict[str, str]
    model_object: str
    compiler: str
    emulated_segments: int
    evidence: Evidence


class Manifest(Record):
    """What an entry is made of: `files` maps each name to its SHA-256, and binds model, configuration and verdicts.

    `entry` is its name, without the number that a second entry of that name gets. `image` is absent for a target
    without firmware, and in entries of a time before there was any. `source` is the source of a merged data set that
    the entry's name and verdicts are about, with its content hash; absent where they are about the whole data set. The
    hashes of the board's and the task's descriptions are those of the promotion; earlier entries have none.
    """

    entry: Name
    target: Name
    form: Form
    model_file: FileName
    model_sha256: str
    config_sha256: str
    dataset_sha256: str
    source: str | None = None
    source_sha256: str | None = None
    synthetic: bool
    verdicts: dict[str, Verdict]
    latency_ms: Latency
    image: ShippedImage | None = None
    target_sha256: str | None = None
    task_sha256: str | None = None
    files: dict[FileName, str]
    provenance: Provenance


def entry_name(scores: Scores) -> str:
    """xx-yy: the largest and the smallest of accuracy, precision, recall, F1 and mean Fβ, in percent, rounded down."""
    figures = [figure.value for name in _NAMING if (figure := getattr(scores, name)) is not None]
    percent = [math.floor(100 * figure + 1e-9) for figure in (max(figures), min(figures))]
    return f"{percent[0]:02d}-{percent[1]:02d}"


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a candidate or an entry by name, manifest, signature and hidden files aside.

    Images have a folder of their own: "firmware/int8/nucleo-l432kc.bin".

    Raises:
        CandidateError: one of them is a link, a pipe or a device, has a name that cannot be kept, or all are too large.
    """
    paths = [*folder.iterdir(), *(folder / IMAGES).rglob("*")]
    seen = [path for path in sorted(paths) if path.name not in {MANIFEST, SIGNATURE} and not path.name.startswith(".")]
    link = next((path for path in seen if path.is_symlink()), None)
    if link:
        raise CandidateError(
            "the files of a candidate are its own",
            f"a link at {link}",
            "Put the file itself in its place, or remove the link.",
        )
    names = {path.relative_to(folder).as_posix(): path for path in seen if not path.is_dir()}
    odd = next((name for name, path in names.items() if not (path.is_file() and _is_kept(name))), None)
    if odd is not None:
        raise CandidateError(
            "the files of a candidate are plain files with plain names",
            f"{odd!r} in {folder}",
            "Rename it, or remove it.",
        )
    size = sum(path.stat().st_size for path in names.values())
    if size > _MOST_BYTES:
        raise CandidateError(
            f"the files of a candidate have at most {_MOST_BYTES:,} bytes",
            f"{size:,} in {folder}",
            "Remove what is large.",
        )
    return {name: files.sha256_file(path) for name, path in names.items()}


def _is_kept(name: str) -> bool:
    """Whether a manifest can hold a file's name, and a terminal and JSON show it."""
    return is_file_name(name) and len(name) <= LONGEST_FILE_NAME and name.isprintable()


def add_entry(
    entries: Path, candidate: Path, manifest: Manifest, sign: Callable[[Path], None] | None = None
) -> tuple[str, str]:
    """Copy a candidate's files into a new entry; the entry's name and its manifest's SHA-256.

    An entry with the same files, left by a killed process or promoted before, is used again. `sign` is called with the
    whole entry before it has its name, or with the one that is used again; what it adds lies in a folder of its own.

    Raises:
        CandidateError: a file of the candidate is not the one that the manifest names.
        OutputError: the registry cannot be written; there is no new entry.
    """
    for path in sorted(entries.glob(f"{manifest.entry}*")):
        if _same(path, manifest):
            if sign:
                sign(path)
            return path.name, files.sha256_file(path / MANIFEST)
    folder = next(path for path in _names(entries, manifest.entry) if not path.exists())
    with files.staged_folder(folder) as staged:
        for name in manifest.files:
            files.make_folder((staged / name).parent)
            with files.new_file(staged / name) as copy, (candidate / name).open("rb") as original:
                shutil.copyfileobj(original, copy)
        changed = [name for name, digest in hash_files(staged).items() if digest != manifest.files[name]]
        if changed:
            raise CandidateError(
                "a candidate stays as it was while it is promoted",
                f"{changed[0]} of {candidate} changed",
                "Promote it again when nothing writes to it.",
            )
        manifest.save(staged / MANIFEST)
        if sign:
            sign(staged)
    return folder.name, files.sha256_file(folder / MANIFEST)


def check_entry(folder: Path, manifest_sha256: str | None) -> Manifest:
    """The manifest of the entry in `folder`, if every file is what it was when it was promoted.

    Raises:
        RegistryError: the entry is gone, or a file or folder was changed, removed or added; hidden ones do not count.
    """
    path = folder / MANIFEST
    for link in (folder, path, folder / IMAGES):
        if link.is_symlink():
            raise _changed(folder, link.name, "is a link")
    if not path.is_file():
        raise _changed(folder, MANIFEST, "is missing")
    if files.sha256_file(path) != manifest_sha256:
        raise _changed(folder, MANIFEST, "changed")
    manifest = Manifest.load(path, RegistryError)
    try:
        hashes = hash_files(folder)
    except CandidateError as problem:
        raise RegistryError("an entry stays as it was promoted", problem.found, _ELSE) from None
    for added in _other_folders(folder):
        raise _changed(folder, added, "was added")
    for name in sorted(manifest.files.keys() | hashes.keys()):
        if name not in hashes:
            raise _changed(folder, name, "is missing")
        if hashes[name] != manifest.files.get(name):
            raise _changed(folder, name, "changed" if name in manifest.files else "was added")
    return manifest


def _other_folders(folder: Path) -> Iterator[str]:
    """Folders in an entry besides those of images and papers; those within them that hold no file count for nothing."""
    known = {IMAGES, PAPERS}
    yield from sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in known)


def _names(entries: Path, stem: str) -> Iterator[Path]:
    """Folders for entries of one name: xx-yy, xx-yy-2, xx-yy-3 and so on."""
    yield entries / stem
    yield from (entries / f"{stem}-{number}" for number in count(2))


def _same(folder: Path, manifest: Manifest) -> bool:
    """Whether an entry holds these files, unchanged, for this form."""
    try:
        existing = Manifest.load(folder / MANIFEST, RegistryError)
    except RegistryError:
        return False
    if folder.is_symlink():
        return False
    return (existing.form, existing.files) == (manifest.form, manifest.files) and hash_files(folder) == manifest.files


def _changed(folder: Path, name: str, what: str) -> RegistryError:
    return RegistryError("an entry stays as it was promoted", f"{name} of {folder} {what}", _ELSE)
