"""The scores of two contenders, paired on the same segments.

Only subjects count that neither model was trained or tuned on. Where there are none, two candidates that were measured
out of fold over the same subjects are compared by those answers, each of a network that had not seen the subject. Of a
merged data set these are the subjects of the source that the promotion is about (`pairing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import metrics
from ecm_edge.base.records import Interval, Record
from ecm_edge.evaluate.external import trained_on
from ecm_edge.evaluate.score import BoardResult, board_result
from ecm_edge.metrics import GainParts, PairedStatistic
from ecm_edge.registry import pairing
from ecm_edge.registry.contender import Basis
from ecm_edge.targets import score_rule
from ecm_edge.training import out_of_fold

if TYPE_CHECKING:
    from ecm_edge.registry.contender import Answers, Contender

OTHERS: tuple[PairedStatistic, ...] = ("accuracy", "f1", "fbeta_mean", "g", "specificity")
"""Differences that are recorded for information; F1 only where a segment is AF, specificity where one is not."""


class Comparison(Record):
    """Challenger less incumbent on the same segments; `significant` if the interval lies above or below 0.

    `basis` says what was compared: the two models on test subjects, or their recipes out of fold. `source` is the one
    that the segments are of, None where they are of the whole data set. `parts` says how much of the difference is due
    to the networks and how much to their thresholds; None where a threshold is not known. `others` are further
    differences for information. The board results are those of the compared segments.
    """

    basis: Basis = "test"
    source: str | None = None
    statistic: PairedStatistic
    difference: Interval
    parts: GainParts | None = None
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
        source=challenger.source.name if challenger.source else None,
        statistic=statistic,
        difference=main,
        parts=_parts(ours, theirs, statistic),
        significant=None if main.low is None or main.high is None else main.low > 0 or main.high < 0,
        others={name: difference(name) for name in OTHERS if not undefined.get(name, False)},
        subjects=sorted(set(subjects.tolist())),
        segments=len(ours.rows),
        challenger=board_result(challenger.model, target, ours.scores, task),
        incumbent=board_result(incumbent.model, target, theirs.scores, task),
    )


def fair_subjects(challenger: Contender, incumbent: Contender) -> list[str]:
    """The challenger's test subjects that the incumbent was neither trained nor tuned on, by name or data set."""
    split, test = incumbent.config.split, challenger.test
    seen = {*split.train, *split.validation, *(trained_on(incumbent.model, challenger.dataset, test) or [])}
    return [name for name in test if name not in seen]


def _parts(ours: Answers, theirs: Answers, statistic: PairedStatistic) -> GainParts | None:
    if ours.before is None or theirs.before is None:
        return None
    dataset, rows, rule = ours.dataset, ours.rows, score_rule(ours.target, ours.dataset.header.task)
    labels, subjects = dataset.labels[rows], np.array(dataset.subject_names(rows))
    mine, other = (ours.before, ours.margins), (theirs.before, theirs.margins)
    return metrics.paired_parts(labels, mine, other, subjects, statistic, rule=rule)


def _shared_answers(challenger: Contender, incumbent: Contender) -> tuple[Answers, Answers] | str:
    """What both answer about subjects that neither has seen, or why there are no such answers."""
    if names := fair_subjects(challenger, incumbent):
        rows = challenger.dataset.rows_of(names)
        return challenger.answers.on(rows), incumbent.answers_on(rows)
    if challenger.config.split.test:
        why = "every test subject of the challenger was trained or tuned on by the incumbent: use its split"
    else:
        why = "the challenger was trained on all subjects"
    found = []
    for name, side in {"challenger": challenger, "incumbent": incumbent}.items():
        if not out_of_fold.has_folds(side.folder):
            return f"{why}; and out of fold nothing is known of the {name}: train it with --folds"
        answers = pairing.answers_of(side)
        if isinstance(answers, str):
            return f"{why}; and the {name} {answers}"
        found.append(answers)
    ours, theirs = found
    both = np.intersect1d(ours.rows, theirs.rows)
    if not both.size:
        return f"{why}; and out of fold no subject was answered by both"
    return ours.on(both), theirs.on(both)
