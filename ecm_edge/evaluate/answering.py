"""What a model answers to the windows of recordings, labelled or not: the part that `predict` and `episodes` share.

The score of a window is the model's margin: its score for the positive class less that against it. Of a network that
this tool trained it is in natural log-odds, less the decision threshold; of any other model in that model's own unit.
A window is positive where its score is at least 0.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge import tasks
from ecm_edge.base import files, provenance
from ecm_edge.base.errors import ModelError, RecordingError, TaskError
from ecm_edge.base.progress import track
from ecm_edge.base.records import Form, Provenance, Record
from ecm_edge.data.dataset import LeftOut, Note
from ecm_edge.data.reasons import some
from ecm_edge.data.recordings.importer import unusable
from ecm_edge.data.recordings.windows import Unfit, count_windows, rest_at_end, windows
from ecm_edge.evaluate.score import is_synthetic
from ecm_edge.evaluate.units import unit_fault
from ecm_edge.forms import onnx_model
from ecm_edge.forms.model_file import open_detector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.data.recordings.importer import OnError
    from ecm_edge.data.recordings.windows import Listing, Recording
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.tasks import Task

SCORE = "margin: the model's score for the positive class less that against it; log-odds of a network trained here"
"""What a score is, for the records."""

_PROBLEMS_SHOWN = 10
_NAMES_SHOWN = 3


class AnswersOf(Record):
    """Which model answered, for which task: the fields that the records of `predict` and `episodes` share.

    `synthetic` says that the model was trained on synthetic data, or that the data set is synthetic. `left_out` has the
    windows that cannot be used, and with `on_error="skip"` the recordings. `notes` are facts about recordings.
    """

    model: str
    model_sha256: str
    form: Form | None
    config_sha256: str | None
    task: str
    label: str
    score: str = SCORE
    synthetic: bool
    source: str
    left_out: list[LeftOut]
    notes: list[Note]
    warnings: list[str]
    seconds: float
    provenance: Provenance


@dataclass(frozen=True)
class Answers:
    """What a model says to n windows of one recording, one every hop; a margin is NaN where there is a reason."""

    recording: Recording
    starts_s: NDArray[np.float64]  # (n,)
    margins: NDArray[np.float32]  # (n,)
    reasons: Sequence[str]  # (n,) "" where there is a margin

    @property
    def left_out(self) -> list[LeftOut]:
        """The windows that cannot be used, by reason."""
        lost = Counter(filter(None, self.reasons))
        return [LeftOut(name=self.recording.name, reason=reason, windows=count) for reason, count in lost.items()]


@dataclass
class Told:
    """What is to be told of the recordings that were answered so far; `by_unit` has their names."""

    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    by_unit: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, answered: Answers, task: Task) -> None:
        """What is to be told of one recording."""
        recording = answered.recording
        self.left_out.extend(answered.left_out)
        self.left_out.extend(rest_at_end(recording, answered.starts_s[-1] + task.window_s))
        self.notes.extend(Note(name=recording.name, text=text) for text in recording.notes)
        self.by_unit.setdefault(recording.unit, []).append(recording.name)


def task_of(model: ModelFile, task: Task | None) -> Task:
    """The task that is stated, else a candidate's own, else AF in 5 s; its window fills the model's input.

    Raises:
        TaskError: it does not, or the candidate was trained at another rate.
    """
    task = task or (model.config.task if model.config else tasks.default())
    length, rate_hz = model.classifier.samples_per_segment, model.config and model.config.sampling_rate_hz
    if task.samples_per_segment != length or rate_hz not in {None, task.sampling_rate_hz}:
        trained = f" at {rate_hz:g} Hz" if rate_hz else ""
        raise TaskError(
            "a task's window fills the model's input, at its sampling rate",
            f"{task.samples_per_segment} samples at {task.sampling_rate_hz:g} Hz of {task.name}, "
            f"for {length} samples{trained} of {model.path}",
            "Name the task that the model was trained for: --task.",
        )
    return task


def model_task(path: Path, form: Form, task: Task | None) -> Task:
    """The task of the model at `path`, a candidate's folder or a file; raises as `open_detector` and `task_of` do."""
    return task_of(open_detector(path, form), task)


def answer_all(
    model: ModelFile, listing: Listing, task: Task, told: Told, *, verb: str, on_error: OnError, hop_s: float
) -> Iterator[Answers]:
    """The answers to every recording that can be used, in order; `told` gets what is to be said of them.

    Args:
        model: its input holds a window of the task.
        listing: the recordings.
        task: says how they are cut.
        told: is added to.
        verb: the command, for messages.
        on_error: with "skip" a recording that cannot be used is told; with "fail" it is an error after the last one.
        hop_s: the time from one window to the next.

    Raises:
        RecordingError: as `on_error` says, or no recording can be used.
        ModelError: a score is not finite, or onnxruntime fails.
    """
    run, problems, used = _runner(model), list(listing.problems), 0
    for name in track(listing.names, "read recordings", total=len(listing.names)):
        try:
            answered = answer(run, listing.load(name), task, hop_s)
        except Unfit as problem:
            problems.append(LeftOut(name=name, reason=str(problem)))
            continue
        used += 1
        told.add(answered, task)
        yield answered
    if problems and len(listing.names) == 1:
        found = f"{problems[0].name}: {problems[0].reason}"
        raise RecordingError("the recording has to be usable", found, "Mend it, or give another.")
    if problems and (on_error == "fail" or not used):
        raise unusable(problems, _PROBLEMS_SHOWN, verb)
    if not used:
        raise RecordingError("there is a recording to answer", "none", "Check the path.")
    told.left_out.extend(problems)


def answer(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]], recording: Recording, task: Task, hop_s: float
) -> Answers:
    """The answers to a recording's windows, one every `hop_s`; `run` gives margins (n,) of samples (n, T).

    Raises:
        Unfit: no window fits, or the signal cannot be read.
        ModelError: a margin is not finite.
    """
    count = count_windows(recording, task, hop_s)
    found, reasons = np.full(count, np.nan, np.float32), [""] * count
    starts_s = np.arange(count, dtype=np.float64) * hop_s
    for cut in windows(recording, task, np.arange(count), hop_s):
        found[cut.numbers] = margin = run(cut.samples)
        for number, reason in cut.lost.items():
            reasons[number] = reason
        if not np.isfinite(margin).all():
            first_s = starts_s[cut.numbers[~np.isfinite(margin)][0]]
            raise not_finite(f"{recording.name} at {first_s:g} s")
    return Answers(recording, starts_s, found, reasons)


def not_finite(place: str) -> ModelError:
    """The error for a score that is NaN or infinite."""
    return ModelError("a model's scores are finite", f"one that is not, for {place}", "Train it again.")


def shared_fields(model: ModelFile, task: Task, source: Path, told: Told, begin_s: float) -> dict[str, Any]:
    """The fields of `AnswersOf`; `begin_s` is when the work began, by `time.perf_counter`."""
    return {
        "model": model.path.name,
        "model_sha256": files.sha256_file(model.path),
        "form": model.form,
        "config_sha256": model.config.sha256 if model.config else None,
        "task": task.name,
        "label": task.label,
        "synthetic": is_synthetic(model),
        "source": str(source),
        "provenance": provenance.collect(),
        **told_fields(model, task, told, begin_s),
    }


def told_fields(model: ModelFile, task: Task, told: Told, begin_s: float) -> dict[str, Any]:
    """Those of them that are known once the recordings were read."""
    return {
        "left_out": told.left_out,
        "notes": told.notes,
        "warnings": [*told.warnings, *_task_warning(model, task), *_unit_warnings(model, told)],
        "seconds": round(time.perf_counter() - begin_s, 3),
    }


def _task_warning(model: ModelFile, task: Task) -> list[str]:
    own = model.config.task.name if model.config else task.name
    return [] if own == task.name else [f"the model was trained for the task {own}, not for {task.name}"]


def _unit_warnings(model: ModelFile, told: Told) -> list[str]:
    faults = ((names, unit_fault(model, unit)) for unit, names in told.by_unit.items())
    return [f"{some(names, _NAMES_SHOWN)}: {fault}" for names, fault in faults if fault]


def _runner(model: ModelFile) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The function from samples (n, T) to margins (n,), in onnxruntime on one thread."""
    classifier = model.classifier
    session = onnx_model.open_session(classifier.proto)

    def run(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = onnx_model.run_session(session, classifier, samples, [classifier.output_name])[0].reshape(-1, 2)
        with np.errstate(invalid="ignore"):  # infinite scores are refused by whoever asked
            margin: NDArray[np.float32] = scores[:, 1] - scores[:, 0]
        return margin

    return run
