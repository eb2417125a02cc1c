"""Predict: what a model answers to recordings or to the segments of a data set, labelled or not, as a CSV file.

    start_s   the window's first sample, in seconds from the recording's
    score     the margin (`answering`); empty where the window cannot be used
    label     1 positive (score >= 0), 0 negative, empty as the score is
    reason    why the window cannot be used

Several recordings have `name` and `subject` before these. Segments of a data set have them in place of `start_s`, and
no reason.
"""

from __future__ import annotations

import csv
import io
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base import files
from ecm_edge.base.errors import OutputError
from ecm_edge.candidate.candidate import check_task
from ecm_edge.data.dataset import HEADER_FILE, check_content, open_dataset
from ecm_edge.data.recordings.opening import open_recordings
from ecm_edge.data.recordings.options import Options
from ecm_edge.evaluate.answering import AnswersOf, Told, answer_all, not_finite, shared_fields, task_of
from ecm_edge.evaluate.units import input_warnings
from ecm_edge.forms.model_file import ModelFile, margins, open_detector

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.recordings.formats import Format
    from ecm_edge.data.recordings.importer import OnError
    from ecm_edge.evaluate.answering import Answers
    from ecm_edge.tasks import Task


class PredictRecord(AnswersOf):
    """The answers in the file `answers`: `positive` of `answered` of all `windows`; 0 recordings in a data set."""

    answers: str
    recordings: int
    windows: int
    answered: int
    positive: int


def predict(
    model_path: Path,
    source: Path,
    out: Path,
    *,
    form: Form = "float32",
    task: Task | None = None,
    file_format: Format | None = None,
    options: Options | None = None,
    on_error: OnError = "fail",
) -> PredictRecord:
    """Answer every window of a recording, of a folder of recordings or of a data set into a new CSV file.

    Args:
        model_path: a candidate's folder, an entry, or an ONNX file.
        source: the recording, the folder, or the data set.
        out: the file; it must not exist.
        form: which form of a candidate; a file is what it is.
        task: what the model looks for; by default the data set's, for recordings the candidate's or AF in 5 s.
        file_format: of recordings; by default that of the suffix.
        options: how recordings are read.
        on_error: whether a recording that cannot be used is an error, or is left out.

    Raises:
        CandidateError: no such candidate, or it lacks the form.
        ModelError: no classifier, segments of another length, or scores that are not finite.
        TaskError: the task's window is not the model's.
        RecordingError: as `open_recordings` says, or a recording that cannot be used.
        DatasetError: a data set that is damaged.
        OutputError: `out` exists or cannot be written.
    """
    begin_s = time.perf_counter()
    if out.exists():
        raise OutputError("answers go to a new file", f"{out} exists", "Choose another name, or remove it first.")
    model, told = open_detector(model_path, form), Told()
    if (source / HEADER_FILE).is_file():
        dataset = open_dataset(source)
        task = task or dataset.header.task
        table = _segments(model, dataset, told)
    else:
        task = task_of(model, task)
        listing = open_recordings(source, file_format, options or Options(), task)
        answers = answer_all(model, listing, task, told, verb="predict", on_error=on_error, hop_s=task.window_s)
        table = _windows(list(answers), several=len(listing.names) > 1)
    files.write_atomic(out, table.text().encode())
    fields = shared_fields(model, task, source, told, begin_s)
    if table.synthetic:
        fields["synthetic"] = True
    return PredictRecord(
        **fields,
        answers=str(out),
        recordings=table.recordings,
        windows=len(table.margins),
        answered=int(np.sum(np.isfinite(table.margins))),
        positive=int(np.sum(table.margins >= 0)),
    )


@dataclass(frozen=True)
class _Table:
    """The n rows of the file: what stands before score and label, the margins, and what stands behind."""

    columns: Sequence[str]
    before: Sequence[Sequence[str]]  # (n,)
    margins: np.ndarray  # (n,), NaN where there is none
    behind: Sequence[Sequence[str]]  # (n,)
    recordings: int = 0
    synthetic: bool = False

    def text(self) -> str:
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        rows = zip(self.before, self.margins, self.behind, strict=True)
        writer.writerows([*before, *_score(margin), *behind] for before, margin, behind in rows)
        return stream.getvalue()


def _windows(every: Sequence[Answers], *, several: bool) -> _Table:
    """The rows of recordings."""
    before = [
        [*([one.recording.name, one.recording.subject] if several else []), seconds(start_s)]
        for one in every
        for start_s in one.starts_s
    ]
    return _Table(
        columns=[*(["name", "subject"] if several else []), "start_s", "score", "label", "reason"],
        before=before,
        margins=np.concatenate([one.margins for one in every]),
        behind=[[reason] for one in every for reason in one.reasons],
        recordings=len(every),
    )


def _segments(model: ModelFile, dataset: Dataset, told: Told) -> _Table:
    """The rows of a data set, labelled or not; raises CandidateError where its task does not fit the candidate's."""
    check_content(dataset)
    rows = np.arange(dataset.header.segments)
    found = margins(model.classifier, dataset, rows)  # (N,)
    if not np.isfinite(found).all():
        raise not_finite(dataset.names(np.flatnonzero(~np.isfinite(found))[:1])[0])
    told.warnings += [*(check_task(model.config, dataset) if model.config else []), *input_warnings(model, dataset)]
    before = list(map(list, zip(dataset.names(rows), dataset.subject_names(rows), strict=True)))
    columns = ["name", "subject", "score", "label"]
    return _Table(columns, before, found, [[]] * len(rows), synthetic=dataset.header.synthetic)


def seconds(value: float) -> str:
    """A time to the microsecond, as a table holds it.

    >>> seconds(0.2 * 3), seconds(86395.0), seconds(0.0)
    ('0.6', '86395', '0')
    """
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _score(margin: np.float32) -> tuple[str, str]:
    """Score and label; empty without a margin."""
    return ("", "") if np.isnan(margin) else (str(margin), str(int(margin >= 0)))
