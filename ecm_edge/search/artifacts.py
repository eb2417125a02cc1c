"""Artefacts: the files of a run's trials in a store that every machine reaches.

A store is a folder, or any URL that fsspec opens, such as s3://bucket/prefix. Every file lies in it under its SHA-256:
it is there whole or not at all, the same file is stored once, and whoever reads it can check it. Which files a trial
has stands in the study, and is written after the last of them is stored. What a killed process stored before that
belongs to nothing, and the next upload of the same file uses it.
"""

from __future__ import annotations

import hashlib
import io
import json
import mimetypes
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import fsspec
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import Trial
from pydantic import Field, TypeAdapter, ValidationError

from ecm_edge.base import faults, files
from ecm_edge.base.errors import FAULTS, EcmEdgeError, OutputError, SearchError
from ecm_edge.base.records import Record, first_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO

    from optuna.study import Study
    from optuna.trial import FrozenTrial

ARTIFACTS = "artifacts"
"""The user attribute of a trial with its files; `of_ended` is that of the study."""

_GIVES = "gives files"
_BLOCK_BYTES = 1 << 20
_LOCAL = ("file://", "local://")
_BUCKETS = ("s3://", "gs://", "gcs://", "az://", "abfs://")  # whose hosts are in the user's own configuration
_SHOWN = 200  # letters of a foreign URL in a message
_SIDE_BY_SIDE = 8  # files at once: what takes time is the way to the store
_MOST_FILES = 10_000
_MOST_BYTES = 1 << 33
"""Of one trial. A trial has some 40 files and 20 MB, so that more is a damaged study and not a large model."""

_STORED = "artifacts:"  # Optuna's name of a system attribute, followed by an id
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Artifact(Record):
    """One file of a trial: what it is called in the store, and what its content has to be."""

    artifact_id: str = Field(pattern=r"^[0-9a-fA-F-]{1,64}$")
    sha256: Hash
    bytes: int = Field(ge=0)


Artifacts = dict[str, Artifact]
"""The files of a trial by their paths below its folder, with `/` between the parts."""

_ARTIFACTS = TypeAdapter(Annotated[Artifacts, Field(max_length=_MOST_FILES)])


class Store:
    """An artifact store as Optuna takes it, on any filesystem that fsspec knows.

    Args:
        url: a folder, or a URL without a password in it.

    Raises:
        SearchError: no store opens there, or the URL holds a password.
    """

    def __init__(self, url: str) -> None:
        _refuse_password(url)
        self.url = url
        options = {"auto_mkdir": True} if _is_local(url) else {}  # no bucket is made by a mistyped name
        with self.clear_errors("opens", passing=()):  # fsspec and its filesystems raise anything at an odd URL
            self._files, self._root = fsspec.url_to_fs(url, use_listings_cache=False, **options)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """A stream of the file's bytes; raises `ArtifactNotFound` where there is none."""
        try:
            stream: BinaryIO = self._files.open(self._path(artifact_id), "rb")
        except FileNotFoundError as problem:
            raise ArtifactNotFound(artifact_id) from problem
        return stream

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store what the stream holds, under another name until it is whole."""
        path = self._path(artifact_id)
        temporary = f"{path}.{uuid.uuid4().hex}.unfinished"
        try:
            faults.point("write.content", Path(path))
            with self._files.open(temporary, "wb") as stream:
                while block := content_body.read(_BLOCK_BYTES):
                    stream.write(block)
            faults.point("write.rename", Path(path))
            self._files.mv(temporary, path)
        except BaseException:
            with suppress(Exception):
                self._files.rm_file(temporary)
            raise

    def remove(self, artifact_id: str) -> None:
        """Remove a file; raises `ArtifactNotFound` where there is none."""
        try:
            self._files.rm_file(self._path(artifact_id))
        except FileNotFoundError as problem:
            raise ArtifactNotFound(artifact_id) from problem

    def check(self) -> None:
        """Write a small file, read it back and remove it, before hours are spent on what could not be stored.

        Raises:
            SearchError: the store takes or gives nothing.
        """
        with self.clear_errors("takes and gives files"):
            name = uuid.uuid4().hex
            self.write(name, io.BytesIO(b"ecm-edge"))
            with self.open_reader(name) as stream:
                stream.read()
            self.remove(name)

    def upload(self, folder: Path) -> Artifacts:
        """Store every file of a folder that is not stored yet.

        Raises:
            OutputError: the store does not take one.
        """
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        with self.clear_errors("takes files", OutputError), ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            stored = list(pool.map(self._upload_file, paths))
        return {path.relative_to(folder).as_posix(): artifact for path, artifact in zip(paths, stored, strict=True)}

    def download(self, artifacts: Mapping[str, Artifact], folder: Path) -> None:
        """Write files into an empty folder, each checked; the caller makes the folder whole or absent.

        Raises:
            SearchError: a path that leads out of the folder, more than a trial can have, a file that is missing or
                damaged, or a store that does not answer.
            OSError: the folder cannot be written.
        """
        _check_paths(artifacts)
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            for _ in pool.map(lambda path: self._download_file(artifacts[path], path, folder), artifacts):
                pass

    def _path(self, artifact_id: str) -> str:
        return f"{self._root}/{artifact_id}"

    def _upload_file(self, path: Path) -> Artifact:
        sha256, size = files.sha256_file(path), path.stat().st_size
        if self._size(sha256) != size:
            with path.open("rb") as stream:
                self.write(sha256, stream)
        return Artifact(artifact_id=sha256, sha256=sha256, bytes=size)

    def _size(self, artifact_id: str) -> int | None:
        """The bytes of a stored file; None where there is none."""
        try:
            return int(self._files.info(self._path(artifact_id))["size"])
        except FileNotFoundError:
            return None

    def _download_file(self, artifact: Artifact, name: str, folder: Path) -> None:
        path = folder / name
        files.make_folder(path.parent)
        digest, left = hashlib.sha256(), artifact.bytes
        with self._opened(artifact, name) as stream, files.new_file(path) as written:
            while block := self._read(stream, min(_BLOCK_BYTES, left + 1)):
                left -= len(block)
                if left < 0:
                    break
                digest.update(block)
                written.write(block)
        if left or digest.hexdigest() != artifact.sha256:
            found = f"more or less than {artifact.bytes:,} bytes" if left else "another content"
            raise _damaged(name, found, self.url)

    def _opened(self, artifact: Artifact, name: str) -> BinaryIO:
        with self.clear_errors(_GIVES):
            try:
                there = self._files.info(self._path(artifact.artifact_id))
                if there["type"] != "file":
                    raise _damaged(name, f"no file at {artifact.artifact_id}", self.url)
                if there["size"] != artifact.bytes:  # before all of it is fetched
                    raise _damaged(name, f"more or less than {artifact.bytes:,} bytes", self.url)
                return self.open_reader(artifact.artifact_id)
            except (ArtifactNotFound, FileNotFoundError):
                raise _damaged(name, f"no {artifact.artifact_id}", self.url) from None

    def _read(self, stream: BinaryIO, size: int) -> bytes:
        with self.clear_errors(_GIVES):
            return stream.read(size)

    @contextmanager
    def clear_errors(
        self,
        does: str,
        error: type[EcmEdgeError] = SearchError,
        passing: tuple[type[Exception], ...] = FAULTS,
    ) -> Iterator[None]:
        """Whatever a filesystem raises, as `error` and with its reason; `passing` is not the filesystem's."""
        try:
            yield
        except ImportError as problem:
            extra = "pip install 'ecm-edge[s3]'" if self.url.startswith("s3") else str(problem)
            raise SearchError(
                "a store's filesystem is installed", f"none for {self.url}", f"Install it: {extra}."
            ) from None
        except Exception as problem:  # each filesystem has its own
            if isinstance(problem, (EcmEdgeError, *passing)):
                raise
            reason = problem.strerror or str(problem) if isinstance(problem, OSError) else str(problem)
            first = next(iter(reason.splitlines()), "")
            raise error(
                f"a store of artefacts {does}",
                f"{type(problem).__name__} for {self.url}{f' ({first})' if first else ''}",
                "Check the URL, that its bucket or folder is there, and the keys in the environment.",
            ) from problem


def upload(url: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Store a trial's folder; what comes back is to be noted in the study (`ARTIFACTS`), as it is.

    Raises:
        OutputError: the store does not take a file.
    """
    return {path: artifact.model_dump() for path, artifact in Store(url).upload(folder).items()}


def of_ended(number: int) -> str:
    """The study's attribute for the files of a trial that has ended, by its number.

    Optuna changes no trial that has ended; what a later stage adds to its folder is noted in the study, and counts
    instead of what is noted in the trial.
    """
    return f"{ARTIFACTS}:{number}"


def of_trial(study_attributes: Mapping[str, Any], trial: FrozenTrial, number: int) -> Artifacts:
    """The files that are noted for a trial; {} where none are.

    Raises:
        SearchError: what is noted is no list of files.
    """
    noted = study_attributes.get(of_ended(number)) or trial.user_attrs.get(ARTIFACTS) or {}
    try:
        return _ARTIFACTS.validate_python(noted)
    except ValidationError as problem:
        raise SearchError(
            f"a study notes a trial's files as path, hash and bytes, {_MOST_FILES:,} at most",
            f"{first_fault(problem)} for trial {number}",
            "Pull another trial, or search again.",
        ) from None


def show(store: Store, receiver: Trial | Study, path: Path) -> None:
    """Store a picture and have optuna-dashboard show it; one of the same name is replaced."""
    owner = receiver.study.study_name + f":{receiver.number}" if isinstance(receiver, Trial) else receiver.study_name
    artifact_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{owner}:{path.name}"))
    kind, encoding = mimetypes.guess_type(path.name)
    meta = {"artifact_id": artifact_id, "filename": path.name, "mimetype": kind, "encoding": encoding}
    with store.clear_errors("takes files", OutputError), path.open("rb") as stream:
        store.write(artifact_id, stream)
    key, value = f"{_STORED}{artifact_id}", json.dumps(meta)
    if isinstance(receiver, Trial):
        receiver.storage.set_trial_system_attr(receiver._trial_id, key, value)  # noqa: SLF001 - as Optuna's own upload
    else:
        receiver._storage.set_study_system_attr(receiver._study_id, key, value)  # noqa: SLF001


def _is_local(url: str) -> bool:
    return "://" not in url or url.startswith(_LOCAL)


def check_noted(url: str) -> str:
    """The URL of a store as a study notes it; whoever may write to the study chooses it, and no host but a bucket's.

    Raises:
        SearchError: it is no folder and no bucket, or a chain of filesystems.
    """
    if "::" in url or not (url.isprintable() and url.startswith((*_LOCAL, *_BUCKETS))):
        raise SearchError(
            f"the store that a study names is a folder, {_LOCAL[0]}, or one of {', '.join(_BUCKETS)}",
            repr(url[:_SHOWN]),
            "If you know it, give it yourself: --artifacts URL.",
        )
    return url


def _refuse_password(url: str) -> None:
    """A store's URL is kept in the study, where everybody reads it."""
    try:
        secret = urlsplit(url.rpartition("::")[2]).password is not None or "@" in urlsplit(url).netloc
    except ValueError:
        secret = True
    if secret:
        raise SearchError(
            "a store's URL holds no user and no password, as it is kept in the study",
            "one that does",
            "Give them in the environment (AWS_ACCESS_KEY_ID, …) or in fsspec's configuration.",
        )


def _check_paths(artifacts: Mapping[str, Artifact]) -> None:
    """Refuse what would be written outside of a folder, twice, or without end, before anything is fetched."""
    total = sum(artifact.bytes for artifact in artifacts.values())
    if len(artifacts) > _MOST_FILES or total > _MOST_BYTES:
        raise SearchError(
            f"a trial has at most {_MOST_FILES:,} files and {_MOST_BYTES:,} bytes",
            f"{len(artifacts):,} files and {total:,} bytes",
            "Pull another trial.",
        )
    wrong = [path for path in artifacts if not _is_inside(path)] or list(_both_file_and_folder(artifacts))
    if wrong:
        raise SearchError(
            "the files of a trial lie in its folder, each with a name of its own",
            repr(wrong[0]),
            "Pull another trial, or ask who made the study.",
        )


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and "/".join(parts) == path and ".." not in parts and "\\" not in path and path.isprintable()


def _both_file_and_folder(paths: Iterable[str]) -> Iterator[str]:
    known = set(paths)
    return (path for path in known if any(str(parent) in known for parent in PurePosixPath(path).parents))


def _damaged(name: str, found: str, url: str) -> SearchError:
    return SearchError(
        "a store gives back what was stored",
        f"{found} for {name} in {url}",
        "Pull another trial, or restore the file there from a backup.",
    )
