"""Whether a challenger scores better than the incumbent: rule 6 of `promote`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.records import Gate, Verdict, condition

if TYPE_CHECKING:
    from ecm_edge.base.records import Interval
    from ecm_edge.registry.comparison import Comparison, ElsewhereDifference

_RULE_OF_SEVERAL = "must be above 0, or clearly better on another source, and clearly worse on none"
TOTAL = "board_score"
"""The unit of the gate where the points for latency and size count too."""


def score_gate(comparison: Comparison | str, *, scored: bool) -> Gate:
    """Rule 6: the difference is above 0, or not clearly below it and clearly above 0 on another source.

    An equal score does not replace anything. Clearly: by the whole interval. Where costs are scored, the points for
    latency and size that the challenger gains or loses are added.
    """
    if isinstance(comparison, str):
        return condition("score", comparison, holds=False)
    by_costs = _points_by_costs(comparison) if scored else 0.0
    value = comparison.difference.value + by_costs
    worse, better = _worse_on(comparison, by_costs), _better_on(comparison)
    detail = "; ".join(
        [
            _on_claimed_source(comparison),
            *([f"{by_costs:+.3f} by estimated latency and size"] if scored else []),
            *map(on_other_source, comparison.elsewhere),
            *([f"clearly worse on {' and '.join(worse)}"] if worse else []),
            *([f"clearly better on {' and '.join(better)}"] if better else []),
            _RULE_OF_SEVERAL if comparison.elsewhere else "must be above 0",
        ]
    )
    return Gate(
        name="score",
        verdict=Verdict.PASS if not worse and (value > 0 or better) else Verdict.FAIL,
        value=value,
        limit=0.0,
        unit=TOTAL if scored else comparison.statistic,
        margin=value,
        detail=detail,
    )


def _worse_on(comparison: Comparison, by_costs: float) -> list[str]:
    """Where several sources are compared, those on which the challenger is clearly worse."""
    if not comparison.elsewhere:
        return []
    claimed = comparison.difference
    most = (claimed.value if claimed.high is None else claimed.high) + by_costs
    elsewhere = [other.source for other in comparison.elsewhere if other.f1.high is not None and other.f1.high < 0]
    return [*([comparison.source or "this data set"] if most < 0 else []), *elsewhere]


def _better_on(comparison: Comparison) -> list[str]:
    """The other sources on which the challenger is clearly better."""
    return [other.source for other in comparison.elsewhere if other.f1.low is not None and other.f1.low > 0]


def _on_claimed_source(comparison: Comparison) -> str:
    whose = "subjects out of fold" if comparison.basis == "out_of_fold" else "subjects"
    certain = {True: "significant", False: "not significant", None: "one subject, no interval"}[comparison.significant]
    of_source = f" of {comparison.source}" if comparison.source else ""
    counted = f"{len(comparison.subjects)} {whose}{of_source}"
    return f"{signed(comparison.difference)}, {certain}, {counted}{parts_of(comparison)}"


def on_other_source(other: ElsewhereDifference) -> str:
    """The difference on another source, in words."""
    itself = ", where the incumbent answers itself" if other.by_itself else ""
    return f"F1 {signed(other.f1)} on {other.subjects:,} subjects of {other.source}{itself}"


def _points_by_costs(comparison: Comparison) -> float:
    """The points of the board's score for latency and size, the challenger's less the incumbent's."""
    ours, theirs = (
        sum(term.points for term in side.board_score.terms if term.unit) if side.board_score else 0.0
        for side in (comparison.challenger, comparison.incumbent)
    )
    return ours - theirs


def parts_of(comparison: Comparison) -> str:
    """What the difference is due to."""
    parts = comparison.parts
    if parts is None:
        return ""
    return f"; {signed(parts.network)} by the network at even odds, {signed(parts.threshold)} by the threshold"


def signed(figure: Interval) -> str:
    """A difference with its sign and its interval."""
    ends = "" if figure.low is None or figure.high is None else f" ({figure.low:+.3f} … {figure.high:+.3f})"
    return f"{figure.value:+.3f}{ends}"
