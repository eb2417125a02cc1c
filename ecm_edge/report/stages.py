"""The verdict of every stage, from its record; a stage without one is NOT RUN, with the command that would run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base import numbers
from ecm_edge.base.records import Gate, Verdict, condition, not_run, verdict_of_what_ran
from ecm_edge.candidate import candidate
from ecm_edge.report.candidate_records import changed_files, model_files
from ecm_edge.report.records import Stage

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.evaluate.bench import BenchRecord
    from ecm_edge.evaluate.score import ScoreRecord
    from ecm_edge.evaluate.verify.records import Hop, VerifyRecord
    from ecm_edge.firmware.fit_records import FirmwareRecord
    from ecm_edge.forms.gate import CostRecord
    from ecm_edge.forms.quantize import QuantizeRecord
    from ecm_edge.forms.simplify import SimplifyRecord
    from ecm_edge.registry.events import Event
    from ecm_edge.report.candidate_records import CandidateRecords
    from ecm_edge.report.commands import Commands
    from ecm_edge.report.records import Mistakes
    from ecm_edge.training.train import TrainingRecord


def stages(records: CandidateRecords, commands: Commands, mistakes: Mistakes | None) -> list[Stage]:
    """Every stage in the order of the chain; of the firmware, the gates are those of the form that is reported on."""
    ran, for_target = records.stages, ("--target", commands.target)
    cost, simplified, timed = ran.cost, ran.simplify, ran.bench
    scoring = for_target if records.config.split.test else (*for_target, "--out-of-fold")
    return [
        _gated("budgets", cost, f"{cost.form} on {cost.target}") if cost else _missing("budgets", commands.retrain()),
        _ran("training", _trained(ran.training)) if ran.training else _missing("training", commands.retrain()),
        _gated("simplify", simplified, f"{simplified.nodes_before} nodes to {simplified.nodes_after}")
        if simplified
        else _missing("simplify", commands.stage("export")),
        _ran("quantize", _quantised(ran.quantize))
        if ran.quantize
        else _missing("quantize", commands.stage("quantize")),
        _verify(ran.verify) if ran.verify else _missing("verify", commands.stage("verify", *for_target)),
        _firmware(ran.firmware, records.form, commands),
        _gated("bench", timed, f"{len(timed.forms)} forms, fed with {timed.segments}")
        if timed
        else _missing("bench", commands.stage("bench")),
        _ran("score", _scored(ran.score)) if ran.score else _missing("score", commands.stage("score", *scoring)),
        _belong_together(records, mistakes),
    ]


def verdict_of_stages(all_stages: list[Stage]) -> Verdict:
    """FAIL if any stage failed; else NOT RUN if any has not run; else PASS."""
    verdicts = {stage.verdict for stage in all_stages}
    return next((verdict for verdict in (Verdict.FAIL, Verdict.NOT_RUN) if verdict in verdicts), Verdict.PASS)


def promotion(commands: Commands, decision: Event | None, *, registry: Path | None) -> Stage:
    """The last decision about exactly these files."""
    if decision:
        refused = Verdict.FAIL if any(gate.verdict == Verdict.FAIL for gate in decision.gates) else Verdict.NOT_RUN
        verdict = refused if decision.event == "refused" else Verdict.PASS
        entry = f" as {decision.entry}" if decision.entry else ""
        detail = f"{decision.event}{entry} on {decision.date_utc}: {decision.reason}"
        return Stage(name="promotion", verdict=verdict, detail=detail, gates=decision.gates)
    why = "the registry has no decision about these files" if registry else "no registry was given"
    command = commands.stage("promote", "--target", commands.target, "--registry", str(registry or "REGISTRY"))
    return _missing("promotion", command, why)


def _missing(name: str, command: str, why: str = "no record in the candidate's folder") -> Stage:
    return Stage(name=name, verdict=Verdict.NOT_RUN, detail=why, gates=[], command=command)


def _gated(name: str, record: CostRecord | SimplifyRecord | BenchRecord, detail: str) -> Stage:
    return Stage(name=name, verdict=record.verdict, detail=detail, gates=record.gates)


def _ran(name: str, detail: str) -> Stage:
    """A stage without gates of its own."""
    return Stage(name=name, verdict=None, detail=detail, gates=[])


def _firmware(record: FirmwareRecord | None, form: Form, commands: Commands) -> Stage:
    if record is None:
        return _missing("firmware", commands.build())
    fit = record.of(form)
    if fit is None:
        return _missing("firmware", commands.build(), f"{record.target} got no image of the form {form}")
    detail = f"{form} on {record.target}" + (f"; {fit.reason}" if fit.reason else "")
    return Stage(name="firmware", verdict=fit.verdict, detail=detail, gates=fit.gates)


def _trained(record: TrainingRecord) -> str:
    return f"epoch {record.best.epoch} of {len(record.epochs)} kept ({record.stopped})"


def _quantised(record: QuantizeRecord) -> str:
    subjects = numbers.with_positives(len(record.calibration_subjects), None)
    return f"calibrated on {record.calibration_segments:,} segments of {subjects}"


def _scored(record: ScoreRecord) -> str:
    return f"{record.form or record.model} on {numbers.subjects(record.scores.subjects, record.part)}"


def _verify(record: VerifyRecord) -> Stage:
    """Each hop's gates with the hop's name before theirs; a hop without gates is one gate with its reason."""
    hops = [gate for hop in record.hops for gate in _hop_gates(hop)]
    others = [gate for gate in record.gates if gate.name not in {hop.name for hop in record.hops}]
    diverged = f"; first to diverge: {record.first_diverging_hop}" if record.first_diverging_hop else ""
    subjects = numbers.with_positives(len(record.subjects), None)
    about = f"the way to {record.form}; " if record.form else ""
    detail = f"{about}{len(record.hops)} hops on {record.segments:,} segments of {subjects}{diverged}"
    return Stage(name="verify", verdict=record.verdict, detail=detail, gates=[*others, *hops])


def _hop_gates(hop: Hop) -> list[Gate]:
    if hop.gates:
        return [gate.model_copy(update={"name": f"{hop.name}: {gate.name}"}) for gate in hop.gates]
    whole = condition(hop.name, hop.reason, holds=hop.verdict == Verdict.PASS)
    return [not_run(hop.name, hop.reason) if hop.verdict == Verdict.NOT_RUN else whole]


def _belong_together(records: CandidateRecords, mistakes: Mistakes | None) -> Stage:
    """Whether the records were made from the configuration and the files that lie beside them."""
    gates = [*_same_config(records), *_same_files(records), *_same_mistakes(records, mistakes)]
    detail = "each was made from what lies beside it" if gates else "nothing to compare yet"
    return Stage(name="records", verdict=verdict_of_what_ran(gates), detail=detail, gates=gates)


def _same_config(records: CandidateRecords) -> list[Gate]:
    stages, expected = records.stages, records.config.sha256
    made_by = {
        candidate.TRAINING: stages.training,
        candidate.FIRMWARE: stages.firmware,
        candidate.BENCH: stages.bench,
        candidate.SCORE: stages.score,
    }
    sha256 = {file: record.config_sha256 for file, record in made_by.items() if record}
    return [
        condition(f"{file} was made from this configuration", f"SHA-256 {digest[:12]}…", holds=digest == expected)
        for file, digest in sha256.items()
        if digest
    ]


def _same_files(records: CandidateRecords) -> list[Gate]:
    """One gate for each record that names files with their SHA-256: of models, and of images in firmware.json."""
    naming = (candidate.VERIFY, candidate.FIRMWARE, candidate.BENCH, candidate.SCORE)
    sha256 = {file: model_files(record) for file, record in records.by_file.items() if file in naming}
    if records.stages.firmware:
        images = [fit.image for fit in records.stages.firmware.forms if fit.image]
        sha256[candidate.FIRMWARE] |= {image.file: image.sha256 for image in images}
    gates = []
    for file, digests in sha256.items():
        changed = changed_files(records.folder, digests)
        detail = f"changed since: {', '.join(changed)}" if changed else f"by SHA-256: {', '.join(sorted(digests))}"
        gates.append(condition(f"{file} was made from these files", detail, holds=not changed))
    return gates


def _same_mistakes(records: CandidateRecords, mistakes: Mistakes | None) -> list[Gate]:
    """Whether the score counts as many wrong answers as the page, where both are about the same segments."""
    score = records.stages.score
    if not (mistakes and score and score.part == ("test" if records.config.split.test else "out_of_fold")):
        return []
    same = (mistakes.missed_af, mistakes.false_alarms) == (score.scores.confusion.fn, score.scores.confusion.fp)
    detail = f"{mistakes.missed_af} missed, {mistakes.false_alarms} false alarms"
    return [condition(f"{candidate.SCORE} counts the wrong segments found here", detail, holds=same)]
