"""Measure: the host's side of a board on a serial line, real or emulated: labels, latency as the board says, score.

One segment at a time: a frame out, an answer back. A segment without an answer is sent again a bounded number of times,
each time after a silence in which the board drops what it had of the frame. Every answer is written to a file of lines
as it comes, from which `resume` goes on. A board gives labels and no margins, so what needs margins (AUC) is absent.

Latency from a pseudo-terminal, or from behind a link that `ecm-edge firmware serve` made, is EMULATED: it is the time
of an emulator and no board's.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, ValidationError

from ecm_edge import files, metrics, provenance, score
from ecm_edge.errors import DatasetError, FirmwareError
from ecm_edge.firmware import protocol, serve
from ecm_edge.metrics import BoardScore, Scores
from ecm_edge.model_file import margins, open_model
from ecm_edge.records import Evidence, Form, Latency, Provenance, Record, first_fault
from ecm_edge.tables import track

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from serial import Serial

    from ecm_edge.dataset import Dataset
    from ecm_edge.model_file import ModelFile
    from ecm_edge.targets import Target

RETRIES = 3
TIMEOUT_S = 5.0
"""How long a board may take from the end of a frame to its answer."""

_SILENCE_S = 1.2 * protocol.FRAME_GAP_S


class Session(Record):
    """What was asked of whom. `emulator` says what answered where it was no board."""

    port: str
    emulator: str | None
    image_sha256: str | None
    dataset_sha256: str


class Header(Session):
    """The first line of a file of answers."""

    format: Literal["ecm-edge-answers"] = "ecm-edge-answers"
    version: Literal[1] = 1


class SegmentAnswer(Record):
    """One more line: the board's answer to one row of the data set, and how often it had to be asked."""

    row: int = Field(ge=0)
    name: str
    label: int = Field(ge=0, le=1)
    latency_ms: float = Field(ge=0)
    attempts: int = Field(ge=1)


class MeasureRecord(Session):
    """What a board answered, and what that scores.

    `labels_differing` are the segments whose label is not that of the model, None where no model was given.
    `board_score` needs a rule, the size of the image and a measured latency. `retried` segments needed more than one
    attempt; `resumed` ones were answered before.
    """

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


@dataclass(frozen=True)
class Options:
    """How to talk to the board; `retries` is how often a segment is sent again."""

    retries: int = RETRIES
    timeout_s: float = TIMEOUT_S


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
    expected = margins(opened.classifier, dataset, rows) >= 0 if opened else None
    session = _session(port, dataset, image, emulated=emulated)
    known = _known(answers, session, resume=resume)
    resumed = len(known.keys() & set(rows.tolist()))
    _ask_all(session, dataset, rows, known, answers, options or Options())
    given = [known[row] for row in rows.tolist()]
    scores, latency = _scores(dataset, rows, given, target), _latency(given, session)
    return MeasureRecord(
        **dict(session),
        **_model_fields(opened),
        target=target.name if target else None,
        image_bytes=image.stat().st_size if image else None,
        dataset=dataset.folder.name,
        synthetic=dataset.header.synthetic or (opened is not None and score.is_synthetic(opened)),
        blank=dataset.header.blank,
        segments=len(given),
        retried=sum(answer.attempts > 1 for answer in given),
        resumed=resumed,
        labels_differing=_differing(given, expected) if expected is not None else None,
        scores=scores,
        latency_ms=latency,
        board_score=_board_score(target, scores, latency, image),
        answers=str(answers),
        seconds=round(time.perf_counter() - begin_s, 3),
        provenance=provenance.collect(),
    )


def ask(line: Serial, samples: NDArray[np.float32], options: Options) -> tuple[protocol.Answer, int] | None:
    """The board's answer to one segment (T,) and the number of attempts; None if none of them brought one.

    An answer that says that a sample is not finite, when all are, comes of a frame that the line changed: it counts as
    none. After a retry the line is watched until it is quiet, so that no late answer is taken for the next segment's.

    Raises:
        FirmwareError: the line is gone.
    """
    frame, finite = protocol.encode_segment(samples), bool(np.isfinite(samples).all())
    for attempt in range(1, options.retries + 2):
        answer = _exchange(line, frame, options.timeout_s)
        garbled = answer is not None and answer.status == protocol.Status.SAMPLE_NOT_FINITE and finite
        if attempt > 1 or answer is None or garbled:
            _settle(line, _SILENCE_S)
        if answer is not None and not garbled:
            return answer, attempt
    return None


@contextmanager
def open_line(port: str, timeout_s: float) -> Iterator[Serial]:
    """The serial device at `port`, 115200 8N1, for this process alone; its input is empty.

    Raises:
        FirmwareError: it cannot be opened, or goes away while the block runs.
    """
    import serial

    try:
        with serial.Serial(port, protocol.BAUD, timeout=timeout_s, write_timeout=timeout_s, exclusive=True) as line:
            line.reset_input_buffer()
            yield line
    except (serial.SerialException, OSError) as problem:
        raise FirmwareError(
            "a board is on a serial device that can be opened and stays there",
            f"{problem} at {port}",
            "Check the path, its rights (the group dialout), the cable, and that no other program has it open.",
        ) from None


def _exchange(line: Serial, frame: bytes, timeout_s: float) -> protocol.Answer | None:
    """Send a frame and wait for its answer; None if it does not come in time, or the board takes no more bytes."""
    import serial

    try:
        line.write(frame)
    except serial.SerialTimeoutException:
        line.reset_output_buffer()
        return None
    received, deadline = b"", time.monotonic() + protocol.transfer_s(len(frame)) + timeout_s
    while (answer := protocol.find_answer(received)) is None:
        line.timeout = deadline - time.monotonic()
        if line.timeout <= 0 or not (more := line.read(max(1, line.in_waiting))):
            break
        received += more
    return answer


def _settle(line: Serial, silence_s: float) -> None:
    """Discard what comes until nothing has come for so long; a line that is never quiet for ten times that."""
    deadline = time.monotonic() + 10 * silence_s
    line.timeout = silence_s
    while line.read(max(1, line.in_waiting)) and time.monotonic() < deadline:
        pass


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
        _begin(answers, session)
        for row in track(missing, "asking the board"):
            known[row] = _answer(line, dataset, row, options, answers)
            _keep(answers, known[row])


def _keep(answers: Path, answer: SegmentAnswer) -> None:
    """Write one more answer to the file, so that it survives whatever comes next."""
    try:
        with answers.open("a", encoding="utf-8") as stream:
            stream.write(answer.model_dump_json() + "\n")
    except OSError as problem:
        raise files.cannot_write(answers, problem) from problem


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


def _begin(answers: Path, session: Session) -> None:
    """A new file of answers with its first line, unless there is one already."""
    try:
        with answers.open("x", encoding="utf-8") as stream:
            stream.write(Header(**dict(session)).model_dump_json() + "\n")
    except FileExistsError:
        return
    except OSError as problem:
        raise files.cannot_write(answers, problem) from problem


def _known(answers: Path, session: Session, *, resume: bool) -> dict[int, SegmentAnswer]:
    """The answers by row that are in the file, if there is one; a last line that was cut off is taken away."""
    if not answers.exists():
        return {}
    if not resume:
        raise FirmwareError(
            "answers go to a new file", f"{answers} exists", "Go on from it with --resume, or name another one with -o."
        )
    head, *lines = answers.read_bytes().splitlines(keepends=True) or [b""]
    whole = [line for line in lines if line.endswith(b"\n")]
    try:
        before = Header.model_validate_json(head)
        given = [SegmentAnswer.model_validate_json(line) for line in whole]
    except ValidationError as problem:
        found = f"{first_fault(problem)} of {answers}"
        raise FirmwareError("a file of answers has one record a line", found, "Begin a new one with -o.") from None
    _check_same(answers, before, Header(**dict(session)))
    if len(whole) < len(lines):
        files.write_atomic(answers, b"".join([head, *whole]))
    return {answer.row: answer for answer in given}


def _check_same(answers: Path, before: Header, now: Header) -> None:
    """The answers in a file go on with the same port, board and data; `serve` may have another link each time."""
    differing = [
        name
        for name in Header.model_fields
        if getattr(before, name) != getattr(now, name) and not (name == "port" and now.emulator)
    ]
    if differing:
        found = f"another {', '.join(differing)} in {answers}"
        raise FirmwareError("answers go on with the same board and data", found, "Name another file with -o.")


def _scores(dataset: Dataset, rows: NDArray[np.int64], given: list[SegmentAnswer], target: Target | None) -> Scores:
    """The scores of labels alone: as those of margins of 1 and -1, without the AUC, which a label has none of."""
    margin = np.array([1.0 if answer.label else -1.0 for answer in given], np.float32)  # (n,)
    return score.score_rows(margin, dataset, rows, target).model_copy(update={"auc": None})


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


def _differing(given: list[SegmentAnswer], expected: NDArray[np.bool_]) -> list[str]:
    """The names of the segments to which the model gives the other label, `expected` (n,)."""
    return [answer.name for answer, label in zip(given, expected.tolist(), strict=True) if bool(answer.label) != label]
