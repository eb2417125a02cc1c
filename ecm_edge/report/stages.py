"""The verdict of every stage, from its record; a stage without one is NOT RUN, and says which command would run it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.records import Gate, Verdict, verdict_of_what_ran
from ecm_edge.candidate import candidate
from ecm_edge.report import texts
from ecm_edge.report.records import Stage

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.evaluate.bench import BenchRecord
    from ecm_edge.evaluate.score import ScoreRecord
    from ecm_edge.evaluate.verify.records import Hop, VerifyRecord
    from ecm_edge.firmware.fit_records import FirmwareRecord
    from ecm_edge.forms.gate import CostRecord
    from ecm_edge.forms.quantize import QuantizeRecord
    from ecm_edge.forms.simplify import SimplifyRecord
    from ecm_edge.registry.registry import Event
    from ecm_edge.report.records import Mistakes, StageRecords
    from ecm_edge.training.train import TrainingRecord


@dataclass(frozen=True)
class Place:
    """Where things lie, for the commands that a report proposes; `target` is a name, or a word in capitals."""

    candidate: Path
    data: Path
    target: str

    def command(self, verb: str, *options: str) -> str:
        """`ecm-edge VERB CANDIDATE --data D` with further options."""
        return shlex.join(["ecm-edge", verb, str(self.candidate), "--data", str(self.data), *options])

    def build(self) -> str:
        """The command that builds the candidate's images."""
        return shlex.join(["ecm-edge", "firmware", "build", str(self.candidate), "--target", self.target])

    def retrain(self) -> str:
        """The command that gates and trains the same configuration again."""
        words = ["--data", str(self.data), "--target", self.target, "--like", str(self.candidate), "--out", "NEW"]
        return shlex.join(["ecm-edge", "train", *words])


def stages(
    place: Place, config: CandidateConfig, records: StageRecords, mistakes: Mistakes | None, form: Form
) -> list[Stage]:
    """Every stage in the order of the chain; of the firmware, the gates are those of the form that is reported on."""
    cost, simplified, verified, timed = records.cost, records.simplify, records.verify, records.bench
    to_target = ("--target", place.target)
    return [
        _gated("budgets", cost, f"{cost.form} on {cost.target}") if cost else _missing("budgets", place.retrain()),
        _ran("training", _trained(records.training)) if records.training else _missing("training", place.retrain()),
        _gated("simplify", simplified, f"{simplified.nodes_before} nodes to {simplified.nodes_after}")
        if simplified
        else _missing("simplify", place.command("export")),
        _ran("quantize", _quantised(records.quantize))
        if records.quantize
        else _missing("quantize", place.command("quantize")),
        _verify(verified) if verified else _missing("verify", place.command("verify", *to_target)),
        _firmware(records.firmware, form, place),
        _gated("bench", timed, f"{len(timed.forms)} forms, fed with {timed.segments}")
        if timed
        else _missing("bench", place.command("bench")),
        _ran("score", _scored(records.score))
        if records.score
        else _missing("score", place.command("score", *to_target, *([] if config.split.test else ["--out-of-fold"]))),
        _bound(place.candidate, config, records, mistakes),
    ]


def verdict_of(all_stages: list[Stage]) -> Verdict:
    """FAIL if any stage failed; else NOT RUN if any has not run; else PASS."""
    verdicts = {stage.verdict for stage in all_stages}
    return next((verdict for verdict in (Verdict.FAIL, Verdict.NOT_RUN) if verdict in verdicts), Verdict.PASS)


def promotion(place: Place, decision: Event | None, *, registry: Path | None) -> Stage:
    """The last decision about exactly these files."""
    if decision:
        verdict = Verdict.FAIL if decision.event == "refused" else Verdict.PASS
        entry = f" as {decision.entry}" if decision.entry else ""
        detail = f"{decision.event}{entry} on {decision.date_utc}: {decision.reason}"
        return Stage(name="promotion", verdict=verdict, detail=detail, gates=decision.gates)
    why = "the registry has no decision about these files" if registry else "no registry was given"
    command = place.command("promote", "--target", place.target, "--registry", str(registry or "REGISTRY"))
    return _missing("promotion", command, why)


def _missing(name: str, command: str, why: str = "no record in the candidate's folder") -> Stage:
    return Stage(name=name, verdict=Verdict.NOT_RUN, detail=why, gates=[], command=command)


def _gated(name: str, record: CostRecord | SimplifyRecord | BenchRecord, detail: str) -> Stage:
    return Stage(name=name, verdict=record.verdict, detail=detail, gates=record.gates)


def _ran(name: str, detail: str) -> Stage:
    return Stage(name=name, verdict=None, detail=detail, gates=[])


def _firmware(record: FirmwareRecord | None, form: Form, place: Place) -> Stage:
    if record is None:
        return _missing("firmware", place.build())
    found = record.of(form)
    if found is None:
        return _missing("firmware", place.build(), f"{record.target} got no image of the form {form}")
    detail = f"{form} on {record.target}" + (f"; {found.reason}" if found.reason else "")
    return Stage(name="firmware", verdict=found.verdict, detail=detail, gates=found.gates)


def _trained(record: TrainingRecord) -> str:
    return f"epoch {record.best.epoch} of {len(record.epochs)} kept ({record.stopped})"


def _quantised(record: QuantizeRecord) -> str:
    return f"calibrated on {record.calibration_segments} segments of {len(record.calibration_subjects)} subjects"


def _scored(record: ScoreRecord) -> str:
    return f"{record.form or record.model} on {texts.subjects(record.scores.subjects, record.part)}"


def _verify(record: VerifyRecord) -> Stage:
    """Each hop's gates under the hop's name; a hop without any is one line with its reason."""
    hops = [gate for hop in record.hops for gate in _hop_gates(hop)]
    counted = [gate for gate in record.gates if gate.name not in {hop.name for hop in record.hops}]
    diverged = f"; first to diverge: {record.first_diverging_hop}" if record.first_diverging_hop else ""
    detail = f"{len(record.hops)} hops on {record.segments} segments of {len(record.subjects)} subjects{diverged}"
    return Stage(name="verify", verdict=record.verdict, detail=detail, gates=[*counted, *hops])


def _hop_gates(hop: Hop) -> list[Gate]:
    if hop.gates:
        return [gate.model_copy(update={"name": f"{hop.name}: {gate.name}"}) for gate in hop.gates]
    return [_said(hop.name, hop.verdict, hop.reason)]


def _bound(folder: Path, config: CandidateConfig, records: StageRecords, mistakes: Mistakes | None) -> Stage:
    """Whether the records speak of the files and the configuration that lie beside them."""
    gates = [
        *_same_config(config, records),
        *(_same_files(folder, name, named) for name, named in _named_files(records).items()),
    ]
    if mistakes and records.score and records.score.part == ("test" if config.split.test else "out_of_fold"):
        confusion = records.score.scores.confusion
        wrong = (mistakes.missed_af, mistakes.false_alarms)
        gates.append(
            _holds(
                "score.json counts the wrong segments found here",
                wrong == (confusion.fn, confusion.fp),
                f"{wrong[0]} missed, {wrong[1]} false alarms",
            )
        )
    detail = "each speaks of what lies beside it" if gates else "nothing to compare yet"
    return Stage(name="records", verdict=verdict_of_what_ran(gates), detail=detail, gates=gates)


def _same_config(config: CandidateConfig, records: StageRecords) -> list[Gate]:
    made = {
        "training.json": records.training,
        "firmware.json": records.firmware,
        "bench.json": records.bench,
        "score.json": records.score,
    }
    return [
        _holds(
            f"{name} speaks of this configuration",
            record.config_sha256 == config.sha256,
            f"SHA-256 {record.config_sha256[:12]}…",
        )
        for name, record in made.items()
        if record and record.config_sha256
    ]


def _named_files(records: StageRecords) -> dict[str, dict[str, str]]:
    """SHA-256 by file name, as each record has it."""
    named: dict[str, dict[str, str]] = {}
    if records.verify:
        named["verify.json"] = records.verify.model_sha256
    if records.firmware:
        forms = records.firmware.forms
        named["firmware.json"] = {candidate.FORM_FILES[found.form]: found.model_sha256 for found in forms}
        named["firmware.json"] |= {found.image.file: found.image.sha256 for found in forms if found.image}
    if records.bench:
        named["bench.json"] = {form.file: form.model_sha256 for form in records.bench.forms}
    if records.score:
        named["score.json"] = {records.score.model: records.score.model_sha256}
    return named


def _same_files(folder: Path, record: str, named: dict[str, str]) -> Gate:
    paths = {name: folder / name for name in named}
    changed = [n for n, path in paths.items() if not path.is_file() or files.sha256_file(path) != named[n]]
    detail = f"changed since: {', '.join(changed)}" if changed else f"by SHA-256: {', '.join(sorted(named))}"
    return _holds(f"{record} speaks of these files", not changed, detail)


def _holds(name: str, condition: bool, detail: str) -> Gate:  # noqa: FBT001 - the condition itself
    return _said(name, Verdict.PASS if condition else Verdict.FAIL, detail)


def _said(name: str, verdict: Verdict, detail: str) -> Gate:
    return Gate(name=name, verdict=verdict, value=None, limit=None, unit="", margin=None, detail=detail)
