"""Whether a challenger scores better than the incumbent: rule 6 of `promote`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.records import Gate, Verdict, condition

if TYPE_CHECKING:
    from ecm_edge.base.records import Interval
    from ecm_edge.registry.comparison import Comparison, ElsewhereDifference

TOTAL = "board_score"
"""The unit of the gate where the points for latency and size count too."""


def score_gate(comparison: Comparison | str, *, scored: bool) -> Gate:
    """Rule 6: the difference is above 0; an equal score does not replace anything.

    Where costs are scored, the points for latency and size that the challenger gains or loses are added.
    """
    if isinstance(comparison, str):
        return condition("score", comparison, holds=False)
    by_costs = _points_by_costs(comparison) if scored else 0.0
    whole = comparison.mean_difference or comparison.difference
    value, worse = whole.value + by_costs, _worse_on(comparison)
    detail = "".join(
        [
            *([f"{signed(whole)} in the mean over sources: "] if comparison.mean_difference else []),
            _on_claimed_source(comparison),
            *(f"; {_on_other_source(other)}" for other in comparison.elsewhere),
            f"; {by_costs:+.3f} by estimated latency and size" if scored else "",
            "; must be above 0",
            f", and not worse beyond its interval, as on {' and '.join(worse)}" if worse else "",
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


def _worse_on(comparison: Comparison) -> list[str]:
    """Where several sources are compared, those on which the challenger is worse beyond the interval."""
    if not comparison.elsewhere:
        return []
    each = [
        (comparison.source or "", comparison.difference),
        *((one.source, one.difference) for one in comparison.elsewhere),
    ]
    return [name for name, difference in each if difference.high is not None and difference.high < 0]


def _on_claimed_source(comparison: Comparison) -> str:
    whose = "subjects out of fold" if comparison.basis == "out_of_fold" else "subjects"
    certain = {True: "significant", False: "not significant", None: "one subject, no interval"}[comparison.significant]
    of_source = f" of {comparison.source}" if comparison.source else ""
    counted = f"{len(comparison.subjects)} {whose}{of_source}"
    return f"{signed(comparison.difference)}, {certain}, {counted}{parts_of(comparison)}"


def _on_other_source(other: ElsewhereDifference) -> str:
    itself = ", where the incumbent answers itself" if other.by_itself else ""
    return f"{signed(other.difference)}, {other.subjects} subjects of {other.source}{itself}"


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
