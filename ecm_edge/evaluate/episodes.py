"""Episodes: the answers to a recording's windows as stretches of time, their burden, and EC57's comparison.

How windows become time. Each moment that a usable window covers belongs to the usable window whose centre is nearest,
so that nothing counts twice: side by side a window stands for its own length, one every second stands for one second
around its centre, and the first and the last one before a gap reach to their own ends. A moment that no usable window
covers (missing samples, a flat line, the rest at the end) is not analysed: it is neither positive nor negative, ends an
episode, and is left out of the burden, as in Holter reports, whose burden is AF time by analysable time.

An episode begins with a window whose margin is at least `begin_at`, and goes on while margins are at least `end_below`;
equal thresholds are no hysteresis. Episodes shorter than `min_duration_s` are dropped, and their time is negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, PositiveFloat

from ecm_edge.base.errors import EcmEdgeError, RecordingError
from ecm_edge.base.records import Record
from ecm_edge.data.dataset import BLANK_RHYTHM
from ecm_edge.data.recordings.windows import TOLERANCE_S, in_order
from ecm_edge.data.rhythms import not_known
from ecm_edge.evaluate.answering import AnswersOf
from ecm_edge.metrics.episodes import (
    START_S,
    EpisodeCounts,
    EpisodeFigures,
    Interval,
    clipped,
    compare,
    figures,
    joined,
    total_s,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ecm_edge.data.recordings.windows import Recording
    from ecm_edge.data.rhythms import RhythmRules
    from ecm_edge.evaluate.answering import Answers
    from ecm_edge.tasks import Task

NEGATIVE_NOTE = "(N"
"""The rhythm note of analysed time without the label; it says "not the label" rather than sinus rhythm."""

UNANALYSED_NOTE = "(NOISE"
"""The rhythm note of time that is not analysed."""

_HOPS_PER_WINDOW = 50


class Rule(Record):
    """How windows become episodes: the time from one to the next, the two thresholds of a margin, the shortest one."""

    hop_s: PositiveFloat
    begin_at: float = 0.0
    end_below: float = 0.0
    min_duration_s: float = Field(default=0.0, ge=0)


@dataclass(frozen=True)
class Reference:
    """What a recording's own rhythms count as, the rhythms that are excluded, and where the comparison begins."""

    rules: RhythmRules
    excluded: tuple[str, ...] = ()
    start_s: float = START_S


class Episode(Record):
    """A stretch of time that the detector calls positive; `mean_score` is the mean margin of its windows."""

    onset_s: float
    end_s: float
    mean_score: float


class RecordingEpisodes(Record):
    """One recording: its episodes, the time that was analysed, and the comparison where one was asked for.

    `burden` is the time of the episodes by the analysed time, None where nothing was analysed. `analysed` and
    `reference`, the positive stretches by the recording's own rhythms, are (onset, end) in seconds. `counts` and
    `figures` are EC57's.
    """

    name: str
    subject: str
    duration_s: float
    windows: int
    answered: int
    analysed: list[Interval]
    analysed_s: float
    episodes: list[Episode]
    positive_s: float
    burden: float | None
    longest_s: float | None
    reference: list[Interval] | None = None
    counts: EpisodeCounts | None = None
    figures: EpisodeFigures | None = None


class EpisodesRecord(AnswersOf):
    """The episodes of every recording; `gross` figures are of the sums, `averaged` ones means over recordings.

    `excluded`, `start_s`, `counts`, `gross` and `averaged` are absent without a reference.
    """

    out: str
    rule: Rule
    recordings: list[RecordingEpisodes]
    excluded: list[str] | None = None
    start_s: float | None = None
    counts: EpisodeCounts | None = None
    gross: EpisodeFigures | None = None
    averaged: EpisodeFigures | None = None


def check_rule(rule: Rule, task: Task) -> None:
    """Refuse a hop that leaves time unseen or is very short, and thresholds in the wrong order.

    Raises:
        EcmEdgeError: which one.
    """
    shortest_s = task.window_s / _HOPS_PER_WINDOW
    if not shortest_s <= rule.hop_s <= task.window_s:
        raise EcmEdgeError(
            f"a hop is at most a window, so that no time goes unseen, and at least {shortest_s:g} s",
            f"{rule.hop_s:g} s for windows of {task.window_s:g} s",
            "Give another --hop.",
        )
    if rule.end_below > rule.begin_at:
        raise EcmEdgeError(
            "an episode ends below the margin that begins one",
            f"it begins at {rule.begin_at:g} and ends below {rule.end_below:g}",
            "Give a lower --end-below, or a higher --begin-at.",
        )


def check_reference(reference: Reference) -> None:
    """Refuse an excluded rhythm that no recording can have, or that is positive.

    Raises:
        RecordingError: which one.
    """
    for code in reference.excluded:
        known = reference.rules.kept_as(code)
        if known is None or known in reference.rules.positive:
            raise RecordingError(
                f"an excluded rhythm is a code of the vocabulary {reference.rules.codes}, and not a positive one",
                f"{code!r}",
                "Check --exclude.",
            )


def detect(answered: Answers, task: Task, rule: Rule, reference: Reference | None = None) -> RecordingEpisodes:
    """The episodes of one recording, compared with its own rhythms if there is a reference.

    Raises:
        RecordingError: a rhythm code that is not known.
    """
    usable = np.flatnonzero(np.isfinite(answered.margins))
    margins, cells = answered.margins[usable], own_time(answered.starts_s[usable], task.window_s)
    recording, episodes = answered.recording, _episodes(margins, cells, rule)
    analysed = joined(map(tuple, cells.tolist()))
    analysed_s, positive_s = total_s(analysed), total_s([(one.onset_s, one.end_s) for one in episodes])
    found = RecordingEpisodes(
        name=recording.name,
        subject=recording.subject,
        duration_s=recording.duration_s,
        windows=len(answered.margins),
        answered=len(usable),
        analysed=analysed,
        analysed_s=analysed_s,
        episodes=episodes,
        positive_s=positive_s,
        burden=positive_s / analysed_s if analysed_s else None,
        longest_s=max((one.end_s - one.onset_s for one in episodes), default=None),
    )
    return found if reference is None else _compared(found, recording, reference)


def own_time(starts_s: NDArray[np.float64], window_s: float) -> NDArray[np.float64]:
    """(n, 2): the time that belongs to each of n windows, whose starts ascend.

    >>> own_time(np.array([0.0, 2.0, 4.0, 20.0]), 5.0).tolist()
    [[0.0, 3.5], [3.5, 5.5], [5.5, 9.0], [20.0, 25.0]]
    """
    cells = np.stack([starts_s, starts_s + window_s], axis=1)
    meeting = np.flatnonzero(cells[1:, 0] <= cells[:-1, 1] + TOLERANCE_S)
    cells[meeting, 1] = cells[meeting + 1, 0] = (cells[meeting, 1] + cells[meeting + 1, 0]) / 2
    return cells


def notes(found: RecordingEpisodes, task: Task) -> list[tuple[float, str]]:
    """The rhythm notes of a recording, (second, text): each holds until the next one.

    Time that is not analysed has a note of its own, so that no rhythm is claimed for it.
    """
    positive = [(one.onset_s, one.end_s) for one in found.episodes]
    pieces = [(onset_s, f"({task.positive[0]}") for onset_s, _ in positive]
    pieces += [(onset_s, NEGATIVE_NOTE) for onset_s, _ in without(found.analysed, positive)]
    pieces += [(onset_s, UNANALYSED_NOTE) for onset_s, _ in unanalysed(found)]
    return sorted(pieces)


def unanalysed(found: RecordingEpisodes) -> list[Interval]:
    """The stretches of a recording that were not analysed."""
    return without([(0.0, found.duration_s)], found.analysed)


def _episodes(margins: NDArray[np.float32], cells: NDArray[np.float64], rule: Rule) -> list[Episode]:
    """The episodes of n usable windows: margins (n,), the time of each (n, 2)."""
    made: list[tuple[float, list[float], list[float]]] = []  # the onset, the ends of its windows, their margins
    inside, before_s = False, -np.inf
    for margin, (onset_s, end_s) in zip(margins.tolist(), cells.tolist(), strict=True):
        goes_on = inside and onset_s <= before_s + TOLERANCE_S
        inside = margin >= (rule.end_below if goes_on else rule.begin_at)
        if inside and not goes_on:
            made.append((onset_s, [], []))
        if inside:
            made[-1][1].append(end_s)
            made[-1][2].append(margin)
        before_s = end_s
    return [
        Episode(onset_s=onset_s, end_s=ends_s[-1], mean_score=float(np.mean(scores)))
        for onset_s, ends_s, scores in made
        if ends_s[-1] - onset_s >= rule.min_duration_s - TOLERANCE_S
    ]


def _compared(found: RecordingEpisodes, recording: Recording, reference: Reference) -> RecordingEpisodes:
    positive, excluded = _spans(recording, reference)
    counts = compare(
        positive,
        [(one.onset_s, one.end_s) for one in found.episodes],
        start_s=reference.start_s,
        end_s=recording.duration_s,
        excluded=excluded,
        analysed=found.analysed,
    )
    return found.model_copy(update={"reference": positive, "counts": counts, "figures": figures(counts)})


def _spans(recording: Recording, reference: Reference) -> tuple[list[Interval], list[Interval]]:
    """The positive stretches by a recording's own rhythms, and the excluded ones.

    Raises:
        RecordingError: a code that is not known.
    """
    excluded = {reference.rules.kept_as(code) for code in reference.excluded}
    known = [(span, _known(span.rhythm, recording, reference)) for span in in_order(recording.spans)]
    both = (
        [(span.onset_s, span.end_s) for span, rhythm in known if rhythm in wanted]
        for wanted in (reference.rules.positive, excluded)
    )
    positive, left_out = (clipped(joined(each), 0.0, recording.duration_s) for each in both)
    return positive, left_out


def _known(code: str, recording: Recording, reference: Reference) -> str:
    """The rhythm that a code is kept as; "" for noise and for a blank."""
    known = BLANK_RHYTHM if code == BLANK_RHYTHM else reference.rules.kept_as(code)
    if known is None:
        raise not_known(reference.rules, [code], f"{code!r} in {recording.name}")
    return known


def table(recordings: Sequence[RecordingEpisodes]) -> list[list[str]]:
    """The rows of the CSV file of episodes, its header first."""
    rows = [["name", "subject", "onset_s", "end_s", "duration_s", "mean_score"]]
    for found in recordings:
        for one in found.episodes:
            times = (f"{value:.3f}" for value in (one.onset_s, one.end_s, one.end_s - one.onset_s))
            rows.append([found.name, found.subject, *times, f"{one.mean_score:.4f}"])
    return rows
