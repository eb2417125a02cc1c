"""Training of recipes: one network a fold, the same budget for all, every result kept.

OUT/RECIPE.SEED.json is a `Result`. OUT/folds holds what every network answered, and the teachers, which several recipes
may share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.recipes.changes import Recipe
from ecm_edge.base import files, provenance
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.records import Record
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.forms import cost, export
from ecm_edge.metrics import Scores
from ecm_edge.metrics.rows import score_rows
from ecm_edge.training import crossval, distill, out_of_fold, train
from ecm_edge.training.data import NOT_TAUGHT, Teaching, TrainingData
from ecm_edge.training.fold_margins import TEACHERS, fold_configs, fold_margins
from ecm_edge.training.train_rows import trained_rows, windows_per_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import FoldAssignment
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
    def work(self) -> Path:
        """Where the answers of networks are kept."""
        return self.out / "folds"

    @property
    def teachers(self) -> Path:
        """Where the teachers are kept."""
        return self.work / TEACHERS

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
    """Train what has no result yet, recipe by recipe; `report` is given a line for each that is done.

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
        for number, (recipe, seed) in enumerate(todo, 1):
            result = measure(setting, recipe, seed, workers)
            result.save(setting.path(recipe, seed))
            scored = f"Fβ {result.scores.fbeta_mean.value:.4f}, {result.seconds:.0f} s"
            report(f"{number} of {len(todo)}: {recipe.name}, seed {seed}: {scored}")


def measure(setting: Setting, recipe: Recipe, seed: int, workers: int) -> Result:
    """Train a recipe's networks, one a fold, and score what they answer out of fold; n labelled rows, F folds."""
    dataset, target, folds = open_dataset(setting.data), setting.target, setting.folds
    whole = recipe.configure(dataset, splits.everyone(dataset, folds), seed)
    configs = fold_configs(whole, dataset, folds, pairs=False)
    teachers = distill.all_teachers(configs.values(), dataset, folds)
    list(distill.train_all(teachers, dataset, setting.teachers, workers))  # before the doubted segments are counted
    budgeted = [_within_budget(setting, dataset, config) for config in configs.values()]
    configs = dict(zip(configs, (config for config, _ in budgeted), strict=True))
    margins = fold_margins(configs, dataset, folds, rule=target.score, work=setting.work, workers=workers)
    rows = out_of_fold.answered_rows(dataset, folds)
    labels, subjects = dataset.labels[rows], np.array(dataset.subject_names(rows))  # (n,)
    for_each_fold = np.broadcast_to(margins.before, margins.others.shape)  # (F, n)
    choose = out_of_fold.may_choose(rows, dataset, folds)  # (n,)
    thresholds = crossval.fold_thresholds(
        "chosen", labels[choose], for_each_fold[:, choose], subjects[choose], margins.fold[choose], target.score
    )
    return Result(
        inputs_sha256=setting.inputs_sha256(recipe, seed),
        recipe=recipe,
        seed=seed,
        macs=macs(whole, dataset),
        epochs=[config.training.epochs for config, _ in budgeted],
        thresholds=thresholds,
        passes=sum(passes for _, passes in budgeted),
        teacher_passes=sum(_passes(config, train.load_data(dataset, config.split)) for config in teachers),
        seconds=margins.seconds,
        scores=score_rows(margins.before - np.asarray(thresholds, np.float32)[margins.fold], dataset, rows, target),
    )


def _within_budget(setting: Setting, dataset: Dataset, config: CandidateConfig) -> tuple[CandidateConfig, int]:
    """The configuration with the epochs that come nearest to the base's passes, and its own passes then."""
    data = train.load_data(dataset, config.split)
    teaching = distill.teaching(config, dataset, setting.teachers, setting.folds)
    budget = _passes(setting.base.configure(dataset, config.split, config.seed), data)
    segments = _passes(config, data, teaching) // config.training.epochs
    epochs = max(1, round(budget / segments))
    training = config.training.model_copy(update={"epochs": epochs})
    return config.model_copy(update={"training": training}), segments * epochs


def _passes(config: CandidateConfig, data: TrainingData, teaching: Teaching = NOT_TAUGHT) -> int:
    """How many windows of the training part all epochs go through."""
    rows = trained_rows(data, config.training, config.seed, teaching.unseen).rows
    return windows_per_epoch(config.training, len(rows)) * config.training.epochs


def macs(config: CandidateConfig, dataset: Dataset) -> int:
    """Multiply-accumulates of one inference of the network, simplified as it would ship."""
    return cost.count(export.untrained(config, dataset.samples[:1]).simplified).macs
