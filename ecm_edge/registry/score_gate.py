"""Whether a challenger scores better than the incumbent: rule 6 of `promote`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.records import Gate, Verdict, condition

if TYPE_CHECKING:
    from ecm_edge.base.records import Interval
    from ecm_edge.registry.comparison import Comparison, ElsewhereDifference

_RULE_OF_SEVERAL = "must be above 0 in all, and clearly worse on no source"
TOTAL = "board_score"
"""The unit of the gate where the points for latency and size count too."""


def score_gate(comparison: Comparison | str, *, scored: bool) -> Gate:
    """Rule 6: the difference is above 0; an equal score does not replace anything.

    Where other sources are compared too, it is the mean over the sources, each of which counts alike, and on none may
    the challenger be clearly worse: by the whole interval. Where costs are scored, the points for latency and size that
    it gains or loses are added to the mean.
    """
    if isinstance(comparison, str):
        return condition("score", comparison, holds=False)
    by_costs = _points_by_costs(comparison) if scored else 0.0
    mean = mean_difference(comparison)
    value, worse = mean + by_costs, _clearly_worse(comparison) if comparison.elsewhere else []
    detail = "; ".join(
        [
            _on_claimed_source(comparison),
            *map(on_other_source, comparison.elsewhere),
            *([f"{mean:+.3f} in the mean over sources"] if comparison.elsewhere else []),
            *([f"{by_costs:+.3f} by estimated latency and size"] if scored else []),
            *([f"clearly worse on {' and '.join(worse)}"] if worse else []),
            _RULE_OF_SEVERAL if comparison.elsewhere else "must be above 0",
        ]
    )
    return Gate(
        name="score",
        verdict=Verdict.PASS if value > 0 and not worse else Verdict.FAIL,
        value=value,
        limit=0.0,
        unit=TOTAL if scored else comparison.statistic,
        margin=value,
        detail=detail,
    )


def mean_difference(comparison: Comparison) -> float:
    """The mean of the differences on all sources that are compared."""
    each = [comparison.difference, *(other.difference for other in comparison.elsewhere)]
    return sum(difference.value for difference in each) / len(each)


def _clearly_worse(comparison: Comparison) -> list[str]:
    """The sources on which the whole interval of the difference is below 0."""
    each = {comparison.source or "": comparison.difference} | {o.source: o.difference for o in comparison.elsewhere}
    return [source for source, difference in each.items() if difference.high is not None and difference.high < 0]


def _on_claimed_source(comparison: Comparison) -> str:
    whose = "subjects out of fold" if comparison.basis == "out_of_fold" else "subjects"
    certain = {True: "significant", False: "not significant", None: "one subject, no interval"}[comparison.significant]
    of_source = f" of {comparison.source}" if comparison.source else ""
    counted = f"{len(comparison.subjects)} {whose}{of_source}"
    return f"{signed(comparison.difference)}, {certain}, {counted}{parts_of(comparison)}"


def on_other_source(other: ElsewhereDifference) -> str:
    """The difference on another source, in words."""
    itself = ", where the incumbent answers itself" if other.by_itself else ""
    figures = f"{other.statistic} {signed(other.difference)}, F1 {signed(other.f1)}"
    return f"{figures} on {other.subjects:,} subjects of {other.source}{itself}"


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
