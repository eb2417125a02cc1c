"""The command: see the package."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.recipes import runs, table
from benchmarks.recipes.changes import BASE, Recipe, recipes
from benchmarks.recipes.runs import Setting
from ecm_edge import targets
from ecm_edge.base.errors import DatasetError, EcmEdgeError
from ecm_edge.base.threads import usable_cores
from ecm_edge.data.splits import FoldAssignment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.recipes.runs import Result

PROGRAM = "python -m benchmarks.recipes"


def main(arguments: list[str], base: Recipe = BASE) -> None:
    """Train what is missing, print the table of all results, and keep it if asked to."""
    known = recipes(base)
    options = _parser(known).parse_args(arguments)
    chosen = [recipe for recipe in known if not options.only or recipe is known[0] or recipe.name in options.only]
    seeds = range(options.seeds)
    try:
        folds = FoldAssignment.load(options.folds, DatasetError)
        setting = Setting(base, options.data, folds, targets.load(options.target), options.out)
        runs.run(setting, chosen, seeds, options.workers, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201 - a command's progress
    except EcmEdgeError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(2)
    comparison = table.compare(setting, _results(setting, known, seeds), shlex.join([*PROGRAM.split(), *arguments]))
    sys.stdout.write(f"{table.tables([comparison], known)}\n")
    if options.write:
        sys.stderr.write(f"{table.save(comparison)}: `python -m benchmarks.figures` shows it in benchmarks/README.md\n")


def _results(setting: Setting, known: Sequence[Recipe], seeds: Sequence[int]) -> dict[str, list[Result]]:
    """The results of each recipe that has one for every seed, the base first."""
    found = {}
    for recipe in known:
        results = [result for seed in seeds if (result := setting.saved(recipe, seed))]
        if len(results) == len(seeds):
            found[recipe.name] = results
    return found


def _parser(known: Sequence[Recipe]) -> argparse.ArgumentParser:
    names = [recipe.name for recipe in known]

    def only(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in names]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(names)}")
        return chosen

    def count(text: str) -> int:
        if (value := int(text)) < 1:
            raise argparse.ArgumentTypeError(f"one or more, not {value}")
        return value

    parser = argparse.ArgumentParser(prog=PROGRAM, description="Recipes under one budget.")
    parser.add_argument("data", type=Path, help="the data set")
    parser.add_argument("--target", required=True, help="whose rule weighs Fβ and G in a threshold")
    parser.add_argument("--folds", type=Path, required=True, help="as `ecm-edge data folds` wrote them")
    parser.add_argument("--seeds", type=count, default=2, help="so many, from 0 on")
    parser.add_argument("--workers", type=count, default=usable_cores(), help="processes, of one thread each")
    parser.add_argument("-o", "--out", type=Path, required=True, help="keeps every result")
    parser.add_argument("--only", type=only, help="names with commas between them; the base comes with them")
    parser.add_argument("--write", action="store_true", help="keep the table as a record in benchmarks/records/")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
