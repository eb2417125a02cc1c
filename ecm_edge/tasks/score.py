"""What a score is: the rule by which the answers and the costs of a model on a board become points."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, model_validator

from ecm_edge.base.records import Record


class ScoreTerm(Record):
    """One term of a score: `weight` points at `one`, none at `zero`, straight between, clipped outside."""

    weight: PositiveFloat
    zero: float
    one: float

    @model_validator(mode="after")
    def _not_flat(self) -> ScoreTerm:
        if self.zero == self.one:
            raise ValueError("zero and one must differ")
        return self


class ScoreRule(Record):
    """A score as the sum of its terms; a term that the rule does not have is None.

    `fbeta` is of the mean of Fβ over subjects, `fbeta_pooled` of Fβ over all segments, and `g` of the share of subjects
    whose Fβ is above `good_subject_above`. `ecm_edge.metrics` defines the values.
    """

    title: str
    beta: PositiveFloat
    good_subject_above: float = Field(default=0.9, ge=0, le=1)
    fbeta: ScoreTerm | None = None
    fbeta_pooled: ScoreTerm | None = Field(default=None, exclude_if=lambda term: term is None)  # hashes stay
    g: ScoreTerm | None = None
    latency_ms: ScoreTerm | None = None
    size_kib: ScoreTerm | None = None

    @model_validator(mode="after")
    def _asks_for_answers(self) -> ScoreRule:
        if not (self.fbeta or self.fbeta_pooled or self.g):
            raise ValueError("a score has a term for the answers: fbeta, fbeta_pooled or g")
        return self
