"""Confusion counts by subject, and the ratios made of them.

Dimensions: N segments, S subjects (in ascending order of name).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.base.errors import DatasetError, ModelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ecm_edge.tasks.score import ScoreRule

BETA = 2.0
"""Fβ's beta where a board's rule has no other: recall weighs twice as much as precision."""

GOOD_SUBJECT_ABOVE = 0.9
"""G counts the subjects whose Fβ is strictly above this, where a board's rule has no other limit."""


def criteria(rule: ScoreRule | None) -> tuple[float, float]:
    """Fβ's beta and the limit that G counts from: those of a board's rule, `BETA` and `GOOD_SUBJECT_ABOVE` without."""
    return (rule.beta, rule.good_subject_above) if rule else (BETA, GOOD_SUBJECT_ABOVE)


@dataclass(frozen=True)
class Rows:
    """Checked input: finite margins, labels of 0 and 1, subjects as codes into `names`."""

    positive: NDArray[np.bool_]  # (N,)
    margins: NDArray[np.float32]  # (N,)
    subject: NDArray[np.intp]  # (N,) index into names
    names: list[str]  # (S,)


@dataclass(frozen=True)
class Counts:
    """Confusion counts, one of each per subject."""

    subjects: list[str]  # (S,)
    tp: NDArray[np.int64]  # (S,) positive, called so
    fp: NDArray[np.int64]  # (S,) negative, called positive
    tn: NDArray[np.int64]  # (S,) negative, called so
    fn: NDArray[np.int64]  # (S,) positive, called negative


def check_rows(labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike) -> Rows:
    """Check the rows once, so that every function behind can rely on them.

    Raises:
        DatasetError: no rows, lengths that differ, or a label other than 0 and 1.
        ModelError: a margin that is NaN or infinite.
    """
    label, margin, subject = np.asarray(labels), np.asarray(margins, dtype=np.float32), np.asarray(subjects)
    if not label.shape == margin.shape == subject.shape or label.ndim != 1:
        raise DatasetError(
            "labels, margins and subjects are three lists of one length",
            f"shapes {label.shape}, {margin.shape} and {subject.shape}",
            "Score the same rows that the model was run on.",
        )
    if label.size == 0:
        raise DatasetError("a score needs at least one segment", "none", "Choose subjects that have labelled segments.")
    if not np.isin(label, (0, 1)).all():
        raise DatasetError(
            "labels are 0 or 1", f"{label[~np.isin(label, (0, 1))][0]}", "Leave dropped segments out of the rows."
        )
    if not np.isfinite(margin).all():
        bad = np.flatnonzero(~np.isfinite(margin))
        raise ModelError(
            "a model's scores are finite",
            f"{bad.size} of {margin.size} margins are not, the first at row {bad[0]}",
            "Train it again.",
        )
    names, code = np.unique(subject, return_inverse=True)
    return Rows(label == 1, margin, code, [str(name) for name in names])


def count_by_subject(labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike) -> Counts:
    """The confusion counts of each subject; raises as `check_rows` does."""
    return count(check_rows(labels, margins, subjects))


def count(rows: Rows) -> Counts:
    """The confusion counts of checked rows."""
    called = rows.margins >= 0
    cell = rows.subject * 4 + rows.positive * 2 + called
    table = np.bincount(cell, minlength=4 * len(rows.names)).reshape(-1, 4)  # (S, tn fp fn tp)
    return Counts(rows.names, tp=table[:, 3], fp=table[:, 1], tn=table[:, 0], fn=table[:, 2])


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """`part` / `whole`, NaN where `whole` is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole != 0))


def figures(tp: NDArray[Any], fp: NDArray[Any], tn: NDArray[Any], fn: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """The six ratios of a confusion matrix, of any shape; NaN where one is undefined (0 / 0)."""
    return {
        "accuracy": ratio(tp + tn, tp + fp + tn + fn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "specificity": ratio(tn, tn + fp),
        "npv": ratio(tn, tn + fn),
    }


def fbeta(tp: NDArray[Any], fp: NDArray[Any], fn: NDArray[Any], beta: float = BETA) -> NDArray[np.float64]:
    """Fβ of each subject by the contest's rule, of any shape.

    1. A subject without positive segments has sensitivity 1 and PPV 1, so Fβ = 1, with any calls.
    2. A subject with some of which none was called positive has PPV 0, so Fβ = 0.
    3. Otherwise Fβ = (1 + β²) PPV Se / (β² PPV + Se) = (1 + β²) TP / ((1 + β²) TP + β² FN + FP); 0 where TP = 0.
    """
    hit = (1 + beta**2) * tp
    value = ratio(hit, hit + beta**2 * fn + fp)
    return np.where(tp + fn == 0, 1.0, value)


def confusion(labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike) -> tuple[int, int, int, int]:
    """TP, FP, TN, FN over all segments."""
    counts = count_by_subject(labels, margins, subjects)
    return int(counts.tp.sum()), int(counts.fp.sum()), int(counts.tn.sum()), int(counts.fn.sum())


def fbeta_by_subject(
    labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike, beta: float = BETA
) -> dict[str, float]:
    """Fβ of each subject, 0…1, by the rule in `fbeta`."""
    counts = count_by_subject(labels, margins, subjects)
    values = fbeta(counts.tp, counts.fp, counts.fn, beta)
    return dict(zip(counts.subjects, values.tolist(), strict=True))


def fbeta_mean(labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike, beta: float = BETA) -> float:
    """Fβ averaged over subjects, 0…1."""
    return float(np.mean(list(fbeta_by_subject(labels, margins, subjects, beta).values())))


def fbeta_pooled(labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike, beta: float = BETA) -> float:
    """Fβ over all segments, 0…1, by the rule in `fbeta`."""
    tp, fp, _, fn = confusion(labels, margins, subjects)
    return float(fbeta(np.array(tp), np.array(fp), np.array(fn), beta))


def g(
    labels: ArrayLike,
    margins: ArrayLike,
    subjects: ArrayLike,
    beta: float = BETA,
    good_above: float = GOOD_SUBJECT_ABOVE,
) -> float:
    """Share of subjects whose Fβ is strictly above `good_above`, 0…1."""
    values = np.array(list(fbeta_by_subject(labels, margins, subjects, beta).values()))
    return float(np.mean(values > good_above))


def f1(labels: ArrayLike, margins: ArrayLike, subjects: ArrayLike) -> float:
    """F1 over all segments, 0…1.

    Raises:
        DatasetError: no segment is positive, so that F1 is undefined (besides what `check_rows` raises).
    """
    tp, fp, _, fn = confusion(labels, margins, subjects)
    if tp + fn == 0:
        raise DatasetError(
            "F1 needs positive segments", "none among the rows", "Choose subjects so that both classes are there."
        )
    return 2 * tp / (2 * tp + fp + fn)
