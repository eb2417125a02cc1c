"""Verbs on tasks, boards and data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.api import given

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ecm_edge.api.given import AnyDataset, AnyPath, AnyTask
    from ecm_edge.data.audit import AuditRecord
    from ecm_edge.data.dataset import Blank, Dataset
    from ecm_edge.data.info import InfoRecord
    from ecm_edge.data.merge import MergeRecord
    from ecm_edge.data.merge.agreement import MergeRules
    from ecm_edge.data.recordings.formats import Format
    from ecm_edge.data.recordings.importer import ImportRecord, OnError
    from ecm_edge.data.recordings.options import Options
    from ecm_edge.data.rhythms import RhythmRules
    from ecm_edge.data.splits import FoldAssignment
    from ecm_edge.data.synthetic import SynthFormat, SynthRecord
    from ecm_edge.targets import Target, TargetList
    from ecm_edge.tasks import Task, TaskList


def tasks() -> TaskList:
    """The tasks that ship with ecm-edge.

    >>> "af-5s" in [task.name for task in tasks().tasks]
    True
    """
    from ecm_edge.tasks import TaskList, load, names

    return TaskList(tasks=[load(name) for name in names()])


def targets() -> TargetList:
    """The boards that ship with ecm-edge.

    >>> [target.name for target in targets().targets]
    ['host', 'loongson-2k0500', 'nrf52840', 'nucleo-g071rb', 'nucleo-l432kc']
    """
    from ecm_edge.targets import TargetList, load, names

    return TargetList(targets=[load(name) for name in names()])


def load_task(name_or_path: AnyPath) -> Task:
    """The task of a shipped name or of a TOML file's path.

    >>> load_task("af-5s").window_s
    5.0

    Raises:
        TaskError: no such task, not TOML, or a field that is missing, unknown or out of its range.
    """
    return given.task(name_or_path)


def load_target(name_or_path: AnyPath) -> Target:
    """The target of a shipped name or of a TOML file's path.

    >>> load_target("nucleo-l432kc").budget.ram_bytes
    49152

    Raises:
        TargetError: no such target, not TOML, or a field that is missing, unknown or out of its range.
    """
    return given.target(name_or_path)


def open_dataset(folder: AnyPath) -> Dataset:
    """Open a data set; its arrays are mapped, not read, and their hashes not checked (`check_content` does).

    Raises:
        DatasetError: not a data set, a header that changed, or arrays that do not have the header's shapes.
    """
    from ecm_edge.data.dataset import open_dataset as inner

    return inner(given.path(folder))


def check_content(dataset: AnyDataset, arrays: Collection[str] = ("samples.npy", "table.npy")) -> None:
    """Recompute the hashes of a data set's arrays; reads all of them.

    Raises:
        DatasetError: an array has changed since it was written, or holds what no import writes.
    """
    from ecm_edge.data.dataset import check_content as inner

    inner(given.dataset(dataset, check=False), arrays)


def synthesise(
    path: AnyPath,
    *,
    subjects: int,
    seed: int,
    segments_per_subject: int = 40,
    file_format: SynthFormat = "dataset",
    task: AnyTask | None = None,
) -> SynthRecord:
    """Make the records of `subjects` subjects, `segments_per_subject` (even) segments each, at `path`.

    A data set is marked synthetic. The same arguments give the same bytes. `task` is AF in 5 s by default.

    Raises:
        RecordingError: no subject, or a number of segments that is odd or below 2.
        TaskError: as `recording`.
        OutputError: `path` exists or cannot be written.
    """
    from ecm_edge.data.synthetic import synthesise as inner

    return inner(
        given.path(path),
        subjects=subjects,
        seed=seed,
        segments_per_subject=segments_per_subject,
        file_format=file_format,
        task=given.task(task),
    )


def import_recordings(
    source: AnyPath,
    out: AnyPath,
    *,
    file_format: Format,
    options: Options | None = None,
    task: AnyTask | None = None,
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
    from ecm_edge.data.recordings.importer import import_recordings as inner

    return inner(
        given.path(source),
        given.path(out),
        file_format=file_format,
        options=options,
        task=given.task(task),
        rules=rules,
        on_error=on_error,
        blank=blank,
        synthetic=synthetic,
        licence=licence,
        problems_shown=problems_shown,
    )


def merge(datasets: Sequence[AnyDataset], out: AnyPath, rules: MergeRules | None = None) -> MergeRecord:
    """Merge data sets, in this order, into a new one at `out`; their sources are kept, those of merged sets as well.

    Window, sampling rate and band have to be the same. Positive rhythms, units and the rule of blank rhythms have to
    agree, or `rules` state them. Fixed splits are kept if all sets have those names. One synthetic set makes the whole
    synthetic. The task is that of the first set.

    Raises:
        DatasetError: fewer than two sets, one of them twice, changed since it was written, or not in agreement; a rule
            that names no rhythm of the sets; a set of which duplicates leave nothing.
        OutputError: `out` exists or cannot be written.
    """
    from ecm_edge.data.merge import merge as inner

    return inner([given.dataset(one) for one in datasets], given.path(out), rules)


def info(dataset: AnyDataset, *, check: bool = False) -> InfoRecord:
    """Count a data set, whose table must be unchanged; with `check` the samples are read and hashed as well.

    Raises:
        DatasetError: what was read has changed since it was written.
    """
    from ecm_edge.data.info import info as inner

    return inner(given.dataset(dataset, check=False), check=check)


def audit(dataset: AnyDataset) -> AuditRecord:
    """Audit a data set; reads all of it twice, a block at a time."""
    from ecm_edge.data.audit import audit as inner

    return inner(given.dataset(dataset))


def assign_folds(dataset: AnyDataset, *, count: int, seed: int) -> FoldAssignment:
    """Every labelled subject in one of `count` folds: each band of `count` neighbours is permuted over the folds.

    Raises:
        DatasetError: fewer than three folds or subjects, or more folds than subjects.
    """
    from ecm_edge.data.splits import assign_folds as inner

    return inner(given.dataset(dataset), count=count, seed=seed)


def assign_folds_by_source(
    dataset: AnyDataset, *, count: int, seed: int, train_only: Sequence[str] = (), score_only: Sequence[str] = ()
) -> FoldAssignment:
    """The subjects of each source in folds on their own, as `assign_folds` gives them for that source's data set.

    They are so as long as the merge neither left out a segment nor changed a label.

    Args:
        dataset: a merged one.
        count: folds of each source.
        seed: the same one for every source.
        train_only: sources whose subjects are in no fold; see `FoldAssignment`.
        score_only: sources that no network is trained on.

    Raises:
        DatasetError: the data set was not merged, an unknown source or one in both lists, no source left to train on or
            to score, or, for a source, as `assign_folds`.
    """
    from ecm_edge.data.splits import assign_folds_by_source as inner

    return inner(given.dataset(dataset), count=count, seed=seed, train_only=train_only, score_only=score_only)
