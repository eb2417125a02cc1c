"""The exchange of frames with a board on a serial line: a segment out, its answer back, and again if none comes."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import FirmwareError
from ecm_edge.firmware import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from serial import Serial

RETRIES = 3
TIMEOUT_S = 5.0
"""How long a board may take from the end of a frame to its answer."""

_SILENCE_S = 1.2 * protocol.FRAME_GAP_S


@dataclass(frozen=True)
class LineOptions:
    """`retries` is how often a segment is sent again, `timeout_s` how long each of its answers may take."""

    retries: int = RETRIES
    timeout_s: float = TIMEOUT_S


def exchange(
    line: Serial, samples: NDArray[np.float32], options: LineOptions, scores: int | None = None
) -> tuple[protocol.Answer, int] | None:
    """The board's answer to one segment (T,) and the number of attempts; None if no attempt brought an answer.

    Where all samples are finite and the answer has the status that one is not, the line has changed the frame: the
    answer does not count. After a retry, everything is read until the line is quiet, so that a late answer is not taken
    for that to the next segment. `scores` is how many an answer has; None in the contest's protocol.

    Raises:
        FirmwareError: the line is gone.
    """
    frame, finite = protocol.encode_segment(samples), bool(np.isfinite(samples).all())
    for attempt in range(1, options.retries + 2):
        answer = _send(line, frame, options.timeout_s, scores)
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
            f"{_reason(problem, port)} at {port}",
            "Check the path, its rights (the group dialout), the cable, and that no other program has it open. "
            f"{_ports()} Without a board: `ecm-edge firmware serve`.",
        ) from None


def _reason(problem: OSError, port: str) -> str:
    """Why a port does not open, in the system's words."""
    if isinstance(problem.strerror, str) and problem.errno:
        return os.strerror(problem.errno)
    return "no serial device, but a file," if Path(port).is_file() else str(problem)


def _ports() -> str:
    """A sentence on the serial devices of this machine."""
    from serial.tools.list_ports import comports

    there = ", ".join(port.device for port in comports())
    return f"Serial devices here: {there}." if there else "This machine shows no serial device."


def _send(line: Serial, frame: bytes, timeout_s: float, scores: int | None) -> protocol.Answer | None:
    """Send a frame and wait for its answer; None if it does not come in time, or the board takes no more bytes."""
    import serial

    try:
        line.write(frame)
    except serial.SerialTimeoutException:
        line.reset_output_buffer()
        return None
    received, deadline = b"", time.monotonic() + protocol.transfer_s(len(frame)) + timeout_s
    while (answer := protocol.find_answer(received, scores)) is None:
        line.timeout = max(0.0, deadline - time.monotonic())  # pyserial takes none below 0
        if not line.timeout or not (piece := line.read(max(1, line.in_waiting))):
            break
        received += piece
    return answer


def _settle(line: Serial, silence_s: float) -> None:
    """Discard what comes, until nothing has come for `silence_s`; give up after ten times that."""
    deadline = time.monotonic() + 10 * silence_s
    line.timeout = silence_s
    while line.read(max(1, line.in_waiting)) and time.monotonic() < deadline:
        pass
