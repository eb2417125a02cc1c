"""Which label the scores of a classifier stand for: one score, two, or one a class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ecm_edge.base.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["one_score", "two_scores", "classes"]
_TWO = 2
PROBABILITY_THRESHOLD, LOGIT_THRESHOLD = 0.5, 0.0


@dataclass(frozen=True)
class Decision:
    """Which label the scores of a segment stand for.

    count:       scores a segment.
    threshold:   of one score only, rounded to float32; label 1 iff the score is not below it.
    probability: whether the one score is a sigmoid's, from 0 to 1.

    Two scores: label 1 iff scores[1] >= scores[0]. More: the number of the largest one, the first on a tie.
    """

    count: int = _TWO
    threshold: float | None = None
    probability: bool = False

    @property
    def kind(self) -> Kind:
        """Which of the three rules decides."""
        return "one_score" if self.count == 1 else "two_scores" if self.count == _TWO else "classes"

    @property
    def classes(self) -> int:
        """How many labels there are: 0 to classes - 1."""
        return max(self.count, _TWO)

    @property
    def text(self) -> str:
        """The rule in words, for people and for comments in C."""
        if self.threshold is not None:
            return f"label 1 (positive) iff scores[0] >= {np.float32(self.threshold)!s}"
        if self.count == _TWO:
            return "label 1 (positive) iff scores[1] >= scores[0]"
        return "the label is the number of the largest score, the first on a tie"

    def labels(self, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        """Labels (N,) of scores (N, count); a score that is NaN is never the larger one."""
        if self.threshold is not None:
            return (scores[:, 0] >= np.float32(self.threshold)).astype(np.int64)
        if self.count == _TWO:
            return (scores[:, 1] >= scores[:, 0]).astype(np.int64)
        largest: NDArray[np.int64] = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1)
        return largest

    def margins(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,): the score less the threshold; scores[1] - scores[0]; or the largest score less the next one, >= 0."""
        if self.threshold is not None:
            return scores[:, 0] - np.float32(self.threshold)
        ordered = scores if self.count == _TWO else np.sort(scores, axis=1)
        with np.errstate(invalid="ignore"):  # two infinite scores have no distance
            margins: NDArray[np.float32] = ordered[:, -1] - ordered[:, -2]
        return margins


TWO_SCORES = Decision()


def decision_of(count: int, threshold: float | None, *, probability: bool) -> Decision:
    """The rule for so many scores; the threshold of one score is 0.5 for a sigmoid and 0 for a logit by default.

    Raises:
        ModelError: a threshold for more than one score, or one that would make all labels alike.
    """
    if count != 1:
        if threshold is not None:
            raise ModelError("a threshold is for a model of one score", f"{count} scores", "Leave --threshold out.")
        return Decision(count)
    if threshold is None:
        threshold = PROBABILITY_THRESHOLD if probability else LOGIT_THRESHOLD
    with np.errstate(over="ignore"):
        threshold = float(np.float32(threshold))
    if not math.isfinite(threshold) or (probability and not 0 < threshold < 1):
        rule = "the threshold of a sigmoid lies between 0 and 1" if probability else "a threshold is finite"
        raise ModelError(rule, f"{threshold}", "Mend --threshold.")
    return Decision(1, threshold, probability)


def threshold_of(text: str, place: str) -> float | None:
    """The threshold that a file states at a place; None without text.

    Raises:
        ModelError: text that is no number.
    """
    try:
        return float(text) if text else None
    except ValueError:
        raise ModelError("a threshold is a number", f"{text!r} as {place}", "Export the model again.") from None


def text_of(values: Any) -> str:  # noqa: ANN401 - any sequence of numbers
    """A shape as people write it.

    >>> text_of((1, 12, 500))
    '1 x 12 x 500'
    """
    return " x ".join(map(str, values)) or "a single value"
