"""Bench: the time of one inference in onnxruntime on this host, for every form of a candidate or any ONNX file.

Protocol: one thread, batch 1, warm-ups first, then each run timed around the inference call alone, segment after
segment. Several models take turns, so that a host that slows down slows all of them. Every timed answer is kept and
compared with an untimed one. A time on this host is not that of a board. The board's figures stand beside it with their
own evidence: sizes of the linked image, counted instructions, and an estimate of the time, which no gate takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field

from ecm_edge.base import files, provenance
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.progress import doing, track
from ecm_edge.base.records import (
    GATE_COLUMNS,
    Evidence,
    Form,
    Gate,
    Latency,
    Provenance,
    Record,
    Verdict,
    at_most,
    not_run,
    verdict_of_what_ran,
)
from ecm_edge.base.shown import Tables
from ecm_edge.candidate.candidate import COST, FIRMWARE, FORM_FILES, check_forms, load_config
from ecm_edge.evaluate.timing import Timer, host, summary
from ecm_edge.firmware.fit_records import FirmwareRecord, FormFit
from ecm_edge.firmware.form_build import build_form
from ecm_edge.forms import cost, onnx_model
from ecm_edge.forms.facts import ModelFacts, facts_of
from ecm_edge.forms.gate import CostRecord
from ecm_edge.forms.model_file import ModelFile, check_length, open_model
from ecm_edge.targets.firmware import Kind

if TYPE_CHECKING:
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.onnx_model import Classifier, Floats
    from ecm_edge.targets import Target

RUNS = 1000
WARM_UPS = 100
TURN = 100  # runs of one model before those of the next one
SEGMENTS = 64
"""The number of different segments that are timed in turn; some operators take longer for some values."""

_NOISE_SEED = 0
_NS_PER_MS = 1e6


class OnBoard(Record):
    """One form on a target, from firmware.json or built for this.

    flash_bytes, ram_bytes: with the evidence `size_evidence`. stack_bytes: the bound of the whole program.
    instructions:           of one inference, counted in the emulator; by_class and per MAC as well.
    """

    target: str
    size_evidence: Evidence
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int | None
    instructions: int | None
    by_class: dict[Kind, int]
    instructions_per_mac: float | None
    latency_ms: Latency


class FormBench(Record):
    """One form: the file that was timed, its size, and its latency on this host.

    `answers_differing` of `answers_checked` timed answers were not, bit by bit, those of an untimed run.
    """

    form: Form | None
    file: str
    model_sha256: str
    file_bytes: int
    weight_bytes: int
    latency_ms: Latency
    answers_checked: int
    answers_differing: int
    on_board: OnBoard | None = None


class BenchRecord(Record):
    """Measured latency of every form on this host, and the estimate for the `board`, where there is one.

    The estimate is that of the first form's image, or else of the candidate's cost record. `against` are the models of
    another candidate, timed in the same turns. `segments` is the input: segments of a data set, or noise. `facts` are
    those of a model that is no float32 detector.
    """

    verdict: Verdict
    gates: list[Gate]
    forms: list[FormBench]
    against: list[FormBench]
    segments: Literal["dataset", "noise"]
    dataset_sha256: str | None
    synthetic: bool | None
    config_sha256: str | None
    macs: int
    parameters: int
    board: str | None
    board_latency_ms: Latency | None
    facts: ModelFacts | None = Field(default=None, exclude_if=lambda facts: facts is None)
    provenance: Provenance

    KEYS = ("macs", "parameters", "board", "board_latency_ms.mean_ms")
    TABLES: ClassVar[Tables] = {
        "forms": ("form", "file_bytes", "weight_bytes", "latency_ms.median_ms", "latency_ms.p95_ms"),
        "gates": GATE_COLUMNS,
    }


def bench_candidate(
    path: Path,
    dataset: Dataset | None = None,
    *,
    against: Path | None = None,
    target: Target | None = None,
    threshold: float | None = None,
    runs: int = RUNS,
    warm_ups: int = WARM_UPS,
) -> BenchRecord:
    """Time every form of a candidate, or one ONNX file; FAIL only if a timed answer was wrong.

    Args:
        path: the candidate's folder, or the file.
        dataset: whose segments are fed; noise without one.
        against: another candidate, entry of a registry or file, timed in the same turns.
        target: a board to build every form for and to count it on; by default the figures are those of firmware.json.
        threshold: of a file of one score; by default 0.5 for a sigmoid and 0 for a logit.
        runs: timed runs of each model.
        warm_ups: untimed runs of each model before those.

    Raises:
        CandidateError: the folder is no candidate or has no form yet; fewer than one run.
        ModelError: a file is not a classifier, fails, or gives scores that are not finite; the segments have another
            length than its input.
        FirmwareError: a compiler or an emulator that fails.
    """
    if runs < 1 or warm_ups < 0:
        given = f"{runs} runs, {warm_ups} warm-ups"
        raise CandidateError("a latency is measured on at least one run", given, "Take at least one run.")
    models, others = open_forms(path, threshold), open_forms(against) if against else []
    timed = time_in_turns([*models, *others], dataset, target, runs=runs, warm_ups=warm_ups)
    cost_record = CostRecord.load(path / COST) if (path / COST).is_file() else None
    estimated = timed[0].on_board or cost_record
    counted = cost.count(models[0].classifier.proto)
    gates = [*map(_answers_gate, timed), not_run("latency_ms", "measured on this host; a budget is one of the board")]
    return BenchRecord(
        verdict=verdict_of_what_ran(gates),  # the gate on latency cannot run here
        gates=gates,
        forms=timed[: len(models)],
        against=timed[len(models) :],
        segments="dataset" if dataset else "noise",
        dataset_sha256=dataset.header.content_sha256 if dataset else None,
        synthetic=dataset.header.synthetic if dataset else None,
        config_sha256=load_config(path).sha256 if path.is_dir() else None,
        macs=counted.macs,
        parameters=counted.parameters,
        board=estimated.target if estimated else None,
        board_latency_ms=estimated.latency_ms if estimated else None,
        facts=facts_of(models[0].classifier),
        provenance=provenance.collect(),
    )


@doing("build and count the image")
def on_board(model: ModelFile, target: Target | None) -> OnBoard | None:
    """A form's figures on `target`, built now; without a target those of its candidate's firmware.json, if any."""
    if target:
        with files.scratch_folder() as folder:
            fresh = build_form(model.classifier.proto, target, Path(folder), form=model.form)
            return _on_board(fresh.record, target.name)
    if not (model.folder and model.form and (model.folder / FIRMWARE).is_file()):
        return None
    record = FirmwareRecord.load(model.folder / FIRMWARE)
    built = record.of(model.form)
    if built is None or built.model_sha256 != model.sha256:
        return None
    return _on_board(built, record.target)


def _on_board(form: FormFit, target: str) -> OnBoard:
    counts = form.instructions
    return OnBoard(
        target=target,
        size_evidence=form.size_evidence,
        flash_bytes=form.flash_bytes,
        ram_bytes=form.ram_bytes,
        stack_bytes=form.stack_bound_bytes,
        instructions=counts.total if counts else None,
        by_class=counts.by_class if counts else {},
        instructions_per_mac=form.instructions_per_mac,
        latency_ms=form.latency_ms,
    )


def open_forms(path: Path, threshold: float | None = None) -> list[ModelFile]:
    """Every form that the candidate in the folder has, or the one file.

    Raises:
        CandidateError: no candidate, or one without any ONNX file.
    """
    if not path.is_dir():
        return [open_model(path, threshold=threshold)]
    load_config(path)
    check_forms(path)
    forms = [form for form in get_args(Form) if (path / FORM_FILES[form]).is_file()]
    return [open_model(path, form) for form in forms]


def time_in_turns(
    models: list[ModelFile], dataset: Dataset | None, target: Target | None, *, runs: int, warm_ups: int
) -> list[FormBench]:
    """Time each model `runs` times, `TURN` runs at a time; raises as `bench_candidate` does."""
    timers = [Timer(model.classifier, segments_for(model.classifier, dataset)) for model in models]
    for timer in timers:
        timer.warm_up(warm_ups)
    for start in track(range(0, runs, TURN), "time the forms"):
        for timer in timers:
            timer.time(min(TURN, runs - start))
    return [_form_bench(model, timer, warm_ups, target) for model, timer in zip(models, timers, strict=True)]


def segments_for(classifier: Classifier, dataset: Dataset | None) -> Floats:
    """Up to `SEGMENTS` segments (n, T), spread evenly over the data set; the same noise every time without one.

    Raises:
        ModelError: segments of another length than the model's input.
    """
    samples = classifier.samples_per_segment
    if dataset is None:
        noise = np.random.default_rng(_NOISE_SEED).standard_normal((SEGMENTS, samples))
        return noise.astype(np.float32)
    check_length(classifier, dataset)
    rows = np.linspace(0, dataset.header.segments - 1, min(SEGMENTS, dataset.header.segments)).astype(int)
    return np.asarray(dataset.samples[rows])


def _form_bench(model: ModelFile, timer: Timer, warm_ups: int, target: Target | None) -> FormBench:
    times_ms = np.array(timer.times_ns) / _NS_PER_MS
    return FormBench(
        form=model.form,
        file=model.path.name,
        model_sha256=model.sha256,
        file_bytes=sum(path.stat().st_size for path in (model.path, *model.classifier.beside)),
        weight_bytes=onnx_model.weight_bytes(model.classifier.proto),
        latency_ms=summary(times_ms, Evidence.MEASURED, host(), warm_ups=warm_ups),
        answers_checked=len(timer.times_ns),
        answers_differing=timer.differing(),
        on_board=on_board(model, target),
    )


def _answers_gate(form: FormBench) -> Gate:
    detail = f"of {form.answers_checked} timed answers of {form.file}"
    return at_most("answers_differing", form.answers_differing, 0, "answers", detail)
