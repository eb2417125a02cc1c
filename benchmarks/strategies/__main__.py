"""The commands: see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.strategies import candidates, replay, results
from benchmarks.strategies.candidates import Table
from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.base.threads import usable_cores

PROGRAM = "python -m benchmarks.strategies"


def main(arguments: list[str]) -> None:
    """Train or replay."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "train":
            _train(options)
        else:
            _replay(options)
    except EcmEdgeError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(2)


def _train(options: argparse.Namespace) -> None:
    work = candidates.Work(options.data, options.out, options.share, options.shares)
    if options.go_on:
        taken = candidates.take_over(work, Table.load(candidates.RECORD))
        sys.stderr.write(f"{taken} candidates taken over from {candidates.RECORD}\n")
    if not options.write:
        candidates.run(work, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201 - a command's progress
        return
    table = candidates.table(work, f"{PROGRAM} train DATA -o WORK --write")  # without this machine's paths
    table.save(candidates.RECORD)
    sys.stderr.write(f"{candidates.RECORD}: {len(table.trained)} trained of {len(table.candidates)} drawn\n")


def _replay(options: argparse.Namespace) -> None:
    table = Table.load(options.table)
    compared = replay.strategies(table) + (replay.variants(table) if options.variants else [])
    found = results.replayed(table, compared, options.replays, options.workers)
    sys.stdout.write(f"{results.shown_of(found)}\n")
    if options.write:
        results.save(found)
        sys.stderr.write(f"{results.RECORD}: `python -m benchmarks.figures` shows it in benchmarks/README.md\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Strategies of a search, on one table of candidates.")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train the table's candidates, or go on with it")
    train.add_argument("data", type=Path, help="the data set")
    train.add_argument("-o", "--out", type=Path, required=True, help="keeps every candidate")
    train.add_argument("--share", type=int, default=0, help="this process's number, from 0")
    train.add_argument("--shares", type=int, default=1, help="processes that share the work")
    train.add_argument("--write", action="store_true", help="train nothing; keep what is there as a record")
    train.add_argument("--go-on", action="store_true", help="begin with the candidates of the record")
    again = commands.add_parser("replay", help="replay every strategy on the table")
    again.add_argument("--table", type=Path, default=candidates.RECORD, help="as `train --write` wrote it")
    again.add_argument("--replays", type=int, default=results.REPLAYS, help="of each strategy, by seeds from 0 on")
    again.add_argument("--workers", type=int, default=usable_cores(), help="processes, of one thread each")
    again.add_argument("--variants", action="store_true", help="the search with other settings, too")
    again.add_argument("--write", action="store_true", help="keep the record and the picture")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
