"""Episodes of a detector against those of a reference: ANSI/AAMI EC57, as the program `epicmp` of WFDB computes it.

An episode is an interval (onset, end) in seconds. From the start of the comparison to its end:

    ESe   episode sensitivity             reference episodes that a test episode overlaps, of all
    E+P   episode positive predictivity   test episodes that a reference episode overlaps, of all
    DSe   duration sensitivity            time that both call positive, of the reference's
    D+P   duration positive predictivity  time that both call positive, of the test's

Any overlap counts. Episodes that end before the start are left out, those that straddle it or the end are clipped.
Rhythms that are excluded (option -x, atrial flutter in EC38:1998) are taken out of the test's episodes only: what is
left of an episode still is one. 0 of 0 is undefined: None here, "-" where it is printed. Sources: epicmp.c of
2010-05-09 (WFDB 10.5) and its page in the WFDB Applications Guide. Two things differ. An episode that touches the start
or the end only is left out; there it counts as missed. Of an episode that begins within an excluded rhythm the excluded
time is taken away; there it is added to the duration (`duration -= ep_start[a] - ex_end[i]`).

Several records, after sumstats.c of WFDB: gross figures are those of the sums, averages are means over the records in
which the figure is defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

Interval = tuple[float, float]
"""From the first second to the second, which is later."""

START_S = 300.0
"""Where a comparison begins by EC57: the first five minutes are for the detector to learn."""

_TOLERANCE_S = 1e-6


class EpisodeCounts(Record):
    """What one record adds to the figures; `matched` episodes have an overlap. Times in seconds.

    `analysed_s` is the time of the comparison that the detector has analysed, without excluded rhythms, and
    `analysed_reference_s` and `analysed_test_s` the positive time in it, by the reference and by the detector.
    """

    reference_episodes: int = 0
    reference_matched: int = 0
    test_episodes: int = 0
    test_matched: int = 0
    reference_s: float = 0.0
    reference_overlap_s: float = 0.0
    test_s: float = 0.0
    test_overlap_s: float = 0.0
    analysed_s: float = 0.0
    analysed_reference_s: float = 0.0
    analysed_test_s: float = 0.0


class EpisodeFigures(Record):
    """EC57's figures, 0 to 1, and burdens: positive time by analysed time. `burden_error` is test less reference.

    None where a figure is undefined (0 of 0).
    """

    episode_sensitivity: float | None
    episode_positive_predictivity: float | None
    duration_sensitivity: float | None
    duration_positive_predictivity: float | None
    reference_burden: float | None
    test_burden: float | None
    burden_error: float | None


def compare(
    reference: Iterable[Interval],
    test: Iterable[Interval],
    *,
    start_s: float,
    end_s: float,
    excluded: Iterable[Interval] = (),
    analysed: Iterable[Interval] | None = None,
) -> EpisodeCounts:
    """The counts of one record.

    Args:
        reference: the episodes by the reference, in any order.
        test: those of the detector.
        start_s: where the comparison begins.
        end_s: where it ends.
        excluded: where the reference has a rhythm that is left out of the test's side.
        analysed: what the detector has analysed, for the burden; by default all of it.
    """
    true, found = (clipped(joined(episodes), start_s, end_s) for episodes in (reference, test))
    holes = joined(excluded)
    seen = without(clipped([(start_s, end_s)] if analysed is None else joined(analysed), start_s, end_s), holes)
    true_overlap_s = shared_s(true, found)  # (reference episodes,)
    kept_s = _durations(found) - shared_s(found, holes)  # (test episodes,)
    found_overlap_s = shared_s(found, without(true, holes))
    kept = kept_s > _TOLERANCE_S
    return EpisodeCounts(
        reference_episodes=len(true),
        reference_matched=int(np.sum(true_overlap_s > _TOLERANCE_S)),
        test_episodes=int(np.sum(kept)),
        test_matched=int(np.sum(found_overlap_s[kept] > _TOLERANCE_S)),
        reference_s=total_s(true),
        reference_overlap_s=float(true_overlap_s.sum()),
        test_s=float(kept_s[kept].sum()),
        test_overlap_s=float(found_overlap_s[kept].sum()),
        analysed_s=total_s(seen),
        analysed_reference_s=float(shared_s(true, seen).sum()),
        analysed_test_s=float(shared_s(found, seen).sum()),
    )


def gross(counts: Sequence[EpisodeCounts]) -> EpisodeCounts:
    """The sums over records; `figures` of them are the gross figures."""
    return EpisodeCounts(**{name: sum(getattr(one, name) for one in counts) for name in EpisodeCounts.model_fields})


def figures(counts: EpisodeCounts) -> EpisodeFigures:
    """The figures of one record, or of the sums over records."""
    reference = _share(counts.analysed_reference_s, counts.analysed_s)
    test = _share(counts.analysed_test_s, counts.analysed_s)
    return EpisodeFigures(
        episode_sensitivity=_share(counts.reference_matched, counts.reference_episodes),
        episode_positive_predictivity=_share(counts.test_matched, counts.test_episodes),
        duration_sensitivity=_share(counts.reference_overlap_s, counts.reference_s),
        duration_positive_predictivity=_share(counts.test_overlap_s, counts.test_s),
        reference_burden=reference,
        test_burden=test,
        burden_error=None if reference is None or test is None else test - reference,
    )


def averaged(each: Sequence[EpisodeFigures]) -> EpisodeFigures:
    """The mean of each figure over the records in which it is defined."""

    def mean(name: str) -> float | None:
        defined = [value for one in each if (value := getattr(one, name)) is not None]
        return _share(sum(defined), len(defined))

    return EpisodeFigures(**{name: mean(name) for name in EpisodeFigures.model_fields})


def joined(intervals: Iterable[Interval]) -> list[Interval]:
    """The intervals in order, those that overlap or touch made one.

    >>> joined([(5, 9), (0, 3), (3, 4)])
    [(0, 4), (5, 9)]
    """
    made: list[Interval] = []
    for onset_s, end_s in sorted(intervals):
        if made and onset_s <= made[-1][1] + _TOLERANCE_S:
            made[-1] = (made[-1][0], max(made[-1][1], end_s))
        else:
            made.append((onset_s, end_s))
    return made


def clipped(intervals: Iterable[Interval], start_s: float, end_s: float) -> list[Interval]:
    """What of the intervals lies between `start_s` and `end_s`.

    >>> clipped([(0, 290), (295, 400)], 300, 350)
    [(300, 350)]
    """
    cut = ((max(onset_s, start_s), min(last_s, end_s)) for onset_s, last_s in intervals)
    return [(onset_s, last_s) for onset_s, last_s in cut if last_s - onset_s > _TOLERANCE_S]


def without(intervals: Iterable[Interval], holes: Sequence[Interval]) -> list[Interval]:
    """What of the intervals lies in no hole; `holes` as `joined` gives them.

    >>> without([(0, 10), (20, 30)], [(2, 4), (8, 22)])
    [(0, 2), (4, 8), (22, 30)]
    """
    edges = [-np.inf, *(edge for hole in holes for edge in hole), np.inf]
    outside = list(zip(edges[::2], edges[1::2], strict=True))
    starts = np.array([start_s for start_s, _ in outside])
    left = []
    for onset_s, end_s in intervals:
        first, last = np.searchsorted(starts, [onset_s, end_s], side="right")
        left += clipped(outside[max(first - 1, 0) : last], onset_s, end_s)
    return left


def shared_s(intervals: Sequence[Interval], others: Sequence[Interval]) -> NDArray[np.float64]:
    """(n,) seconds of each of n intervals that lie in `others`, which are as `joined` gives them."""
    if not intervals or not others:
        return np.zeros(len(intervals))
    knots = np.array(others, np.float64)  # (m, 2)
    until = np.repeat(np.concatenate([[0.0], np.cumsum(np.diff(knots, axis=1))]), 2)[1:-1]
    before = np.interp(np.array(intervals, np.float64), knots.ravel(), until)  # (n, 2): time in `others` before
    shared: NDArray[np.float64] = before[:, 1] - before[:, 0]
    return shared


def total_s(intervals: Sequence[Interval]) -> float:
    """The time in intervals that do not overlap."""
    return float(_durations(intervals).sum())


def _durations(intervals: Sequence[Interval]) -> NDArray[np.float64]:
    return np.array([end_s - onset_s for onset_s, end_s in intervals], np.float64)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
