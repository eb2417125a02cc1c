"""A trial: one candidate through the chain, in two parts.

`train_trial` is for every candidate: gate, ladder, training, figures on the validation subjects. `prove_trial` is for
those that may be the best: export, quantise, verify, build.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecm_edge import metrics
from ecm_edge.base.errors import CandidateError, EcmEdgeError, OutputError
from ecm_edge.base.numbers import KIB
from ecm_edge.base.records import Evidence, Verdict
from ecm_edge.candidate import candidate
from ecm_edge.evaluate import verify
from ecm_edge.evaluate.verify.records import is_proven
from ecm_edge.firmware.record import build_candidate
from ecm_edge.forms import export, quantize
from ecm_edge.search import ladder
from ecm_edge.search.gate import KnownShapes
from ecm_edge.search.trial_record import TRIAL, Clock, Facts, TrialRecord
from ecm_edge.targets import score_rule
from ecm_edge.training import distill, train
from ecm_edge.training.data import NOT_TAUGHT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.training_config import Scalar
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.evaluate.verify import VerifyRecord
    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.forms.gate import CostRecord
    from ecm_edge.metrics import Objective
    from ecm_edge.search.ladder import Rung, RungRecord
    from ecm_edge.targets import Target
    from ecm_edge.tasks.score import ScoreRule
    from ecm_edge.training.data import Teaching, TrainingData
    from ecm_edge.training.epochs import Epoch
    from ecm_edge.training.train import TrainingRecord

_WORSE = "worse than others by this"
_LATE = "out of time"


class Judge:
    """Says when a running trial should end; this one lets everything go on until it is done."""

    def is_late(self) -> bool:
        """Whether time is up."""
        return False

    def goes_on(self, rung: int, value: float) -> bool:
        """Whether a candidate of this objective goes on from that rung."""
        del rung, value
        return True

    def should_stop(self, epoch: int, value: float) -> bool:
        """Whether the full training should stop after this epoch, at this objective."""
        del epoch, value
        return self.is_late()


@dataclass(frozen=True)
class Setting:
    """What all trials of a run share; without `rungs` every candidate is trained in full at once.

    `teachers` is the folder that keeps the teachers; nothing is kept without it. `shapes` are the networks that were
    gated before.
    """

    dataset: Dataset
    data: TrainingData
    target: Target
    objective: Objective
    rungs: Sequence[Rung] = ()
    teachers: Path | None = None
    shapes: KnownShapes = field(default_factory=KnownShapes)

    @property
    def rule(self) -> ScoreRule | None:
        """What a score is for the task of the data set on the target."""
        return score_rule(self.target, self.dataset.header.task)

    def value_of(self, epoch: Epoch, costs: CostRecord) -> float:
        """The objective after an epoch; raises as `objective_value`."""
        return objective_value(epoch, costs, self.rule, self.objective)


def train_trial(
    folder: Path,
    number: int,
    point: dict[str, Scalar],
    config: CandidateConfig,
    setting: Setting,
    judge: Judge | None = None,
) -> TrialRecord:
    """Gate one configuration and train it; its configuration, costs, weights and records are left in `folder`.

    Args:
        folder: exists and is empty.
        number: the trial's number in its run.
        point: the drawn point that the configuration was made from.
        config: what to build and train.
        setting: what all trials share.
        judge: says when to stop; nothing stops a trial without one.

    Returns:
        A trial that is unfit, pruned, failed or trained.

    Raises:
        OutputError: a file cannot be written, as on a full disk.
    """
    clock = Clock()
    with clock.stage("gate"):
        _, costs = setting.shapes.gate(config, setting.target, setting.data.validation_samples[:1, 0].numpy())
    config.save(folder / candidate.CONFIG)
    costs.save(folder / candidate.COST)
    facts = Facts(number, point, config, costs, clock)
    record = _train_up(folder, facts, setting, judge or Judge()) if costs.verdict == Verdict.PASS else facts.unfit()
    record.save(folder / TRIAL)
    return record


def prove_trial(folder: Path, record: TrialRecord, setting: Setting) -> TrialRecord:
    """Export, quantise, verify on every validation segment and build what was trained.

    Every stage leaves its files in the folder. A record of a trial that is not waiting for this is returned as it is.

    Args:
        folder: of the trial.
        record: of the same trial.
        setting: what all trials of its run share.

    Returns:
        The record of a trial that is done, whatever its verdict, or failed where a stage refuses it.

    Raises:
        OutputError: a file cannot be written, as on a full disk.
    """
    if record.outcome != "trained":
        return record
    clock = Clock(dict(record.stage_seconds))
    try:
        proven = _prove(folder, record, setting, clock)
    except OutputError:  # the same
        raise
    except EcmEdgeError as problem:
        proven = record.model_copy(update={"outcome": "failed", "reason": str(problem)})
    proven = proven.timed(clock)
    proven.save(folder / TRIAL)
    return proven


def shipping_verdict(record: VerifyRecord, target: Target) -> Verdict:
    """What `verify` found on the way to the form that ships, the target's first; those of the others do not count."""
    return Verdict.PASS if is_proven(record, target.precision[0], target) else Verdict.FAIL


def objective_value(epoch: Epoch, costs: CostRecord, rule: ScoreRule | None, objective: Objective) -> float:
    """The search's objective from an epoch's validation figures and the candidate's estimated cost.

    Raises:
        CandidateError: no rule to score by, or no validation subjects.
    """
    if epoch.f1 is None or epoch.fbeta_mean is None or epoch.g is None:
        raise CandidateError(
            "an objective is measured on validation subjects", "none in the split", "Use a split that has some."
        )
    if objective == "board_score":
        if rule is None:
            raise CandidateError(
                "the objective board_score needs a rule of score for the task on the target",
                "none",
                "Choose --objective fbeta_mean.",
            )
        return metrics.board_score(
            rule,
            epoch.fbeta_mean,
            epoch.g,
            costs.latency_ms.mean_ms,
            costs.flash_bytes / KIB,
            epoch.fbeta_pooled or 0.0,
        ).total
    return epoch.f1 if objective == "f1" else epoch.fbeta_mean


def _train_up(folder: Path, facts: Facts, setting: Setting, judge: Judge) -> TrialRecord:
    """Up the ladder; what comes to its end is trained in full."""
    try:
        teaching = _teaching(facts, setting)
        pruned = _climb(facts, setting, judge, teaching)
        if pruned:
            return pruned
        if _train(folder, facts, setting, judge, teaching).stopped == "pruned":
            return facts.record("pruned", reason=_LATE if judge.is_late() else f"{_WORSE} epoch")
        return facts.record("trained")
    except OutputError:  # of the machine's, and not of the candidate's
        raise
    except EcmEdgeError as problem:
        return facts.record("failed", reason=str(problem))


def _teaching(facts: Facts, setting: Setting) -> Teaching:
    """What the teachers of the candidate's training answer, if it uses any."""
    if not facts.config.training.uses_teachers:
        return NOT_TAUGHT
    with facts.clock.stage("teachers"):
        return distill.teaching(facts.config, setting.dataset, setting.teachers)


def _climb(facts: Facts, setting: Setting, judge: Judge, teaching: Teaching) -> TrialRecord | None:
    """Train at one rung after the other; the record of a trial that ends at one of them."""
    for number, rung in enumerate(setting.rungs):
        with facts.clock.stage("rungs"):
            reached = _train_at(rung, facts, setting, judge, teaching)
        facts.rungs.append(reached)
        if not reached.complete or not judge.goes_on(number, reached.objective):
            reason = f"{_WORSE} rung" if reached.complete else _LATE
            return facts.record("pruned", reason=reason, ended_at_rung=number)
    return None


def _train_at(rung: Rung, facts: Facts, setting: Setting, judge: Judge, teaching: Teaching) -> RungRecord:
    """Train at a rung's fidelity, from fresh weights that nothing is done with afterwards."""
    trained = train.fit(
        ladder.config_at(rung, facts.config),
        setting.data,
        rule=setting.rule,
        teaching=teaching,
        should_stop=lambda _: judge.is_late(),
    ).record
    return ladder.rung_record(rung, trained, setting.value_of(trained.best, facts.costs))


def _train(folder: Path, facts: Facts, setting: Setting, judge: Judge, teaching: Teaching) -> TrainingRecord:
    """Train in full, and note what came of it."""
    with facts.clock.stage("train"):
        trained = train.fit(
            facts.config,
            setting.data,
            rule=setting.rule,
            teaching=teaching,
            should_stop=lambda epoch: judge.should_stop(epoch.epoch, setting.value_of(epoch, facts.costs)),
        )
    train.save_trained(folder, facts.config, trained)
    record = trained.record
    facts.figures.update(
        objective=setting.value_of(record.best, facts.costs),
        f1=record.best.f1,
        fbeta_mean=record.best.fbeta_mean,
        g=record.best.g,
        specificity=record.best.specificity,
        validation_subjects=record.validation_subjects,
        validation_positive_subjects=record.validation_positive_subjects,
        validation_sources=record.validation_sources,
        epochs=len(record.epochs),
        segments_seen=sum(rung.segments for rung in facts.rungs) + record.windows_seen,
    )
    return record


def _prove(folder: Path, record: TrialRecord, setting: Setting, clock: Clock) -> TrialRecord:
    """Export, quantise, verify and build what was trained."""
    with clock.stage("export"):
        template = setting.shapes.template(candidate.load_config(folder), setting.target)
        export.export_candidate(folder, setting.dataset, template=template)
    with clock.stage("quantize"):
        quantize.quantize_candidate(folder, setting.dataset)
    verified = _verified(folder, setting, clock)
    with clock.stage("firmware"):
        built = build_candidate(folder, setting.target)
    image = _image_costs(built.of(setting.target.precision[0]))
    return record.model_copy(update={"outcome": "done", "firmware": built.verdict, **verified, **image})


def _verified(folder: Path, setting: Setting, clock: Clock) -> dict[str, object]:
    """What a record says of the comparison of all forms on every validation segment."""
    with clock.stage("verify"):
        verified = verify.verify_candidate(folder, setting.dataset, setting.target)
    hop = verified.first_diverging_hop
    return {
        "reason": f"first to diverge: {hop}" if hop else "",
        "verdict": shipping_verdict(verified, setting.target),
        "verified_segments": verified.segments,
    }


def _image_costs(built: FormFit | None) -> dict[str, object]:
    """The costs of the image that ships, where there is one; they take the place of the untrained network's."""
    if not built or built.size_evidence != Evidence.MEASURED:
        return {}
    return {
        "flash_bytes": built.flash_bytes,
        "ram_bytes": built.ram_bytes,
        "latency_ms": built.latency_ms.mean_ms,
        "evidence": built.size_evidence,
    }
