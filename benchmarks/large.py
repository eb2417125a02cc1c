"""What data sets that do not fit into memory take: `large_run` on each of them, and the table.

    python -m benchmarks.large FOLDER… --write

Each figure is of a process of its own, begun once the one before has ended. FOLDERs are those that `large_set` made.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import bars
from benchmarks.large_run import MEASURED
from benchmarks.measured import Measured, here

if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = Path(__file__).parent / "records" / "large.json"
COLUMNS = ("what", "segments", "seconds", "of the processor", "memory of the process", "bar")
_GB = 1e9


class Large(Measured):
    """What one run measured; `lines` are those of `large_run`, each with `what` it was."""

    lines: list[dict[str, Any]]


def measure(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Every figure of every data set, one process after the other."""
    lines = []
    for folder in folders:
        for what in MEASURED:
            command = [sys.executable, "-m", "benchmarks.large_run", what, str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            lines.append({"what": what, **json.loads(done.stdout)})
            print(lines[-1], flush=True)  # noqa: T201 - it takes minutes
    return lines


def shown() -> str:
    """The record as Markdown."""
    if not PATH.is_file():
        return "NOT RUN."
    record = Large.load(PATH)
    largest = max(line["segments"] for line in record.lines)
    rows = [f"| {' | '.join(_cells(line, judged=line['segments'] == largest))} |" for line in record.lines]
    head = [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    return "\n".join([record.where(), "", *head, *rows])


def _cells(line: dict[str, Any], *, judged: bool) -> Sequence[str]:
    what, cpu = line["what"].replace("_", " "), f"{line['cpu_s']:.0f} s"
    if what == "passes":
        what = f"a pass over {line['pass']:,}"
        cpu = f"{line['mapped_cpu_s']:.2f} s from the map, {line['memory_cpu_s']:.2f} s from memory"
    memory = f"{line['anonymous_bytes'] / _GB:.2f} GB"
    return what, f"{line['segments']:,}", f"{line['wall_s']:.0f} s", cpu, memory, _bar(line) if judged else "–"


def _bar(line: dict[str, Any]) -> str:
    """The bar of a line, and whether it is met; that of memory is each line's."""
    met = line["anonymous_bytes"] <= bars.LARGE_MEMORY_BYTES
    if line["what"] == "passes":
        bar = f"≥ {bars.LARGE_PACE:g} of the pace from memory"
        met &= line["memory_cpu_s"] >= bars.LARGE_PACE * line["mapped_cpu_s"]
    else:
        most = {"first_step": bars.LARGE_FIRST_STEP_S, "audit": bars.LARGE_AUDIT_S}[line["what"]]
        bar = f"≤ {most} s"
        met &= line["wall_s"] <= most
    return f"{bar}, ≤ {bars.LARGE_MEMORY_BYTES / _GB:g} GB{'' if met else ': **missed**'}"


def main(arguments: list[str]) -> None:
    """Measure, and keep the record if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--write", action="store_true", help="keep the record of the table")
    given = parser.parse_args(arguments)
    machine = here()
    lines = measure(given.folders)
    if given.write:
        Large(**machine, lines=lines).save(PATH)


if __name__ == "__main__":
    main(sys.argv[1:])
