"""The file of a board's answers: one line is added for each as it comes, so that no interruption loses any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from ecm_edge.base import files
from ecm_edge.base.errors import FirmwareError
from ecm_edge.base.records import Record, first_fault

if TYPE_CHECKING:
    from pathlib import Path


class Session(Record):
    """Which board, or which emulator in its place, answers which data set; `emulator` is None for a board."""

    port: str
    emulator: str | None
    image_sha256: str | None
    dataset_sha256: str


class Header(Session):
    """The first line of a file of answers."""

    format: Literal["ecm-edge-answers"] = "ecm-edge-answers"
    version: Literal[1] = 1


class SegmentAnswer(Record):
    """Each further line: the board's answer to one row of the data set, and how often that row was sent."""

    row: int = Field(ge=0)
    name: str
    label: int = Field(ge=0, le=1)
    latency_ms: float = Field(ge=0)
    attempts: int = Field(ge=1)


def create(answers: Path, session: Session) -> None:
    """Write a new file of answers with its first line; a file that is there stays as it is."""
    try:
        with answers.open("x", encoding="utf-8") as stream:
            stream.write(Header(**dict(session)).model_dump_json() + "\n")
    except FileExistsError:
        return
    except OSError as problem:
        raise files.cannot_write(answers, problem) from problem


def load(answers: Path, session: Session, *, resume: bool) -> dict[int, SegmentAnswer]:
    """The answers in the file by row, none without a file; a last line that was cut off is removed from it.

    Raises:
        FirmwareError: there is a file and `resume` is not set, or it is damaged or of another session.
    """
    if not answers.exists():
        return {}
    if not resume:
        raise FirmwareError(
            "answers go to a new file", f"{answers} exists", "Go on from it with --resume, or name another one with -o."
        )
    head, *lines = answers.read_bytes().splitlines(keepends=True) or [b""]
    whole = [line for line in lines if line.endswith(b"\n")]
    try:
        header = Header.model_validate_json(head)
        segments = [SegmentAnswer.model_validate_json(line) for line in whole]
    except ValidationError as problem:
        fault = f"{first_fault(problem)} in {answers}"
        raise FirmwareError("a file of answers has one record a line", fault, "Begin a new one with -o.") from None
    _check_same(answers, header, Header(**dict(session)))
    if len(whole) < len(lines):
        files.write_atomic(answers, b"".join([head, *whole]))
    return {answer.row: answer for answer in segments}


def _check_same(answers: Path, stored: Header, current: Header) -> None:
    """The answers in a file go on with the same port, board and data; the port of an emulator may change."""
    differing = [
        name
        for name in Header.model_fields
        if getattr(stored, name) != getattr(current, name) and not (name == "port" and current.emulator)
    ]
    if differing:
        others = f"another {', '.join(differing)} in {answers}"
        raise FirmwareError("answers go on with the same board and data", others, "Name another file with -o.")


def append(answers: Path, answer: SegmentAnswer) -> None:
    """Add one answer to the file."""
    try:
        with answers.open("a", encoding="utf-8") as stream:
            stream.write(answer.model_dump_json() + "\n")
    except OSError as problem:
        raise files.cannot_write(answers, problem) from problem
