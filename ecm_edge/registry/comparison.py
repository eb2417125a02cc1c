"""The scores of two contenders, paired on the same segments.

Only subjects count that neither model was trained or tuned on. Where there are none, two candidates that were measured
out of fold over the same subjects are compared by those answers, each of a network that had not seen the subject. Of a
merged data set these are the subjects of the source that the promotion is about (`pairing`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ecm_edge import metrics
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Interval, Record
from ecm_edge.evaluate.external import trained_on
from ecm_edge.evaluate.score import BoardResult, board_result
from ecm_edge.metrics import GainParts, PairedStatistic
from ecm_edge.registry import pairing
from ecm_edge.registry.contender import Basis
from ecm_edge.targets import score_rule
from ecm_edge.training import out_of_fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ecm_edge.registry.contender import Answers, Contender
    from ecm_edge.tasks.score import ScoreRule

OTHERS: tuple[PairedStatistic, ...] = ("accuracy", "f1", "fbeta_mean", "g", "specificity")
"""Differences that are recorded for information; F1 only where a segment is AF, specificity where one is not."""


@dataclass(frozen=True)
class Rows:
    """n segments that both sides answer: labels (n,) 0 or 1, subjects (n,), margins (n,) of each side.

    Each side has its margins before its threshold was taken off, None where they are not known, and after it.
    """

    labels: NDArray[np.int8]
    subjects: NDArray[np.str_]
    ours: tuple[NDArray[np.float32] | None, NDArray[np.float32]]
    theirs: tuple[NDArray[np.float32] | None, NDArray[np.float32]]
    rule: ScoreRule | None


@dataclass(frozen=True)
class Paired:
    """Our side less theirs on the same segments: the figure that decides, its parts, and others for information."""

    statistic: PairedStatistic
    difference: Interval
    parts: GainParts | None
    significant: bool | None
    others: dict[str, Interval]


class ElsewhereDifference(Record):
    """The difference on another source of a merged data set, by the Fβ of all of its segments.

    The mean Fβ over subjects says nothing where they have one class only, as those of one short recording have. The
    incumbent's answers are those out of fold, or its own where it has never seen the source (`by_itself`). The
    challenger's are of networks that have not seen the subject.
    """

    source: str
    statistic: PairedStatistic
    difference: Interval
    f1: Interval
    specificity: Interval | None
    subjects: int
    segments: int
    by_itself: bool


class Comparison(Record):
    """Challenger less incumbent on the same segments; `significant` if the interval lies above or below 0.

    `basis` says what was compared: the two models on test subjects, or their recipes out of fold. `source` is the one
    that the segments are of, None where they are of the whole data set. `parts` says how much of the difference is due
    to the networks and how much to their thresholds; None where a threshold is not known. `elsewhere` has the
    differences on other sources. `others` are further differences for information. The board results are those of the
    compared segments.
    """

    basis: Basis = "test"
    source: str | None = None
    statistic: PairedStatistic
    difference: Interval
    parts: GainParts | None = None
    elsewhere: list[ElsewhereDifference] = Field(default_factory=list)
    significant: bool | None
    others: dict[str, Interval]
    subjects: list[str]
    segments: int
    challenger: BoardResult
    incumbent: BoardResult


@doing("compare with the incumbent")
def compare(challenger: Contender, incumbent: Contender, *, elsewhere: bool = False) -> Comparison | str:
    """The paired comparison, or why there is nothing to compare.

    Args:
        challenger: its source, if it has one, is what the comparison is about.
        incumbent: of the same source.
        elsewhere: also compare on the other sources of the challenger's data set.

    Raises:
        CandidateError: what one of them answered out of fold was changed.
    """
    answers = _shared_answers(challenger, incumbent)
    if isinstance(answers, str):
        return answers
    ours, theirs = answers
    target, task = challenger.target, challenger.dataset.header.task
    rows, others = rows_of(ours, theirs), _elsewhere(challenger, incumbent) if elsewhere else {}
    found = paired(rows)
    return Comparison(
        basis=ours.basis,
        source=challenger.source.name if challenger.source else None,
        statistic=found.statistic,
        difference=found.difference,
        parts=found.parts,
        elsewhere=[_difference_on(name, *both) for name, both in others.items()],
        significant=found.significant,
        others=found.others,
        subjects=sorted(set(rows.subjects.tolist())),
        segments=len(ours.rows),
        challenger=board_result(challenger.model, target, ours.scores, task),
        incumbent=board_result(incumbent.model, target, theirs.scores, task),
    )


def rows_of(ours: Answers, theirs: Answers) -> Rows:
    """Two sides' answers to the same rows of a data set."""
    labels, subjects = _labels_and_subjects(ours)
    rule = score_rule(ours.target, ours.dataset.header.task)
    return Rows(labels, subjects, (ours.before, ours.margins), (theirs.before, theirs.margins), rule)


def paired(rows: Rows, others: Sequence[PairedStatistic] = OTHERS, *, pooled: bool = False) -> Paired:
    """The differences of two sides, each with its interval by resampling subjects.

    The first is in points of the board's rule for Fβ and G, or in mean Fβ where there is no rule; if `pooled`, those of
    the Fβ of all segments. `others` leaves out what these segments do not define: without a positive one F1 and the
    like, without a negative one specificity.
    """
    statistic = _statistic(rows, pooled=pooled)
    none_positive, all_positive = not rows.labels.any(), bool(rows.labels.all())
    undefined = {
        "f1": none_positive,
        "recall": none_positive,
        "fbeta_pooled": none_positive,
        "specificity": all_positive,
    }
    main = _difference(rows, statistic)
    return Paired(
        statistic=statistic,
        difference=main,
        parts=_parts(rows, statistic),
        significant=None if main.low is None or main.high is None else main.low > 0 or main.high < 0,
        others={name: _difference(rows, name) for name in others if not undefined.get(name, False)},
    )


def fair_subjects(challenger: Contender, incumbent: Contender) -> list[str]:
    """The challenger's test subjects that the incumbent was neither trained nor tuned on, by name or data set."""
    split, test = incumbent.config.split, challenger.test
    seen = {*split.train, *split.validation, *(trained_on(incumbent.model, challenger.dataset, test) or [])}
    return [name for name in test if name not in seen]


def _statistic(rows: Rows, *, pooled: bool) -> PairedStatistic:
    if pooled:
        return "pooled_points" if rows.rule else "fbeta_pooled"
    return "detection_points" if rows.rule else "fbeta_mean"


def _difference(rows: Rows, name: PairedStatistic) -> Interval:
    return metrics.paired_difference(rows.labels, rows.ours[1], rows.theirs[1], rows.subjects, name, rule=rows.rule)


def _parts(rows: Rows, statistic: PairedStatistic) -> GainParts | None:
    (our_before, ours), (their_before, theirs) = rows.ours, rows.theirs
    if our_before is None or their_before is None:
        return None
    sides = (our_before, ours), (their_before, theirs)
    return metrics.paired_parts(rows.labels, *sides, rows.subjects, statistic, rule=rows.rule)


def _elsewhere(challenger: Contender, incumbent: Contender) -> dict[str, tuple[Answers, Answers]]:
    """By source, the answers of both sides on other sources than the one the comparison is about."""
    if challenger.source is None:
        return {}
    found = {}
    for source in challenger.dataset.header.sources:
        if source.name == challenger.source.name:
            continue
        ours, theirs = (replace(side, source=source) for side in (challenger, incumbent))
        if answers := _unseen_answers(ours, theirs):
            found[source.name] = answers
    return found


def _unseen_answers(challenger: Contender, incumbent: Contender) -> tuple[Answers, Answers] | None:
    """What both answer about subjects of a source that they have not seen; None where there are no such answers."""
    names = challenger.source.subjects if challenger.source else []
    if not challenger.dataset.labels[challenger.dataset.rows_of(names)].any():
        return None  # Fβ says nothing without a positive segment
    if not challenger.is_measured:
        return None
    if trained_on(incumbent.model, challenger.dataset, names) == []:
        ours = challenger.answers
        return ours, incumbent.answers_on(ours.rows)
    answers = _shared_answers(challenger, incumbent)
    return None if isinstance(answers, str) else answers


def _difference_on(name: str, ours: Answers, theirs: Answers) -> ElsewhereDifference:
    labels, subjects = _labels_and_subjects(ours)
    paired, rule = (labels, ours.margins, theirs.margins, subjects), score_rule(ours.target, ours.dataset.header.task)
    statistic: PairedStatistic = "pooled_points" if rule else "fbeta_pooled"
    return ElsewhereDifference(
        source=name,
        statistic=statistic,
        difference=metrics.paired_difference(*paired, statistic, rule=rule),
        f1=metrics.paired_difference(*paired, "f1"),
        specificity=None if labels.all() else metrics.paired_difference(*paired, "specificity"),
        subjects=len(np.unique(subjects)),
        segments=len(subjects),
        by_itself=theirs.basis == "test",
    )


def _labels_and_subjects(answers: Answers) -> tuple[NDArray[np.int8], NDArray[np.str_]]:
    """(n,) labels and (n,) names of the subjects of the rows that are answered."""
    dataset, rows = answers.dataset, answers.rows
    return dataset.labels[rows], np.array(dataset.subject_names(rows))


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
