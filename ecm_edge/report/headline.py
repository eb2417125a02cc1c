"""What stands on top of the page: what failed, and the three figures that matter first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base.records import Verdict
from ecm_edge.evaluate.score import like_a_guess, undefined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.base.records import Evidence, Form, Gate
    from ecm_edge.evaluate.score import ScoreRecord
    from ecm_edge.evaluate.verify.records import Hop
    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.report.records import ReportRecord

Groups = list[tuple[str, list[tuple[str, "Gate"]]]]
"""Gates with their names, under the titles of their stages."""

_FORMS: tuple[Form, ...] = ("float32", "float16", "int8")


@dataclass(frozen=True)
class Open:
    """A gate that did not pass; `anchor` is its place on the page."""

    anchor: str
    title: str
    name: str
    gate: Gate


@dataclass(frozen=True)
class Budget:
    """A budget of the board, and the share of it that is used."""

    gate: Gate
    evidence: str
    share: float


@dataclass(frozen=True)
class Parity:
    """The hop on the way to one form that changes most labels, of `hops` that were compared on `segments`."""

    worst: Hop
    flips: int
    hops: int
    segments: int


def misleading(score: ScoreRecord) -> str:
    """What is shown large in place of a mean Fβ that would mislead; empty where it does not.

    A model that calls every segment positive has a mean Fβ near 1 where the other class is rare.
    """
    right = score.scores.confusion
    if right.tn + right.fn == 0:
        return f"calls everything {score.label}"
    if right.tp + right.fp == 0:
        return f"calls nothing {score.label}"
    return "hardly better than a guess" if not undefined(score.scores) and like_a_guess(score.scores) else ""


def unpassed(groups: Groups) -> list[Open]:
    """The gates that failed, and then those that did not run, each with an anchor of its own."""
    wanted = [(title, name, gate) for title, gates in groups for name, gate in gates if gate.verdict != Verdict.PASS]
    ordered = sorted(wanted, key=lambda one: one[2].verdict != Verdict.FAIL)
    return [Open(f"gate-{place}", title, name, gate) for place, (title, name, gate) in enumerate(ordered)]


def passed(groups: Groups) -> Groups:
    """The groups with the gates that passed alone; none without any."""
    kept = [(title, [one for one in gates if one[1].verdict == Verdict.PASS]) for title, gates in groups]
    return [(title, gates) for title, gates in kept if gates]


def budgets(record: ReportRecord, fit: FormFit | None, names: Sequence[str]) -> list[Budget]:
    """The budgets with a value, the tightest first: of the image that was built, else of the gate before training."""
    cost = record.records.cost
    if fit is None and cost is None:
        return []
    gates = fit.gates if fit else cost.gates if cost else []
    size = fit.size_evidence if fit else cost.evidence if cost else ""
    time = fit.latency_ms.evidence if fit else cost.latency_ms.evidence if cost else ""
    kept = [gate for gate in gates if gate.name in names and gate.value is not None and gate.limit]
    found = [Budget(gate, _evidence(gate.name, size, time), (gate.value or 0) / (gate.limit or 1)) for gate in kept]
    return sorted(found, key=lambda one: -one.share)


def _evidence(name: str, size: Evidence | str, time: Evidence | str) -> str:
    return {"latency_ms": str(time), "parameters": "counted", "macs": "counted"}.get(name, str(size))


def parity(record: ReportRecord) -> Parity | None:
    """The worst hop on the way to the form that the report is about; None where none was compared."""
    verified = record.records.verify
    others = [form for form in _FORMS if form != record.form]
    hops = [hop for hop in verified.hops if hop.parity and not any(o in hop.name for o in others)] if verified else []
    if verified is None or not hops:
        return None
    worst = max(hops, key=lambda hop: hop.parity.label_flips if hop.parity else 0)
    flips = worst.parity.label_flips if worst.parity else 0
    return Parity(worst, flips, len(hops), verified.segments)
