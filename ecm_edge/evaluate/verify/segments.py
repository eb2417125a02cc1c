"""The labelled segments that all forms are compared on, and the changes of a hop on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import metrics
from ecm_edge.candidate import row_sampling
from ecm_edge.evaluate.verify.records import Flip, SubjectChange
from ecm_edge.forms import parity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.onnx_model import Floats


@dataclass(frozen=True)
class Segments:
    """N segments with their labels, subjects and names; beta is that of the target's rule."""

    samples: Floats  # (N, T)
    labels: NDArray[np.int8]  # (N,)
    subjects: list[str]  # (N,)
    names: list[str]  # (N,)
    beta: float


def segments_of(dataset: Dataset, chosen: NDArray[np.int64], beta: float) -> Segments:
    """The rows of a data set as one array; 8,000 segments of 1,250 samples are 40 MB."""
    samples = np.asarray(dataset.samples[chosen], np.float32)
    return Segments(samples, dataset.labels[chosen], dataset.subject_names(chosen), dataset.names(chosen), beta)


def few(segments: Segments, count: int) -> Segments:
    """`count` of the segments, evenly over the subjects; all of them where there are fewer."""
    chosen = positions(segments, count)
    return Segments(
        samples=segments.samples[chosen],
        labels=segments.labels[chosen],
        subjects=[segments.subjects[row] for row in chosen],
        names=[segments.names[row] for row in chosen],
        beta=segments.beta,
    )


def positions(segments: Segments, count: int) -> NDArray[np.int64]:
    """The positions of the segments that `few` takes, ascending."""
    return row_sampling.spread_over(np.asarray(segments.subjects), count)


def margins(scores: Floats) -> Floats:
    """scores[1] - scores[0], (N,)."""
    return scores[:, 1] - scores[:, 0]


def flips(segments: Segments, reference: Floats, other: Floats) -> list[Flip]:
    """Every segment whose label differs, in order."""
    before, after = margins(reference), margins(other)
    return [
        Flip(
            name=segments.names[row],
            subject=segments.subjects[row],
            reference_margin=_finite(before[row]),
            other_margin=_finite(after[row]),
        )
        for row in parity.flipped(reference, other)
    ]


def by_subject(segments: Segments, reference: Floats, other: Floats) -> list[SubjectChange]:
    """F1 and Fβ of every subject before and after; scores must be finite."""
    before, after = (
        metrics.count_by_subject(segments.labels, _called(s), segments.subjects) for s in (reference, other)
    )
    betas = [
        metrics.fbeta_by_subject(segments.labels, _called(s), segments.subjects, segments.beta)
        for s in (reference, other)
    ]
    subjects = np.asarray(segments.subjects)
    changed = subjects[parity.flipped(reference, other)]
    return [
        SubjectChange(
            subject=name,
            segments=int(np.sum(subjects == name)),
            label_flips=int(np.sum(changed == name)),
            f1_before=_f1(before, s),
            f1_after=_f1(after, s),
            fbeta_before=betas[0][name],
            fbeta_after=betas[1][name],
        )
        for s, name in enumerate(before.subjects)
    ]


def f1(segments: Segments, scores: Floats) -> float | None:
    """F1 over all segments; None where none is AF."""
    if not np.any(segments.labels == 1):
        return None
    return metrics.f1(segments.labels, _called(scores), segments.subjects)


def fbeta_mean(segments: Segments, scores: Floats) -> float:
    """Fβ averaged over subjects."""
    return metrics.fbeta_mean(segments.labels, _called(scores), segments.subjects, segments.beta)


def specificity(segments: Segments, scores: Floats) -> float | None:
    """Specificity over all segments; None where all are AF."""
    _, fp, tn, _ = metrics.confusion(segments.labels, _called(scores), segments.subjects)
    return tn / (tn + fp) if tn + fp else None


def _called(scores: Floats) -> Floats:
    """Margins of 1 and -1 by the label of the two scores; their float32 difference could round to another sign."""
    return np.where(parity.labels_of(scores) == 1, np.float32(1), np.float32(-1))


def _f1(counts: metrics.Counts, subject: int) -> float | None:
    tp, fp, fn = (int(getattr(counts, name)[subject]) for name in ("tp", "fp", "fn"))
    return 2 * tp / (2 * tp + fp + fn) if tp + fn else None


def _finite(value: np.float32) -> float | None:
    return float(value) if math.isfinite(value) else None
