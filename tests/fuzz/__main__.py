"""The long run: goes on where the counts end, reader by reader in turns, until the goals or the time are reached.

`python -m tests.fuzz --seconds 3600` fuzzes for an hour; `--only wfdb,edf` some readers; `--table` only renews the
table. A finding is printed with its reader and seed; `--show wfdb 17` makes that input again and says what comes of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from . import compiled, frames, record
from .pool import Pool
from .readers import READERS

TURN = 50  # inputs


def main(words):
    """Fuzz, count and write the table; the exit code is 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--only", default=",".join([*READERS, "compiled", "frames"]))
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--show", nargs=2, metavar=("READER", "SEED"))
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, Pool(folder) as pool:
        if given.show:
            sys.stdout.write(f"{pool.attempt(given.show[0], int(given.show[1]))}\n")
            return 0
        counts = record.load()
        found = 0 if given.table else _fuzz(pool, Path(folder), counts, given.only.split(","), given.seconds)
    record.write_table(counts)
    return int(found > 0)


def _fuzz(pool, folder, counts, names, seconds):
    begin_s, found = time.monotonic(), 0
    waiting = list(names)
    while waiting and time.monotonic() - begin_s < seconds:
        name = waiting.pop(0)
        done = counts.get(name, {}).get("inputs", 0)
        if done >= record.goal_of(name):
            continue
        inputs, outcomes = _turn(pool, folder, name, done)
        record.add(counts, name, outcomes, inputs)
        record.save(counts)
        for outcome in outcomes:
            if outcome.finding:
                found += 1
                sys.stdout.write(f"{name} {outcome.seed}: {outcome.finding}\n")
        sys.stdout.flush()
        waiting.append(name)
    return found


def _turn(pool, folder, name, first):
    if name == "compiled":
        outcomes = compiled.turn(first)
        return len(outcomes), outcomes
    if name == "frames":
        return frames.turn(folder / "frames", first)
    return TURN, [pool.attempt(name, seed) for seed in range(first, first + TURN)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
