"""The scores of two contenders, paired on the same segments.

Only subjects count that neither model was trained or tuned on. Where there are none, two candidates that were measured
out of fold over the same subjects are compared by those answers, each of a network that had not seen the subject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import metrics
from ecm_edge.base.records import Interval, Record
from ecm_edge.evaluate.score import BoardResult, board_result
from ecm_edge.metrics import PairedStatistic
from ecm_edge.registry.contender import Basis
from ecm_edge.targets import score_rule
from ecm_edge.training import out_of_fold

if TYPE_CHECKING:
    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.registry.contender import Answers, Contender

OTHERS: tuple[PairedStatistic, ...] = ("accuracy", "f1", "fbeta_mean", "g", "specificity")
"""Differences that are recorded for information; F1 only where a segment is AF, specificity where one is not."""


class Comparison(Record):
    """Challenger less incumbent on the same segments; `significant` if the interval lies above or below 0.

    `basis` says what was compared: the two models on test subjects, or their recipes out of fold. `others` are further
    differences for information. The board results are those of the compared segments.
    """

    basis: Basis = "test"
    statistic: PairedStatistic
    difference: Interval
    significant: bool | None
    others: dict[str, Interval]
    subjects: list[str]
    segments: int
    challenger: BoardResult
    incumbent: BoardResult


def compare(challenger: Contender, incumbent: Contender) -> Comparison | str:
    """The paired comparison, or why there is nothing to compare.

    Raises:
        CandidateError: what one of them answered out of fold was changed.
    """
    answers = _shared_answers(challenger, incumbent)
    if isinstance(answers, str):
        return answers
    ours, theirs = answers
    dataset, target = challenger.dataset, challenger.target
    task = dataset.header.task
    rule = score_rule(target, task)
    labels, subjects = dataset.labels[ours.rows], np.array(dataset.subject_names(ours.rows))

    def difference(name: PairedStatistic) -> Interval:
        return metrics.paired_difference(labels, ours.margins, theirs.margins, subjects, name, rule=rule)

    statistic: PairedStatistic = "detection_points" if rule else "fbeta_mean"
    main, undefined = difference(statistic), {"f1": not labels.any(), "specificity": labels.all()}
    return Comparison(
        basis=ours.basis,
        statistic=statistic,
        difference=main,
        significant=None if main.low is None or main.high is None else main.low > 0 or main.high < 0,
        others={name: difference(name) for name in OTHERS if not undefined.get(name, False)},
        subjects=sorted(set(subjects.tolist())),
        segments=len(ours.rows),
        challenger=board_result(challenger.model, target, ours.scores, task),
        incumbent=board_result(incumbent.model, target, theirs.scores, task),
    )


def fair_subjects(challenger: CandidateConfig, incumbent: CandidateConfig) -> list[str]:
    """The challenger's test subjects that the incumbent was neither trained nor tuned on."""
    seen = {*incumbent.split.train, *incumbent.split.validation}
    return [name for name in challenger.split.test if name not in seen]


def _shared_answers(challenger: Contender, incumbent: Contender) -> tuple[Answers, Answers] | str:
    """What both answer about subjects that neither has seen, or why there are no such answers."""
    dataset = challenger.dataset
    if names := fair_subjects(challenger.config, incumbent.config):
        rows = dataset.rows_of(names)
        return challenger.answers.on(rows), incumbent.answers_on(rows)
    if challenger.config.split.test:
        why = "every test subject of the challenger was trained or tuned on by the incumbent: use its split"
    else:
        why = "the challenger was trained on all subjects"
    for name, side in {"challenger": challenger, "incumbent": incumbent}.items():
        if not out_of_fold.has_folds(side.folder):
            return f"{why}; and out of fold nothing is known of the {name}: train it with --folds"
        if side.config.dataset_sha256 != dataset.header.content_sha256:
            return f"{why}; and the {name} was measured out of fold on another data set"
    return challenger.out_of_fold, incumbent.out_of_fold
