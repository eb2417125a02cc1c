"""A process that reads the inputs it is given; it is ended where one takes too long or too much, and begun anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from .attempt import MOST_MB, MOST_SECONDS, Outcome

ROOT = Path(__file__).parents[2]
ENDED_AFTER_S, ENDED_ABOVE_MB = 6 * MOST_SECONDS, 2 * MOST_MB
"""Where the process is ended from outside: the machine may have others to serve, so time is counted generously."""


class Pool:
    """One process, and the outcomes of the inputs that it is given."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """End the process; the code that it ended with."""
        if self.process is None:
            return 0
        self.process.kill()
        with self.process as process, suppress(OSError):
            process.stdin.close()
        code, self.process = process.returncode, None
        return code

    def attempt(self, reader, seed):
        """What became of the input of a seed."""
        if self.process is None:
            command = [sys.executable, "-m", "tests.fuzz.worker", str(self.folder)]
            with (self.folder / "log").open("w") as log:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1, cwd=ROOT
                )
            assert self.process.stdout.readline() == "ready\n"
        with suppress(OSError):  # it has ended: below
            self.process.stdin.write(f"{reader} {seed}\n")
            self.process.stdin.flush()
        watch = _Watch(self.process)
        line = self.process.stdout.readline()
        why = watch.stop()
        if line.startswith("{"):
            return Outcome(**json.loads(line))
        code = self.end()
        said = (self.folder / "log").read_text(errors="replace").strip().splitlines()
        why = why or f"the process ended with {code}: {' '.join(said[-1:])}"
        return Outcome(reader, seed, code, why, watch.seconds, watch.peak_mb)


class _Watch(threading.Thread):
    """Ends a process that takes too long or too much memory over one input."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.done, self.why, self.seconds, self.peak_mb = process, threading.Event(), "", 0.0, 0.0
        self.begin_s = time.monotonic()
        self.start()

    def run(self):
        while not self.done.wait(0.1):
            self.seconds = time.monotonic() - self.begin_s
            with suppress(OSError, ValueError, IndexError):
                pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
                self.peak_mb = max(self.peak_mb, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
            if self.peak_mb > ENDED_ABOVE_MB:
                self.why = f"ended at more than {ENDED_ABOVE_MB} MB"
            elif self.seconds > ENDED_AFTER_S:
                self.why = f"ended after {ENDED_AFTER_S} s"
            if self.why:
                self.process.kill()
                return

    def stop(self):
        self.done.set()
        self.join()
        return self.why
