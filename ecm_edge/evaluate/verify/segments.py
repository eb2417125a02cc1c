"""The segments that all forms are compared on, and the changes of a hop on them where they are labelled."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge import metrics
from ecm_edge.candidate import row_sampling
from ecm_edge.evaluate.verify.records import Flip, SubjectChange
from ecm_edge.forms import parity
from ecm_edge.forms.decision import TWO_SCORES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.decision import Decision
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.sample_file import Samples

MOST_SUBJECTS = 200
"""Up to so many, every subject stands in a hop's record."""


@dataclass(frozen=True)
class Segments:
    """N segments with their labels, if any, subjects and names; beta is that of the target's rule.

    `decision` says which label the model's scores stand for.
    """

    samples: Floats  # (N, T)
    labels: NDArray[np.integer[Any]] | None  # (N,)
    subjects: list[str]  # (N,)
    names: list[str]  # (N,)
    beta: float
    decision: Decision = TWO_SCORES

    @property
    def binary_labels(self) -> NDArray[np.integer[Any]] | None:
        """Labels of two classes, for figures such as F1; None without labels, or where the model has more classes."""
        return None if self.decision.kind == "classes" else self.labels


def segments_of(dataset: Dataset, chosen: NDArray[np.int64], beta: float, decision: Decision = TWO_SCORES) -> Segments:
    """The rows of a data set as one array; 8,000 segments of 1,250 samples are 40 MB."""
    samples = np.asarray(dataset.samples[chosen], np.float32)
    subjects, names = dataset.subject_names(chosen), dataset.names(chosen)
    return Segments(samples, dataset.labels[chosen], subjects, names, beta, decision)


def segments_from(samples: Samples, decision: Decision) -> Segments:
    """Those of a file or of noise, as if of one subject with the file's name."""
    subjects = [samples.name] * len(samples.values)
    return Segments(samples.values, samples.labels, subjects, samples.names, 1.0, decision)


def few(segments: Segments, count: int) -> Segments:
    """`count` of the segments, evenly over the subjects; all of them where there are fewer."""
    chosen = positions(segments, count)
    return replace(
        segments,
        samples=segments.samples[chosen],
        labels=None if segments.labels is None else segments.labels[chosen],
        subjects=[segments.subjects[row] for row in chosen],
        names=[segments.names[row] for row in chosen],
    )


def positions(segments: Segments, count: int) -> NDArray[np.int64]:
    """The positions of the segments that `few` takes, ascending."""
    return row_sampling.spread_over(np.asarray(segments.subjects), count)


def flips(segments: Segments, reference: Floats, other: Floats) -> list[Flip]:
    """Every segment whose label differs, in order."""
    decision = segments.decision
    before, after = decision.margins(reference), decision.margins(other)
    return [
        Flip(
            name=segments.names[row],
            subject=segments.subjects[row],
            reference_margin=_finite(before[row]),
            other_margin=_finite(after[row]),
        )
        for row in parity.flipped(reference, other, decision)
    ]


def by_subject(segments: Segments, reference: Floats, other: Floats) -> list[SubjectChange]:
    """F1 and Fβ of every subject before and after; empty without labels of two classes; scores must be finite.

    Of more than `MOST_SUBJECTS`, those of which a label flips.
    """
    labels = segments.binary_labels
    if labels is None:
        return []
    called = [_called(segments, s) for s in (reference, other)]
    before, after = (metrics.count_by_subject(labels, c, segments.subjects) for c in called)
    betas = [metrics.fbeta_by_subject(labels, c, segments.subjects, segments.beta) for c in called]
    subjects = np.asarray(segments.subjects)
    counts = Counter(subjects.tolist())
    flips = Counter(subjects[parity.flipped(reference, other, segments.decision)].tolist())
    return [
        SubjectChange(
            subject=name,
            segments=counts[name],
            label_flips=flips[name],
            f1_before=_f1(before, s),
            f1_after=_f1(after, s),
            fbeta_before=betas[0][name],
            fbeta_after=betas[1][name],
        )
        for s, name in enumerate(before.subjects)
        if flips[name] or len(counts) <= MOST_SUBJECTS
    ]


def positive_subjects(segments: Segments) -> int | None:
    """How many subjects have a positive segment; None without labels of two classes."""
    labels = segments.binary_labels
    return None if labels is None else len(set(np.asarray(segments.subjects)[labels == 1].tolist()))


def f1(segments: Segments, scores: Floats) -> float | None:
    """F1 over all segments; None where none is positive, or without labels of two classes."""
    labels = segments.binary_labels
    if labels is None or not np.any(labels == 1):
        return None
    return metrics.f1(labels, _called(segments, scores), segments.subjects)


def fbeta_mean(segments: Segments, scores: Floats) -> float | None:
    """Fβ averaged over subjects; None without labels of two classes."""
    if segments.binary_labels is None:
        return None
    return metrics.fbeta_mean(segments.binary_labels, _called(segments, scores), segments.subjects, segments.beta)


def specificity(segments: Segments, scores: Floats) -> float | None:
    """Specificity over all segments; None where all are positive, or without labels of two classes."""
    if segments.binary_labels is None:
        return None
    _, fp, tn, _ = metrics.confusion(segments.binary_labels, _called(segments, scores), segments.subjects)
    return tn / (tn + fp) if tn + fp else None


def accuracy(segments: Segments, scores: Floats) -> float | None:
    """The share of segments with the right label, of a model of several classes; None for others, or without labels."""
    if segments.labels is None or segments.decision.kind != "classes" or not len(scores):
        return None
    return float(np.mean(segments.decision.labels(scores) == segments.labels))


def _called(segments: Segments, scores: Floats) -> Floats:
    """Margins of 1 and -1 by the label of the scores; the float32 difference of two could round to another sign."""
    return np.where(segments.decision.labels(scores) == 1, np.float32(1), np.float32(-1))


def _f1(counts: metrics.Counts, subject: int) -> float | None:
    tp, fp, fn = (int(getattr(counts, name)[subject]) for name in ("tp", "fp", "fn"))
    return 2 * tp / (2 * tp + fp + fn) if tp + fn else None


def _finite(value: np.float32) -> float | None:
    return float(value) if math.isfinite(value) else None
