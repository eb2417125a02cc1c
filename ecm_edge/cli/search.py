"""`ecm-edge search`: the main job."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from ecm_edge.base.url_secrets import without_secrets
from ecm_edge.cli._common import (
    PATH,
    SEED,
    TARGET,
    FiniteRange,
    data_option,
    emit,
    json_option,
    mlflow_option,
    open_data,
    resumable,
    trust_option,
    unkept,
)
from ecm_edge.cli._help import example
from ecm_edge.cli._names import shipped
from ecm_edge.cli._told import tell
from ecm_edge.cli._trials import print_trial, show_trials
from ecm_edge.search.processes import STORAGE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ecm_edge.candidate.space import Point
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import Split
    from ecm_edge.search.mlflow_log import TrialLog
    from ecm_edge.search.runs import SearchRecord, SearchSettings
    from ecm_edge.search.study import Pruner, Sampler
    from ecm_edge.search.trial_record import TrialRecord


@click.command(
    "search", epilog=example("ecm-edge search --data af --target loongson-2k0500 --space quick --trials 4 -o run")
)
@data_option
@click.option(
    "--target",
    type=TARGET,
    shell_complete=shipped("targets"),
    help="The board: a name from `ecm-edge targets`, or a TOML file.  [default: with --resume, that of the run]",
)
@click.option("--out", "-o", type=PATH, required=True, help="The run's folder.")
@click.option(
    "--space",
    "space_name",
    shell_complete=shipped("candidate/spaces"),
    default="default",
    show_default=True,
    help="A shipped space or a TOML file.",
)
@click.option(
    "--trials", type=click.IntRange(min=1), help="Trained candidates in the run.  [default: 20, or as the study has it]"
)
@click.option(
    "--timeout",
    "timeout_s",
    type=FiniteRange(min=0),
    help="Seconds after which this command stops.  [default: none, or as the run had it]",
)
@click.option(
    "--sampler",
    type=click.Choice(["random", "tpe", "nsga2", "grid"]),
    default="tpe",
    show_default=True,
    help="How Optuna draws the candidates.",
)
@click.option(
    "--pruner",
    type=click.Choice(["median", "halving", "none"]),
    default="median",
    show_default=True,
    help="How Optuna ends a training that does worse than others.",
)
@click.option(
    "--ladder/--no-ladder",
    "ladder",
    default=None,
    help="Train each candidate briefly on a part of the data first, and only the better ones in full.  "
    "[default: where there are 16,000 training segments, 8 epochs and one objective]",
)
@click.option(
    "--objective",
    type=click.Choice(["f1", "fbeta_mean", "board_score"]),
    help="What is made as large as possible.  [default: the board's score, or fbeta_mean]",
)
@click.option(
    "--least-objective",
    "least_objective",
    type=FiniteRange(),
    help="Stop when a candidate reaches it; try nothing near a candidate that stays below it.  [default: none]",
)
@click.option(
    "--split",
    "split_name",
    type=click.Choice(["holdout", "fixed"]),
    default="holdout",
    show_default=True,
    help="Subjects drawn by seed, or the data set's own train and test.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the split, the sampler and the weights.")
@click.option(
    "--storage",
    envvar=STORAGE_VARIABLE,
    show_envvar=True,
    help="URL of a storage that others can join: postgresql+psycopg://… or another of Optuna's; grpc://HOST:PORT for "
    "its proxy; `journal` for its journal in the run's folder.  [default: SQLite in the run's folder]",
)
@click.option("--name", help="The study's name in the storage.  [default: one that no other run has, or the run's]")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes on this machine.")
@click.option(
    "--artifacts",
    "artifacts_url",
    help="Folder or URL (file://…, s3://…) that keeps the trials' files for other machines.  [default: none]",
)
@click.option(
    "--start-from",
    "start_from",
    type=PATH,
    multiple=True,
    help="A candidate, a run or an entry of the registry whose points are tried first; may be repeated.",
)
@mlflow_option
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@trust_option
@json_option
def command(
    data: Path,
    target: str | None,
    out: Path,
    space_name: str,
    trials: int | None,
    timeout_s: float | None,
    sampler: Sampler,
    pruner: Pruner,
    objective: str | None,
    least_objective: float | None,
    split_name: str,
    seed: int,
    storage: str | None,
    name: str | None,
    workers: int,
    artifacts_url: str | None,
    start_from: tuple[Path, ...],
    mlflow_uri: str | None,
    *,
    ladder: bool | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Search candidates that fit a board: draw, gate and train each; export, quantise, verify and build the best.

    A candidate that does not fit is not trained. Those that were trained are proven best first, until one passes. With
    a ladder, each candidate is first trained on an eighth of the episodes for a quarter of the epochs, then on a
    quarter for half; the better half goes on each time, and nothing else is trained in full. Ctrl-C ends the running
    trial; --resume goes on. A resumed run keeps the settings that it was started with, its number of trials and its
    time limit: of the options only --trials, --timeout, --storage, --name, --workers, --artifacts, --start-from and
    --mlflow-uri count then.

    Where the study of that --name is in the --storage, the search joins it, if its data set, space and settings are the
    same. `ecm-edge worker` joins it from other machines.
    """
    going_on = _going_on(data, out, storage, name, workers, mlflow_uri)
    _check_folder(out, going_on, resume=resume)
    with resumable(lambda: going_on) if resume else unkept():
        from ecm_edge.search import runs, search, study

        if storage:
            study.check_url(storage)
        dataset = open_data(data)
        if resume:
            settings = runs.load_settings(out)
        else:
            settings = _settings(
                dataset, target, space_name, split_name, seed,
                ladder=ladder, sampler=sampler, pruner=pruner, objective=objective, standard=least_objective,
            )  # fmt: skip
        place = search.Sharing(storage, name)
        log = mlflow_log(mlflow_uri, search.experiment_name(out, settings, place), out)
        if not resume:
            search.start(out, settings, place)
    with resumable(lambda: going_on):
        limits = search.Limits(trials, timeout_s)
        points = good_points(start_from, settings)
        sharing = search.Sharing(storage, name, workers, artifacts_url, points)
        record = search.search(dataset, out, limits, sharing, on_trial=shown_and_in(log), tell=say_on_stderr)
        if log:
            log.finish(record.trials)
    emit(record, as_json=as_json, render=lambda: _show(record, out))


def mlflow_log(uri: str | None, name: str, out: Path) -> TrialLog | None:
    """What writes the trials of a study of that name to MLflow, where it is asked for; the server has answered."""
    if uri is None:
        return None
    from ecm_edge.search.mlflow_log import open_log

    return open_log(uri, name, out, say_on_stderr)


def shown_and_in(log: TrialLog | None) -> Callable[[TrialRecord], None]:
    """What is called with every trial: it is printed, and written to MLflow if that is asked for."""

    def tell(trial: TrialRecord) -> None:
        print_trial(trial)
        if log:
            log.log(trial)

    return tell


_OF_RESUMED = {
    *("data", "out", "resume", "trials", "timeout_s", "storage", "name", "workers", "artifacts_url", "start_from"),
    *("mlflow_uri", "as_json"),
}
"""The parameters that count when a run is resumed."""


def _going_on(
    data: Path, out: Path, storage: str | None, name: str | None, workers: int, mlflow_uri: str | None
) -> list[object]:
    """The words that go on with the run; a password is left out, and that is said."""
    words: list[object] = ["ecm-edge", "search", "--data", data, "-o", out, "--resume"]
    words += ["--name", name] if name else []
    words += ["--workers", workers] if workers > 1 else []
    words += ["--mlflow-uri", without_secrets(mlflow_uri)] if mlflow_uri else []
    return words + storage_words(storage)


def storage_words(storage: str | None) -> list[object]:
    """The option that names a storage, without a password: the variable that can hold it takes its place."""
    if storage is None or click.get_current_context().get_parameter_source("storage") == _ENVIRONMENT:
        return []
    shown = without_secrets(storage)
    return ["--storage", shown] if shown == storage else ["--storage", shown.replace(":***@", ":PASSWORD@")]


_ENVIRONMENT = click.core.ParameterSource.ENVIRONMENT


def say_on_stderr(line: str) -> None:
    """What people should know beside the trials."""
    tell([line])


def good_points(given: Sequence[Path], settings: SearchSettings) -> list[Point]:
    """The points of candidates, runs and entries that lie in the space; why others are left out is said."""
    from ecm_edge.search import known

    points, reasons = known.points(given, settings)
    for reason in reasons:
        say_on_stderr(reason)
    return points


def _check_folder(out: Path, going_on: Sequence[object], *, resume: bool) -> None:
    """Refuse to begin where a run is, and to go on where none is; say which options do not count."""
    from ecm_edge.base.errors import SearchError

    is_run = _is_run(out)
    if is_run and not resume:
        hint = f"Go on with it: `{shlex.join(map(str, going_on))}`; or choose another --out."
        raise SearchError("a new run has a new folder", f"a run in {out}", hint)
    if resume and not is_run:
        raise SearchError(
            "--resume goes on with a run", f"none in {out}", "Check --out, or start one without --resume."
        )
    context = click.get_current_context()
    given = [p.opts[0] for p in context.command.params if p.name not in _OF_RESUMED and _is_given(context, p)]
    if resume and given:
        tell([f"{', '.join(given)}: not changed; a run keeps what it was started with"])


def _is_run(out: Path) -> bool:
    from ecm_edge.candidate.candidate import RUN_SETTINGS

    return (out / RUN_SETTINGS).is_file()


def _is_given(context: click.Context, parameter: click.Parameter) -> bool:
    return context.get_parameter_source(parameter.name or "") == click.core.ParameterSource.COMMANDLINE


def _settings(
    dataset: Dataset,
    target: str | None,
    space_name: str,
    split_name: str,
    seed: int,
    *,
    ladder: bool | None,
    **options: object,
) -> SearchSettings:
    """The settings of a new run; of `options`, those that were given."""
    from ecm_edge import targets
    from ecm_edge.base.errors import SearchError
    from ecm_edge.candidate import space
    from ecm_edge.search import runs
    from ecm_edge.search.ladder import RUNGS

    if target is None:
        raise SearchError("a new run needs a board", "no --target", "`ecm-edge targets` lists the boards.")
    rungs = RUNGS if ladder else ()
    options |= {"split": _split(dataset, split_name, seed), "ladder": None if ladder is None else rungs}
    chosen = {name: value for name, value in options.items() if value is not None}
    return runs.default_settings(dataset, targets.load(target), space.load(space_name), seed=seed, **chosen)


def _split(dataset: Dataset, name: str, seed: int) -> Split:
    from ecm_edge.data import splits

    return splits.fixed(dataset, seed=seed) if name == "fixed" else splits.holdout(dataset, seed=seed)


def _show(record: SearchRecord, out: Path) -> None:
    from ecm_edge.base.tables import say
    from ecm_edge.candidate.candidate import TRAINING, load_config, trial_folder
    from ecm_edge.cli._kept import tell_of_training
    from ecm_edge.training.train import TrainingRecord

    at_rungs = sum(trial.ended_at_rung is not None for trial in record.trials)
    title = (
        f"{record.trained} trained, {record.pruned} of them pruned{f', {at_rungs} at a rung' if at_rungs else ''}; "
        f"{record.unfit} did not fit {record.target}; {record.avoided} avoided"
    )
    show_trials(title, record.objective, record.trials, record.best)
    if any(trial.outcome == "trained" for trial in record.trials):
        say("verify not run: only candidates that can be the best are exported, verified and built, best first")
    if record.best is not None:
        best = trial_folder(out, record.best)
        host = next(trial.host for trial in record.trials if trial.number == record.best)
        say(f"best: {best}" if best.is_dir() else f"best: trial {record.best}, whose files are on {host}, not here")
        if (best / TRAINING).is_file():  # the study is enough to say which is the best
            tell_of_training(TrainingRecord.load(best / TRAINING), load_config(best))
