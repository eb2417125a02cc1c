"""What a candidate's recipe answers out of fold: every subject by a network that has not seen it.

    folds.json   CrossValidationRecord: who was in which fold, what was chosen there, the scores over all subjects
    folds.npz    before, after: (n,) float32 margins of the labelled rows of the subjects in folds, ascending,
                 before and after the threshold of their fold was taken off
    folds.safetensors    the networks that answered, as `fold_networks` reads them

`crossval` makes both; scores, comparisons and pages only read them.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from zipfile import ZipFile

import numpy as np
from pydantic import model_validator

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.records import Record
from ecm_edge.base.shown import Tables
from ecm_edge.candidate.candidate import CandidateConfig, check_dataset
from ecm_edge.data.sources import subjects_of
from ecm_edge.data.splits import FoldAssignment
from ecm_edge.metrics import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset

FOLDS = "folds.json"
MARGINS = "folds.npz"
NETWORKS = "folds.safetensors"
LARGEST_BYTES = 1 << 27
"""Of the margins, also unpacked: 16 million segments."""

STATEMENT = (
    "every subject was answered by a float32 network of this recipe that had not seen it, at a threshold in which its "
    "labels had no part; the candidate's own network took no part"
)
"""What figures out of fold are; shown beside them."""


def statement(folds: FoldAssignment) -> str:
    """What figures out of fold are, with the sources that had another use."""
    told = [STATEMENT]
    if folds.train_only:
        told.append(f"subjects of {', '.join(folds.train_only)} were only trained on, and have no figures")
    if folds.score_only:
        told.append(f"nothing was trained, and no threshold chosen, on subjects of {', '.join(folds.score_only)}")
    return "; ".join(told)


class Fold(Record):
    """One fold: its subjects, how many segments they have, and the threshold, in which these subjects had no part."""

    number: int
    subjects: list[str]
    segments: int
    threshold: float


class CrossValidationRecord(Record):
    """Scores over all subjects, each out of its fold; every fold's threshold is taken off, so margins are cut at 0.

    `threshold` is the one for a network of all subjects: by the recipe's rule, from the margins of all, out of fold.
    `networks` were trained in `train_seconds`, added up over the processes. `margins_sha256` is that of folds.npz, and
    `networks_sha256` that of folds.safetensors; None where the networks were not kept.
    """

    config_sha256: str
    dataset_sha256: str
    synthetic: bool
    assignment: FoldAssignment
    folds: list[Fold]
    threshold: float
    scores: Scores
    networks: int
    train_seconds: float
    margins_sha256: str
    networks_sha256: str | None = None

    KEYS = ("scores.fbeta_mean", "scores.specificity", "networks")
    TABLES: ClassVar[Tables] = {f"scores.{name}": columns for name, columns in Scores.TABLES.items()}

    @model_validator(mode="after")
    def _each_fold_once(self) -> CrossValidationRecord:
        if [fold.number for fold in self.folds] != list(range(self.assignment.count)):
            raise ValueError(f"folds are those from 0 to {self.assignment.count - 1}, in their order")
        return self


@dataclass(frozen=True)
class OutOfFold:
    """The record with its margins, (n,) float32 each, of the `answered_rows`.

    `networks` is the content of folds.safetensors; empty where it was not kept, or not read.
    """

    record: CrossValidationRecord
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    networks: bytes = b""

    def save(self, folder: Path) -> None:
        """Write folds.npz, folds.safetensors if there is one, and then folds.json into a candidate's folder."""
        if self.networks:
            files.write_atomic(folder / NETWORKS, self.networks)
        files.write_atomic(folder / MARGINS, to_bytes(before=self.before, after=self.after))
        self.record.save(folder / FOLDS)


def answered_rows(dataset: Dataset, folds: FoldAssignment) -> NDArray[np.int64]:
    """The rows that have margins, (n,) ascending: the labelled ones of the subjects that are in a fold."""
    return dataset.rows_of(folds.folds)


def fold_of(rows: NDArray[np.int64], dataset: Dataset, folds: Mapping[str, int]) -> NDArray[np.int64]:
    """(n,) the fold of the subject of each of (n,) rows, by its name in `folds`."""
    return np.array([folds[name] for name in dataset.subject_names(rows)], np.int64)


def may_choose(rows: NDArray[np.int64], dataset: Dataset, folds: FoldAssignment) -> NDArray[np.bool_]:
    """(n,) whether a threshold may be chosen on each of (n,) rows: not on those of a source in scores only."""
    away = subjects_of(dataset, folds.score_only)
    return np.array([name not in away for name in dataset.subject_names(rows)], np.bool_)


def has_folds(folder: Path) -> bool:
    """Whether a candidate was measured out of fold."""
    return (folder / FOLDS).is_file()


def load(folder: Path, config: CandidateConfig, dataset: Dataset) -> OutOfFold:
    """What `save` wrote, if it was made with this configuration and this data set.

    Args:
        folder: the candidate's.
        config: the one that lies there.
        dataset: the one that the candidate was made from.

    Raises:
        CandidateError: nothing was measured out of fold, or it was with another configuration or data set, or one of
            the two files changed.
    """
    loaded = load_elsewhere(folder, config)
    check_dataset(config, dataset)
    rows = len(answered_rows(dataset, loaded.record.assignment))
    if len(loaded.before) != rows:
        raise _other_rows(folder, rows, f"{len(loaded.before)} margins")
    return loaded


def load_elsewhere(folder: Path, config: CandidateConfig) -> OutOfFold:
    """What `save` wrote, where the data set of the candidate is not at hand; the rows are those of that data set.

    Args:
        folder: the candidate's.
        config: the one that lies there.

    Raises:
        CandidateError: as `load`, but that no data set is held against it.
    """
    if not has_folds(folder):
        raise CandidateError(
            "figures out of fold come from a cross-validation", f"no {FOLDS} in {folder}", "Train with --folds."
        )
    record, path = CrossValidationRecord.load(folder / FOLDS), folder / MARGINS
    if (record.config_sha256, record.dataset_sha256) != (config.sha256, config.dataset_sha256):
        raise CandidateError(
            f"{FOLDS} is of the configuration and the data set beside it",
            f"configuration {record.config_sha256[:12]} and data set {record.dataset_sha256[:12]} in {folder}, "
            f"not {config.sha256[:12]} and {config.dataset_sha256[:12]}",
            "Restore the two files, or train again with --folds.",
        )
    content = files.read_or_nothing(path, LARGEST_BYTES)
    if files.sha256_bytes(content) != record.margins_sha256:
        raise CandidateError(
            f"{MARGINS} stays as it was written", f"{path} changed or is gone", "Restore it, or train with --folds."
        )
    arrays, rows = from_bytes(content), record.scores.segments
    if {name: array.shape for name, array in arrays.items()} != {"before": (rows,), "after": (rows,)}:
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no arrays"
        raise _other_rows(folder, rows, found)
    return OutOfFold(record, arrays["before"], arrays["after"])


def _other_rows(folder: Path, rows: int, found: str) -> CandidateError:
    return CandidateError(
        f"{MARGINS} has a margin before and after the threshold for each of {rows} segments",
        f"{found} in {folder / MARGINS}",
        "Restore it, or train with --folds.",
    )


def to_bytes(**arrays: NDArray[np.float32]) -> bytes:
    """Arrays by name as a .npz file; the same arrays give the same bytes."""
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def from_bytes(content: bytes) -> dict[str, NDArray[np.float32]]:
    """What `to_bytes` wrote; empty where the bytes are something else."""
    try:
        if sum(entry.file_size for entry in ZipFile(io.BytesIO(content)).infolist()) > LARGEST_BYTES:
            return {}
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}  # bytes, of a member that is no array
    except Exception:  # noqa: BLE001 - headers are read as Python text: bytes of chance may raise anything
        return {}
    return arrays if all(getattr(array, "dtype", None) == np.float32 for array in arrays.values()) else {}
