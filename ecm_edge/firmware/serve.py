"""Serve: an image run by the emulator, its serial line a pseudo-terminal on which any program finds a board.

A relay carries bytes between the pseudo-terminal and the image. Beside the link to it lies a small file that says that
no board is there: `ecm-edge measure` reads it and never calls such a latency measured.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import threading
import time
import tty
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import tasks
from ecm_edge.base import files
from ecm_edge.base.errors import FirmwareError, OutputError
from ecm_edge.base.names import path_meant
from ecm_edge.base.records import Record
from ecm_edge.firmware import protocol
from ecm_edge.targets import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecm_edge.targets import Target

_START_S = 30.0
_END_S = 5.0
_LOOK_S = 0.1
_RELAY_BYTES = 4096
_SELF_TEST_FAILED = b"self-test failed\n"  # programs/serial.c, where there is no standard error
_PSEUDO_TERMINALS = Path("/dev/pts")


class Emulated(Record):
    """`<link>.json`: what is behind a pseudo-terminal that looks like a board."""

    image: str
    image_sha256: str
    target: str
    emulator: str


class ServeRecord(Emulated):
    """What `ecm-edge firmware serve` says when the board answers: the port, and what lies behind that link."""

    port: str
    device: str


@dataclass(frozen=True)
class Board:
    """A running image. `port` is the path that a host's program opens; `device` is what lies behind that link."""

    port: Path
    device: str
    emulated: Emulated
    process: subprocess.Popen[bytes]
    errors: Path

    @property
    def record(self) -> ServeRecord:
        """The board in words."""
        return ServeRecord(**self.emulated.model_dump(), port=str(self.port), device=self.device)

    def wait(self) -> None:
        """Block until the emulator ends by itself, which it should not.

        Raises:
            FirmwareError: it did.
        """
        self.process.wait()
        raise _ended(self)


@contextmanager
def serve(
    image: Path,
    target: Target,
    *,
    link: Path | None = None,
    samples: int = tasks.default().samples_per_segment,
    scores: int | None = None,
) -> Iterator[Board]:
    """Run the serial program `image` under the emulator of `target` until the block ends; no process stays behind.

    What runs is an executable copy in a temporary folder: an image that came through git may have lost that right.

    Args:
        image: the linked image; its port must be that of the emulated board.
        target: names the emulator; without one the image runs as it is.
        link: where the host's end is to appear, and `<link>.json` beside it; in a temporary folder by default.
        samples: of a segment, for the question that waits until the board answers.
        scores: in its answers; None of the contest's protocol.

    Raises:
        FirmwareError: no image, no emulator, or an image that ends or does not answer.
        OutputError: `link` exists or cannot be made.
    """
    emulated, words = _describe(image, target), _command(target)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(files.scratch_folder()))
        copy = Path(shutil.copyfile(image, folder / image.name))
        copy.chmod(0o755)
        relay = stack.enter_context(_relay())
        port = stack.enter_context(_linked(link or folder / "board", relay.device, emulated))
        errors = folder / "stderr"
        process = stack.enter_context(_process([*words, str(copy)], relay.board_end, errors))
        board = Board(port, relay.device, emulated, process, errors)
        _wait_until_it_answers(board, relay.host_end, samples, scores)
        yield board


def emulated_behind(port: str) -> Emulated | None:
    """What `serve` left beside this link, or beside the link to this device; None if it left nothing.

    Raises:
        FirmwareError: a file that cannot be read as one of those.
    """
    beside = Path(f"{port}.json")
    return Emulated.load(beside, FirmwareError) if beside.is_file() else None


def is_pseudo_terminal(port: str) -> bool:
    """Whether a program and no wire is at the other end of this device."""
    return Path(port).resolve().parent == _PSEUDO_TERMINALS


def _describe(image: Path, target: Target) -> Emulated:
    if not image.is_file():
        hint = f"{path_meant(image)}Build it first: `ecm-edge firmware build`."
        raise FirmwareError("an image is a file", f"none at {image}", hint)
    emulator = target.firmware.emulator if target.firmware else None
    return Emulated(
        image=str(image),
        image_sha256=files.sha256_file(image),
        target=target.name,
        emulator=emulator.command[0] if emulator else "none: this host",
    )


def _command(target: Target) -> list[str]:
    """The words before an image's path that run it, its standard input and output being the serial line.

    Raises:
        FirmwareError: a target without firmware, or an emulator that is not installed.
        TrustError: an emulator's command from a file that is not trusted.
    """
    if target.firmware is None:
        raise FirmwareError("a target says how its images are run", f"no [firmware] in {target.name}", "Add it.")
    commands.check(target.firmware)
    emulator = target.firmware.emulator
    if emulator is None:
        return []
    if not shutil.which(emulator.command[0]):
        raise FirmwareError(
            f"an image for {target.name} is run by {emulator.command[0]}",
            "no such program",
            f"Install it: `apt-get install {emulator.package}`.",
        )
    return list(emulator.serial_command or emulator.command)


def _wait_until_it_answers(board: Board, line: int, samples: int, scores: int | None) -> None:
    """Send a segment of NaN, which our firmware refuses without an inference, until the refusal comes.

    What is sent before the board has opened its line may be lost, in part even, so each attempt waits until the board
    has dropped what came of the one before. A slow board may still answer several attempts, and the next program on the
    line must not take such a late refusal for its own answer. So after several attempts a segment of zeros follows, and
    everything up to its answer, which is no such refusal, is discarded.
    """
    nan, zeros = (protocol.encode_input(np.full(samples, value, np.float32)) for value in (np.nan, 0.0))
    refusal = _refusal(scores)
    received, attempts, deadline = b"", 0, time.monotonic() + _START_S
    while not protocol.find_answer(received, scores):
        _check_that_it_runs(board, received, deadline)
        received += _exchange(board.process, line, nan, scores)
        attempts += 1
    if attempts > 1:
        deadline = time.monotonic() + _START_S
        received += _exchange(board.process, line, zeros, scores)
        while not protocol.find_answer(received.replace(refusal, b""), scores):
            _check_that_it_runs(board, received, deadline)
            received += _exchange(board.process, line, b"", scores)


def _refusal(scores: int | None) -> bytes:
    """The answer to a sample that is not finite."""
    status = protocol.Status.SAMPLE_NOT_FINITE
    if scores is None:
        return protocol.encode_answer(protocol.Answer(status, 0, 0.0))
    return protocol.encode_scored(protocol.ScoredAnswer(status, 0, 0.0, (0.0,) * scores))


def _check_that_it_runs(board: Board, received: bytes, deadline: float) -> None:
    if _SELF_TEST_FAILED in received or board.process.poll() is not None:
        raise _ended(board, received)
    if time.monotonic() >= deadline:
        raise FirmwareError(
            f"an image answers within {_START_S:g} s",
            f"none from {board.emulated.image} under {board.emulated.emulator}",
            "Check that it is a serial program, made for the emulated board; "
            "give the model, and no image, if its answers have scores.",
        )


def _exchange(process: subprocess.Popen[bytes], line: int, frame: bytes, scores: int | None) -> bytes:
    """Send and receive until an answer, or something else that ends, is there; twice the gap of a frame at the most."""
    received, deadline = b"", time.monotonic() + 2 * protocol.FRAME_GAP_S
    while time.monotonic() < deadline and process.poll() is None:
        readable, writable, _ = select.select([line], [line] if frame else [], [], _LOOK_S)
        if readable:
            received += os.read(line, _RELAY_BYTES)
        if writable:
            frame = frame[os.write(line, frame) :]
        if protocol.find_answer(received, scores) or _SELF_TEST_FAILED in received:
            break
    return received


def _ended(board: Board, received: bytes = b"") -> FirmwareError:
    complaints = [
        *board.errors.read_text(errors="replace").splitlines(),
        *received.decode(errors="replace").splitlines(),
    ]
    code = board.process.poll()
    end = "halted" if code is None else f"ended with {code}"
    return FirmwareError(
        "an image runs until it is ended",
        f"{board.emulated.image} {end}: {complaints[-1] if complaints else 'nothing said'}",
        "Build it again from a verified model; the self-test at its start compares known answers.",
    )


@contextmanager
def _process(command: list[str], line: int, errors: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process while the block runs; in a session of its own, so that Ctrl-C reaches us alone and we end it."""
    with errors.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - the emulator and the image that the user named
            command, stdin=line, stdout=line, stderr=stream, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _linked(link: Path, device: str, emulated: Emulated) -> Iterator[Path]:
    """The link to the host's end and the file beside it, while the block runs."""
    beside = Path(f"{link}.json")
    try:
        link.symlink_to(device)
    except FileExistsError:
        raise OutputError(
            "the link to a board is a new name", f"{link} exists", f"Choose another one, or remove it and {beside}."
        ) from None
    except OSError as problem:
        raise files.cannot_write(link, problem) from problem
    try:
        emulated.save(beside)
        yield link
    finally:
        for path in (link, beside):
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Relay:
    """A serial device and a stream, joined. Both are held open, so that they live while nobody else has them open."""

    device: str
    host_end: int
    board_end: int


@contextmanager
def _relay() -> Iterator[_Relay]:
    """The pseudo-terminal, the socket and the thread between them, while the block runs.

    The board's end is no terminal: QEMU would switch the translation of line ends on for one.
    """
    master, host_end = os.openpty()
    ours, theirs = socket.socketpair()
    stop_read, stop_write = os.pipe()
    tty.setraw(host_end)
    for descriptor in (master, host_end, ours.fileno()):
        os.set_blocking(descriptor, False)
    thread = threading.Thread(target=_pump, args=(master, ours.fileno(), stop_read), daemon=True)
    thread.start()
    try:
        yield _Relay(os.ttyname(host_end), host_end, theirs.fileno())
    finally:
        os.close(stop_write)
        thread.join()
        for descriptor in (master, host_end, stop_read):
            os.close(descriptor)
        ours.close()
        theirs.close()


def _pump(host: int, board: int, stop: int) -> None:
    """Carry bytes between both until `stop` can be read.

    To the board nothing is lost: the host is read no faster than the board reads. To a host that does not read, bytes
    are dropped when its buffer is full, as on a wire.
    """
    waiting = b""
    while True:
        sources = [stop, board, *([] if waiting else [host])]
        readable, writable, _ = select.select(sources, [board] if waiting else [], [])
        if stop in readable:
            return
        with suppress(BlockingIOError):
            if board in readable:
                os.write(host, os.read(board, _RELAY_BYTES))
            if writable:
                waiting = waiting[os.write(board, waiting) :]
            if host in readable:
                waiting = os.read(host, _RELAY_BYTES)
