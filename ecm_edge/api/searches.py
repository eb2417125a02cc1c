"""Verbs of the search: its space, its settings, the run, and one family at growing widths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.api import given
from ecm_edge.api.given import nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ecm_edge.api.given import AnyConfig, AnyDataset, AnyPath, AnySpace, AnyTarget
    from ecm_edge.candidate.space import Space
    from ecm_edge.metrics import Objective
    from ecm_edge.search.pull import PullRecord, TrialChoice
    from ecm_edge.search.runs import SearchRecord, SearchSettings, WorkerRecord
    from ecm_edge.search.scale import ScaleRecord
    from ecm_edge.search.trial_record import TrialRecord


def load_space(name_or_path: AnyPath = "default") -> Space:
    """The space of a shipped name or of a TOML file's path.

    >>> sorted(load_space("quick").families)
    ['afnet', 'rhythm_wave', 'separable', 'tcn']

    Raises:
        SpaceError: no such space, not TOML, or a field that is unknown or out of its range.
    """
    return given.space(name_or_path)


def default_settings(
    dataset: AnyDataset, target: AnyTarget, search_space: AnySpace, *, seed: int = 0, **chosen: object
) -> SearchSettings:
    """Settings with what is `chosen`, fields of `SearchSettings`, and defaults for the rest.

    By default subjects are drawn by `seed`; the objective is the board's own score where it has one, else mean Fβ; and
    there is a ladder where it is worthwhile.
    """
    from ecm_edge.search.runs import default_settings as inner

    return inner(given.dataset(dataset), given.target(target), given.space(search_space), seed=seed, **chosen)


def start_search(out: AnyPath, settings: SearchSettings) -> None:
    """Make the folder of a new run.

    Raises:
        OutputError: `out` exists or cannot be written.
        SearchError: the objective needs a scoring rule that the target lacks, or the ladder one objective.
        SpaceError: the space offers a family what it does not take, or is too large for the grid sampler.
    """
    from ecm_edge.search.runs import start

    start(given.path(out), settings)


def search(
    dataset: AnyDataset,
    target: AnyTarget,
    out: AnyPath,
    *,
    space: AnySpace = "default",
    trials: int | None = None,
    timeout_s: float | None = None,
    seed: int = 0,
    storage: str | None = None,
    name: str | None = None,
    workers: int = 1,
    artifacts_url: str | None = None,
    start_from: Sequence[AnyPath] = (),
    on_trial: Callable[[TrialRecord], None] = nothing,
    **chosen: object,
) -> SearchRecord:
    """Search candidates that fit a board, in the new folder `out`; `resume_search` goes on with it.

    Args:
        dataset: what is trained and validated on.
        target: the board.
        out: the run's folder; it must not exist.
        space: what is drawn from.
        trials: how many candidates are trained; by default as the study has it, else 20.
        timeout_s: seconds after which no further trial begins.
        seed: of the split by subject and of the draws.
        storage: URL of a storage that others can join, or "journal"; by default an SQLite file in the run's folder.
        name: the study's name in the storage; by default one that no other run has.
        workers: processes on this machine.
        artifacts_url: folder or URL that keeps the trials' files for other machines.
        start_from: candidates, runs or entries of a registry, whose points are tried first if they lie in the space.
        on_trial: called with every finished trial.
        chosen: further fields of `SearchSettings`; by default as `default_settings` says.

    Raises:
        SearchError: settings that do not go together, nothing that fits the board, or a storage that fails.
        SpaceError: the space offers a family what it does not take, or is too large for the grid sampler.
        OutputError: `out` exists or cannot be written.
    """
    from ecm_edge.search.search import Sharing, start

    data = given.dataset(dataset)
    start(given.path(out), default_settings(data, target, space, seed=seed, **chosen), Sharing(storage, name))
    return resume_search(
        data,
        out,
        trials=trials,
        timeout_s=timeout_s,
        storage=storage,
        name=name,
        workers=workers,
        artifacts_url=artifacts_url,
        start_from=start_from,
        on_trial=on_trial,
    )


def resume_search(
    dataset: AnyDataset,
    out: AnyPath,
    *,
    trials: int | None = None,
    timeout_s: float | None = None,
    storage: str | None = None,
    name: str | None = None,
    workers: int = 1,
    artifacts_url: str | None = None,
    start_from: Sequence[AnyPath] = (),
    on_trial: Callable[[TrialRecord], None] = nothing,
) -> SearchRecord:
    """Go on with the run in `out`, or begin it after `start_search`, with the settings that it was started with.

    At most the trial that was running when it stopped is lost.

    Args:
        dataset: the data set that the run was started with.
        out: the run's folder.
        trials: how many candidates are trained in the run, those of before counted; by default as said last.
        timeout_s: seconds from now after which no further trial begins; by default as said last.
        storage: URL of a storage that others can join, or "journal"; by default as the run had it.
        name: the study's name in the storage; by default as the run had it.
        workers: processes on this machine.
        artifacts_url: folder or URL that keeps the trials' files for other machines.
        start_from: candidates, runs or entries of a registry, whose points are tried first if they lie in the space.
        on_trial: called with every finished trial.

    Raises:
        SearchError: another data set, nothing that fits the board, a storage that fails, or a damaged run.
    """
    from ecm_edge.search import known
    from ecm_edge.search.runs import load_settings
    from ecm_edge.search.search import Limits, Sharing, to_stderr
    from ecm_edge.search.search import search as inner

    folder = given.path(out)
    limits = Limits(trials, timeout_s)
    settings = load_settings(folder)
    points, left_out = known.points([given.path(path) for path in start_from], settings)
    for reason in left_out:
        to_stderr(reason)
    sharing = Sharing(storage, name, workers, artifacts_url, points)
    return inner(given.dataset(dataset), folder, limits, sharing, on_trial=on_trial)


def work(
    dataset: AnyDataset,
    out: AnyPath,
    storage: str,
    name: str,
    *,
    on_trial: Callable[[TrialRecord], None] = nothing,
) -> WorkerRecord:
    """Join a study that a search began, until its limits are reached.

    Args:
        dataset: the study's data set; it may lie elsewhere.
        out: a folder for the trials of this worker; several may share one.
        storage: URL of the storage.
        name: of the study.
        on_trial: called with every trial that this process finished.

    Raises:
        SearchError: no such study, another data set or version, or a storage that fails.
    """
    from ecm_edge.search.search import work as inner

    return inner(given.dataset(dataset), given.path(out), storage, name, on_trial=on_trial)


def pull(
    storage: str,
    study: str,
    out: AnyPath,
    which: TrialChoice = "best",
    *,
    artifacts_url: str | None = None,
) -> PullRecord:
    """Make the new folder of a run from its study and its artefacts; whatever takes a run takes it.

    Args:
        storage: URL of the storage that the search has.
        study: its name.
        out: must not exist yet.
        which: the trials whose files are fetched: a number, "best", or "all" that have files.
        artifacts_url: folder or URL that has the files, if that is not what the study says.

    Raises:
        SearchError: no such study or trial, or files that are missing or damaged.
        OutputError: `out` exists or cannot be written.
    """
    from ecm_edge.search.pull import pull as inner

    return inner(storage, study, given.path(out), which, artifacts_url=artifacts_url)


def scale(
    config: AnyConfig,
    dataset: AnyDataset,
    target: AnyTarget,
    out: AnyPath,
    *,
    objective: Objective,
    least_objective: float,
    most_flash_bytes: int | None = None,
    widths: Sequence[str] = (),
    on_trial: Callable[[TrialRecord], None] = nothing,
) -> ScaleRecord:
    """Train the configuration at growing widths into the new folder `out` until both bars are met.

    Args:
        config: the chosen candidate's; its folder stands for it.
        dataset: the one whose hash the configuration names.
        target: whose budgets no width may break.
        out: must not exist yet.
        objective: what `least_objective` is measured in.
        least_objective: the bar on the validation subjects.
        most_flash_bytes: the bar on size; the target's budget by default.
        widths: parameters to multiply; the family's own by default.
        on_trial: called with every finished trial.

    Raises:
        CandidateError: the configuration was made for another data set.
        SpaceError: the family has no known widths and none were given, or a width is no number of the candidate's.
    """
    from ecm_edge.search.scale import scale as inner

    return inner(
        given.config(config),
        given.dataset(dataset),
        given.target(target),
        given.path(out),
        objective=objective,
        least_objective=least_objective,
        most_flash_bytes=most_flash_bytes,
        widths=widths,
        on_trial=on_trial,
    )
