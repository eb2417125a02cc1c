"""The costs of a challenger against those of the incumbent: rules 7 and 8 of `promote`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.records import Gate, at_most, condition, not_run
from ecm_edge.targets import score_rule

if TYPE_CHECKING:
    from ecm_edge.registry.contender import Contender

BOARD_LATENCY = "board_latency_estimated_vs_incumbent"


def are_scored(challenger: Contender) -> bool:
    """Whether the board's rule of score counts what a challenger costs."""
    target = challenger.target
    return target.promotion.costs == "scored" and score_rule(target, challenger.dataset.header.task) is not None


def cost_gates(challenger: Contender, incumbent: Contender) -> list[Gate]:
    """Rule 7: latency, by medians where both have one and else by means, flash and RAM are no worse."""
    tolerance, ours, theirs = _tolerances(challenger), challenger.cost, incumbent.cost
    mine, other = challenger.latency, incumbent.latency
    times = mine.mean_ms, other.mean_ms
    if mine.median_ms is not None and other.median_ms is not None:
        times = mine.median_ms, other.median_ms
    timed = (mine.evidence, mine.source), (other.evidence, other.source)
    sized = (ours.evidence, ours.source), (theirs.evidence, theirs.source)
    flash, ram = (ours.flash_bytes, theirs.flash_bytes), (ours.ram_bytes, theirs.ram_bytes)
    return [
        _no_worse("latency_vs_incumbent", times, tolerance["latency"], "ms", timed),
        _no_worse("flash_vs_incumbent", flash, tolerance["flash"], "B", sized),
        _no_worse("ram_vs_incumbent", ram, tolerance["ram"], "B", sized),
    ]


def board_latency_gates(challenger: Contender, incumbent: Contender) -> list[Gate]:
    """Rule 8: the estimated time on the board is no worse; NOT RUN where one side's instructions were not counted."""
    ours, theirs = challenger.fit, incumbent.fit
    if ours is None:
        return []
    if ours.instructions is None:
        why = f"nothing was counted: {ours.reason}; run `ecm-edge firmware build` where the board's emulator is"
        return [not_run(BOARD_LATENCY, why)]
    if theirs is None or theirs.instructions is None:
        reason = f": {theirs.reason}" if theirs and theirs.reason else ""
        why = f"nothing was counted of the incumbent{reason}; run `ecm-edge promote` where the board's emulator is"
        return [not_run(BOARD_LATENCY, why)]
    counted = "instructions counted in the emulator and the core's model of target"
    origins = (
        (ours.latency_ms.evidence, f"{counted} {challenger.fit_target_sha256[:12]}"),
        (theirs.latency_ms.evidence, f"{counted} {incumbent.fit_target_sha256[:12]}"),
    )
    times = (ours.latency_ms.mean_ms, theirs.latency_ms.mean_ms)
    return [_no_worse(BOARD_LATENCY, times, _tolerances(challenger)["latency"], "ms", origins)]


def _tolerances(challenger: Contender) -> dict[str, float | None]:
    """How much more each cost may be, as a share of the incumbent's; None where the board's score counts the costs."""
    allowed = challenger.target.promotion
    if are_scored(challenger):
        return dict.fromkeys(("latency", "flash", "ram"))
    return {"latency": allowed.latency_tolerance, "flash": allowed.flash_tolerance, "ram": allowed.ram_tolerance}


def _no_worse(
    name: str,
    values: tuple[float, float],
    tolerance: float | None,
    unit: str,
    origins: tuple[tuple[str, str], tuple[str, str]],
) -> Gate:
    """The challenger's value against the incumbent's and the tolerance.

    Args:
        name: of the gate.
        values: the challenger's and the incumbent's, in `unit`.
        tolerance: how much more is allowed, as a share of the incumbent's value; None for any amount.
        unit: of the values.
        origins: kind of evidence and source of each value; unlike ones are not compared.
    """
    (ours, theirs), (our_origin, their_origin) = values, origins
    if our_origin != their_origin:
        detail = f"unlike evidence: {' by '.join(our_origin)} against {' by '.join(their_origin)}"
        return condition(name, detail, holds=False)
    has = f"{our_origin[0]}; the incumbent has {theirs:,.6g} {unit}"
    if tolerance is None:
        return condition(name, f"{ours:,.6g} {unit}, {has}; the score counts what it costs", holds=True)
    detail = f"{has}, {tolerance:.0%} more is tolerated"
    return at_most(name, ours, theirs * (1 + tolerance), unit, detail)
