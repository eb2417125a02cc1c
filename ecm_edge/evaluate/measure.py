"""Measure: labels, latency and score of a board on a serial line, real or emulated. This is the host's side.

Segments are sent one at a time. A segment without an answer is sent again a bounded number of times, each time after a
silence in which the board drops the broken frame. Every answer is added to a file as it comes, from which `resume` goes
on. A board gives labels and no margins, so the AUC is absent.

The latency is the one that the board reports. From a pseudo-terminal, such as `ecm-edge firmware serve` makes, it is
EMULATED: the time of an emulator and not of a board.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import metrics
from ecm_edge.base import files, provenance
from ecm_edge.base.errors import DatasetError, FirmwareError
from ecm_edge.base.numbers import KIB
from ecm_edge.base.progress import track
from ecm_edge.base.records import (
    Evidence,
    Form,
    Gate,
    Latency,
    Provenance,
    Record,
    Verdict,
    at_most,
    not_run,
)
from ecm_edge.candidate.candidate import check_task
from ecm_edge.evaluate import answers as answers_file
from ecm_edge.evaluate import score, timing
from ecm_edge.evaluate.answers import SegmentAnswer, Session
from ecm_edge.evaluate.exchange import LineOptions, exchange, open_line
from ecm_edge.firmware import protocol, serve
from ecm_edge.firmware.generate import form_of
from ecm_edge.firmware.interface import names_contest
from ecm_edge.forms import reference
from ecm_edge.forms.model_file import margins, open_detector
from ecm_edge.metrics import BoardScore, Scores
from ecm_edge.metrics.rows import score_rows
from ecm_edge.targets import score_rule

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from serial import Serial

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.targets import Target
    from ecm_edge.tasks.score import ScoreRule

_NAMES_SHOWN = 5  # of segments, in the detail of a gate


class MeasureRecord(Record):
    """The answers of a board, and their score.

    The verdict is on the labels alone: FAIL where a label is not the model's, NOT RUN where no model was given.
    `labels_differing` names those segments; it is None without a model. `emulator` names what answered in place of a
    board; it is None for a board. `board_score` needs a rule, the size of the image and a measured latency. `retried`
    counts the segments that were sent more than once, `resumed` those whose answer was in the file already.
    """

    verdict: Verdict
    gates: list[Gate]
    port: str
    emulator: str | None
    image_sha256: str | None
    dataset_sha256: str
    target: str | None
    image_bytes: int | None
    model: str | None
    model_sha256: str | None
    form: Form | None
    dataset: str
    synthetic: bool
    blank: str
    task: str = "af-5s"
    label: str = "AF"
    segments: int
    retried: int
    resumed: int
    labels_differing: list[str] | None
    scores: Scores
    latency_ms: Latency
    board_score: BoardScore | None
    answers: str
    seconds: float
    provenance: Provenance

    KEYS = ("port", "emulator", "scores.fbeta_mean")
    TABLES = score.ScoreRecord.TABLES


def measure(
    port: str,
    dataset: Dataset,
    answers: Path,
    *,
    subjects: score.Subjects | None = None,
    model: Path | None = None,
    form: Form = "float32",
    target: Target | None = None,
    image: Path | None = None,
    emulated: bool = False,
    resume: bool = False,
    options: LineOptions | None = None,
) -> MeasureRecord:
    """Send segments to the board at `port`, and score its labels.

    Args:
        port: a serial device, or the link of `ecm-edge firmware serve`.
        dataset: the segments; unlabelled ones are left out.
        answers: the file to which every answer is added as it comes.
        subjects: as for `score_model`: by default the test subjects of `model`, all of them without one.
        model: the candidate or ONNX file that the image was made from; the board's labels are compared with its labels.
        form: which form of a candidate.
        target: gives beta, the limit of G, the board's score and the protocol; the contest's without one.
        image: what runs on the board, for its size.
        emulated: no board is there. Not needed for a pseudo-terminal, which is recognised.
        resume: go on with the answers that are in the file.
        options: time-out and retries.

    Raises:
        FirmwareError: no such port, or one in use; a board that does not answer, naming the segment; a file of answers
            that is there without `resume`, or is of another data set, port or board.
        DatasetError: no labelled segment, an unknown subject, or a part of a split without a candidate.
        CandidateError, ModelError: as for `score_model`.
    """
    # Above 40 lines: half of them are the fields of the one record that it makes.
    begin_s = time.perf_counter()
    compared = open_detector(model, form) if model else None
    rows = _rows(dataset, subjects, compared)
    if compared and compared.config:
        check_task(compared.config, dataset)
    expected = _expected(compared, dataset, rows) if compared else None
    session = _session(port, dataset, image, emulated=emulated)
    stored = answers_file.load(answers, session, resume=resume)
    missing = [row for row in rows.tolist() if row not in stored]
    scored = None if target is None or names_contest(target) else 2  # a detector's two
    by_row = stored | _answer_all(session, dataset, missing, answers, options or LineOptions(), scored)
    given = [by_row[row] for row in rows.tolist()]
    gate, differing = _compare_labels(given, expected)
    scores, latency = _scores(dataset, rows, given, target), _latency(given, session)
    return MeasureRecord(
        **dict(session),
        **_model_fields(compared),
        verdict=gate.verdict,
        gates=[gate],
        target=target.name if target else None,
        image_bytes=image.stat().st_size if image else None,
        dataset=dataset.folder.name,
        synthetic=dataset.header.synthetic or (compared is not None and score.is_synthetic(compared)),
        blank=dataset.header.blank,
        task=dataset.header.task.name,
        label=dataset.header.task.label,
        segments=len(given),
        retried=sum(answer.attempts > 1 for answer in given),
        resumed=len(given) - len(missing),
        labels_differing=differing,
        scores=scores,
        latency_ms=latency,
        board_score=_board_score(score_rule(target, dataset.header.task), scores, latency, image),
        answers=str(answers),
        seconds=round(time.perf_counter() - begin_s, 3),
        provenance=provenance.collect(),
    )


def _answer_all(
    session: Session, dataset: Dataset, rows: list[int], answers: Path, options: LineOptions, scores: int | None
) -> dict[int, SegmentAnswer]:
    """The board's answers to these rows; each is added to the file as it comes."""
    if not rows:
        return {}
    by_row: dict[int, SegmentAnswer] = {}
    with open_line(session.port, options.timeout_s) as line:
        answers_file.create(answers, session)
        for row in track(rows, "send segments"):
            by_row[row] = _answer(line, dataset, row, options, answers, scores)
            answers_file.append(answers, by_row[row])
    return by_row


def _answer(
    line: Serial, dataset: Dataset, row: int, options: LineOptions, answers: Path, scores: int | None
) -> SegmentAnswer:
    name = dataset.names(np.array([row]))[0]
    exchanged = exchange(line, np.asarray(dataset.samples[row], np.float32), options, scores)
    if exchanged is None:
        raise FirmwareError(
            f"a board answers each segment within {options.timeout_s:g} s",
            f"no answer to {name} (row {row}) from {line.port} in {options.retries + 1} attempts",
            f"Check power, cable and program; the answers until then are in {answers}, and --resume goes on from them.",
        )
    answer, attempts = exchanged
    if answer.status != protocol.Status.ANSWERED:
        raise FirmwareError(
            "a model's scores are finite",
            f"status {answer.status.name} for {name} (row {row}) from {line.port}",
            "Verify the model that the image was built from.",
        )
    return SegmentAnswer(row=row, name=name, label=answer.label, latency_ms=answer.latency_ms, attempts=attempts)


def _session(port: str, dataset: Dataset, image: Path | None, *, emulated: bool) -> Session:
    behind = serve.emulated_behind(port)
    return Session(
        port=port,
        emulator=behind.emulator if behind else _emulator(port, emulated=emulated),
        image_sha256=files.sha256_file(image) if image else behind.image_sha256 if behind else None,
        dataset_sha256=dataset.header.content_sha256,
    )


def _emulator(port: str, *, emulated: bool) -> str | None:
    """What answers in place of a board, in words; None for a board."""
    if serve.is_pseudo_terminal(port):
        return "a pseudo-terminal"
    return "as the caller said" if emulated else None


def _model_fields(model: ModelFile | None) -> dict[str, str | None]:
    if model is None:
        return {"model": None, "model_sha256": None, "form": None}
    return {"model": model.path.name, "model_sha256": files.sha256_file(model.path), "form": model.form}


def _rows(dataset: Dataset, subjects: score.Subjects | None, model: ModelFile | None) -> NDArray[np.int64]:
    if model:
        subjects = score.default_subjects(model, dataset) if subjects is None else subjects
        names = score.subject_names(subjects, model, dataset)
    elif isinstance(subjects, list):
        names = subjects
    elif subjects in {None, "all"}:
        names = dataset.header.subjects
    else:
        raise DatasetError(
            f"{subjects!r} is a part of a candidate's split",
            "no candidate",
            "Give one with --model, or name the subjects.",
        )
    rows = dataset.rows_of(names)
    if not rows.size:
        raise DatasetError("there must be a labelled segment", f"none among {len(names)} subjects", "Name others.")
    return rows


def _scores(dataset: Dataset, rows: NDArray[np.int64], given: list[SegmentAnswer], target: Target | None) -> Scores:
    """The scores of labels alone: those of margins of 1 and -1, without the AUC, which needs true margins."""
    margin = np.array([1.0 if answer.label else -1.0 for answer in given], np.float32)  # (n,)
    return score_rows(margin, dataset, rows, target).model_copy(update={"auc": None})


def _latency(given: list[SegmentAnswer], session: Session) -> Latency:
    times_ms = np.array([answer.latency_ms for answer in given])  # (n,)
    if session.emulator:
        clock = f"the emulator's clock, no board's: {session.emulator}"
        return timing.summary(times_ms, Evidence.EMULATED, clock, warm_ups=0)
    return timing.summary(times_ms, Evidence.MEASURED, f"the board at {session.port}", warm_ups=0)


def _board_score(rule: ScoreRule | None, scores: Scores, latency: Latency, image: Path | None) -> BoardScore | None:
    if rule is None or image is None or latency.evidence != Evidence.MEASURED:
        return None
    return metrics.on_board(rule, scores, latency.mean_ms, image.stat().st_size / KIB)


def _compare_labels(given: list[SegmentAnswer], expected: NDArray[np.bool_] | None) -> tuple[Gate, list[str] | None]:
    """Whether the board's labels are the model's, (n,), and the names of the segments where they differ."""
    if expected is None:
        return not_run("labels_differing", "no model was given"), None
    differing = [answer.name for answer, af in zip(given, expected.tolist(), strict=True) if bool(answer.label) != af]
    return at_most("labels_differing", len(differing), 0, "segments", ", ".join(differing[:_NAMES_SHOWN])), differing


def _expected(model: ModelFile, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether the model calls these rows AF; an int8 model is run in the reference and not in onnxruntime."""
    if form_of(model.classifier.proto) != "int8":
        return margins(model.classifier, dataset, rows) >= 0
    graph = reference.load(model.classifier.proto)
    scores = reference.run(graph, dataset.samples[rows], [graph.output_name])[graph.output_name].reshape(len(rows), 2)
    called_af: NDArray[np.bool_] = scores[:, 1] >= scores[:, 0]
    return called_af
