"""The contest's form: a folder of `<subject>-<rhythm>-<index>.txt`, one segment a file, one sample a line.

Segments have the task's length and rate and are band-passed at source, so nothing is filtered here. The rhythm may be
empty. Of AF in 5 s, files 2k and 2k + 1 of one subject and rhythm are the halves of one episode; of other tasks it is
not known that neighbouring files join, and each is an episode by itself. The contest's index tables (`label,Filename`)
become fixed splits.
"""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import tasks
from ecm_edge.base import files
from ecm_edge.base.errors import RecordingError
from ecm_edge.base.progress import track
from ecm_edge.data.dataset import LeftOut, SegmentBlock, natural_key
from ecm_edge.data.recordings.options import rows
from ecm_edge.data.recordings.windows import WINDOWS_PER_EPISODE, Unfit, blocks, problem_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ecm_edge.data.recordings.options import Options
    from ecm_edge.data.recordings.windows import Recording
    from ecm_edge.tasks import Task

_NAME = re.compile(r"(?P<subject>[A-Za-z0-9]+)-(?P<rhythm>[A-Za-z0-9]*)-(?P<index>[0-9]{1,15})\.txt")
_BLOCK_FILES = 500
_LINE_BYTES = 100  # at most, of a number


@dataclass(frozen=True)
class _File:
    name: str
    subject: str
    rhythm: str
    index: int
    split: str = ""

    @property
    def order(self) -> tuple[object, ...]:
        return natural_key(self.subject), self.rhythm, self.index, self.name


def read(source: Path, options: Options, task: Task) -> Iterator[SegmentBlock]:
    """The segments of a folder in the order of subject, rhythm and index.

    Raises:
        RecordingError: a stated rate other than the task's, an empty or missing folder, a broken index table.
    """
    if options.sampling_rate_hz != task.sampling_rate_hz:
        raise RecordingError(
            f"segments of {task.name} have {task.samples_per_segment} lines at {task.sampling_rate_hz:g} Hz",
            f"a stated rate of {options.sampling_rate_hz:g} Hz",
            "Import recordings of another rate as csv: those are resampled.",
        )
    tables = {path.name for _, path in options.splits if files.resolved(path).parent == files.resolved(source)}
    entries = [entry for entry in os.scandir(source) if entry.name not in tables]
    if not entries:
        raise RecordingError("an iesd folder holds segments as text", f"none in {source}", "Check the path.")
    present = {entry.name for entry in entries if _is_file(entry)}
    others = [LeftOut(name=entry.name, reason="not a file") for entry in entries if entry.name not in present]
    named, misnamed = _by_name(present)
    segments, contradictions = _with_splits(named, options.splits, task)
    yield problem_block(task, [*others, *misnamed, *contradictions])
    chunks = [segments[first : first + _BLOCK_FILES] for first in range(0, len(segments), _BLOCK_FILES)]
    yield from (_read_block(source, chunk, task) for chunk in track(chunks, "read segments", total=len(chunks)))


def write(folder: Path, recordings: Iterable[Recording], task: Task) -> None:
    """Write the segments of continuous recordings in this form; nine digits keep every float32 exactly."""
    for recording in recordings:
        counters: dict[str, itertools.count[int]] = {}
        for block in blocks(recording, task):
            for samples, rhythm in zip(block.samples, block.rhythms, strict=True):
                index = next(counters.setdefault(rhythm, itertools.count()))
                text = "".join(f"{sample:.9g}\n" for sample in samples)
                (folder / f"{recording.subject}-{rhythm}-{index}.txt").write_text(text, encoding="ascii")


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _by_name(names: Iterable[str]) -> tuple[list[_File], list[LeftOut]]:
    """The files in order; and those whose name has another form, or stands for the segment of an earlier file."""
    problems, files = [], []
    for name in sorted(names):
        match = _NAME.fullmatch(name)
        if match:
            files.append(_File(name, match["subject"], match["rhythm"], int(match["index"])))
        else:
            problems.append(LeftOut(name=name, reason="not named <subject>-<rhythm>-<index>.txt"))
    kept: list[_File] = []
    for file in sorted(files, key=lambda file: file.order):
        if kept and file.order[:-1] == kept[-1].order[:-1]:
            problems.append(LeftOut(name=file.name, reason=f"the same segment as {kept[-1].name}"))
        else:
            kept.append(file)
    return kept, problems


def _with_splits(
    files: Sequence[_File], splits: Sequence[tuple[str, Path]], task: Task
) -> tuple[list[_File], list[LeftOut]]:
    """The files with their fixed split; and those where an index table contradicts the name or another table."""
    by_name, problems = {file.name: file for file in files}, {}
    for split, path in splits:
        for line, row in rows(path, ("label", "Filename")):
            name = row["Filename"]
            reason = _contradiction(by_name.get(name), split, row, task.positive)
            if reason:
                problems[name] = LeftOut(name=name, reason=f"{reason} (line {line} of {path.name})")
            else:
                by_name[name] = replace(by_name[name], split=split)
    return [file for name, file in by_name.items() if name not in problems], list(problems.values())


def _contradiction(file: _File | None, split: str, row: Mapping[str, str], positive: Sequence[str]) -> str:
    """The fault of a row of an index table, or ""; a blank rhythm contradicts only a positive label."""
    if file is None:
        return f"listed in split {split!r}, but there is no such segment"
    if file.split:
        return f"listed twice: in split {file.split!r} and in {split!r}"
    if row["label"] not in {"0", "1"}:
        return f"label {row['label']!r} is neither 0 nor 1"
    if (row["label"] == "1") != (file.rhythm in positive):
        return f"label {row['label']} contradicts the rhythm {file.rhythm or 'blank'!r} of its name"
    return ""


def _read_block(source: Path, chunk: Sequence[_File], task: Task) -> SegmentBlock:
    samples = np.empty((len(chunk), task.samples_per_segment), np.float32)
    good: list[_File] = []
    per_episode = WINDOWS_PER_EPISODE if task.name == tasks.default().name else 1
    problems = []
    for file in chunk:
        try:
            samples[len(good)] = _read_segment(source / file.name, task.samples_per_segment)
            good.append(file)
        except Unfit as problem:
            problems.append(LeftOut(name=file.name, reason=str(problem)))
    return SegmentBlock(
        samples=samples[: len(good)],
        names=[file.name for file in good],
        subjects=[file.subject for file in good],
        rhythms=[file.rhythm for file in good],
        episodes=[f"{file.subject}-{file.rhythm}/{file.index // per_episode}" for file in good],
        splits=[file.split for file in good],
        problems=problems,
    )


def _read_segment(path: Path, length: int) -> np.ndarray:
    """(T,) float32 of one file: exactly `length` lines of one finite number each, not all the same; else `Unfit`."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_LINE_BYTES * length + 1)
        if len(content) > _LINE_BYTES * length:
            raise Unfit(f"larger than {_LINE_BYTES * length:,} bytes")
        lines = content.splitlines()
        if len(lines) != length:
            raise Unfit(f"{len(lines)} lines instead of {length}")
        with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite
            samples = np.array(lines, np.float64).astype(np.float32)
    except OSError as problem:
        raise Unfit(f"cannot be read: {problem.strerror}") from None
    except ValueError as problem:
        raise Unfit(f"not one number a line: {problem}") from None
    if b"_" in content:  # Python reads 1_000 as a number
        raise Unfit("not one number a line: an underscore")
    if not np.isfinite(samples).all():
        raise Unfit(f"{np.sum(~np.isfinite(samples))} of {length} samples are not finite")
    if np.ptp(samples) == 0:
        raise Unfit("flat: every sample is the same")
    return samples
