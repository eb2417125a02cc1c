"""A score on a board: the weighted sum of the terms that its rule defines, each clipped to 0…1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import TargetError
from ecm_edge.base.records import Record

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ecm_edge.tasks.score import ScoreRule, ScoreTerm


class BoardTerm(Record):
    """One term: its value in `unit`, the value normalised to 0…1, and the points of `weight` it earned."""

    name: str
    value: float
    unit: str
    normalised: float
    weight: float
    points: float


class BoardScore(Record):
    """The board's score; `total` of `most` points."""

    title: str
    total: float
    most: float
    terms: list[BoardTerm]


def normalise(term: ScoreTerm, value: ArrayLike) -> NDArray[np.float64]:
    """0 at `term.zero`, 1 at `term.one`, linear between them and clipped outside; of any shape."""
    share = (np.asarray(value, dtype=np.float64) - term.zero) / (term.one - term.zero)
    return np.clip(share, 0.0, 1.0)


def detection_points(
    rule: ScoreRule, fbeta_mean: ArrayLike, g: ArrayLike, fbeta_pooled: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """The points that depend on the answers alone (Fβ and G), without those for latency and size; of any shape."""
    terms = [(rule.fbeta, fbeta_mean), (rule.fbeta_pooled, fbeta_pooled), (rule.g, g)]
    return np.asarray(sum(term.weight * normalise(term, value) for term, value in terms if term))


def board_score(
    rule: ScoreRule, fbeta_mean: float, g: float, latency_ms: float, size_kib: float, fbeta_pooled: float = 0.0
) -> BoardScore:
    """The score with every term that the rule has.

    Raises:
        TargetError: a value that is not finite or is below 0.
    """
    values = [
        ("fbeta", rule.fbeta, fbeta_mean, ""),
        ("fbeta_pooled", rule.fbeta_pooled, fbeta_pooled, ""),
        ("g", rule.g, g, ""),
        ("latency", rule.latency_ms, latency_ms, "ms"),
        ("size", rule.size_kib, size_kib, "KiB"),
    ]
    terms = [_term(name, term, value, unit) for name, term, value, unit in values if term]
    return BoardScore(
        title=rule.title, total=sum(t.points for t in terms), most=sum(t.weight for t in terms), terms=terms
    )


def _term(name: str, term: ScoreTerm, value: float, unit: str) -> BoardTerm:
    if not math.isfinite(value) or value < 0:
        raise TargetError(f"the score's {name} is a number of at least 0", str(value), "Measure or estimate it again.")
    normalised = float(normalise(term, value))
    return BoardTerm(
        name=name, value=value, unit=unit, normalised=normalised, weight=term.weight, points=term.weight * normalised
    )
