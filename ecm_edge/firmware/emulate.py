"""Run an image on segments: in the emulator of its board, or directly where it was built for this host.

The batch program's stream: "ECM1" when it is ready; then a segment of T float32 in, S float32 scores out, for ever;
bytes in and out where it was built for the model's entry for bytes. A trace build writes, before the scores, each
layer's index, its byte count and its output.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.base.errors import FirmwareError
from ecm_edge.firmware import toolchain
from ecm_edge.targets import commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from ecm_edge.firmware.build import Image
    from ecm_edge.targets import Target

READY = b"ECM1"
ANSWER_TIMEOUT_S = 60.0
_END_S = 2.0
_HEAD = np.dtype([("layer", "<i4"), ("bytes", "<i4")])
_MAX_LAYER_BYTES = 1 << 28


@dataclass(frozen=True)
class Unavailable:
    """Why images of a target cannot be run here: a check that needs it is NOT RUN."""

    reason: str


def available(target: Target) -> Unavailable | None:
    """None if images of this target run here, or what is missing."""
    if target.firmware is None:
        return Unavailable(f"{target.name} has no [firmware]")
    emulator = target.firmware.emulator
    if emulator is None and target.core.architecture != "host":
        return Unavailable(f"{target.name} names no emulator")
    if emulator is not None and shutil.which(emulator.command[0]) is None:
        return Unavailable(f"{emulator.command[0]} is not installed: apt-get install {emulator.package}")
    return None


def version(target: Target) -> str | None:
    """What a target's emulator calls itself; None where there is none; raises as `commands.check`."""
    commands.check(target.firmware)
    emulator = target.firmware.emulator if target.firmware else None
    if emulator is None or shutil.which(emulator.command[0]) is None:
        return None
    return toolchain.run([emulator.command[0], "--version"]).splitlines()[0].strip()


def command(image: Image, plugin: str | None = None) -> list[str]:
    """The words that run an image; `plugin` is QEMU's `-plugin` argument.

    Raises:
        FirmwareError: the image is larger than its board's memory.
    """
    if image.overflow:
        over = ", ".join(f"{region} by {count} bytes" for region, count in image.overflow.items())
        raise FirmwareError(
            "an image that runs fits its board",
            f"one above {over}",
            "`ecm-edge fit` says what weighs; the int8 file that `ecm-edge quantize` makes takes less.",
        )
    emulator = image.firmware.emulator
    if emulator is None:
        return [str(image.elf.resolve())]
    first, *rest = emulator.command
    return [first, *(["-plugin", plugin] if plugin else []), *rest, str(image.elf.resolve())]


def run_batch(
    image: Image, samples: NDArray[np.float32], *, timeout_s: float = ANSWER_TIMEOUT_S, plugin: str | None = None
) -> NDArray[np.float32]:
    """Scores (N, S) of segments (N, T) by a batch image.

    Args:
        image: of the "batch" program, without trace.
        samples: as the model takes them; any float32, NaN and infinities included.
        timeout_s: for each answer.
        plugin: QEMU's `-plugin` argument.

    Raises:
        FirmwareError: the program does not start, stops, or does not answer in time; or the image is another program's.
    """
    scores: NDArray[np.float32] = _answers(image, np.asarray(samples, "<f4"), np.dtype("<f4"), timeout_s, plugin)
    return scores


def run_bytes(
    image: Image, samples: NDArray[Any], scores: DTypeLike, *, timeout_s: float = ANSWER_TIMEOUT_S
) -> NDArray[Any]:
    """Scores (N, S) of segments (N, T) by a batch image of a model's entry for bytes, built with -DECM_BYTES.

    Args:
        image: of the "batch" program, without trace.
        samples: int8 or uint8, as the entry takes them; float32 if it does.
        scores: the type of the scores that it gives.
        timeout_s: for each answer.

    Raises:
        FirmwareError: as `run_batch`.
    """
    return _answers(image, samples, np.dtype(scores), timeout_s, None)


def _answers(
    image: Image, samples: NDArray[Any], dtype: np.dtype[Any], timeout_s: float, plugin: str | None
) -> NDArray[Any]:
    _check(image, samples, trace=False)
    scores = np.empty((len(samples), image.model.scores), dtype)
    with _running(image, plugin) as stream:
        stream.expect_ready(timeout_s)
        for row, segment in zip(scores, samples, strict=True):
            stream.write(np.ascontiguousarray(segment).tobytes())
            row[:] = np.frombuffer(stream.read(row.nbytes, timeout_s), dtype)
    return scores


def run_trace(
    image: Image, samples: NDArray[np.float32], *, shown: int | None = None, timeout_s: float = ANSWER_TIMEOUT_S
) -> tuple[NDArray[np.float32], list[list[tuple[int, bytes]]]]:
    """Scores (N, S) of segments (N, T) by a trace build, and for each segment the (layer, output bytes) in order.

    Args:
        image: of the "batch" program, with trace.
        samples: as for `run_batch`.
        shown: how many outputs it writes for a segment; as many as layers by default.
        timeout_s: for each answer.

    Raises:
        FirmwareError: as `run_batch`, or the stream is not a trace.
    """
    _check(image, samples, trace=True)
    scores = np.empty((len(samples), image.model.scores), np.float32)
    traces: list[list[tuple[int, bytes]]] = []
    count = image.layers if shown is None else shown
    with _running(image, None) as stream:
        stream.expect_ready(timeout_s)
        for row, segment in zip(scores, samples, strict=True):
            stream.write(_bytes(segment))
            traces.append([_layer(stream, timeout_s) for _ in range(count)])
            row[:] = np.frombuffer(stream.read(row.nbytes, timeout_s), "<f4")
    return scores, traces


def _layer(stream: _Stream, timeout_s: float) -> tuple[int, bytes]:
    layer, count = (int(value) for value in np.frombuffer(stream.read(_HEAD.itemsize, timeout_s), _HEAD)[0])
    if layer < 0 or not 0 <= count <= _MAX_LAYER_BYTES:
        raise FirmwareError("a trace is a layer and its bytes", f"layer {layer} of {count} bytes", "Build it again.")
    return layer, stream.read(count, timeout_s)


def _bytes(segment: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(segment, "<f4").tobytes()


def _check(image: Image, samples: NDArray[Any], *, trace: bool) -> None:
    if image.program != "batch" or image.trace != trace:
        kind = "a trace build" if image.trace else "no trace build"
        raise FirmwareError("segments are run by the batch program", f"{image.program}, {kind}", "Build the other one.")
    if samples.ndim != 2 or samples.shape[1] != image.model.samples:  # noqa: PLR2004 - segments by samples
        raise FirmwareError(
            f"segments are (N, {image.model.samples})", f"{samples.shape}", "Give the segments that the model takes."
        )


@contextmanager
def _running(image: Image, plugin: str | None) -> Iterator[_Stream]:
    """The image's byte stream while it runs; the process is gone afterwards, however the block ends."""
    missing = available(image.target)
    if missing is not None:
        raise FirmwareError("the emulator of a target must be installed", missing.reason, "Install it, and run again.")
    words = command(image, plugin)
    try:
        process = subprocess.Popen(  # noqa: S603 - the target's emulator, or what was just built
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
    except OSError as problem:
        raise FirmwareError("an image must start", f"{problem.strerror} of {words[0]}", "Build it again.") from None
    try:
        yield _Stream(process, words)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the line, ask the process to end, and see to it that it does."""
    with suppress(OSError):
        if process.stdin:
            process.stdin.close()
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


class _Stream:
    """Bytes to and from a process, with time-outs; what it writes to standard error is kept for the message."""

    def __init__(self, process: subprocess.Popen[bytes], words: Sequence[str]) -> None:
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - opened as pipes
        self._process, self._words = process, words
        self._in, self._out, self._errors = (p.fileno() for p in (process.stdin, process.stdout, process.stderr))
        self._pending = bytearray()
        self._complaints = bytearray()

    def expect_ready(self, timeout_s: float) -> None:
        """Wait for the program's first bytes."""
        begin = self.read(len(READY), timeout_s)
        if begin != READY:
            raise FirmwareError("a batch program begins with ECM1", repr(begin), "Build it again.")

    def write(self, content: bytes) -> None:
        """Send all of `content`; what arrives meanwhile is kept."""
        try:
            view = memoryview(content)
            while view:
                readable, writable, _ = select.select([self._out, self._errors], [self._in], [], ANSWER_TIMEOUT_S)
                self._take(readable)
                if writable:
                    view = view[os.write(self._in, view[: select.PIPE_BUF]) :]
                elif not readable:
                    raise self._failure("took no bytes in time")
        except BrokenPipeError:
            raise self._failure("closed its line") from None

    def read(self, count: int, timeout_s: float) -> bytes:
        """Exactly `count` bytes."""
        deadline = time.monotonic() + timeout_s
        while len(self._pending) < count:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self._out, self._errors], [], [], max(0.0, left))
            if not readable:
                raise self._failure(f"did not answer within {timeout_s:g} s")
            self._take(readable)
        content = bytes(self._pending[:count])
        del self._pending[:count]
        return content

    def _take(self, readable: Sequence[int]) -> None:
        if self._errors in readable:
            self._complaints += os.read(self._errors, select.PIPE_BUF)
        if self._out in readable:
            block = os.read(self._out, 1 << 16)
            if not block:
                raise self._failure("ended")
            self._pending += block

    def _failure(self, what: str) -> FirmwareError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        while select.select([self._errors], [], [], 0)[0] and (block := os.read(self._errors, select.PIPE_BUF)):
            self._complaints += block
        lines = self._complaints.decode(errors="replace").strip().splitlines()
        code = self._process.returncode
        details = [f"exit code {code}"] if code is not None else []
        details += [repr(lines[-1])] if lines else []
        return FirmwareError(
            "an image must answer every segment",
            " · ".join([f"{os.path.basename(self._words[0])} {what}", *details]),  # noqa: PTH119 - a word, not a path
            "Run the command by hand to see more: " + " ".join(self._words),
        )
