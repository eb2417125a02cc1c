"""All scores of one model on one set of rows, with intervals, by subject and by rhythm."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import AliasChoices, Field

from ecm_edge.base.records import Interval, Record
from ecm_edge.base.shown import Tables
from ecm_edge.metrics.auc import weighted_auc
from ecm_edge.metrics.board import board_score
from ecm_edge.metrics.calibration import Calibration, calibrate
from ecm_edge.metrics.counts import check_rows, count, criteria, fbeta, figures, ratio
from ecm_edge.metrics.resample import averaged, interval, resampled, weights_for

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ecm_edge.metrics.board import BoardScore
    from ecm_edge.metrics.counts import Counts, Rows
    from ecm_edge.tasks.score import ScoreRule

SUBJECT_COLUMNS = ("subject", "segments", "sensitivity", "specificity", "ppv", "f1", "fbeta")
"""What a table by subject shows."""


class Confusion(Record):
    """Counts of segments: positive and called so (tp), others called so (fp), others not (tn), positive not (fn)."""

    tp: int
    fp: int
    tn: int
    fn: int


class Figures(Record):
    """Ratios, 0…1, with intervals by resampling subjects; None where one is undefined (0 / 0)."""

    accuracy: Interval | None
    precision: Interval | None
    recall: Interval | None
    f1: Interval | None
    specificity: Interval | None
    npv: Interval | None


class SubjectScore(Record):
    """One subject; ratios are None where undefined, but Fβ follows the contest's rule and is always there."""

    subject: str
    segments: int
    tp: int
    fp: int
    tn: int
    fn: int
    sensitivity: float | None
    specificity: float | None
    ppv: float | None
    npv: float | None
    f1: float | None
    fbeta: float


class RhythmScore(Record):
    """The segments of one rhythm ("blank" where the name had none) and one label.

    `sensitivity` is the share called positive where the label is, `specificity` the share not called so elsewhere.
    `interval` has the one that is there with its ends, by resampling subjects; None in records of earlier versions.
    """

    rhythm: str
    label: int
    subjects: int
    segments: int
    called_positive: int = Field(validation_alias=AliasChoices("called_positive", "called_af"))
    sensitivity: float | None
    specificity: float | None
    interval: Interval | None = None


class SourceScore(Figures):
    """The segments of one source of a merged data set; the ratios and `auc` are pooled."""

    source: str
    segments: int
    subjects: int
    positive_subjects: int
    confusion: Confusion
    auc: Interval | None
    fbeta_mean: Interval
    g: Interval
    calibration: Calibration | None = None


class Scores(Figures):
    """Scores over all segments (pooled), averaged over subjects, and by subject and rhythm.

    `f1`, `accuracy` and the other ratios at this level are pooled; `averaged` has them as means over the subjects in
    which they are defined. `auc` is pooled, None where only one class is there. `by_source` is empty where the segments
    are of one source. `calibration` is None where the log-odds of the answers are not known.
    """

    segments: int
    subjects: int
    confusion: Confusion
    auc: Interval | None
    beta: float
    good_subject_above: float
    fbeta_mean: Interval
    g: Interval
    averaged: Figures
    by_subject: list[SubjectScore]
    by_rhythm: list[RhythmScore]
    by_source: list[SourceScore] = Field(default_factory=list)
    calibration: Calibration | None = None

    KEYS = ("fbeta_mean", "g", "specificity", "subjects", "segments")
    TABLES: ClassVar[Tables] = {"by_subject": SUBJECT_COLUMNS, "by_rhythm": (), "by_source": ()}

    @property
    def positive_subjects(self) -> int:
        """How many of the subjects have a positive segment; the others have Fβ = 1 by the contest's rule."""
        return sum(subject.tp + subject.fn > 0 for subject in self.by_subject)


def evaluate(
    labels: ArrayLike,
    margins: ArrayLike,
    subjects: ArrayLike,
    rhythms: ArrayLike,
    rule: ScoreRule | None = None,
    log_odds: ArrayLike | None = None,
) -> Scores:
    """Score one model; `rhythms` (N,) names, "" where blank; beta and G's limit are those of the board's rule, if any.

    `log_odds` (N,) are the margins before a threshold was taken off, for the calibration; None where they are unknown.

    Raises:
        DatasetError: no rows, lengths that differ, or a label other than 0 and 1.
        ModelError: a margin that is NaN or infinite.
    """
    rows = check_rows(labels, margins, subjects)
    counts = count(rows)
    beta, good_above = criteria(rule)
    weights = weights_for(counts)
    intervals = {name: interval(draws) for name, draws in resampled(counts, weights, beta, good_above).items()}
    intervals.pop("fbeta_pooled")  # a function of the counts: `on_board` makes it where a rule has a term for it
    intervals["auc"] = interval(weighted_auc(rows, weights))
    return Scores.model_validate(
        intervals
        | {
            "segments": rows.margins.size,
            "subjects": len(counts.subjects),
            "confusion": {name: int(getattr(counts, name).sum()) for name in Confusion.model_fields},
            "beta": beta,
            "good_subject_above": good_above,
            "averaged": {name: interval(draws) for name, draws in averaged(counts, weights).items()},
            "by_subject": _by_subject(counts, beta),
            "by_rhythm": _by_rhythm(rows, np.asarray(rhythms), weights),
            "calibration": None if log_odds is None else calibrate(labels, log_odds, subjects),
        }
    )


def on_board(rule: ScoreRule, scores: Scores, latency_ms: float, size_kib: float) -> BoardScore:
    """The score of these answers with these costs by a rule; raises as `board_score`."""
    counts = scores.confusion
    pooled = float(fbeta(np.array(counts.tp), np.array(counts.fp), np.array(counts.fn), rule.beta))
    return board_score(rule, scores.fbeta_mean.value, scores.g.value, latency_ms, size_kib, pooled)


def _by_subject(counts: Counts, beta: float) -> list[SubjectScore]:
    ratios = figures(counts.tp, counts.fp, counts.tn, counts.fn)
    scores = fbeta(counts.tp, counts.fp, counts.fn, beta)
    return [
        SubjectScore(
            subject=name,
            segments=int(counts.tp[s] + counts.fp[s] + counts.tn[s] + counts.fn[s]),
            tp=int(counts.tp[s]),
            fp=int(counts.fp[s]),
            tn=int(counts.tn[s]),
            fn=int(counts.fn[s]),
            sensitivity=_defined(ratios["recall"][s]),
            specificity=_defined(ratios["specificity"][s]),
            ppv=_defined(ratios["precision"][s]),
            npv=_defined(ratios["npv"][s]),
            f1=_defined(ratios["f1"][s]),
            fbeta=float(scores[s]),
        )
        for s, name in enumerate(counts.subjects)
    ]


def _by_rhythm(rows: Rows, rhythms: NDArray[np.str_], weights: NDArray[np.float64]) -> list[RhythmScore]:
    pairs = sorted(
        {(str(rhythm), int(label)) for rhythm, label in zip(rhythms.tolist(), rows.positive.tolist(), strict=True)}
    )
    return [
        _rhythm(rows, (rhythms == rhythm) & (rows.positive == bool(label)), rhythm, label, weights)
        for rhythm, label in pairs
    ]


def _rhythm(
    rows: Rows, chosen: NDArray[np.bool_], rhythm: str, label: int, weights: NDArray[np.float64]
) -> RhythmScore:
    """The chosen segments; `weights` (R, S) are those of all subjects, and resamples without these have no figure."""
    called = rows.margins >= 0
    by_subject = np.bincount(rows.subject[chosen], minlength=len(rows.names))  # (S,)
    right = np.bincount(rows.subject[chosen & (called == bool(label))], minlength=len(rows.names))
    share = right.sum() / by_subject.sum()
    return RhythmScore(
        rhythm=rhythm or "blank",
        label=label,
        subjects=int((by_subject > 0).sum()),
        segments=int(by_subject.sum()),
        called_positive=int((called & chosen).sum()),
        sensitivity=share if label else None,
        specificity=None if label else share,
        interval=interval(ratio(weights @ right, weights @ by_subject)),
    )


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
