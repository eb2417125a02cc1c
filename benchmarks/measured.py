"""What every record of one run of a benchmark says of it: the commit, the day, the machine, and how busy that was."""

from __future__ import annotations

import os
from typing import Any

from ecm_edge.base import provenance
from ecm_edge.base.records import Record
from ecm_edge.evaluate import timing


class Measured(Record):
    """The base of such a record; `load_average` is of the minute before, as `os.getloadavg` gives it."""

    commit: str | None
    date_utc: str
    machine: str
    cores: int
    load_average: float

    def where(self) -> str:
        """One sentence of Markdown."""
        busy = " (busy)" if self.load_average > self.cores else ""
        machine = f"{self.machine}, {self.cores} cores, load {self.load_average:.1f}{busy}"
        return f"{self.date_utc[:10]}, {machine}, `{(self.commit or 'unknown')[:7]}`."


def here() -> dict[str, Any]:
    """The fields of `Measured`; to be asked before anything is measured."""
    where = provenance.collect()
    return {
        "commit": where.git_sha,
        "date_utc": where.date_utc,
        "machine": timing.host().split(",")[0],
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
    }
