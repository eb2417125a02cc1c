"""The record of a trial, and the facts that it is made of."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ecm_edge.base.progress import doing
from ecm_edge.base.records import Evidence, Gate, Record, Verdict
from ecm_edge.candidate.training_config import Scalar
from ecm_edge.search.ladder import RungRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.forms.gate import CostRecord

TRIAL = "trial.json"

Outcome = Literal["unfit", "pruned", "failed", "trained", "done"]

STAGES = ("train", "export", "quantize", "verify", "firmware")
"""What a trial goes through after the gate and its rungs, in order."""

_TRAINING_STAGES = ("teachers", "rungs", "train")

_SHOWN = {"rungs": "train at a lower fidelity", "quantize": "quantise"}  # stages whose names say too little to people

TRIAL_COLUMNS = (
    "number",
    "outcome",
    "family",
    "objective",
    "f1",
    "fbeta_mean",
    "specificity",
    "macs",
    "flash_bytes",
    "verdict",
)
"""What a table of trials shows."""


class TrialRecord(Record):
    """What became of one candidate.

    unfit:   it did not fit the board and was not trained; the gates say by how much.
    pruned:  training was stopped early because others were better by then, or time was up; `ended_at_rung` says at
             which rung of the ladder, counted from 0, if it was at one.
    failed:  a stage refused it; `reason` says why.
    trained: trained in full and scored, and not proven: nothing was exported, verified or built. Only what can be the
             best of its run is proven.
    done:    proven: exported and verified, with a firmware built where it can be; `verdict` is verify's on the way to
             the form that ships, the target's first, on `verified_segments` segments; `reason` names the first hop that
             failed, be it on that way or on another.

    `not_run` names the stages of `STAGES` that did not run, in order.

    `evidence` is of flash_bytes and ram_bytes: of the image that ships, or of the untrained network's where none was
    made or the trial is not done; latency_ms is an estimate, from counted instructions where they can be counted.
    `firmware` is the verdict on the images of the trained forms. `overhead_seconds` is what all stages but training
    took.

    `objective`, `f1`, `fbeta_mean`, `g`, `specificity` and `epochs` are those of the full training, and absent if it
    was not begun: what the ladder found stands in `rungs`, beside its fidelity. They are of `validation_subjects`, of
    whom `validation_positive_subjects` have a positive segment; F1, Fβ and G are means over their `validation_sources`.
    `segments_seen` were trained on in all, with repeats.
    """

    number: int
    outcome: Outcome
    reason: str = ""
    family: str
    point: dict[str, Scalar]
    objective: float | None = None
    f1: float | None = None
    fbeta_mean: float | None = None
    g: float | None = None
    specificity: float | None = None
    validation_subjects: int | None = None
    validation_positive_subjects: int | None = None
    validation_sources: int = 1
    epochs: int = 0
    parameters: int
    macs: int
    flash_bytes: int
    ram_bytes: int
    latency_ms: float
    evidence: Evidence = Evidence.ESTIMATED
    verdict: Verdict = Verdict.NOT_RUN
    verified_segments: int = 0
    firmware: Verdict = Verdict.NOT_RUN
    rungs: list[RungRecord] = Field(default=[])
    ended_at_rung: int | None = None
    segments_seen: int = 0
    not_run: list[str] = Field(default=[])
    stage_seconds: dict[str, float]
    train_seconds: float = 0.0
    overhead_seconds: float = 0.0
    host: str | None = Field(default=None, description="the machine that trained it, where it is known")

    @property
    def trained(self) -> bool:
        """Whether a second of training went into it."""
        return self.epochs > 0 or len(self.rungs) > 0

    @property
    def can_be_best(self) -> bool:
        """Whether it was trained in full and nothing found it wanting; a proof may be outstanding."""
        return self.outcome == "trained" or self.is_proven

    @property
    def is_proven(self) -> bool:
        """Whether verify passed on the way to the form that ships, and the firmware, if any was built, fits."""
        return self.verdict == Verdict.PASS and self.firmware != Verdict.FAIL

    def timed(self, clock: Clock) -> TrialRecord:
        """The record with the clock's times, and the stages that it has no time for as not run."""
        return self.model_copy(update=clock.fields())


@dataclass
class Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's time as that stage's, whether it ends well or not."""
        started = time.perf_counter()
        try:
            with doing(_SHOWN.get(name, name)):
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def fields(self) -> dict[str, Any]:
        """What a record says of the times up to now, and of the stages that have none."""
        seconds = {name: round(value, 4) for name, value in self.seconds.items()}
        train_seconds = sum(seconds.get(name, 0.0) for name in _TRAINING_STAGES)
        return {
            "not_run": [name for name in STAGES if name not in seconds],
            "stage_seconds": seconds,
            "train_seconds": round(train_seconds, 4),
            "overhead_seconds": round(sum(seconds.values()) - train_seconds, 4),
        }


@dataclass(frozen=True)
class Facts:
    """What is known of a trial. `rungs` and `figures` grow as it goes on, and its clock runs."""

    number: int
    point: dict[str, Scalar]
    config: CandidateConfig
    costs: CostRecord
    clock: Clock
    rungs: list[RungRecord] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)

    def record(self, outcome: Outcome, **fields: object) -> TrialRecord:
        """The trial's record with times up to now; `fields` are further ones of it."""
        return TrialRecord.model_validate(
            {
                "number": self.number,
                "outcome": outcome,
                "family": self.config.family,
                "point": self.point,
                "parameters": self.costs.parameters,
                "macs": self.costs.macs,
                "flash_bytes": self.costs.flash_bytes,
                "ram_bytes": self.costs.ram_bytes,
                "latency_ms": self.costs.latency_ms.mean_ms,
                "evidence": self.costs.evidence,
                "rungs": self.rungs,
                "segments_seen": sum(rung.segments for rung in self.rungs),
                **self.clock.fields(),
                **self.figures,
                **fields,
            }
        )

    def unfit(self) -> TrialRecord:
        """Not trained: which budgets it breaks, by how much, and which layer weighs most."""
        broken = [gate for gate in self.costs.gates if gate.verdict == Verdict.FAIL]
        return self.record("unfit", reason="; ".join(map(_excess, broken)))


def _excess(gate: Gate) -> str:
    """A broken budget in words: the value, by how much it is over, and the heaviest layer; or why there is no value."""
    if gate.value is None:
        return f"{gate.name}: {gate.detail}"
    value, over, limit = (f"{number or 0:,.10g}" for number in (gate.value, -(gate.margin or 0), gate.limit))
    return f"{gate.name} {value} is {over} {gate.unit} over {limit}, {gate.detail}"
