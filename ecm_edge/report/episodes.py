"""The command `episodes`: every recording's episodes as tables, rhythm notes and strip charts in one new folder.

    episodes.json    the EpisodesRecord
    episodes.csv     one line an episode
    NAME.ecm         WFDB rhythm notes at the recording's sampling rate: (AFIB, (N, (NOISE where nothing was analysed
    NAME.html        the strip chart

NAME is the recording's, with `_` in place of what a WFDB record's name cannot hold.
"""

from __future__ import annotations

import csv
import io
import re
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.errors import RecordingError
from ecm_edge.data.dataset import HEADER_FILE
from ecm_edge.data.reasons import some
from ecm_edge.data.recordings.opening import open_recordings
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.recordings.physionet import write_rhythms
from ecm_edge.data.recordings.windows import check_spans
from ecm_edge.evaluate.answering import Told, answer_all, shared_fields, task_of, told_fields
from ecm_edge.evaluate.episodes import (
    EpisodesRecord,
    Reference,
    Rule,
    check_reference,
    check_rule,
    detect,
    notes,
    table,
)
from ecm_edge.forms.model_file import open_detector
from ecm_edge.metrics.episodes import averaged, figures, gross, joined, total_s, without
from ecm_edge.report.strip_chart import render

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.data.recordings.formats import Format
    from ecm_edge.data.recordings.importer import OnError
    from ecm_edge.data.recordings.windows import Listing, Recording
    from ecm_edge.evaluate.episodes import RecordingEpisodes
    from ecm_edge.tasks import Task

ANNOTATOR = "ecm"
RECORD = "episodes.json"
TABLE = "episodes.csv"

_ROUNDED_S = 1.0
_NO_RHYTHM = "a part of it has no rhythm: there the reference counts as negative"
_NAMES_SHOWN = 3


def write_episodes(
    model_path: Path,
    source: Path,
    out: Path,
    *,
    form: Form = "float32",
    task: Task | None = None,
    rule: Rule | None = None,
    reference: Reference | None = None,
    file_format: Format | None = None,
    options: Options | None = None,
    on_error: OnError = "fail",
) -> EpisodesRecord:
    """Find the episodes of a recording, or of a folder of them, and write them into a new folder.

    Args:
        model_path: a candidate's folder, an entry, or an ONNX file.
        source: the recording, or the folder.
        out: the folder; it must not exist.
        form: which form of a candidate; a file is what it is.
        task: what the model looks for; by default the candidate's, and AF in 5 s for a file.
        rule: how windows become episodes; by default side by side, positive where the margin is at least 0.
        reference: compares with the recordings' own rhythms.
        file_format: of recordings; by default that of the suffix.
        options: how recordings are read.
        on_error: whether a recording that cannot be used is an error, or is left out.

    Raises:
        EcmEdgeError: a rule that makes no sense, and as `predict` says.
        RecordingError: with a reference, a recording without rhythms, or with one that is not known.
        OutputError: `out` exists or cannot be written; nothing stays behind.
    """
    begin_s = time.perf_counter()
    model, told = open_detector(model_path, form), Told()
    task = task_of(model, task)
    rule = rule or Rule(hop_s=task.window_s)
    check_rule(rule, task)
    if reference:
        check_reference(reference)
    if (source / HEADER_FILE).is_file():
        hint = "Give the recordings themselves; `ecm-edge predict` takes a data set."
        raise RecordingError("episodes are found in continuous recordings", f"the data set {source}", hint)
    with files.staged_folder(out) as staged:
        listing = open_recordings(source, file_format, options or Options(), task)
        listing = _with_rhythms(listing) if reference else listing
        names = _names(listing.names)
        head = EpisodesRecord(
            **shared_fields(model, task, source, told, begin_s),
            out=str(out),
            rule=rule,
            recordings=[],
            excluded=list(reference.excluded) if reference else None,
            start_s=reference.start_s if reference else None,
        )
        found = []
        for answered in answer_all(model, listing, task, told, verb="look at", on_error=on_error, hop_s=rule.hop_s):
            found.append(detect(answered, task, rule, reference))
            name, rate_hz = names[answered.recording.name], answered.recording.sampling_rate_hz
            marks = [(round(second * rate_hz), text) for second, text in notes(found[-1], task)]
            write_rhythms(staged, name, rate_hz, marks, ANNOTATOR)
            page = render(head, found[-1], answered, task)
            (staged / f"{name}.html").write_text(page, encoding="utf-8")
        if reference:
            told.warnings.extend(_nothing_compared(found, reference))
        (staged / TABLE).write_text(_csv(found), encoding="utf-8")
        known = {**told_fields(model, task, told, begin_s), **(_figures(found) if reference else {})}
        record = head.model_copy(update={"recordings": found, **known})
        record.save(staged / RECORD)
    return record


def _with_rhythms(listing: Listing) -> Listing:
    """The same recordings, those without rhythms or with two at once being `Unfit`; time without one is told."""

    def load(name: str) -> Recording:
        recording = listing.load(name)
        check_spans(recording)
        spans = joined((span.onset_s, span.end_s) for span in recording.spans)
        if total_s(without([(0.0, recording.duration_s)], spans)) <= _ROUNDED_S:
            return recording
        return replace(recording, notes=(*recording.notes, _NO_RHYTHM))

    return replace(listing, load=load)


def _nothing_compared(found: Sequence[RecordingEpisodes], reference: Reference) -> list[str]:
    """A warning where recordings end before the comparison begins."""
    short = [one.name for one in found if one.duration_s <= reference.start_s]
    until = f"shorter than the {reference.start_s:g} s after which the comparison begins: not compared (--start)"
    return [f"{some(short, _NAMES_SHOWN)}: {until}"] if short else []


def _figures(found: Sequence[RecordingEpisodes]) -> dict[str, object]:
    """Counts and figures over recordings that were compared."""
    counts = gross([one.counts for one in found if one.counts])
    each = [one.figures for one in found if one.figures]
    return {"counts": counts, "gross": figures(counts), "averaged": averaged(each)}


def _names(recordings: Sequence[str]) -> dict[str, str]:
    """The name of each recording's files.

    Raises:
        RecordingError: two recordings would have the same one.

    >>> _names(["P0", "a/P1.csv"])
    {'P0': 'P0', 'a/P1.csv': 'a_P1_csv'}
    """
    names = {name: re.sub(r"[^A-Za-z0-9_-]", "_", name) for name in recordings}
    (most, count), *_ = Counter(names.values()).most_common(1) or [("", 0)]
    if count > 1:
        raise RecordingError("the files of each recording have a name of their own", f"{most!r} twice", "Rename one.")
    return names


def _csv(recordings: Sequence[RecordingEpisodes]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(table(recordings))
    return stream.getvalue()
