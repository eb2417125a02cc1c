"""The counts and findings of the long run, kept in counts.json, and their table in tests/README.md."""

from __future__ import annotations

import json
from pathlib import Path

from ecm_edge.base import files

HERE = Path(__file__).parent
COUNTS = HERE / "counts.json"
README = HERE.parent / "README.md"
BEGIN, END = "<!-- counts: python -m tests.fuzz --table -->", "<!-- end of counts -->"
GOALS = {"frames": 10_000_000, "compiled": 10_000}
GOAL = 100_000
MOST_FINDINGS = 20
_UNITS = {"frames": "frames", "compiled": "models"}


def load(path=COUNTS):
    """What the runs so far have counted, by reader."""
    return json.loads(path.read_text()) if path.exists() else {}


def add(counts, name, outcomes, inputs):
    """Count outcomes of a reader's next inputs, of which one may stand for many that were well.

    Each finding is kept once, with its first seed.
    """
    row = counts.setdefault(
        name, {"inputs": 0, "taken": 0, "refused": 0, "failed": 0, "slowest_s": 0.0, "peak_mb": 0.0, "findings": {}}
    )
    row["inputs"] += inputs
    row["taken"] += inputs - len(outcomes)
    for outcome in outcomes:
        row["failed" if outcome.finding else "refused" if outcome.code == 2 else "taken"] += 1
        row["slowest_s"] = max(row["slowest_s"], round(outcome.seconds, 1))
        row["peak_mb"] = max(row["peak_mb"], round(outcome.peak_mb))
        if outcome.finding and len(row["findings"]) < MOST_FINDINGS:
            row["findings"].setdefault(outcome.finding, outcome.seed)


def save(counts, path=COUNTS):
    """Write the counts, whole or not at all."""
    files.write_atomic(path, (json.dumps(counts, indent=2, sort_keys=True) + "\n").encode())


def goal_of(name):
    """How many inputs a reader is to have had in the end."""
    return GOALS.get(name, GOAL)


def table(counts):
    """The counts as a Markdown table."""
    lines = ["| what | inputs | of a goal of | taken | refused | failed | slowest, s | most memory, MB |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, row in sorted(counts.items()):
        goal = f"{goal_of(name):,} {_UNITS.get(name, '')}".strip()
        figures = [f"{row[key]:,}" for key in ("inputs",)]
        figures += [goal, *(f"{row[key]:,}" for key in ("taken", "refused", "failed", "slowest_s", "peak_mb"))]
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines)


def write_table(counts, path=README):
    """Renew the table in the document."""
    write_between(BEGIN, END, table(counts), path)


def write_between(begin, end, text, path=README):
    """Renew what stands between two marks of the document."""
    before, rest = path.read_text().split(begin)
    files.write_atomic(path, f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}".encode())
