"""Measure: the host's side of a board on a serial line, real or emulated: labels, latency as the board says, score.

One segment at a time: a frame out, an answer back. A segment without an answer is sent again a bounded number of times,
each time after a silence in which the board drops what it had of the frame. Every answer is written to a file of lines
as it comes, from which `resume` goes on. A board gives labels and no margins, so what needs margins (AUC) is absent.

Latency from a pseudo-terminal, or from behind a link that `ecm-edge firmware serve` made, is EMULATED: it is the time
of an emulator and no board's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import metrics
from ecm_edge.base import files, provenance
from ecm_edge.base.errors import DatasetError, FirmwareError
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
    verdict_of_what_ran,
)
from ecm_edge.base.tables import track
from ecm_edge.evaluate import answers as answers_file
from ecm_edge.evaluate import score
from ecm_edge.evaluate.answers import SegmentAnswer, Session
from ecm_edge.evaluate.ask import Options, ask, open_line
from ecm_edge.firmware import protocol, serve
from ecm_edge.firmware.generate import form_of
from ecm_edge.forms import reference
from ecm_edge.forms.model_file import margins, open_model
from ecm_edge.metrics import BoardScore, Scores
from ecm_edge.metrics.rows import score_rows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from serial import Serial

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.targets import Target

_FEW = 5  # names in a message


class MeasureRecord(Record):
    """What a board answered, and what that scores.

    The verdict is on the labels alone: FAIL where the board does not answer as the model does. `labels_differing` are
    those segments, None where no model was given, and the verdict NOT RUN. `emulator` says what answered where it was
    no board. `board_score` needs a rule, the size of the image and a measured latency. `retried` segments needed more
    than one attempt; `resumed` ones were answered before.
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
    options: Options | None = None,
) -> MeasureRecord:
    """Send segments to the board at `port`, and score its labels.

    Args:
        port: a serial device, or the link of `ecm-edge firmware serve`.
        dataset: the segments; unlabelled ones are left out.
        answers: the file that keeps every answer as it comes.
        subjects: as for `score_model`: by default the test subjects of `model`, all of them without one.
        model: the candidate or ONNX file that the image was made from; the board's labels are compared with its.
        form: which form of a candidate.
        target: gives beta, the limit of G and the board's score.
        image: what runs on the board, for its size.
        emulated: that no board is there; found out without it for whatever `serve` made and every pseudo-terminal.
        resume: go on with the answers that are in the file.
        options: time-out and retries.

    Raises:
        FirmwareError: no such port, or one in use; a board that does not answer, naming the segment; answers that are
            of another data set, port or board, or there already without `resume`.
        DatasetError: no labelled segment, an unknown subject, or a part of a split without a candidate.
        CandidateError, ModelError: as for `score_model`.
    """
    begin_s = time.perf_counter()
    opened = open_model(model, form) if model else None
    rows = _rows(dataset, subjects, opened)
    expected = _expected(opened, dataset, rows) if opened else None
    session = _session(port, dataset, image, emulated=emulated)
    known = answers_file.known(answers, session, resume=resume)
    resumed = len(known.keys() & set(rows.tolist()))
    _ask_all(session, dataset, rows, known, answers, options or Options())
    given = [known[row] for row in rows.tolist()]
    differing = _differing(given, expected) if expected is not None else None
    gates = [_same_labels(differing)]
    scores, latency = _scores(dataset, rows, given, target), _latency(given, session)
    return MeasureRecord(
        **dict(session),
        **_model_fields(opened),
        verdict=verdict_of_what_ran(gates),
        gates=gates,
        target=target.name if target else None,
        image_bytes=image.stat().st_size if image else None,
        dataset=dataset.folder.name,
        synthetic=dataset.header.synthetic or (opened is not None and score.is_synthetic(opened)),
        blank=dataset.header.blank,
        segments=len(given),
        retried=sum(answer.attempts > 1 for answer in given),
        resumed=resumed,
        labels_differing=differing,
        scores=scores,
        latency_ms=latency,
        board_score=_board_score(target, scores, latency, image),
        answers=str(answers),
        seconds=round(time.perf_counter() - begin_s, 3),
        provenance=provenance.collect(),
    )


def _ask_all(
    session: Session,
    dataset: Dataset,
    rows: NDArray[np.int64],
    known: dict[int, SegmentAnswer],
    answers: Path,
    options: Options,
) -> None:
    """Ask for every row that is not in `known`, which gets its answer, as does the file."""
    missing = [row for row in rows.tolist() if row not in known]
    if not missing:
        return
    with open_line(session.port, options.timeout_s) as line:
        answers_file.begin(answers, session)
        for row in track(missing, "asking the board"):
            known[row] = _answer(line, dataset, row, options, answers)
            answers_file.keep(answers, known[row])


def _answer(line: Serial, dataset: Dataset, row: int, options: Options, answers: Path) -> SegmentAnswer:
    name = dataset.names(np.array([row]))[0]
    found = ask(line, np.asarray(dataset.samples[row], np.float32), options)
    if found is None:
        raise FirmwareError(
            f"a board answers each segment within {options.timeout_s:g} s",
            f"no answer to {name} (row {row}) from {line.port} in {options.retries + 1} attempts",
            f"Check power, cable and program; the answers until then are in {answers}, and --resume goes on from them.",
        )
    answer, attempts = found
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
    """What stands in for a board, in words; None for a board."""
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
    """The scores of labels alone: as those of margins of 1 and -1, without the AUC, which a label has none of."""
    margin = np.array([1.0 if answer.label else -1.0 for answer in given], np.float32)  # (n,)
    return score_rows(margin, dataset, rows, target).model_copy(update={"auc": None})


def _latency(given: list[SegmentAnswer], session: Session) -> Latency:
    times_ms = np.array([answer.latency_ms for answer in given])  # (n,)
    clock = (
        f"the emulator's clock, no board's: {session.emulator}" if session.emulator else f"the board at {session.port}"
    )
    return Latency(
        evidence=Evidence.EMULATED if session.emulator else Evidence.MEASURED,
        source=clock,
        mean_ms=float(times_ms.mean()),
        median_ms=float(np.median(times_ms)),
        p95_ms=float(np.quantile(times_ms, 0.95)),
        min_ms=float(times_ms.min()),
        max_ms=float(times_ms.max()),
        std_ms=float(times_ms.std()),
        runs=times_ms.size,
        warm_ups=0,
    )


def _board_score(target: Target | None, scores: Scores, latency: Latency, image: Path | None) -> BoardScore | None:
    if target is None or target.score is None or image is None or latency.evidence != Evidence.MEASURED:
        return None
    size_kib = image.stat().st_size / 1024
    return metrics.board_score(target.score, scores.fbeta_mean.value, scores.g.value, latency.mean_ms, size_kib)


def _expected(model: ModelFile, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether the model itself calls these rows AF; of an int8 model the judge is the reference, not a runtime."""
    if form_of(model.classifier.proto) != "int8":
        return margins(model.classifier, dataset, rows) >= 0
    graph = reference.load(model.classifier.proto)
    scores = reference.run(graph, dataset.samples[rows], [graph.output_name])[graph.output_name].reshape(len(rows), 2)
    called: NDArray[np.bool_] = scores[:, 1] >= scores[:, 0]
    return called


def _same_labels(differing: list[str] | None) -> Gate:
    if differing is None:
        return not_run("labels_differing", "no model was given")
    return at_most("labels_differing", len(differing), 0, "segments", ", ".join(differing[:_FEW]))


def _differing(given: list[SegmentAnswer], expected: NDArray[np.bool_]) -> list[str]:
    """The names of the segments to which the model gives the other label, `expected` (n,)."""
    return [answer.name for answer, label in zip(given, expected.tolist(), strict=True) if bool(answer.label) != label]
