"""Workers of one machine: processes that share its cores evenly, whose lines come out through their parent."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecm_edge.base import trust
from ecm_edge.base.threads import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

STORAGE_VARIABLE = "ECM_EDGE_STORAGE"
"""Holds the URL of a storage, so that its password is in no command."""
PARENT_VARIABLE = "ECM_EDGE_PARENT"
_PATIENCE_S = 60.0  # for a child to give its trial back


def is_child() -> bool:
    """Whether a search started this process, and does the rest."""
    return PARENT_VARIABLE in os.environ


def is_orphan() -> bool:
    """Whether this process was started by a search that is no more."""
    parent = os.environ.get(PARENT_VARIABLE)
    return parent is not None and parent != str(os.getppid())


@dataclass
class Children:
    """`ecm-edge worker` processes on a study; they end with the block, and give back what they had begun."""

    data: Path
    out: Path
    url: str
    name: str
    workers: int
    tell: Callable[[str], None]
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    readers: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for _ in range(self.workers):
            self._start()
        return self

    def _start(self) -> None:
        threads = str(max(1, usable_cores() // self.workers))
        parent = {
            PARENT_VARIABLE: str(os.getpid()),
            STORAGE_VARIABLE: self.url,
        }  # not in the command, which all can see
        command = [sys.executable, "-m", "ecm_edge.cli", "worker", "--data", str(self.data)]
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--name", self.name, "-o", str(self.out)],
            env={**os.environ, "OMP_NUM_THREADS": threads, **parent, **trust.passed_on()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends them once
        )
        self.running.append(process)
        reader = threading.Thread(target=self._pass_on, args=(process,), daemon=True)
        reader.start()
        self.readers.append(reader)

    def _pass_on(self, process: subprocess.Popen[str]) -> None:
        with process.stderr or io.StringIO() as lines:
            for line in lines:
                if not line.startswith(("interrupted", "go on with: ")):  # the parent says it
                    self.tell(line.rstrip("\n"))

    def wait(self, seconds: float) -> bool:
        """Wait for so long or until all have ended; whether one still runs."""
        for process in self.running:
            if process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
                return True
        return False

    def __exit__(self, *_: object) -> None:
        for process in self.running:
            if process.poll() is None:
                process.terminate()
        for process in self.running:
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for reader in self.readers:
            reader.join(1.0)
