"""`make faults`: every command at every fault point with every fault, and at random moments; real trainings.

Writes tests/faults.json, for each command the points, what was tried, and what went wrong, and the table of it in
tests/README.md. `python -m tests.disturb_all rollback bundle` tries these two alone, and keeps what is known of others.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch

import ecm_edge.api  # noqa: F401 - so that the children have it already
from ecm_edge.base import faults, trust
from ecm_edge.data.synthetic import synthesise
from ecm_edge.registry import proof

from . import disturbed, tiny
from .fuzz.record import write_between

BEGIN, END = "<!-- faults: python -m tests.disturb_all -->", "<!-- end of faults -->"
RECORD = Path(__file__).with_name("faults.json")
NAMES = ("data import", "train", "search", "promote", "rollback", "bundle", "pull")
MOMENTS = 30
"""Of each command, so that they are 210 together."""


def everything(command: disturbed.Disturbed, folder: Path) -> dict[str, object]:
    """Disturb a command in all ways; the counts, and what went wrong."""
    folder.mkdir()
    begun = time.monotonic()
    wanted = disturbed.undisturbed(command, folder / "alone")
    lasts = time.monotonic() - begun
    points = sorted(set(disturbed.numbered(disturbed.reached(command, folder))))
    wrong: list[str] = []
    for (name, number), kind in product(points, (faults.KILL, *faults.ERRORS)):
        fault = f"{name}:{kind}:{number}"
        told = disturbed.disturb(command, folder / "faults" / "at", fault, wanted)
        wrong += [f"{fault}: {told}"] if told else []
        shutil.rmtree(folder / "faults" / "at")
    draw = random.Random(0)  # noqa: S311 - moments
    for _ in range(MOMENTS):
        seconds = draw.uniform(0, lasts)
        told = disturbed.disturb_at(command, folder / "moments" / "at", seconds, wanted)
        wrong += [f"killed after {seconds:.3f} s: {told}"] if told else []
        shutil.rmtree(folder / "moments" / "at")
    tried = len(points) * (1 + len(faults.ERRORS))
    return {"points": len(points), "faults": tried, "moments": MOMENTS, "wrong": wrong}


def table(counts: dict[str, dict[str, Any]]) -> str:
    """What was tried so far as Markdown; commands that were not tried are named."""
    lines = [
        "| command | fault points | faults at them | kills at random moments | went wrong |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in [name for name in NAMES if name in counts]:
        figures = [counts[name][key] for key in ("points", "faults", "moments")]
        lines.append(" | ".join([f"| {name}", *map(str, figures), f"{len(counts[name]['wrong'])} |"]))
    missing = [f"`{name}`" for name in NAMES if name not in counts]
    return "\n".join([*lines, *(["", f"NOT RUN: {', '.join(missing)}."] if missing else [])])


def main() -> int:
    """Disturb the commands that are named, or all; 1 if something went wrong."""
    torch.set_num_threads(1)
    trust.allow_everything()
    proof.prove = tiny.believing(proof.prove)  # invented candidates
    names = sys.argv[1:] or NAMES
    counts = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    with tempfile.TemporaryDirectory() as place:
        world = Path(place)
        synthesise(world / "data", subjects=12, seed=3, segments_per_subject=12)
        for name, command in disturbed.commands(world / "world", world / "data", *names).items():
            counts[name] = everything(command, world / name)
            RECORD.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")
            write_between(BEGIN, END, table(counts))
    return int(any(counts[name]["wrong"] for name in names))


if __name__ == "__main__":
    sys.exit(main())
