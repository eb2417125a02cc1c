"""The strip chart of one recording: its episodes on an overview, and a strip of ECG at the onset of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base.errors import RecordingError
from ecm_edge.base.numbers import clock, percent
from ecm_edge.data.recordings.windows import Unfit, conditioned
from ecm_edge.evaluate.episodes import unanalysed
from ecm_edge.report.ecg import MM_PER_S, draw_strip
from ecm_edge.report.page import environment
from ecm_edge.report.timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.data.recordings.windows import Recording
    from ecm_edge.evaluate.answering import Answers
    from ecm_edge.evaluate.episodes import Episode, EpisodesRecord, RecordingEpisodes
    from ecm_edge.report.ecg import Strip
    from ecm_edge.tasks import Task

MOST_STRIPS = 40
"""At most so many strips are drawn: those of the longest episodes."""

MOST_ROWS = 400
"""The table of a page lists at most so many episodes; the CSV file has all of them."""

_STRIP_S = 10.0
_BEFORE_S = 2.0  # of the strip, before the onset
_PITCH, _PITCH_WITH_REFERENCE = 14, 20


@dataclass(frozen=True)
class Shown:
    """An episode with its number in the recording, and its strip where it has one; `onset_mm` is on the strip."""

    number: int
    episode: Episode
    strip: Strip | None
    strip_start_s: float
    onset_mm: float


def render(record: EpisodesRecord, found: RecordingEpisodes, answered: Answers, task: Task) -> str:
    """The page of one recording as HTML; the ECG on it is read from the recording.

    Args:
        record: which model answered, and by which rule; of the recordings that it holds nothing is shown.
        found: the episodes.
        answered: the answers that they were made of.
        task: how the recording is filtered.

    Raises:
        RecordingError: the signal can no longer be read.
    """
    recording = answered.recording
    frame = timeline(found.duration_s, _PITCH_WITH_REFERENCE if found.reference is not None else _PITCH)
    try:
        shown = _shown(found.episodes, recording, task)
    except Unfit as problem:
        raise RecordingError("a recording stays readable", f"{recording.name}: {problem}", "Try again.") from None
    drawn = [one for one in shown if one.strip]
    bars = {one.number: frame.path([(one.episode.onset_s, one.episode.end_s)], 2, 8) for one in drawn}
    others = [(one.episode.onset_s, one.episode.end_s) for one in shown if not one.strip]
    return (
        environment()
        .get_template("strip_chart.html.jinja")
        .render(
            r=record,
            f=found,
            task=task,
            label=record.label,
            lead=recording.lead,
            frame=frame,
            analysed_path=frame.path(found.analysed, 0, 12),
            others_path=frame.path(others, 2, 8),
            reference_path=frame.path(found.reference or [], 13, 4),
            unanalysed_s=sum(end_s - onset_s for onset_s, end_s in unanalysed(found)),
            bars=bars,
            shown=shown[:MOST_ROWS],
            drawn=drawn,
            figure_of=lambda value: "-" if value is None else percent(value),
            left_out=answered.left_out,
            clock=clock,
        )
    )


def _shown(episodes: Sequence[Episode], recording: Recording, task: Task) -> list[Shown]:
    longest = sorted(range(len(episodes)), key=lambda place: episodes[place].onset_s - episodes[place].end_s)
    with_strip = set(longest[:MOST_STRIPS])
    made = []
    for place, episode in enumerate(episodes):
        start_s = max(0.0, episode.onset_s - _BEFORE_S)
        strip = _strip(recording, task, start_s) if place in with_strip else None
        made.append(Shown(place + 1, episode, strip, start_s, (episode.onset_s - start_s) * MM_PER_S))
    return made


def _strip(recording: Recording, task: Task, start_s: float) -> Strip:
    stop_s = min(recording.duration_s, start_s + _STRIP_S)
    samples = conditioned(recording, task, start_s, stop_s).astype("float32")
    return draw_strip(samples, task.sampling_rate_hz, recording.unit)
