"""Training of recipes: one network a fold, the same budget for all, every result kept.

OUT/RECIPE.SEED.json is a `Result`; OUT/teachers holds the teachers, which several recipes may share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.recipes.changes import Recipe
from ecm_edge import metrics
from ecm_edge.base import files, provenance
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.processes import run_all
from ecm_edge.base.records import Record
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.forms import cost, export
from ecm_edge.metrics import Scores
from ecm_edge.metrics.rows import score_rows
from ecm_edge.training import distill, epochs, out_of_fold, train
from ecm_edge.training.data import NOT_TAUGHT, Teaching, TrainingData
from ecm_edge.training.train_rows import trained_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import FoldAssignment, Split
    from ecm_edge.targets import Target


class Result(Record):
    """What a recipe scored with one seed; lists go by fold.

    `inputs_sha256` is of everything that it depends on. `passes` and `seconds` are of the recipe's own networks, added
    up; `teacher_passes` of those that taught them, whether or not others were taught by the same.
    """

    inputs_sha256: str
    recipe: Recipe
    seed: int
    macs: int
    epochs: list[int]
    thresholds: list[float]
    passes: int
    teacher_passes: int
    seconds: float
    scores: Scores


@dataclass(frozen=True)
class Setting:
    """What all recipes share."""

    base: Recipe
    data: Path
    folds: FoldAssignment
    target: Target
    out: Path

    @property
    def teachers(self) -> Path:
        """Where the teachers are kept."""
        return self.out / "teachers"

    def path(self, recipe: Recipe, seed: int) -> Path:
        """Where a result is kept."""
        return self.out / f"{recipe.name}.{seed}.json"

    def inputs_sha256(self, recipe: Recipe, seed: int) -> str:
        """The hash of what a result depends on."""
        return files.sha256_json(
            {
                "recipe": recipe.model_dump(mode="json"),
                "seed": seed,
                "budget": self.base.training.model_dump(mode="json"),
                "folds": self.folds.model_dump(mode="json"),
                "rule": self.target.score.model_dump(mode="json") if self.target.score else None,
                "tool": provenance.collect().tool_version,
            }
        )

    def saved(self, recipe: Recipe, seed: int) -> Result | None:
        """An earlier run's result; None where there is none, or one of other inputs."""
        try:
            result = Result.load(self.path(recipe, seed))
        except CandidateError:
            return None
        return result if result.inputs_sha256 == self.inputs_sha256(recipe, seed) else None


def run(
    setting: Setting, chosen: Sequence[Recipe], seeds: Sequence[int], workers: int, report: Callable[[str], None]
) -> None:
    """Train what has no result yet; recipes with teachers come last. `report` is given a line for each that is done.

    Raises:
        CandidateError: a training gave no finite loss.
        DatasetError: the folds were made for another data set, or some part of them has one class only.
        OutputError: the folder cannot be written, or another process works there.
    """
    dataset = open_dataset(setting.data)
    splits.check_folds(setting.folds, dataset)
    try:
        setting.out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise files.cannot_write(setting.out, problem) from problem
    with files.locked(setting.out):
        todo = [(recipe, seed) for seed in seeds for recipe in chosen if setting.saved(recipe, seed) is None]
        teachers = {teacher.sha256: teacher for job in todo for teacher in _teachers(setting, dataset, *job)}
        first: list[Callable[[], str]] = [partial(_train, setting, *job) for job in todo if not job[0].training.listens]
        first += [partial(_teach, setting, teacher) for teacher in teachers.values()]
        last = [partial(_train, setting, *job) for job in todo if job[0].training.listens]
        for stage in (first, last):
            for number, line in enumerate(run_all(stage, workers), 1):
                report(f"{number} of {len(stage)}: {line}")


def _split(setting: Setting, dataset: Dataset, number: int) -> Split:
    return splits.leave_out(dataset, setting.folds, [number], validation_share=0.0)


def _teachers(setting: Setting, dataset: Dataset, recipe: Recipe, seed: int) -> list[CandidateConfig]:
    """The teachers of a recipe's networks, each once."""
    found = {}
    for number in range(setting.folds.count):
        config = recipe.configure(dataset, _split(setting, dataset, number), seed)
        found |= {teacher.sha256: teacher for teacher in distill.teachers_for(config, dataset, setting.folds)}
    return list(found.values())


def _teach(setting: Setting, teacher: CandidateConfig) -> str:
    distill.trained(teacher, open_dataset(setting.data), setting.teachers)
    return f"a teacher of {len(teacher.split.train)} subjects, seed {teacher.seed}"


def _train(setting: Setting, recipe: Recipe, seed: int) -> str:
    """Train a recipe's networks, write down what they scored, and say it."""
    result = measure(setting, recipe, seed)
    result.save(setting.path(recipe, seed))
    return f"{recipe.name}, seed {seed}: Fβ {result.scores.fbeta_mean.value:.4f}, {result.seconds:.0f} s"


def measure(setting: Setting, recipe: Recipe, seed: int) -> Result:
    """Train a recipe's networks, one a fold, and score what they answer out of fold; n labelled rows."""
    dataset, target = open_dataset(setting.data), setting.target
    rows = out_of_fold.labelled_rows(dataset)
    subjects = np.array(dataset.subject_names(rows))  # (n,)
    fold = np.array([setting.folds.folds[name] for name in subjects.tolist()])  # (n,)
    networks = [_network(setting, dataset, recipe, seed, number) for number in range(setting.folds.count)]
    before = np.empty(len(rows), np.float32)
    for number, network in enumerate(networks):
        before[fold == number] = network.margins
    thresholds = choose_thresholds(dataset.labels[rows], before, subjects, fold, target)
    after = before - np.asarray(thresholds, np.float32)[fold]
    return Result(
        inputs_sha256=setting.inputs_sha256(recipe, seed),
        recipe=recipe,
        seed=seed,
        macs=macs(recipe.configure(dataset, splits.everyone(dataset), seed), dataset),
        epochs=[network.epochs for network in networks],
        thresholds=thresholds,
        passes=sum(network.passes for network in networks),
        teacher_passes=sum(
            _segments(teacher, train.load_data(dataset, teacher.split)) * teacher.training.epochs
            for teacher in _teachers(setting, dataset, recipe, seed)
        ),
        seconds=sum(network.seconds for network in networks),
        scores=score_rows(after, dataset, rows, target),
    )


def choose_thresholds(
    labels: NDArray[np.int8],
    margins: NDArray[np.float32],
    subjects: NDArray[np.str_],
    fold: NDArray[np.int64],
    target: Target,
) -> list[float]:
    """A threshold for each fold, chosen on the rows of the others; all arguments are (n,)."""
    return [
        metrics.choose_threshold(labels[fold != f], margins[fold != f], subjects[fold != f], target.score)
        for f in range(int(fold.max()) + 1)
    ]


@dataclass(frozen=True)
class _Network:
    """What one network answers its fold, (m,) margins of the labelled rows, ascending, and what it took."""

    margins: NDArray[np.float32]
    epochs: int
    passes: int
    seconds: float


def _network(setting: Setting, dataset: Dataset, recipe: Recipe, seed: int, number: int) -> _Network:
    """Train the network without fold `number` for as many epochs as come nearest to the base's passes."""
    split = _split(setting, dataset, number)
    data = train.load_data(dataset, split)
    config = recipe.configure(dataset, split, seed)
    teaching = distill.teaching(config, dataset, setting.teachers, setting.folds)
    budget = _segments(setting.base.configure(dataset, split, seed), data) * setting.base.training.epochs
    count = max(1, round(budget / _segments(config, data, teaching)))
    config = config.model_copy(update={"training": config.training.model_copy(update={"epochs": count})})
    trained = train.fit(config, data, rule=setting.target.score, teaching=teaching)
    samples = train.samples_of(dataset, dataset.rows_of(split.test))
    scores = epochs.predict(trained.network, samples, torch.device("cpu")).numpy()  # (m, 2)
    record = trained.record
    passes = record.train_segments * len(record.epochs)
    return _Network(scores[:, 1] - scores[:, 0], len(record.epochs), passes, record.seconds)


def _segments(config: CandidateConfig, data: TrainingData, teaching: Teaching = NOT_TAUGHT) -> int:
    """How many segments of the training part an epoch goes through."""
    return len(trained_rows(data, config.training, config.seed, teaching.unseen))


def macs(config: CandidateConfig, dataset: Dataset) -> int:
    """Multiply-accumulates of one inference of the network, simplified as it would ship."""
    return cost.count(export.untrained(config, dataset.samples[:1]).simplified).macs
