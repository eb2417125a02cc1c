"""Cross-validation of one configuration: every subject is answered by networks that have not seen it.

The threshold of fold f is chosen on the subjects of the other folds. Each of them is answered for this by a network
that was trained without its own fold and without f. Fold f itself is answered by the network that was trained without f
alone, less that threshold. So F folds take F networks without one fold, and F (F - 1) / 2 without two, each of use to
both. Where the threshold comes from β or is even odds there is nothing to choose, and no network leaves two folds out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import metrics
from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, DatasetError
from ecm_edge.candidate.candidate import check_dataset
from ecm_edge.data import splits
from ecm_edge.metrics.rows import score_rows
from ecm_edge.targets import score_rule
from ecm_edge.training import out_of_fold
from ecm_edge.training.fold_margins import fold_configs, fold_margins
from ecm_edge.training.out_of_fold import CrossValidationRecord, Fold, OutOfFold
from ecm_edge.training.threshold_in_bias import fold_threshold

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import FoldAssignment
    from ecm_edge.metrics.threshold import ThresholdRule
    from ecm_edge.targets import Target
    from ecm_edge.tasks.score import ScoreRule
    from ecm_edge.training.fold_margins import FoldMargins, Progress
    from ecm_edge.training.train import Trained


def cross_validate(
    config: CandidateConfig,
    dataset: Dataset,
    target: Target,
    *,
    folds: int | FoldAssignment,
    work: Path | None = None,
    workers: int | None = None,
    on_network: Callable[[Progress], None] = lambda _: None,
) -> OutOfFold:
    """Train the configuration once for each fold and each pair of folds, and score out of fold all subjects in folds.

    Args:
        config: its own split is not used.
        dataset: the one whose hash the configuration names; every subject in a fold is answered once.
        target: its scoring rule, if any, chooses the thresholds.
        folds: which subject is in which fold; or their number, assigned by the configuration's seed.
        work: as for `fold_margins`.
        workers: as for `fold_margins`.
        on_network: as for `fold_margins`.

    Raises:
        CandidateError: the configuration was made for another data set, or training gave no finite loss.
        DatasetError: the folds were made for another data set, nobody is there to choose a threshold on, or as
            `splits.assign_folds` and `splits.leave_out`.
        OutputError: `work` cannot be written, or another process works there.
    """
    check_dataset(config, dataset)
    if isinstance(folds, int):
        folds = splits.assign_folds(dataset, count=folds, seed=config.seed)
    configs = fold_configs(config, dataset, folds, pairs=config.training.threshold == "chosen")
    _check_choice(config, dataset, folds)
    rule = score_rule(target, dataset.header.task)
    margins = fold_margins(configs, dataset, folds, rule=rule, work=work, workers=workers, on_network=on_network)
    return _out_of_fold(margins, config, dataset, target, folds)


def _check_choice(config: CandidateConfig, dataset: Dataset, folds: FoldAssignment) -> None:
    """Check that the threshold of each fold has rows of both classes to be chosen on, where it is chosen."""
    if config.training.threshold != "chosen":
        return
    rows = out_of_fold.answered_rows(dataset, folds)
    rows = rows[out_of_fold.may_choose(rows, dataset, folds)]
    if not rows.size:
        raise DatasetError(
            "a threshold is chosen on subjects in folds, and not on those of a source in scores only",
            f"folds of {', '.join(folds.score_only)} alone, in scores only",
            "Say --set training.threshold=by_beta, or make folds of another source too.",
        )
    labels, fold = dataset.labels[rows], out_of_fold.fold_of(rows, dataset, folds.folds)  # (n,)
    for f in range(folds.count):
        shown = labels[fold != f]
        if not 0 < shown.sum() < len(shown):
            raise DatasetError(
                "the threshold of a fold is chosen on segments of both classes in the other folds",
                f"{int(shown.sum())} positive of {len(shown)} without fold {f}",
                "Say --set training.threshold=by_beta, or make other folds.",
            )


def fold_thresholds(
    threshold: ThresholdRule,
    labels: NDArray[np.int8],
    margins: NDArray[np.float32],
    subjects: NDArray[np.str_],
    fold: NDArray[np.int64],
    rule: ScoreRule | None,
) -> list[float]:
    """The threshold of each fold by the rule `threshold`; no row of the fold itself has a part in it.

    Args:
        threshold: where thresholds come from.
        labels: (n,) 0 or 1.
        margins: (F, n), margins[f] those on which the threshold of fold f is chosen.
        subjects: (n,) names.
        fold: (n,) the fold of each row.
        rule: weighs Fβ and G.
    """
    return [
        metrics.find_threshold(threshold, labels[fold != f], own[fold != f], subjects[fold != f], rule)
        for f, own in enumerate(margins)
    ]


def for_everyone(config: CandidateConfig, dataset: Dataset, folds: FoldAssignment | None = None) -> CandidateConfig:
    """The configuration with every subject of the data set in its training part, and none in the others.

    Subjects of a source that the folds have in scores only are in no part.

    Raises:
        CandidateError: it chooses its epoch, for which nobody would be left.
        DatasetError: as `splits.everyone`.
    """
    if config.training.keep != "last":
        raise CandidateError(
            "a network of all subjects has nobody left to choose its epoch on, and keeps the last",
            f"training.keep = {config.training.keep}",
            "Say --set training.keep=last.",
        )
    return config.model_copy(update={"split": splits.everyone(dataset, folds)})


def with_threshold(trained: Trained, threshold: float, probe: torch.Tensor) -> Trained:
    """The trained network with another threshold in place of its own.

    Args:
        trained: as `train.fit` gives it.
        threshold: a margin.
        probe: samples (n, 1, T), as for `fold_threshold`.
    """
    best = trained.record.best
    network = fold_threshold(trained.network, threshold - best.threshold, probe)
    record = trained.record.model_copy(update={"best": best.model_copy(update={"threshold": threshold})})
    return replace(trained, network=network, record=record)


def _out_of_fold(
    margins: FoldMargins, config: CandidateConfig, dataset: Dataset, target: Target, folds: FoldAssignment
) -> OutOfFold:
    """Thresholds, scores and record of what the networks answered; n answered rows."""
    rows, kind = out_of_fold.answered_rows(dataset, folds), config.training.threshold
    rule = score_rule(target, dataset.header.task)
    before, fold = margins.before, margins.fold
    labels, subjects = dataset.labels[rows], np.array(dataset.subject_names(rows))  # (n,)
    choose = out_of_fold.may_choose(rows, dataset, folds)  # (n,)
    shown = labels[choose], subjects[choose]
    thresholds = fold_thresholds(kind, shown[0], margins.others[:, choose], shown[1], fold[choose], rule)
    after = before - np.asarray(thresholds, np.float32)[fold]
    record = CrossValidationRecord(
        config_sha256=config.sha256,
        dataset_sha256=config.dataset_sha256,
        synthetic=config.synthetic,
        assignment=folds,
        folds=[
            Fold(number=f, subjects=folds.subjects(f), segments=int((fold == f).sum()), threshold=thresholds[f])
            for f in range(folds.count)
        ],
        threshold=metrics.find_threshold(kind, shown[0], before[choose], shown[1], rule),
        scores=score_rows(after, dataset, rows, target, before),
        networks=margins.networks,
        train_seconds=margins.seconds,
        margins_sha256=files.sha256_bytes(out_of_fold.to_bytes(before=before, after=after)),
        networks_sha256=files.sha256_bytes(margins.kept),
    )
    return OutOfFold(record, before, after, margins.kept)
