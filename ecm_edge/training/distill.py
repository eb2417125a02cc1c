"""Teachers: networks whose answers another network, their student, is trained with.

For `distill` an ensemble is trained on the subjects of its student. It answers every batch as the student sees it,
augmented and mixed (Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and consistent"). So the
student follows a function, also between the segments, where there are no labels.

For `doubted` a teacher must not have seen the labels that it is to judge: on its own training subjects it would repeat
their labels with all mistakes. So the training subjects are divided into folds, and each fold is answered by a network
that was trained on the others. In a cross-validation that leaves two folds out, one such teacher answers both.

Weights are kept in a folder, and are read from there when the same teacher is needed again.
"""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from ecm_edge.base import files, provenance
from ecm_edge.base.errors import CandidateError, DatasetError
from ecm_edge.base.processes import run_all
from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import Teacher
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.splits import Split
from ecm_edge.training import epochs, train
from ecm_edge.training.data import NOT_TAUGHT, Teaching
from ecm_edge.training.mapped import mapped_samples
from ecm_edge.training.out_of_fold import fold_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import FoldAssignment

FOLDS = 5
"""So many folds divide the subjects where no assignment is given."""

_FEWEST_FOLDS = 2  # with training subjects in them


def teaching(
    config: CandidateConfig,
    dataset: Dataset,
    cache: Path | None,
    folds: FoldAssignment | None = None,
    *,
    on_teacher: Callable[[int, int, float], None] = lambda *_: None,
) -> Teaching:
    """What the teachers of a configuration give to its training; those that the cache lacks are trained first.

    Args:
        config: its training names the teacher, its split the training subjects.
        dataset: the one whose hash the configuration names.
        cache: a folder that keeps every teacher; made if it does not exist. Nothing is kept without it.
        folds: which subject is in which fold, for out-of-fold teachers; `FOLDS` folds drawn by the teacher's seed where
            None.
        on_teacher: called for each teacher of the ensemble, once it is trained: its number, their count, seconds.

    Raises:
        CandidateError: the configuration was made for another data set, or a teacher's training gave no finite loss.
        DatasetError: the folds were made for another data set, the training subjects are of one fold only, or some
            teacher would see one class only.
        OutputError: `cache` cannot be written.
    """
    training, teacher, subjects = config.training, config.training.teacher, config.split.train
    if teacher is None or not training.uses_teachers:
        return NOT_TAUGHT
    candidate.check_dataset(config, dataset)
    members = ensemble(config, teacher, dataset) if training.distill else []
    followed = []
    for number, member in enumerate(members, 1):
        started = time.perf_counter()
        followed.append(trained(member, dataset, cache))
        on_teacher(number, len(members), time.perf_counter() - started)
    return Teaching(
        ensemble=tuple(followed),
        unseen=_unseen(subjects, teacher, dataset, cache, folds) if training.doubted != "keep" else None,
    )


def taught_by_its_kind(config: CandidateConfig, count: int, *, unlabelled: bool = False) -> CandidateConfig:
    """The configuration of a student with `count` teachers of its own kind; these learn from the labels alone.

    With `unlabelled` they teach it on segments without a label too.

    Raises:
        CandidateError: its schedule needs validation, which teachers do without.
    """
    training = config.training
    if training.schedule == "plateau":
        raise CandidateError(
            "a teacher is trained without validation", "schedule = plateau", "Set training.schedule=one_cycle."
        )
    untaught = {"teacher": None, "distill": 0.0, "doubted": "keep", "unlabelled": False}
    alone = {**untaught, "keep": "last", "qat_epochs": 0}
    teacher = Teacher(
        family=config.family,
        factory=config.factory,
        network=config.network,
        training=training.model_copy(update=alone),
        seed=config.seed + 1,
        count=count,
    )
    followed = {"teacher": teacher, "distill": 1.0, "unlabelled": unlabelled or training.unlabelled}
    return config.model_copy(update={"training": training.model_copy(update=followed)})


def teachers_for(config: CandidateConfig, dataset: Dataset, folds: FoldAssignment) -> list[CandidateConfig]:
    """The configurations of all teachers whose answers `teaching` gives to the training of a configuration.

    Raises:
        DatasetError: the training subjects are of one fold only.
    """
    training, teacher, subjects = config.training, config.training.teacher, config.split.train
    if teacher is None:
        return []
    followed = ensemble(config, teacher, dataset) if training.distill else []
    doubting = training.doubted != "keep"
    return [*followed, *(out_of_fold_teachers(subjects, teacher, dataset, folds).values() if doubting else [])]


def all_teachers(configs: Iterable[CandidateConfig], dataset: Dataset, folds: FoldAssignment) -> list[CandidateConfig]:
    """The configurations of the teachers of several students, each once; raises as `teachers_for`."""
    teachers = [teacher for config in configs for teacher in teachers_for(config, dataset, folds)]
    return list({teacher.sha256: teacher for teacher in teachers}.values())


def train_all(
    teachers: Sequence[CandidateConfig], dataset: Dataset, cache: Path, workers: int
) -> Iterator[tuple[CandidateConfig, float]]:
    """Train teachers side by side, where the cache lacks them; each with the seconds that it took, as they finish.

    Args:
        teachers: as `all_teachers` gives them.
        dataset: the one whose hash the configurations name.
        cache: keeps them for `teaching`.
        workers: as for `run_all`.

    Raises:
        CandidateError: a training gave no finite loss.
        DatasetError: training subjects are of one class only.
        OutputError: `cache` cannot be written.
    """
    yield from run_all([partial(_timed, teacher, dataset.folder, cache) for teacher in teachers], workers)


def _timed(teacher: CandidateConfig, data: Path, cache: Path) -> tuple[CandidateConfig, float]:
    started = time.perf_counter()
    trained(teacher, open_dataset(data), cache)
    return teacher, time.perf_counter() - started


def ensemble(config: CandidateConfig, teacher: Teacher, dataset: Dataset) -> list[CandidateConfig]:
    """The configurations of the teachers that answer together, trained on the subjects of their student.

    None has the student's seed, with which it could be the same network.
    """
    seeds = (seed for seed in itertools.count(teacher.seed) if seed != config.seed)
    return [_configured(teacher, config.split.train, dataset, seed) for seed in itertools.islice(seeds, teacher.count)]


def trained(config: CandidateConfig, dataset: Dataset, cache: Path | None) -> nn.Module:
    """The trained network of a teacher's configuration, in evaluation mode, from the cache or trained now.

    Args:
        config: one of `teachers_for`.
        dataset: the one whose hash the configuration names.
        cache: a folder, made if need be; nothing is kept without it.

    Raises:
        CandidateError: its training gave no finite loss.
        DatasetError: its training subjects are of one class only.
        OutputError: `cache` cannot be written.
    """
    path = None if cache is None else _place(cache, config)
    network = candidate.build_network(config)
    if path is not None and _loaded(network, path):
        return network.eval()
    network = train.fit(config, train.load_data(dataset, config.split)).network
    if path is not None:
        files.write_atomic(path, to_safetensors(candidate.network_state(network)))
    return network


def _loaded(network: nn.Module, path: Path) -> bool:
    """Whether there are weights of this network at `path`; it has them then."""
    try:
        network.load_state_dict(from_safetensors(path.read_bytes()))
    except (OSError, SafetensorError, RuntimeError):
        return False
    return True


def _unseen(
    subjects: list[str], teacher: Teacher, dataset: Dataset, cache: Path | None, folds: FoldAssignment | None
) -> Tensor:
    """(N,) float32 probabilities of AF for the segments of `subjects`, each by a teacher that has not seen its own."""
    if folds is None:
        folds = splits.assign_folds(dataset, count=FOLDS, seed=teacher.seed)
    splits.check_folds(folds, dataset)
    rows = dataset.rows_of(subjects)  # (N,)
    fold = fold_of(rows, dataset, splits.judging_folds(dataset, folds))  # (N,)
    answers = torch.empty(len(rows))
    for number, config in out_of_fold_teachers(subjects, teacher, dataset, folds).items():
        own = fold == number
        network, samples = trained(config, dataset, cache), mapped_samples(dataset, rows[own])
        scores = epochs.predict(network, samples, torch.device("cpu"))
        answers[torch.from_numpy(own)] = scores.softmax(1)[:, 1]
    return answers


def out_of_fold_teachers(
    subjects: list[str], teacher: Teacher, dataset: Dataset, folds: FoldAssignment
) -> dict[int, CandidateConfig]:
    """By fold, the configuration of the teacher that answers for it: trained on those of `subjects` in other folds.

    Raises:
        DatasetError: the subjects are of one fold only.
    """
    fold = splits.judging_folds(dataset, folds)
    present = sorted({fold[name] for name in subjects})
    if len(present) < _FEWEST_FOLDS:
        raise DatasetError(
            f"a teacher's training subjects are of {_FEWEST_FOLDS} folds or more",
            f"{len(subjects)} of {len(present)}",
            "Divide the subjects into more folds.",
        )
    return {
        number: _configured(teacher, [name for name in subjects if fold[name] != number], dataset, teacher.seed)
        for number in present
    }


def _configured(teacher: Teacher, subjects: list[str], dataset: Dataset, seed: int) -> CandidateConfig:
    """A teacher that is trained on `subjects`, without validation."""
    split = Split(train=sorted(subjects), validation=[], test=[])
    return candidate.configure(dataset, split, teacher.family, teacher.network, teacher.training, seed, teacher.factory)


def _place(cache: Path, config: CandidateConfig) -> Path:
    """The file of a teacher in the cache, which is made if need be.

    It is named by what the weights depend on: recipe, data, training subjects and the tool.
    """
    files.make_folder(cache)
    key = files.sha256_json({"config": config.sha256, "tool": provenance.collect().tool_version})
    return cache / f"{key[:32]}.safetensors"
