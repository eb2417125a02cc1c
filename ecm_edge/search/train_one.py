"""One candidate by itself, as `ecm-edge train` makes it: gated, cross-validated if asked for, taught and trained.

It lies here and not with the trainings because the gate builds an image.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, ClassVar

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, OutputError
from ecm_edge.base.records import GATE_COLUMNS, Drawable, Verdict
from ecm_edge.base.shown import Tables
from ecm_edge.candidate import candidate
from ecm_edge.data import splits
from ecm_edge.forms import export, quantize
from ecm_edge.forms.export_records import ExportResult
from ecm_edge.forms.gate import CostRecord
from ecm_edge.forms.quantize import QuantizeRecord
from ecm_edge.metrics.evaluate import SUBJECT_COLUMNS
from ecm_edge.search.gate import gate_candidate
from ecm_edge.search.trial_record import TRIAL
from ecm_edge.targets import score_rule
from ecm_edge.training import crossval, distill, train
from ecm_edge.training.fold_margins import TEACHERS, Progress
from ecm_edge.training.out_of_fold import CrossValidationRecord
from ecm_edge.training.train import TrainingRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes

    from ecm_edge.base.plots import Colours
    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import FoldAssignment
    from ecm_edge.targets import Target
    from ecm_edge.training.epochs import Epoch
    from ecm_edge.training.out_of_fold import OutOfFold


_BELONGING = (TRIAL, "manifest.json")  # in a candidate that belongs to a run, or to a registry


class TrainResult(Drawable):
    """One candidate by itself: FAIL if it does not fit the target, and then it was not trained.

    Exported, it is FAIL too if the simplified network does not answer as the trained one does.
    """

    verdict: Verdict
    cost: CostRecord
    training: TrainingRecord | None
    folds: CrossValidationRecord | None
    export: ExportResult | None = None
    quantize: QuantizeRecord | None = None

    KEYS = ("training.family", "training.best.f1", "training.best.fbeta_mean", "cost.macs")
    TABLES: ClassVar[Tables] = {
        "training.epochs": TrainingRecord.TABLES["epochs"],
        "cost.gates": GATE_COLUMNS,
        "folds.scores.by_subject": SUBJECT_COLUMNS,
    }

    def draw(self, axes: Axes, colours: Colours) -> None:
        """The training; nothing where the candidate did not fit and was not trained."""
        if self.training:
            self.training.draw(axes, colours)


def train_candidate(
    out: Path,
    config: CandidateConfig,
    dataset: Dataset,
    target: Target,
    *,
    folds: int | FoldAssignment | None = None,
    refit: bool = False,
    replace: bool = False,
    workers: int | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    on_network: Callable[[Progress], None] = lambda _: None,
) -> TrainResult:
    """Gate and train one configuration into the new folder `out`, which is not made if it does not fit.

    What the networks of a cross-validation answered is kept in a hidden folder beside `out` until that is done: the
    next call goes on from there.

    Args:
        out: must not exist yet, unless it is to be replaced.
        config: what to build and train.
        dataset: the one whose hash the configuration names.
        target: whose budgets count and whose rule chooses the threshold.
        folds: also measure the configuration out of fold, over these folds or over so many.
        refit: train on every subject of the data set, whatever the configuration's split says; the threshold is the one
            of the cross-validation. A split without validation and test subjects asks for the same. Sources that the
            folds have in training only or in scores only are so for the candidate itself as well.
        replace: put it in the place of the candidate that `train` made there before, once it is trained.
        workers: as for `crossval.cross_validate`.
        on_epoch: called after every epoch of the candidate itself.
        on_network: called for every network of the cross-validation, and for every teacher of the candidate itself.

    Raises:
        CandidateError: the configuration was made for another data set, or training gave no finite loss; for a refit,
            there are no folds, or the configuration does not keep its last epoch.
        DatasetError: as `crossval.cross_validate`.
        OutputError: `out` exists, or is to be replaced and is no candidate by itself.
    """
    _check_place(out, replace=replace)
    candidate.check_dataset(config, dataset)
    refit = refit or not (config.split.validation or config.split.test)  # of a refitted one, given as --like
    config = _for_everyone(config, dataset, folds) if refit else _apart(config, dataset, folds)
    data = train.load_data(dataset, config.split, unlabelled=config.training.unlabelled)
    work = out.with_name(f".{out.name}.folds")
    _, costs = gate_candidate(config, target, data.train_samples[:1, 0].numpy())
    if costs.verdict != Verdict.PASS:
        return TrainResult(verdict=costs.verdict, cost=costs, training=None, folds=None)
    with files.staged_folder(out, replace=replace) as staged:
        config.save(staged / candidate.CONFIG)
        costs.save(staged / candidate.COST)
        validated = _cross_validated(staged, config, dataset, target, folds, work, workers, on_network)
        teaching = distill.teaching(
            config,
            dataset,
            work / TEACHERS,
            validated.record.assignment if validated else None,
            on_teacher=lambda number, total, seconds: on_network(Progress(number, total, (), seconds, is_teacher=True)),
        )
        trained = train.fit(
            config, data, rule=score_rule(target, dataset.header.task), teaching=teaching, on_epoch=on_epoch
        )
        if refit and validated:
            trained = crossval.with_threshold(trained, validated.record.threshold, data.train_samples[:1])
        train.save_trained(staged, config, trained)
    shutil.rmtree(work, ignore_errors=True)
    record = validated.record if validated else None
    return TrainResult(verdict=costs.verdict, cost=costs, training=trained.record, folds=record)


def with_forms(result: TrainResult, folder: Path, dataset: Dataset) -> TrainResult:
    """The result with what export and quantisation of the trained candidate in `folder` gave.

    Raises:
        ModelError: the network cannot be exported or quantised.
    """
    exported = export.export_candidate(folder, dataset)
    quantized = quantize.quantize_candidate(folder, dataset)
    return result.model_copy(update={"verdict": exported.verdict, "export": exported, "quantize": quantized})


def _check_place(out: Path, *, replace: bool) -> None:
    """Check that `out` is new, or a candidate that may be replaced: none of a run and no entry of a registry."""
    if not replace or not os.path.lexists(out):
        files.check_new(out)
        return
    if not (out / candidate.CONFIG).is_file() or any((out / name).exists() for name in _BELONGING):
        raise OutputError(
            "only a candidate that `ecm-edge train` made by itself is replaced", f"{out}", "Choose another folder."
        )
    candidate.load_config(out)


def _for_everyone(config: CandidateConfig, dataset: Dataset, folds: int | FoldAssignment | None) -> CandidateConfig:
    """The configuration of a network of all subjects; raises where there are no folds to take its threshold from."""
    if folds is None:
        raise CandidateError(
            "a network of all subjects takes its threshold from a cross-validation", "no folds", "Say --folds 5."
        )
    return crossval.for_everyone(config, dataset, None if isinstance(folds, int) else folds)


def _apart(config: CandidateConfig, dataset: Dataset, folds: int | FoldAssignment | None) -> CandidateConfig:
    """The configuration with the sources that the folds name in the parts of its split that they may be in."""
    if folds is None or isinstance(folds, int):
        return config
    return config.model_copy(update={"split": splits.apart(dataset, config.split, folds)})


def _cross_validated(
    staged: Path,
    config: CandidateConfig,
    dataset: Dataset,
    target: Target,
    folds: int | FoldAssignment | None,
    work: Path,
    workers: int | None,
    on_network: Callable[[Progress], None],
) -> OutOfFold | None:
    """What was measured out of fold, if that was asked for; it is saved into the staged folder."""
    if folds is None:
        return None
    validated = crossval.cross_validate(
        config, dataset, target, folds=folds, work=work, workers=workers, on_network=on_network
    )
    validated.save(staged)
    return validated
