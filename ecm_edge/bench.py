"""Bench: how long one inference takes in onnxruntime on this host, for every form of a candidate or any ONNX file.

Protocol: one thread, batch 1, warm-ups first, then each run timed around the inference call alone, segment after
segment. Several models take turns, so that a host that slows down slows all of them. Every timed answer is kept and
compared with an untimed one. What is measured on this host says nothing about a board; the board's estimate stands
beside it under its own label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ecm_edge import cost, files, onnx_model, provenance
from ecm_edge.candidate import COST, FORM_FILES, load_config
from ecm_edge.errors import CandidateError, DatasetError
from ecm_edge.gate import CostRecord
from ecm_edge.model_file import ModelFile, open_model
from ecm_edge.records import Form, Gate, Latency, Provenance, Record, Verdict, at_most, not_run, overall
from ecm_edge.tables import track
from ecm_edge.timing import Timer, summary

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.dataset import Dataset
    from ecm_edge.onnx_model import Classifier, Floats

RUNS = 1000
WARM_UPS = 100
TURN = 100  # runs of one model before the next one has its turn
SEGMENTS = 64
"""So many different segments take turns, since some operators take longer for some values."""

_NOISE_SEED = 0
_NS_PER_MS = 1e6


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


class BenchRecord(Record):
    """Latency of every form on this host, measured; and the estimate for the `board`, where there is one.

    `against` are the models of another candidate timed in the same turns. `segments` says what was fed: segments of a
    data set, or noise.
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
    provenance: Provenance


def bench_candidate(
    path: Path,
    dataset: Dataset | None = None,
    *,
    against: Path | None = None,
    runs: int = RUNS,
    warm_ups: int = WARM_UPS,
) -> BenchRecord:
    """Time every form of a candidate, or one ONNX file; FAIL only if a timed answer was wrong.

    Args:
        path: the candidate's folder, or the file.
        dataset: whose segments are fed; noise without one.
        against: another candidate, entry of a registry or file, timed in the same turns.
        runs: timed runs of each model.
        warm_ups: untimed runs of each model before those.

    Raises:
        CandidateError: the folder is no candidate or has no form yet; fewer than one run.
        ModelError: a file is not a classifier, fails, or gives scores that are not finite.
        DatasetError: the segments have another length than the model's input.
    """
    if runs < 1 or warm_ups < 0:
        found = f"{runs} runs, {warm_ups} warm-ups"
        raise CandidateError("a latency is measured on at least one run", found, "Ask for more.")
    models, others = open_forms(path), open_forms(against) if against else []
    timed = time_in_turns([*models, *others], dataset, runs=runs, warm_ups=warm_ups)
    board = CostRecord.load(path / COST) if (path / COST).is_file() else None
    counted = cost.count(models[0].classifier.proto)
    gates = [*map(_answers_gate, timed), not_run("latency_ms", "measured on this host; a budget speaks of the board")]
    return BenchRecord(
        verdict=overall(gates),
        gates=gates,
        forms=timed[: len(models)],
        against=timed[len(models) :],
        segments="dataset" if dataset else "noise",
        dataset_sha256=dataset.header.content_sha256 if dataset else None,
        synthetic=dataset.header.synthetic if dataset else None,
        config_sha256=load_config(path).sha256 if path.is_dir() else None,
        macs=counted.macs,
        parameters=counted.parameters,
        board=board.target if board else None,
        board_latency_ms=board.latency_ms if board else None,
        provenance=provenance.collect(),
    )


def open_forms(path: Path) -> list[ModelFile]:
    """Every form that the candidate in the folder has, or the one file.

    Raises:
        CandidateError: no candidate, or one without any ONNX file.
    """
    if not path.is_dir():
        return [open_model(path)]
    load_config(path)
    found = [form for form in get_args(Form) if (path / FORM_FILES[form]).is_file()]
    if not found:
        raise CandidateError(
            "a candidate to be timed has an ONNX file", f"none in {path}", "Run `ecm-edge export` first."
        )
    return [open_model(path, form) for form in found]


def time_in_turns(models: list[ModelFile], dataset: Dataset | None, *, runs: int, warm_ups: int) -> list[FormBench]:
    """Time each model `runs` times, `TURN` runs at a time; raises as `bench_candidate` does."""
    timers = [Timer(model.classifier, segments_for(model.classifier, dataset)) for model in models]
    for timer in timers:
        timer.warm_up(warm_ups)
    for start in track(range(0, runs, TURN), "timing"):
        for timer in timers:
            timer.time(min(TURN, runs - start))
    return [_form_bench(model, timer, warm_ups) for model, timer in zip(models, timers, strict=True)]


def segments_for(classifier: Classifier, dataset: Dataset | None) -> Floats:
    """Up to `SEGMENTS` segments (n, T), spread evenly over the data set; the same noise every time without one.

    Raises:
        DatasetError: segments of another length than the model's input.
    """
    samples = classifier.samples_per_segment
    if dataset is None:
        noise = np.random.default_rng(_NOISE_SEED).standard_normal((SEGMENTS, samples))
        return noise.astype(np.float32)
    if dataset.header.samples_per_segment != samples:
        raise DatasetError(
            "segments have the length of the model's input",
            f"{dataset.header.samples_per_segment} samples for an input of {samples}",
            "Give the data set that the model was made for.",
        )
    rows = np.linspace(0, dataset.header.segments - 1, min(SEGMENTS, dataset.header.segments)).astype(int)
    return np.asarray(dataset.samples[rows])


def _form_bench(model: ModelFile, timer: Timer, warm_ups: int) -> FormBench:
    return FormBench(
        form=model.form,
        file=model.path.name,
        model_sha256=files.sha256_file(model.path),
        file_bytes=model.path.stat().st_size,
        weight_bytes=onnx_model.weight_bytes(model.classifier.proto),
        latency_ms=summary(np.array(timer.times_ns) / _NS_PER_MS, warm_ups=warm_ups),
        answers_checked=len(timer.times_ns),
        answers_differing=timer.differing(),
    )


def _answers_gate(form: FormBench) -> Gate:
    detail = f"of {form.answers_checked} timed answers of {form.file}"
    return at_most("answers_differing", form.answers_differing, 0, "answers", detail)
