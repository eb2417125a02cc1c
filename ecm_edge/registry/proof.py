"""A candidate's records held against what comes out here and now: rule 9 of `promote`.

The form that would ship is built again with the compiler of this machine, and run and counted in the emulator. Its
image has to be the same byte for byte, and sizes and counts equal. The hops to it are compared again on a sample of the
segments, and the score is computed again on the rows that score.json is about. What differs is named.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.errors import FirmwareError, ModelError
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Gate, Verdict, condition, not_run
from ecm_edge.candidate.candidate import FIRMWARE, FORM_FILES, SCORE
from ecm_edge.evaluate.score import ScoreRecord, score_model, score_out_of_fold
from ecm_edge.evaluate.verify.chain import verify_again
from ecm_edge.evaluate.verify.records import QUANTISED, hops_to
from ecm_edge.firmware import toolchain
from ecm_edge.firmware.fit_records import FirmwareRecord
from ecm_edge.firmware.form_build import build_form
from ecm_edge.forms import cost, onnx_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecm_edge.evaluate.verify.records import VerifyRecord
    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.metrics import Scores
    from ecm_edge.registry.contender import Contender

SEGMENTS = 64
EMULATED = 4
GATES = ("image_anew", "sizes_anew", "counts_anew", "verify_anew", "score_anew")
"""The gates of this rule; the first three for a target with firmware."""

_SIZES = (
    "parameters",
    "macs",
    "flash_bytes",
    "ram_bytes",
    "model_bytes",
    "other_bytes",
    "arena_bytes",
    "stack_bound_bytes",
    "stack_limit_bytes",
)
_FIGURES = ("segments", "subjects", "accuracy", "precision", "recall", "f1", "specificity")
_SAME = 0.001  # of a figure: another processor rounds otherwise, which may move a segment across the threshold


@dataclass(frozen=True)
class Proof:
    """The gates, and how long they took in seconds."""

    gates: list[Gate]
    seconds: float


@doing("build, verify and score it again, to hold its records against")
def prove(challenger: Contender) -> Proof:
    """Build, verify and score what would ship again.

    Raises:
        EcmEdgeError: a model that is corrupt, or a compiler or an emulator that fails.
    """
    start = time.monotonic()
    gates = [*firmware_again(challenger), verified_again(challenger), score_again(challenger)]
    return Proof(gates, time.monotonic() - start)


def unproven(challenger: Contender, why: str) -> list[Gate]:
    """The gates where there was no need to prove anything; they decide nothing."""
    return [not_run(name, why) for name in (GATES if challenger.fit else GATES[3:])]


def firmware_again(challenger: Contender) -> list[Gate]:
    """The image that is built here is the recorded one, with its sizes and its counts."""
    recorded = challenger.fit
    if recorded is None:
        return []
    graph = cost.count(onnx_model.load_proto(challenger.folder / FORM_FILES["float32"]))
    with files.scratch_folder() as scratch:
        built = build_form(
            challenger.model.classifier.proto,
            challenger.target,
            scratch,
            form=challenger.form,
            counted=graph,
            checked=True,
        )
        here = files.sha256_file(built.image) if built.image else None
    if here is None:
        return [not_run(name, f"nothing was built here: {built.record.reason}") for name in GATES[:3]]
    return [_image(challenger, here), _sizes(recorded, built.record), _counts(recorded, built.record)]


def _image(challenger: Contender, here: str) -> Gate:
    image = challenger.fit.image if challenger.fit else None
    there = image.sha256 if image else "none"
    if here == there:
        return condition("image_anew", f"{here[:12]}…, byte for byte", holds=True)
    now, then = toolchain.target_version(challenger.target), FirmwareRecord.load(challenger.folder / FIRMWARE).compiler
    by = "by the same compiler" if now == then else f"by {now}, not by {then}"
    detail = f"{here[:12]}… built here, {there[:12]}… on record; {by}"
    return condition("image_anew", detail, holds=False)


def _sizes(recorded: FormFit, built: FormFit) -> Gate:
    return _equal("sizes_anew", {name: (getattr(recorded, name), getattr(built, name)) for name in _SIZES})


def _counts(recorded: FormFit, built: FormFit) -> Gate:
    """Instructions, by class and layer; without an emulator here there is nothing to compare."""
    if recorded.instructions and not built.instructions:
        return not_run("counts_anew", f"nothing was counted here: {built.reason}")
    pairs = {
        "instructions": (_total(recorded), _total(built)),
        "layers": (len(recorded.layers), len(built.layers)),
    }
    if recorded.instructions and built.instructions:
        pairs["unaligned"] = (recorded.instructions.unaligned, built.instructions.unaligned)
        pairs["stack_bytes"] = (recorded.instructions.stack_bytes, built.instructions.stack_bytes)
    pairs |= {
        f"instructions of {layer.name}": (layer.instructions, again.instructions)
        for layer, again in zip(recorded.layers, built.layers, strict=False)
    }
    return _equal("counts_anew", pairs)


def _total(fit: FormFit) -> int | None:
    return fit.instructions.total if fit.instructions else None


def _equal(name: str, pairs: Mapping[str, tuple[float | None, float | None]], within: float = 0.0) -> Gate:
    """PASS if what is on record is what came out here; the first differences are named."""
    apart = [
        f"{what} {_figure(there)} on record, {_figure(here)} here"
        for what, (there, here) in pairs.items()
        if there != here and (there is None or here is None or not abs(there - here) <= within)
    ]
    return condition(name, "; ".join(apart[:3]) or f"{len(pairs)} figures as on record", holds=not apart)


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:,.6g}" if isinstance(value, float) else f"{value:,}"


def verified_again(challenger: Contender) -> Gate:
    """The hops to the form hold on a sample, but for the loss by quantising: that is a figure of many segments."""
    form, target = challenger.form, challenger.target
    try:
        record = verify_again(challenger.folder, challenger.dataset, target, form, segments=SEGMENTS, emulated=EMULATED)
    except (ModelError, FirmwareError) as problem:
        return condition("verify_anew", f"{problem.rule}; found {problem.found}", holds=False)
    return _hops(record, [name for name in hops_to(form, target) if name != QUANTISED])


def _hops(record: VerifyRecord, wanted: list[str]) -> Gate:
    ran = {hop.name: hop for hop in record.hops}
    failed = [f"{name} {_broken(record, name)}" for name in wanted if ran[name].verdict == Verdict.FAIL]
    skipped = [f"{name} ({ran[name].reason})" for name in wanted if ran[name].verdict == Verdict.NOT_RUN]
    if failed or not skipped:
        held = f"{len(wanted)} hops on {record.segments} segments"
        return condition("verify_anew", f"not PASS: {', '.join(failed)}" if failed else held, holds=not failed)
    return not_run("verify_anew", ", ".join(skipped))


def _broken(record: VerifyRecord, name: str) -> str:
    hop = next(hop for hop in record.hops if hop.name == name)
    broken = [f"{gate.name} {gate.value}" for gate in hop.gates if gate.verdict == Verdict.FAIL]
    return f"({', '.join(broken) or hop.reason})"


def score_again(challenger: Contender) -> Gate:
    """The figures of score.json come out again, where it is about this data set and one of the candidate's forms."""
    path = challenger.folder / SCORE
    record = ScoreRecord.load(path) if path.is_file() else None
    again = _scored(challenger, record) if record and record.form else None
    if record is None or record.form is None or again is None:
        why = f"{SCORE} is of other data" if record else f"no {SCORE} to compare"
        figures = challenger.answers.scores
        return condition("score_anew", f"mean Fβ {figures.fbeta_mean.value:.4f} here; {why}", holds=True)
    name = FORM_FILES[record.form]
    if record.model_sha256 != (here := files.sha256_file(challenger.folder / name)):
        detail = f"{SCORE} is of {record.model_sha256[:12]}…, and {name} is {here[:12]}…"
        return condition("score_anew", detail, holds=False)
    return _equal("score_anew", {n: (_value(record.scores, n), _value(again, n)) for n in _FIGURES}, _SAME)


def _scored(challenger: Contender, record: ScoreRecord) -> Scores | None:
    """The scores of the same rows again; None where the record is of other data.

    Those that the decision has computed already are taken from there.
    """
    folder, dataset, form = challenger.folder, challenger.dataset, record.form
    if record.dataset_sha256 != dataset.header.content_sha256 or record.part == "chosen" or form is None:
        return None
    whole = not record.sources and challenger.source is None
    if record.part == "out_of_fold":
        return challenger.out_of_fold.scores if whole else _out_of_fold(challenger, record)
    if record.part == "test" and whole and form == challenger.form and challenger.config.split.test:
        return challenger.answers.scores
    return score_model(folder, dataset, subjects=record.part, sources=record.sources, form=form).scores


def _out_of_fold(challenger: Contender, record: ScoreRecord) -> Scores:
    form = record.form or challenger.form
    return score_out_of_fold(challenger.folder, challenger.dataset, sources=record.sources, form=form).scores


def _value(scores: Scores, name: str) -> float | None:
    found = getattr(scores, name)
    return found if found is None or isinstance(found, int | float) else float(found.value)
