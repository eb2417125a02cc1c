"""The file that keeps a board's answers as they come, one a line, so that no interruption loses any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from ecm_edge.base import files
from ecm_edge.base.errors import FirmwareError
from ecm_edge.base.records import Record, first_fault

if TYPE_CHECKING:
    from pathlib import Path


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


def begin(answers: Path, session: Session) -> None:
    """A new file of answers with its first line, unless there is one already."""
    try:
        with answers.open("x", encoding="utf-8") as stream:
            stream.write(Header(**dict(session)).model_dump_json() + "\n")
    except FileExistsError:
        return
    except OSError as problem:
        raise files.cannot_write(answers, problem) from problem


def known(answers: Path, session: Session, *, resume: bool) -> dict[int, SegmentAnswer]:
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


def keep(answers: Path, answer: SegmentAnswer) -> None:
    """Write one more answer to the file, so that it survives whatever comes next."""
    try:
        with answers.open("a", encoding="utf-8") as stream:
            stream.write(answer.model_dump_json() + "\n")
    except OSError as problem:
        raise files.cannot_write(answers, problem) from problem
