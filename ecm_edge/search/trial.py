"""A candidate through the chain: gate, train, export, simplify, quantise, verify, build."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ecm_edge import metrics
from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, EcmEdgeError
from ecm_edge.base.records import Evidence, Gate, Record, Verdict
from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import Scalar
from ecm_edge.evaluate import verify
from ecm_edge.evaluate.verify.records import is_proven
from ecm_edge.firmware import image_gate
from ecm_edge.firmware.record import build_candidate
from ecm_edge.forms import export, quantize
from ecm_edge.forms.gate import CostRecord
from ecm_edge.search import ladder
from ecm_edge.search.ladder import RungRecord
from ecm_edge.training import crossval, distill, train
from ecm_edge.training.crossval import Progress
from ecm_edge.training.data import NOT_TAUGHT
from ecm_edge.training.out_of_fold import CrossValidationRecord
from ecm_edge.training.train import TrainingRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import FoldAssignment
    from ecm_edge.evaluate.verify import VerifyRecord
    from ecm_edge.metrics import Objective
    from ecm_edge.search.ladder import Rung
    from ecm_edge.targets import Target
    from ecm_edge.training.data import Teaching, TrainingData
    from ecm_edge.training.epochs import Epoch

TRIAL = "trial.json"
_KIB = 1024.0
_EMULATED_SEGMENTS = 32  # of a trial; a promotion asks for more

Outcome = Literal["unfit", "pruned", "failed", "done"]


class TrialRecord(Record):
    """What became of one candidate.

    unfit:  it did not fit the board and was not trained; the gates say by how much.
    pruned: training was stopped early because others were better by then, or time was up; `ended_at_rung` says at which
            rung of the ladder, counted from 0, if it was at one.
    failed: a stage refused it; `reason` says why.
    done:   trained, exported and verified; `verdict` is verify's on the way to the form that ships, the target's first,
            on `verified_segments` segments; `reason` names the first hop that failed, be it on that way or on another.

    `evidence` speaks of flash_bytes and ram_bytes, those of the untrained network's image where one can be built;
    latency_ms is an estimate, from counted instructions where they can be counted. `firmware` is the verdict on the
    images of the trained forms. `overhead_seconds` is what all stages but training took.

    `objective`, `f1`, `fbeta_mean`, `g` and `epochs` are those of the full training, and absent if it was not begun:
    what the ladder found stands in `rungs`, beside its fidelity. `segments_seen` were trained on in all, with repeats.
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
    stage_seconds: dict[str, float]
    train_seconds: float = 0.0
    overhead_seconds: float = 0.0

    @property
    def trained(self) -> bool:
        """Whether a second of training went into it."""
        return self.epochs > 0 or len(self.rungs) > 0


class Judge:
    """Says when a running trial should end; this one lets everything go on until it is done."""

    def late(self) -> bool:
        """Whether time is up."""
        return False

    def goes_on(self, rung: int, value: float) -> bool:
        """Whether a candidate of this objective goes on from that rung."""
        del rung, value
        return True

    def prune(self, epoch: int, value: float) -> bool:
        """Whether the full training should stop after this epoch, at this objective."""
        del epoch, value
        return self.late()


@dataclass(frozen=True)
class Setting:
    """What all trials of a run share; without `rungs` every candidate is trained in full at once.

    `teachers` is the folder that keeps the teachers; nothing is kept without it.
    """

    dataset: Dataset
    data: TrainingData
    target: Target
    objective: Objective
    verify_segments: int
    rungs: Sequence[Rung] = ()
    teachers: Path | None = None


@dataclass
class Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's time as that stage's, whether it ends well or not."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def run_trial(
    folder: Path,
    number: int,
    point: dict[str, Scalar],
    config: CandidateConfig,
    setting: Setting,
    judge: Judge | None = None,
) -> TrialRecord:
    """Take one configuration as far as it gets, leaving each stage's files in `folder`.

    Args:
        folder: exists and is empty.
        number: the trial's number in its run.
        point: the drawn point that the configuration was made from.
        config: what to build and train.
        setting: what all trials share.
        judge: says when to stop; nothing stops a trial without one.
    """
    clock = Clock()
    with clock.stage("gate"):
        template, costs = gate_candidate(config, setting.target, setting.data.validation_samples[:1, 0].numpy())
    config.save(folder / candidate.CONFIG)
    costs.save(folder / candidate.COST)
    facts = _Facts(number, point, config, costs, clock)
    record = (
        facts.unfit()
        if costs.verdict != Verdict.PASS
        else _climb_and_prove(folder, facts, template, setting, judge or Judge())
    )
    record.save(folder / TRIAL)
    return record


def gate_candidate(
    config: CandidateConfig, target: Target, segment: NDArray[np.float32]
) -> tuple[onnx.ModelProto, CostRecord]:
    """The exported graph of the untrained network, and what its image costs on the target once simplified.

    Where no image can be built or run here, the target's cost model estimates.

    Args:
        config: what would be trained.
        target: whose budgets count.
        segment: one real segment (1, T), on which the simplifier checks itself.
    """
    graphs = export.untrained(config, segment)
    return graphs.template, image_gate.gate_graph(graphs.simplified, target)


class TrainResult(Record):
    """One candidate by itself: FAIL if it does not fit the target, and then it was not trained."""

    verdict: Verdict
    cost: CostRecord
    training: TrainingRecord | None
    folds: CrossValidationRecord | None


def train_candidate(
    out: Path,
    config: CandidateConfig,
    dataset: Dataset,
    target: Target,
    *,
    folds: int | FoldAssignment | None = None,
    refit: bool = False,
    workers: int | None = None,
    tell: Callable[[Epoch], None] = lambda _: None,
    tell_network: Callable[[Progress], None] = lambda _: None,
) -> TrainResult:
    """Gate and train one configuration into the new folder `out`.

    What the networks of a cross-validation answered is kept in a hidden folder beside `out` until that is done: the
    next call goes on from there.

    Args:
        out: must not exist yet.
        config: what to build and train.
        dataset: the one whose hash the configuration names.
        target: whose budgets count and whose rule chooses the threshold.
        folds: also measure the configuration out of fold, over these folds or over so many.
        refit: train on every subject of the data set, whatever the configuration's split says; the threshold is the one
            of the cross-validation. A split without validation and test subjects asks for the same.
        workers: as for `crossval.cross_validate`.
        tell: called after every epoch of the candidate itself.
        tell_network: called for every network of the cross-validation.

    Raises:
        CandidateError: the configuration was made for another data set, or training gave no finite loss; for a refit,
            there are no folds, or the configuration does not keep its last epoch.
        DatasetError: as `crossval.cross_validate`.
    """
    candidate.check_dataset(config, dataset)
    if refit or not (config.split.validation or config.split.test):  # of a refitted one, given as --like
        refit = True
        if folds is None:
            raise CandidateError(
                "a network of all subjects takes its threshold from a cross-validation", "no folds", "Say --folds 5."
            )
        config = crossval.for_everyone(config, dataset)
    data = train.load_data(dataset, config.split)

    with files.staged_folder(out) as staged:
        _, costs = gate_candidate(config, target, data.train_samples[:1, 0].numpy())
        config.save(staged / candidate.CONFIG)
        costs.save(staged / candidate.COST)
        if costs.verdict != Verdict.PASS:
            return TrainResult(verdict=costs.verdict, cost=costs, training=None, folds=None)
        validated, work = None, out.with_name(f".{out.name}.folds")
        if folds is not None:
            validated = crossval.cross_validate(
                config, dataset, target, folds=folds, work=work, workers=workers, on_network=tell_network
            )
            validated.save(staged)
        assignment = validated.record.assignment if validated else None
        teaching = distill.teaching(
            config,
            dataset,
            work / crossval.TEACHERS,
            assignment,
            on_teacher=lambda number, total, seconds: tell_network(
                Progress(number, total, (), seconds, is_teacher=True)
            ),
        )
        trained = train.fit(config, data, rule=target.score, teaching=teaching, on_epoch=tell)
        if refit and validated:
            trained = crossval.with_threshold(trained, validated.record.threshold, data.train_samples[:1])
        train.save_trained(staged, config, trained)
    shutil.rmtree(work, ignore_errors=True)
    record = validated.record if validated else None
    return TrainResult(verdict=costs.verdict, cost=costs, training=trained.record, folds=record)


def shipping_verdict(record: VerifyRecord, target: Target) -> Verdict:
    """What `verify` found on the way to the form that ships, the target's first; the others' failures are told only."""
    return Verdict.PASS if is_proven(record, target.precision[0], target) else Verdict.FAIL


def objective_value(epoch: Epoch, costs: CostRecord, target: Target, objective: Objective) -> float:
    """The search's objective from an epoch's validation figures and the candidate's estimated cost.

    Raises:
        CandidateError: no rule to score by, or no validation subjects.
    """
    if epoch.f1 is None or epoch.fbeta_mean is None or epoch.g is None:
        raise CandidateError(
            "an objective is measured on validation subjects", "none in the split", "Use a split that has some."
        )
    if objective == "board_score":
        rule = target.score
        if rule is None:
            raise CandidateError(
                "the objective board_score needs a target with a scoring rule",
                target.name,
                "Choose --objective fbeta_mean.",
            )
        return metrics.board_score(
            rule, epoch.fbeta_mean, epoch.g, costs.latency_ms.mean_ms, costs.flash_bytes / _KIB
        ).total
    return epoch.f1 if objective == "f1" else epoch.fbeta_mean


@dataclass(frozen=True)
class _Facts:
    """What is known of a trial before it is trained, and the records it may end in."""

    number: int
    point: dict[str, Scalar]
    config: CandidateConfig
    costs: CostRecord
    clock: Clock
    rungs: list[RungRecord] = field(default_factory=list)

    def record(self, outcome: Outcome, **more: object) -> TrialRecord:
        """The trial's record with times up to now."""
        seconds = {name: round(value, 4) for name, value in self.clock.seconds.items()}
        train_seconds = sum(seconds.get(name, 0.0) for name in ("teachers", "rungs", "train"))
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
                "stage_seconds": seconds,
                "train_seconds": round(train_seconds, 4),
                "overhead_seconds": round(sum(seconds.values()) - train_seconds, 4),
                **more,
            }
        )

    def unfit(self) -> TrialRecord:
        """Not trained: which budgets it breaks, by how much, and which layer weighs most."""
        broken = [g for g in self.costs.gates if g.verdict == Verdict.FAIL]
        return self.record("unfit", reason="; ".join(map(_excess, broken)))


def _excess(gate: Gate) -> str:
    """A broken budget in words: the value, by how much it is over, and the heaviest layer; or why there is no value."""
    if gate.value is None:
        return f"{gate.name}: {gate.detail}"
    value, over, limit = (f"{number or 0:,.10g}" for number in (gate.value, -(gate.margin or 0), gate.limit))
    return f"{gate.name} {value} is {over} {gate.unit} over {limit}, {gate.detail}"


_WORSE = "worse than others by this"
_LATE = "out of time"


def _climb_and_prove(
    folder: Path, facts: _Facts, template: onnx.ModelProto, setting: Setting, judge: Judge
) -> TrialRecord:
    """Up the ladder, and what comes to its end through everything else."""
    try:
        teaching = _taught(facts, setting)
        for number, rung in enumerate(setting.rungs):
            with facts.clock.stage("rungs"):
                at = _at_rung(facts, rung, setting, judge, teaching)
            facts.rungs.append(at)
            if not at.complete or not judge.goes_on(number, at.objective):
                reason = f"{_WORSE} rung" if at.complete else _LATE
                return facts.record("pruned", reason=reason, ended_at_rung=number)
    except EcmEdgeError as problem:
        return facts.record("failed", reason=str(problem))
    return _train_and_prove(folder, facts, template, setting, judge, teaching)


def _taught(facts: _Facts, setting: Setting) -> Teaching:
    """What the teachers give that the candidate listens to, if there are any."""
    if not facts.config.training.listens:
        return NOT_TAUGHT
    with facts.clock.stage("teachers"):
        return distill.teaching(facts.config, setting.dataset, setting.teachers)


def _at_rung(facts: _Facts, rung: Rung, setting: Setting, judge: Judge, teaching: Teaching) -> RungRecord:
    """Train at a rung's fidelity, from fresh weights that nothing is done with afterwards."""
    config = ladder.at(facts.config, rung)
    trained = train.fit(
        config,
        setting.data,
        rule=setting.target.score,
        teaching=teaching,
        should_stop=lambda _: judge.late(),
    ).record
    return ladder.reached(rung, trained, _value(trained.best, facts, setting))


def _value(epoch: Epoch, facts: _Facts, setting: Setting) -> float:
    return objective_value(epoch, facts.costs, setting.target, setting.objective)


def _train_and_prove(
    folder: Path,
    facts: _Facts,
    template: onnx.ModelProto,
    setting: Setting,
    judge: Judge,
    teaching: Teaching,
) -> TrialRecord:
    """Train in full, and unless pruned take the result through export, simplify, quantise and verify."""
    target = setting.target
    try:
        with facts.clock.stage("train"):
            trained = train.fit(
                facts.config,
                setting.data,
                rule=target.score,
                teaching=teaching,
                should_stop=lambda epoch: judge.prune(epoch.epoch, _value(epoch, facts, setting)),
            )
    except EcmEdgeError as problem:
        return facts.record("failed", reason=str(problem))
    train.save_trained(folder, facts.config, trained)
    best, epochs = trained.record.best, len(trained.record.epochs)
    seen = sum(rung.segments for rung in facts.rungs)
    figures = {
        "objective": _value(best, facts, setting),
        "f1": best.f1,
        "fbeta_mean": best.fbeta_mean,
        "g": best.g,
        "epochs": epochs,
        "segments_seen": seen + trained.record.train_segments * epochs,
    }
    if trained.record.stopped == "pruned":
        return facts.record("pruned", reason=_LATE if judge.late() else f"{_WORSE} epoch", **figures)
    try:
        with facts.clock.stage("export"):
            export.export_candidate(folder, setting.dataset, template=template)
        with facts.clock.stage("quantize"):
            quantize.quantize_candidate(folder, setting.dataset)
        with facts.clock.stage("verify"):
            verified = verify.verify_candidate(
                folder, setting.dataset, target, segments=setting.verify_segments, emulated=_EMULATED_SEGMENTS
            )
        with facts.clock.stage("firmware"):
            built = build_candidate(folder, target).verdict
    except EcmEdgeError as problem:
        return facts.record("failed", reason=str(problem), **figures)
    hop = verified.first_diverging_hop
    return facts.record(
        "done",
        reason=f"first to diverge: {hop}" if hop else "",
        verdict=shipping_verdict(verified, target),
        verified_segments=verified.segments,
        firmware=built,
        **figures,
    )
