"""Successive halving on data and epochs: a candidate climbs rungs of growing fidelity before it is trained in full.

At each rung it is trained from fresh weights on a share of the episodes and of the epochs. It goes on to the next if it
is among the better share of all that were trained at that rung so far, itself included, so that the first one always
does. What is reached at a rung is compared at that rung only; it is never a trial's objective.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from ecm_edge.base.records import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.training.epochs import Epoch
    from ecm_edge.training.train import TrainingRecord

_LEAST_SEGMENTS = 2000  # fewer to train on say little of a network
_LEAST_EPOCHS = 2


class Rung(Record):
    """A fidelity below the full one, and who goes on from there."""

    data_share: float = Field(gt=0, le=1, description="of each subject's episodes, as a share of those of the full one")
    epochs_share: float = Field(gt=0, le=1, description="of the epochs of the full one, one at least")
    keep: float = Field(default=0.5, gt=0, le=1, description="the share of those trained at this rung that goes on")


RUNGS = (Rung(data_share=1 / 8, epochs_share=1 / 4), Rung(data_share=1 / 4, epochs_share=1 / 2))
"""A 32nd and an eighth of the work of a full training: ten candidates cost about what three and a half do in full."""


class RungRecord(Record):
    """What one candidate reached at a rung; `segments` were seen in `epochs` epochs, repeats counted.

    One that is not `complete` ran out of time, and is compared with nothing.
    """

    data_share: float
    epochs_share: float
    complete: bool
    objective: float
    f1: float
    fbeta_mean: float
    g: float
    specificity: float | None = None
    epochs: int
    segments: int
    seconds: float


def config_at(rung: Rung, config: CandidateConfig) -> CandidateConfig:
    """The configuration at a rung's fidelity; by the same seed, a rung's episodes are among those of the next.

    Where the training sets how many segments an epoch draws, the rung draws its share of them. Nothing is
    fine-tuned there for int8: a rung compares what the float networks learn.
    """
    full = config.training
    epochs = max(1, round(full.epochs * rung.epochs_share))
    share = full.data_share * rung.data_share
    sampling = full.sampling.model_copy(update={"segments": math.ceil(full.sampling.segments * rung.data_share)})
    training = full.model_copy(update={"epochs": epochs, "data_share": share, "sampling": sampling, "qat_epochs": 0})
    return config.model_copy(update={"training": training})


def rung_record(rung: Rung, trained: TrainingRecord, objective: float) -> RungRecord:
    """The record of a training at a rung."""
    best: Epoch = trained.best
    return RungRecord(
        data_share=rung.data_share,
        epochs_share=rung.epochs_share,
        complete=trained.stopped != "pruned",
        objective=objective,
        f1=best.f1,
        fbeta_mean=best.fbeta_mean,
        g=best.g,
        specificity=best.specificity,
        epochs=len(trained.epochs),
        segments=trained.windows_seen,
        seconds=trained.seconds,
    )


def goes_on(value: float, seen: Sequence[float], keep: float) -> bool:
    """The rule: whether `value` is among the better share `keep`, rounded up, of itself and those `seen` before.

    >>> [goes_on(value, [0.5, 0.6, 0.7], keep=0.5) for value in (0.8, 0.65, 0.55)]
    [True, True, False]
    >>> goes_on(0.1, [], keep=0.5)
    True
    """
    return sum(other > value for other in seen) < math.ceil(keep * (len(seen) + 1))


def worthwhile(segments: int, epochs: int, rungs: Sequence[Rung] = RUNGS) -> bool:
    """Whether the lowest rung of a training on `segments` in `epochs` is long enough to say something."""
    share, length = min(rung.data_share for rung in rungs), min(rung.epochs_share for rung in rungs)
    return segments * share >= _LEAST_SEGMENTS and epochs * length >= _LEAST_EPOCHS
