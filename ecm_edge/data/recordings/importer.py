"""The import: every recording of a folder into one new data set, with the reason for each that cannot be used."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ecm_edge import tasks
from ecm_edge.base.errors import RecordingError
from ecm_edge.base.records import Record
from ecm_edge.data.dataset import (
    BLANK_RHYTHM,
    UNSTATED,
    Blank,
    Description,
    LeftOut,
    Note,
    Source,
    open_dataset,
)
from ecm_edge.data.dataset_writer import write_dataset
from ecm_edge.data.info import counts
from ecm_edge.data.reasons import grouped, in_one
from ecm_edge.data.recordings.formats import FORMATS, Format
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.recordings.repeats import with_repeats
from ecm_edge.data.recordings.sources import check_format, look, told_apart
from ecm_edge.data.recordings.windows import problem_block
from ecm_edge.data.rhythms import Labelling, RhythmCount, RhythmRules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ecm_edge.data.dataset import Dataset, SegmentBlock
    from ecm_edge.tasks import Task

OnError = Literal["fail", "skip"]

_FILTERED = "as given: band-passed at source"


class ImportRecord(Record):
    """What an import made. `rhythms` and `splits` count segments; `left_out` names what is not in the data set.

    `labels` says what each rhythm counts as, those that were left out included. `leads` counts the recordings by the
    lead that was read, `rates_hz` by their own sampling rate. `notes` are facts about recordings in the data set.
    """

    dataset: str
    task: str
    format: Format
    segments: int
    subjects: int
    rhythms: dict[str, int]
    labels: list[RhythmCount]
    splits: dict[str, int]
    blank: Blank
    blank_segments: int
    sampling_rate_hz: float
    unit: str
    synthetic: bool
    leads: dict[str, int]
    rates_hz: dict[str, int]
    left_out: list[LeftOut]
    notes: list[Note]
    content_sha256: str
    seconds: float


def import_recordings(
    source: Path,
    out: Path,
    *,
    file_format: Format,
    options: Options | None = None,
    task: Task | None = None,
    rules: RhythmRules | None = None,
    on_error: OnError = "fail",
    blank: Blank = "negative",
    synthetic: bool = False,
    licence: str | None = None,
    problems_shown: int = 10,
) -> ImportRecord:
    """Read every recording of a folder into a new data set at `out`.

    With `on_error="fail"` one problem is enough to write nothing; with "skip" the rest is imported and the header
    keeps what was left out, and why. The error shows each reason once, at most `problems_shown` of them, and so many
    names of each. Hidden files and those of operating systems are left out and stop nothing. `task` is AF in 5 s by
    default, and `rules` are the task's; the positive rhythms of `rules` take the place of the task's. The header keeps
    the `licence` of the recordings, which changes no hash.

    Raises:
        RecordingError: no folder of recordings, one of another format or with `out` in it, an option that is missing or
            has no effect, recordings with problems, or rhythm codes that are not known (`data.rhythms`).
        DatasetError: nothing usable is left.
        OutputError: `out` exists or cannot be written.
    """
    begin_s = time.perf_counter()
    options = options or Options()
    check_options(options, file_format)
    contents = look(source, out)
    check_format(contents, file_format, source)
    task = task or tasks.default()
    rules = rules or RhythmRules.of(task)
    stated = rules.stated_beside(RhythmRules.of(task))
    task = task.model_copy(update={"positive": list(rules.positive)})
    blocks = _without_system_files(
        FORMATS[file_format].read(source, options, task.model_copy(update={"ignored": list(rules.ignored)}))
    )
    blocks = chain([problem_block(task, contents.problems)], blocks)
    if on_error == "fail":
        blocks = _without_problems(blocks, problems_shown)
    labelling = Labelling(rules, blank)
    description = _description(file_format, options, task, rules, blank, on_error, synthetic=synthetic, licence=licence)
    labelled = labelling.label(with_repeats(blocks))
    write_dataset(out, description, chain(labelled, _not_seen(task, stated, labelling)))
    return _record(open_dataset(out), file_format, labelling.table(), begin_s)


def check_options(options: Options, file_format: Format, *, labelled: bool = True) -> None:
    """Refuse an option that is missing or that the format would ignore, and a sampling rate that is not positive.

    Labels are only needed where `labelled` recordings are asked for.

    Raises:
        RecordingError: with the option's name.
    """
    required, optional = FORMATS[file_format].required, FORMATS[file_format].optional
    if not labelled:
        required, optional = required - {"labels"}, optional | {"labels"} & required
    given = {name for name, value in vars(options).items() if value not in (None, ())}
    if required - given:
        flag = _flag(min(required - given))
        raise RecordingError(f"{file_format} recordings need {flag}", "none", f"Give {flag}: it is never guessed.")
    if given - required - optional:
        flag = _flag(min(given - required - optional))
        raise RecordingError(f"every option has an effect on {file_format} recordings", flag, "Leave it out.")
    names = [name for name, _ in options.splits]
    if len(set(names)) < len(names):
        raise RecordingError("each fixed split is given once", f"--split {', '.join(names)}", "Join their tables.")
    rate = options.sampling_rate_hz
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise RecordingError("a sampling rate is positive", f"{rate} Hz", "State the true one.")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-").removesuffix("s" if name == "splits" else "")


def _record(dataset: Dataset, file_format: Format, labels: list[RhythmCount], begin_s: float) -> ImportRecord:
    header, counted = dataset.header, counts(dataset)
    return ImportRecord(
        dataset=str(dataset.folder),
        task=header.task.name,
        format=file_format,
        segments=header.segments,
        subjects=len(header.subjects),
        rhythms=counted.rhythms,
        labels=labels,
        splits=counted.splits,
        blank=header.blank,
        blank_segments=counted.rhythms.get(BLANK_RHYTHM, 0),
        sampling_rate_hz=header.sampling_rate_hz,
        unit=header.unit,
        synthetic=header.synthetic,
        leads=header.leads,
        rates_hz=header.rates_hz,
        left_out=header.left_out,
        notes=header.notes,
        content_sha256=header.content_sha256,
        seconds=round(time.perf_counter() - begin_s, 3),
    )


def _without_problems(blocks: Iterable[SegmentBlock], shown: int) -> Iterator[SegmentBlock]:
    """The blocks; after the last one an error if any had a problem, so that the error counts all of them."""
    problems: list[LeftOut] = []
    for block in blocks:
        problems.extend(block.problems)
        yield block
    if problems:
        raise unusable(problems, shown, "import")


def _not_seen(task: Task, stated: Iterable[str], labelling: Labelling) -> Iterator[SegmentBlock]:
    """After the last segment, a note on stated codes that no window has: they may be misspelt."""
    if missing := [code for code in stated if code not in labelling.seen]:
        note = Note(name=", ".join(missing), text="stated, and no window has it")
        yield replace(problem_block(task, ()), notes=(note,))


def unusable(problems: Sequence[LeftOut], shown: int, verb: str) -> RecordingError:
    """The error for recordings that cannot be used, the first `shown` of them named; `verb` is the command."""
    reasons = grouped(((one.name, one.reason, 0) for one in problems), names_shown=shown)
    return RecordingError(
        "every recording has to be usable",
        f"{len(problems)} that {'is' if len(problems) == 1 else 'are'} not: {in_one(reasons, shown)}",
        f"Nothing was written. Mend them, or {verb} the rest with --on-error skip.",
    )


def _without_system_files(blocks: Iterable[SegmentBlock]) -> Iterator[SegmentBlock]:
    """The blocks, where hidden files and those of operating systems are no problem, but left out."""
    for block in blocks:
        problems, others = told_apart(block.problems)
        yield replace(block, problems=problems, left_out=[*block.left_out, *others]) if others else block


def _description(
    file_format: Format,
    options: Options,
    task: Task,
    rules: RhythmRules,
    blank: Blank,
    on_error: OnError,
    *,
    synthetic: bool,
    licence: str | None,
) -> Description:
    stated = {name: _text(value) for name, value in vars(options).items() if value not in (None, ())}
    signal = task.signal if FORMATS[file_format].continuous else _FILTERED
    return Description(
        sampling_rate_hz=task.sampling_rate_hz,
        samples_per_segment=task.samples_per_segment,
        unit="mV" if FORMATS[file_format].states_unit else options.unit or UNSTATED,
        splits=[name for name, _ in options.splits],
        positive_rhythms=list(rules.positive),
        blank=blank,
        synthetic=synthetic,
        task=task,
        source=Source(
            format=file_format,
            options={**stated, **rules.statement(), "on_error": on_error, "signal": signal},
            licence=" ".join((licence or "").split()) or None,
        ),
    )


def _text(value: object) -> str:
    """An option as text; of a path only the name, so that a header does not depend on the machine."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, tuple):
        return ", ".join(f"{name}={path.name}" for name, path in value)
    return str(value)
