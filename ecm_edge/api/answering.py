"""Verbs that let a model or a board answer: windows, episodes of recordings, and a serial line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.api import given

if TYPE_CHECKING:
    from ecm_edge.api.given import AnyDataset, AnyPath, AnyTarget, AnyTask
    from ecm_edge.base.records import Form
    from ecm_edge.data.recordings.formats import Format
    from ecm_edge.data.recordings.importer import OnError
    from ecm_edge.data.recordings.options import Options
    from ecm_edge.evaluate.episodes import EpisodesRecord, Reference, Rule
    from ecm_edge.evaluate.exchange import LineOptions
    from ecm_edge.evaluate.measure import MeasureRecord
    from ecm_edge.evaluate.predict import PredictRecord
    from ecm_edge.evaluate.score import Subjects


def predict(
    model: AnyPath,
    source: AnyPath,
    out: AnyPath,
    *,
    form: Form = "float32",
    task: AnyTask | None = None,
    file_format: Format | None = None,
    options: Options | None = None,
    on_error: OnError = "fail",
) -> PredictRecord:
    """Answer every window of a recording, of a folder of recordings or of a data set into a new CSV file.

    Args:
        model: the folder of a candidate or of a run, an entry of a registry, or an ONNX file.
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
    from ecm_edge.evaluate.predict import predict as inner

    return inner(
        given.model(model),
        given.path(source),
        given.path(out),
        form=form,
        task=given.task(task),
        file_format=file_format,
        options=options,
        on_error=on_error,
    )


def episodes(
    model: AnyPath,
    source: AnyPath,
    out: AnyPath,
    *,
    form: Form = "float32",
    task: AnyTask | None = None,
    rule: Rule | None = None,
    reference: Reference | None = None,
    file_format: Format | None = None,
    options: Options | None = None,
    on_error: OnError = "fail",
) -> EpisodesRecord:
    """Find the episodes of a recording, or of a folder of them, and write them into a new folder.

    Args:
        model: the folder of a candidate or of a run, an entry of a registry, or an ONNX file.
        source: the recording, or the folder.
        out: the folder; it must not exist.
        form: which form of a candidate; a file is what it is.
        task: what the model looks for; by default the candidate's, and AF in 5 s for a file.
        rule: how windows become episodes; by default side by side, positive where the margin is at least 0.
        reference: compares with the recordings' own rhythms.
        file_format: of recordings; by default that of the suffix.
        options: how recordings are read.
        on_error: whether a recording that cannot be used is an error, or is left out.

    Raises:
        EcmEdgeError: a rule that makes no sense, and as `predict` says.
        RecordingError: with a reference, a recording without rhythms, or with one that is not known.
        OutputError: `out` exists or cannot be written; nothing stays behind.
    """
    from ecm_edge.report.episodes import write_episodes

    return write_episodes(
        given.model(model),
        given.path(source),
        given.path(out),
        form=form,
        task=given.task(task),
        rule=rule,
        reference=reference,
        file_format=file_format,
        options=options,
        on_error=on_error,
    )


def measure(
    port: str,
    dataset: AnyDataset,
    answers: AnyPath,
    *,
    subjects: Subjects | None = None,
    model: AnyPath | None = None,
    form: Form = "float32",
    target: AnyTarget | None = None,
    image: AnyPath | None = None,
    emulated: bool = False,
    resume: bool = False,
    options: LineOptions | None = None,
) -> MeasureRecord:
    """Send segments to the board at `port`, and score its labels.

    Args:
        port: a serial device, or the link of `ecm-edge firmware serve`.
        dataset: the segments; unlabelled ones are left out.
        answers: the file to which every answer is added as it comes.
        subjects: as for `score`: by default the test subjects of `model`, all of them without one.
        model: the candidate or ONNX file that the image was made from; the board's labels are compared with its labels.
        form: which form of a candidate, float32 by default whatever the target.
        target: gives beta, the limit of G, the board's score and the protocol; the contest's without one.
        image: what runs on the board, for its size.
        emulated: no board is there. Not needed for a pseudo-terminal, which is recognised.
        resume: go on with the answers that are in the file.
        options: time-out and retries.

    Raises:
        FirmwareError: no such port, or one in use; a board that does not answer, naming the segment; a file of answers
            that is there without `resume`, or is of another data set, port or board.
        DatasetError: no labelled segment, an unknown subject, or a part of a split without a candidate.
        CandidateError, ModelError: as for `score`.
    """
    from ecm_edge.evaluate.measure import measure as inner

    return inner(
        port,
        given.dataset(dataset),
        given.path(answers),
        subjects=subjects,
        model=given.model(model),
        form=form,
        target=given.target(target),
        image=given.path(image),
        emulated=emulated,
        resume=resume,
        options=options,
    )
