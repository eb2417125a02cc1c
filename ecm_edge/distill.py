"""What teachers say about training segments of subjects that they have not seen: soft targets, and doubts of labels.

A teacher that answers for its own training subjects repeats their labels, mistakes and all. So the training subjects
are divided by folds, and each fold is answered by a network that was trained on the others. What a teacher answers is
kept in a folder, for every subject that it has not seen: of two folds of a cross-validation that are left out
together, one teacher answers both.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import torch

from ecm_edge import candidate, epochs, files, provenance, splits, train
from ecm_edge.errors import DatasetError
from ecm_edge.splits import Split

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from ecm_edge.candidate import CandidateConfig, Teacher
    from ecm_edge.dataset import Dataset
    from ecm_edge.splits import FoldAssignment

FOLDS = 5
"""So many folds divide the subjects where no assignment is given."""

_FEWEST_FOLDS = 2  # with training subjects in them


def soft_targets(
    config: CandidateConfig, dataset: Dataset, cache: Path | None, folds: FoldAssignment | None = None
) -> Tensor | None:
    """(N,) float32 probabilities of AF for the segments of `train.load_data`; None where no teacher is listened to.

    Args:
        config: its training names the teacher, its split the training subjects.
        dataset: the one whose hash the configuration names.
        cache: a folder, made if need be, that keeps what every teacher answered; nothing is kept without it.
        folds: which subject is in which fold; `FOLDS` of them, drawn by the teacher's seed, where None.

    Raises:
        CandidateError: the configuration was made for another data set, or a teacher's training gave no finite loss.
        DatasetError: the folds were made for another data set, the training subjects are of one fold only, or some
            teacher would see one class only.
        OutputError: `cache` cannot be written.
    """
    teacher = config.training.teacher
    if teacher is None or not config.training.listens:
        return None
    candidate.check_dataset(config, dataset)
    if folds is None:
        folds = splits.assign_folds(dataset, count=FOLDS, seed=teacher.seed)
    splits.check_folds(folds, dataset)
    rows = dataset.rows_of(config.split.train)  # (N,)
    fold = np.array([folds.folds[name] for name in dataset.subject_names(rows)])  # (N,)
    margins = np.empty(len(rows), np.float32)
    for number, fitted in teachers(config.split.train, teacher, dataset, folds).items():
        margins[fold == number] = unseen_margins(fitted, dataset, cache)[rows[fold == number]]
    return torch.from_numpy(margins).sigmoid()


def teachers(
    subjects: list[str], teacher: Teacher, dataset: Dataset, folds: FoldAssignment
) -> dict[int, CandidateConfig]:
    """By fold, the configuration of the teacher that answers for it: trained on those of `subjects` in other folds.

    Raises:
        DatasetError: the subjects are of one fold only.
    """
    present = sorted({folds.folds[name] for name in subjects})
    if len(present) < _FEWEST_FOLDS:
        raise DatasetError(
            f"a teacher's training subjects are of {_FEWEST_FOLDS} folds or more",
            f"{len(subjects)} of {len(present)}",
            "Divide the subjects into more folds.",
        )
    return {
        number: candidate.configure(
            dataset,
            Split(train=sorted(name for name in subjects if folds.folds[name] != number), validation=[], test=[]),
            teacher.family,
            teacher.network,
            teacher.training,
            teacher.seed,
            teacher.factory,
        )
        for number in present
    }


def unseen_margins(config: CandidateConfig, dataset: Dataset, cache: Path | None) -> NDArray[np.float32]:
    """(n,) margins of all rows of a data set; NaN where the teacher has seen the subject, or there is no label.

    They are read from the cache, or come from a network that is trained now.

    Args:
        config: a teacher's, as `teachers` makes it.
        dataset: the one whose hash the configuration names.
        cache: a folder, made if need be; nothing is kept without it.

    Raises:
        CandidateError: its training gave no finite loss.
        DatasetError: its training subjects are of one class only.
        OutputError: `cache` cannot be written.
    """
    if cache is None:
        return _answers(config, dataset)
    path = cache / f"{_key(config)}.npy"
    if (known := _saved(path, len(dataset.labels))) is not None:
        return known
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise files.cannot_write(cache, problem) from problem
    margins = _answers(config, dataset)
    stream = io.BytesIO()
    np.save(stream, margins, allow_pickle=False)
    files.write_atomic(path, stream.getvalue())
    return margins


def _answers(config: CandidateConfig, dataset: Dataset) -> NDArray[np.float32]:
    """The margins of `unseen_margins`, of a network that is trained now."""
    trained = train.fit(config, train.load_data(dataset, config.split))
    unseen = np.setdiff1d(dataset.header.subjects, config.split.train).tolist()
    rows = dataset.rows_of(unseen)
    samples = torch.from_numpy(np.ascontiguousarray(dataset.samples[rows])).unsqueeze(1)  # (m, 1, T)
    scores = epochs.predict(trained.network, samples, torch.device("cpu")).numpy()  # (m, 2)
    margins = np.full(len(dataset.labels), np.nan, np.float32)
    margins[rows] = scores[:, 1] - scores[:, 0]
    return margins


def _key(config: CandidateConfig) -> str:
    """What a teacher's answers depend on: its recipe, the data set, its training subjects and the tool."""
    return files.sha256_json({"config": config.sha256, "tool": provenance.collect().tool_version})[:32]


def _saved(path: Path, rows: int) -> NDArray[np.float32] | None:
    """What a teacher answered in an earlier run; None where there is no such file, or not of so many rows."""
    try:
        margins: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return margins if margins.shape == (rows,) and margins.dtype == np.float32 else None
