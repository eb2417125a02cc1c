"""Figures at even odds: what a network is worth before a threshold is taken off.

A margin of at least 0 is then positive: what the network finds at least as likely as not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import metrics
from ecm_edge.base.records import Interval, Record
from ecm_edge.candidate.candidate import TRAINING
from ecm_edge.metrics.resample import interval, resampled, weights_for
from ecm_edge.targets import score_rule

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.targets import Target


class EvenOdds(Record):
    """The figures of a `Scores` at even odds, and the board's points; None where there is no such figure."""

    fbeta_mean: Interval
    g: Interval
    f1: Interval | None
    recall: Interval | None
    specificity: Interval | None
    board_points: float | None


def even_odds(
    before: NDArray[np.float32],
    dataset: Dataset,
    rows: NDArray[np.int64],
    target: Target | None,
    costs: tuple[float, float] | None,
) -> EvenOdds:
    """The figures of these rows, (n,), by the rule of their task on the target.

    Args:
        before: margins (n,) before the threshold was taken off.
        dataset: that of the rows.
        rows: labelled ones.
        target: gives beta, the limit of G, and the board's points.
        costs: latency in ms and size in KiB on the board; without them there are no points.
    """
    rule = score_rule(target, dataset.header.task)
    counts = metrics.count_by_subject(dataset.labels[rows], before, np.array(dataset.subject_names(rows)))
    draws = resampled(counts, weights_for(counts), *metrics.criteria(rule))
    points = None
    if rule and costs:
        fbeta, g, pooled = (float(draws[name][0]) for name in ("fbeta_mean", "g", "fbeta_pooled"))
        points = metrics.board_score(rule, fbeta, g, *costs, pooled).total
    figures = {name: interval(draws[name]) for name in EvenOdds.model_fields if name in draws}
    return EvenOdds.model_validate({**figures, "board_points": points})


def folded_threshold(folder: Path, config: CandidateConfig) -> float | None:
    """The threshold that is folded into a candidate's own network; None where its training.json is not there.

    Raises:
        CandidateError: training.json is damaged.
    """
    from ecm_edge.training.train import TrainingRecord  # brings PyTorch

    path = folder / TRAINING
    if not path.is_file():
        return None
    record = TrainingRecord.load(path)
    return record.best.threshold if record.config_sha256 == config.sha256 else None
