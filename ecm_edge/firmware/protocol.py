"""The contest's serial protocol, host's side, as pure functions; firmware_check/include/ecm_protocol.h is the board's.

    host to board   AA 55, count of samples as uint16, so many float32     all little-endian
    board to host   55 AA, status, label 0 or 1, latency in ms as float32

T samples a segment. `status` is 0 in the contest's answers; the other values are our firmware's. Where a model does not
fit that protocol, or its board's target does not name it, the values of its input come in the same frame, the count
modulo 65,536, and it answers with S scores:

    board to host   55 AA, status, label as uint16, latency in ms as float32, S scores as float32
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from ecm_edge.base.errors import FirmwareError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BAUD = 115200
"""8 data bits, no parity, 1 stop bit, no flow control."""

FRAME_GAP_S = 0.5
"""A board drops a frame that breaks off when the line has been quiet so long: ECM_FRAME_GAP_MS."""

ANSWER_BYTES = 8
_SCORES_AT = 9  # where they begin in an answer that has them
MOST_SAMPLES = 0xFFFF

_TO_BOARD = b"\xaa\x55"
_TO_HOST = b"\x55\xaa"
_BITS_PER_BYTE = 10  # 8N1: a start bit and a stop bit around eight


class Status(IntEnum):
    """The third byte of an answer; all but ANSWERED come with label 0."""

    ANSWERED = 0
    SAMPLE_NOT_FINITE = 1
    SCORE_NOT_FINITE = 2


@dataclass(frozen=True)
class Answer:
    """What a board answers to one segment: label 0 or 1; the latency of the inference alone, >= 0."""

    status: Status
    label: int
    latency_ms: float


def encode_segment(samples: NDArray[np.float32]) -> bytes:
    """The frame of one segment (T,), T from 1 to 65,535; NaN and infinite samples go as they are.

    Raises:
        FirmwareError: another shape, or a count that the protocol cannot hold.

    >>> import numpy as np
    >>> encode_segment(np.array([1.0, -2.0], np.float32)).hex(" ", 2)
    'aa55 0200 0000 803f 0000 00c0'
    """
    if samples.ndim != 1 or not 1 <= samples.size <= MOST_SAMPLES:
        raise FirmwareError(
            f"a frame holds one segment of 1 to {MOST_SAMPLES:,} samples",
            f"an array of shape {samples.shape}",
            "Send segments one by one.",
        )
    return _TO_BOARD + struct.pack("<H", samples.size) + samples.astype("<f4").tobytes()


def encode_answer(answer: Answer) -> bytes:
    """The frame of an answer, as a board sends it.

    >>> encode_answer(Answer(Status.ANSWERED, 1, 0.5)).hex(" ")
    '55 aa 00 01 00 00 00 3f'
    """
    return _TO_HOST + struct.pack("<BBf", answer.status, answer.label, answer.latency_ms)


def decode_answer(frame: bytes) -> Answer | None:
    """The answer that these eight bytes are; None if they are none: another head, status, label or latency.

    >>> decode_answer(bytes.fromhex("55aa0001 0000003f"))
    Answer(status=<Status.ANSWERED: 0>, label=1, latency_ms=0.5)
    >>> decode_answer(bytes.fromhex("55aa0002 0000003f"))
    """
    if len(frame) != ANSWER_BYTES or not frame.startswith(_TO_HOST):
        return None
    status, label, latency_ms = struct.unpack("<BBf", frame[len(_TO_HOST) :])
    if status not in set(Status) or label not in {0, 1} or not math.isfinite(latency_ms) or latency_ms < 0:
        return None
    return Answer(Status(status), label, latency_ms)


def encode_input(values: NDArray[np.float32]) -> bytes:
    """The frame of an input of any shape, the last axis fastest."""
    return _TO_BOARD + struct.pack("<H", values.size % (MOST_SAMPLES + 1)) + values.astype("<f4").tobytes()


@dataclass(frozen=True)
class ScoredAnswer(Answer):
    """An answer with S scores: label from 0 to S - 1, or 0 or 1 of one score; latency >= 0."""

    scores: tuple[float, ...]


def encode_scored(answer: ScoredAnswer) -> bytes:
    """The frame of an answer with scores, as a board sends it.

    >>> encode_scored(ScoredAnswer(Status.ANSWERED, 2, 0.5, (0.0, 0.0, 1.0))).hex(" ", 2)
    '55aa 0002 0000 0000 3f00 0000 0000 0000 0000 0080 3f'
    """
    layout = struct.Struct(f"<BHf{len(answer.scores)}f")
    return _TO_HOST + layout.pack(answer.status, answer.label, answer.latency_ms, *answer.scores)


def decode_scored(frame: bytes, scores: int) -> ScoredAnswer | None:
    """The answer with so many scores that these bytes are; None if they are none.

    >>> decode_scored(bytes.fromhex("55aa00 0100 0000003f 0000803f"), 1)
    ScoredAnswer(status=<Status.ANSWERED: 0>, label=1, latency_ms=0.5, scores=(1.0,))
    """
    layout = struct.Struct(f"<BHf{scores}f")
    if len(frame) != len(_TO_HOST) + layout.size or not frame.startswith(_TO_HOST):
        return None
    status, label, latency_ms, *values = layout.unpack_from(frame, len(_TO_HOST))
    if status not in set(Status) or label >= max(2, scores) or not math.isfinite(latency_ms) or latency_ms < 0:
        return None
    return ScoredAnswer(Status(status), label, latency_ms, tuple(values))


def find_answer(received: bytes, scores: int | None = None) -> Answer | None:
    """The first answer within what a line brought, noise around it or not; None if there is none yet.

    With `scores` it is one with so many.

    >>> find_answer(b"UU" + encode_answer(Answer(Status.ANSWERED, 0, 0.25)) + b"..")
    Answer(status=<Status.ANSWERED: 0>, label=0, latency_ms=0.25)
    """
    start = received.find(_TO_HOST)
    while start >= 0:
        answer = (
            decode_answer(received[start : start + ANSWER_BYTES])
            if scores is None
            else decode_scored(received[start : start + _SCORES_AT + 4 * scores], scores)
        )
        if answer:
            return answer
        start = received.find(_TO_HOST, start + 1)
    return None


def transfer_s(count: int) -> float:
    """How long so many bytes take on the line."""
    return count * _BITS_PER_BYTE / BAUD
