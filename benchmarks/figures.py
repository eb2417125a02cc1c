"""The figures of the documents: each stands between two comments, and is made of records.

    python -m benchmarks.figures                  writes the tables anew from the records that are there
    python -m benchmarks.figures --renew          runs what is timed first, and writes its records (`make figures`)
    python -m benchmarks.figures --renew NAME…    runs only those of `timed.NAMES`

Counts come from counts.json, times and recipes from records/, the
figures of the model that ships from its entry in data/reference/. A test fails where a table differs from its records.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import ablations, counts, firmware, large, reference_model, timed, two_hosts, workers
from benchmarks.recipes import table as recipes
from benchmarks.strategies import results as strategies
from ecm_edge.base import files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[1]
COMMAND = "python -m benchmarks.figures"
TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"figures": reference_model.summary},
    "data/reference/README.md": {"reference model": reference_model.table},
    "benchmarks/README.md": {
        "timed": lambda: timed.table(timed.load_all()),
        "firmware": lambda: firmware.table(firmware.rows(counts.load())),
        "recipes": lambda: recipes.tables(recipes.load_all()),
        "ablations": ablations.shown,
        "large": large.shown,
        "workers": workers.shown,
        "two hosts": two_hosts.shown,
        "strategies": strategies.shown,
    },
}
"""Every table by its document and its name."""


def marks(name: str) -> tuple[str, str]:
    """The comments before and behind a table."""
    return f"<!-- {name}: {COMMAND} -->", f"<!-- end of {name} -->"


def rendered(document: str) -> str:
    """A document's text with its tables as they have to be.

    Raises:
        ValueError: a table's marks are not there, once each and in order.
    """
    text = (ROOT / document).read_text(encoding="utf-8")
    for name, table in TABLES[document].items():
        begin, end = marks(name)
        before, rest = text.split(begin)
        _, behind = rest.split(end)
        text = f"{before}{begin}\n\n{table()}\n\n{end}{behind}"
    return text


def prose(document: str) -> str:
    """A document's text without its tables."""
    text = (ROOT / document).read_text(encoding="utf-8")
    for name in TABLES[document]:
        begin, end = marks(name)
        text = text.split(begin)[0] + text.split(end)[1]
    return text


def main(arguments: list[str]) -> None:
    """Renew what is asked for, then write the tables."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the tables of figures.")
    parser.add_argument("--renew", nargs="*", choices=timed.NAMES, metavar="NAME", help=", ".join(timed.NAMES))
    names = parser.parse_args(arguments).renew
    problems = _renew(timed.NAMES if names == [] else names or [])
    for document in TABLES:
        files.write_atomic(ROOT / document, rendered(document).encode())
    sys.exit("\n".join(problems) or 0)


def _renew(names: Sequence[str]) -> list[str]:
    """Time what is named and write the records, all at the end, so that each names a clean checkout; what failed."""
    records, problems = {}, []
    for name in names:
        try:
            records[name] = timed.measure(name)
        except timed.NothingMeasuredError as problem:
            problems.append(str(problem))
    for name, record in records.items():
        record.save(timed.FOLDER / f"{name}.json")
    return problems


if __name__ == "__main__":
    main(sys.argv[1:])
