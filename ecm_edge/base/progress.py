"""What a command does at the moment: one line on stderr, where that is a terminal.

    with doing("trial 3"), doing("train"):
        detail("epoch 4 of 6, validation F1 0.9162")

shows "trial 3 · train epoch 4 of 6, validation F1 0.9162", with the seconds since the command began. Steps are entered
anywhere, at any depth; the line is there until the outermost ends. Nothing is shown where stderr is no terminal, in a
process of a pool, and of what other threads than the main one do.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from ecm_edge.base import interrupts
from ecm_edge.base.tables import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console, ConsoleOptions
    from rich.live import Live
    from rich.text import Text

Item = TypeVar("Item")

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAMES_A_SECOND = 4
_FIRST_AFTER_S = 0.5  # what ends before is not announced


@dataclass
class Line:
    """The steps in progress, outermost first, each with what it says of itself; `live` draws them."""

    steps: list[list[str]] = field(default_factory=list)
    live: Live | None = None
    is_hidden: bool = False
    begun: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """The line as it is drawn; where it is too wide, outer steps are left out."""
        from rich.text import Text

        seconds = time.monotonic() - self.begun
        head = f"{_FRAMES[int(seconds * _FRAMES_A_SECOND) % len(_FRAMES)]} {seconds:.0f} s  "
        steps = [" ".join(filter(None, step)) for step in self.steps[1:] or self.steps]
        while len(steps) > 1 and len(head) + len(" · ".join(steps)) >= options.max_width:
            del steps[0]
        yield Text(head + printable(" · ".join(steps)), no_wrap=True, overflow="ellipsis")

    def draw(self) -> None:
        """Show what has changed at once, so that a short step is seen too."""
        if self.is_hidden or not self.steps or not _is_shown():
            return
        with self.lock:
            self.live = self.live or _started(self)
            self.live.refresh()

    def stop(self) -> None:
        """Take the line away."""
        with self.lock:
            if self.live is not None:
                self.live.stop()
            self.live = None


_LINE = Line()


@contextmanager
def command(name: str) -> Iterator[None]:
    """A command by its name: the outermost step. It is shown where it takes a while, and so are the imports."""
    waiting = threading.Timer(_FIRST_AFTER_S, _LINE.draw)
    waiting.daemon = True
    if _is_shown():
        waiting.start()
    try:
        with _step(name):
            yield
    finally:
        waiting.cancel()


@contextmanager
def doing(step: str) -> Iterator[None]:
    """Show `step`, behind the steps that it is a part of, while the block runs."""
    with _step(step):
        _LINE.draw()
        yield


@contextmanager
def _step(text: str) -> Iterator[list[str]]:
    """A step and what it says of itself; of another thread than the main one it is not among those of the line."""
    step = [text, ""]
    if threading.current_thread() is threading.main_thread():
        _LINE.begun = _LINE.begun if _LINE.steps else time.monotonic()
        _LINE.steps.append(step)
    try:
        yield step
    finally:
        _LINE.steps[:] = [other for other in _LINE.steps if other is not step]  # a generator may end late
        if not _LINE.steps:
            _LINE.stop()
            _LINE.is_hidden = False


def detail(text: str) -> None:
    """Show `text` behind the innermost step, in place of what was said of it last."""
    if _LINE.steps and threading.current_thread() is threading.main_thread():
        _LINE.steps[-1][1] = text
        _LINE.draw()


def steps() -> list[str]:
    """The steps in progress, outermost first, each with what it says of itself."""
    return [" ".join(filter(None, step)) for step in _LINE.steps]


def hide() -> None:
    """Take the line away until all steps have ended: a command prints its result."""
    _LINE.is_hidden = True
    _LINE.stop()


@contextmanager
def counter(step: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show `step` while the block runs, and how many of `total` are done: the function sets it."""
    with _step(step) as shown:

        def advance(done: int) -> None:
            if threading.current_thread() is threading.main_thread():
                interrupts.check()  # a signal whose exception was lost ends the work here
            shown[1] = f"{done:,}" if total is None else f"{done:,} of {total:,}"  # drawn with the next frame

        advance(0)
        _LINE.draw()
        yield advance


def track(items: Iterable[Item], step: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items`, and show `step` and how many of them have been taken."""
    size = len(items) if total is None and isinstance(items, Sized) else total
    with counter(step, size) as advance:
        for done, item in enumerate(items, 1):
            yield item
            advance(done)


def _is_shown() -> bool:
    """Whether stderr is a terminal that can go back, and this process is not one of a pool."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and multiprocessing.parent_process() is None


def _started(line: Line) -> Live:
    from rich.console import Console
    from rich.live import Live

    live = Live(
        get_renderable=lambda: line,
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=_FRAMES_A_SECOND,
        redirect_stdout=sys.stdout.isatty(),  # what goes to a file does not pass here
    )
    live.start()
    return live
