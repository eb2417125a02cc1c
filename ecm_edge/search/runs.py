"""A run of the search, as it lies on disk: what it was started with, and what has become of it.

A run is a folder:

    search.json     SearchSettings: what a resumed run must agree with
    limits.json     KeptLimits: when it stops, by the last command
    study.json      KeptStudy: where its study is
    study.db        Optuna's study, unless the run has another storage; study.journal with Optuna's journal
    avoid.json      the avoid list
    trials/0007/    one candidate with its records; whole or absent
    summary.json    SearchRecord, rewritten after every trial
    .teachers/      trained teachers, for every trial that uses the same ones
    .workers/       a locked file for each process that works here
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ecm_edge import tasks
from ecm_edge.base import files, trust
from ecm_edge.base.errors import SearchError
from ecm_edge.base.records import Drawable, Record, Verdict
from ecm_edge.base.shown import Tables
from ecm_edge.candidate import space
from ecm_edge.candidate.candidate import RUN_SETTINGS, RUN_TRIALS
from ecm_edge.candidate.space import Choices, Range, Space
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.data.splits import Split
from ecm_edge.metrics import Objective
from ecm_edge.search import avoid, ladder
from ecm_edge.search.ladder import Rung
from ecm_edge.search.study import Pruner, Sampler
from ecm_edge.search.trial_record import TRIAL_COLUMNS, TrialRecord
from ecm_edge.targets import Target, score_rule
from ecm_edge.targets import commands as target_commands
from ecm_edge.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.axes import Axes

    from ecm_edge.base.plots import Colours
    from ecm_edge.data.dataset import Dataset

AVOID = "avoid.json"
LIMITS = "limits.json"
DATABASE = "study.db"
JOURNAL_FILE = "study.journal"
STUDY = "study.json"
TEACHERS = ".teachers"

StoppedBy = Literal["trials", "timeout", "standard", "exhausted"]


class SearchSettings(Record):
    """What decides which candidates a run proposes and how they are judged; fixed when the run starts.

    `standard` is the least objective wanted: a trained candidate that reaches it ends the search, one below it is
    avoided with its neighbourhood. With the sampler nsga2 the MACs are minimised as a second objective and nothing is
    pruned. `ladder` are the rungs that a candidate climbs before it is trained in full, lowest first.
    """

    target: Target
    task: Task = Field(default_factory=tasks.default, exclude_if=lambda task: task == tasks.default())  # hashes stay
    space: Space
    dataset_sha256: str
    synthetic: bool
    split: Split
    seed: int
    sampler: Sampler = "tpe"
    pruner: Pruner = "median"
    ladder: list[Rung] = Field(default=[])
    objective: Objective
    standard: float | None = None
    avoid_radius: float = Field(default=avoid.RADIUS, ge=0, le=1)


def commands(settings: SearchSettings) -> list[str]:
    """What a search with these settings would run that is not the package's own; the other fields are no commands."""
    return [*target_commands.commands(settings.target.firmware), *space.commands(settings.space)]


def load_settings(out: Path) -> SearchSettings:
    """The settings of the run in a folder, whose commands may be run if the folder is trusted.

    Raises:
        SearchError: damaged ones.
    """
    settings = SearchSettings.load(out / RUN_SETTINGS, SearchError)
    trust.found(commands(settings), out / RUN_SETTINGS)
    return settings


class KeptLimits(Record):
    """When a run stops: at so many trained candidates, or so many seconds after a command began; as last said."""

    trials: int = Field(ge=1)
    timeout_s: float | None = Field(default=None, ge=0)


class KeptStudy(Record):
    """Where a run's study is: the URL of its storage, without a password, or a file in the run; and its name there."""

    storage: str
    name: str


class WorkerRecord(Record):
    """What one worker did for a study; `dropped` of its trials were given to others while it was silent."""

    study: str
    host: str
    stopped_by: StoppedBy
    dropped: int
    trials: list[TrialRecord]

    KEYS = ("study", "host", "stopped_by")
    TABLES: ClassVar[Tables] = {"trials": TRIAL_COLUMNS}


class SearchRecord(Drawable):
    """The run so far, but for `seconds`, which are those since it was started or resumed last.

    `best` is the best trial that is proven; better ones that are only trained may stand beside it until the run has
    ended. `pareto` numbers the trials that no other beats in both objective and MACs, proven or not yet; those whose
    proof failed are not among them.
    """

    verdict: Verdict
    target: str
    objective: Objective
    synthetic: bool
    stopped_by: StoppedBy | None
    best: int | None
    best_objective: float | None
    trained: int
    pruned: int
    unfit: int
    avoided: int
    failed: int
    pareto: list[int]
    seconds: float
    trials: list[TrialRecord]

    KEYS = ("target", "objective", "best", "best_objective", "trained", "unfit")
    TABLES: ClassVar[Tables] = {"trials": TRIAL_COLUMNS}

    def draw(self, axes: Axes, colours: Colours) -> None:
        """The objective of every trial against its MACs, with the front and the best; unfit ones are ticks below."""
        from ecm_edge.base import plots

        front = sorted((t for t in self.trials if t.number in self.pareto), key=lambda t: t.macs)
        heights = [objective_of(trial) for trial in front]
        axes.step([t.macs for t in front], heights, where="post", color=colours.green, label="front")
        marks = {
            "verified": ("o", colours.blue),
            "FAIL": ("X", colours.orange),
            "not proven": ("D", colours.blue),
            "pruned": ("v", colours.muted),
            "stopped by a stage": ("P", colours.muted),
            "best": ("*", colours.green),
        }
        for label, (marker, colour) in marks.items():
            shown = [trial for trial in self.trials if label in self._marks(trial) and trial.objective is not None]
            if shown:  # else not even a line in the legend
                heights = [objective_of(trial) for trial in shown]
                size = 14 if label == "best" else 5.5
                axes.plot(
                    [t.macs for t in shown],
                    heights,
                    marker,
                    color=colour,
                    markerfacecolor="none" if label in {"pruned", "not proven"} else colour,
                    markersize=size,
                    label=label,
                )
        unfit = [trial.macs for trial in self.trials if trial.outcome == "unfit"]
        bottom = axes.get_xaxis_transform()
        height = [0.025] * len(unfit)
        axes.plot(unfit, height, "|", color=colours.muted, markersize=9, transform=bottom, label="did not fit")
        plots.log_axis(axes, [trial.macs for trial in self.trials])
        axes.set_xlabel("MACs")
        axes.set_ylabel(self.objective.replace("_", " "))
        plots.legend(axes, columns=3)

    def _marks(self, trial: TrialRecord) -> set[str]:
        """What a trial is in the drawing; the best is verified, too."""
        done = "verified" if trial.verdict == Verdict.PASS else "FAIL"
        words = {"done": done, "trained": "not proven", "failed": "stopped by a stage"}
        outcome = words.get(trial.outcome, trial.outcome)
        return {outcome, "best"} if trial.number == self.best else {outcome}

    def _height_in(self) -> float:
        return 3.7


def default_settings(
    dataset: Dataset, target: Target, search_space: Space, *, seed: int = 0, **chosen: object
) -> SearchSettings:
    """Settings with what is `chosen`, and defaults for the rest.

    By default subjects are drawn by `seed`; the objective is the board's own score where it has one, else mean Fβ; and
    there is a ladder where it is worthwhile.
    """
    settings = SearchSettings.model_validate(
        {
            "target": target,
            "task": dataset.header.task,
            "space": search_space,
            "dataset_sha256": dataset.header.content_sha256,
            "synthetic": dataset.header.synthetic,
            "split": chosen.get("split") or splits.holdout(dataset, seed=seed),
            "seed": seed,
            "objective": "board_score" if score_rule(target, dataset.header.task) else "fbeta_mean",
            **chosen,
        }
    )
    if "ladder" not in chosen and _wants_ladder(settings, dataset):
        return settings.model_copy(update={"ladder": list(ladder.RUNGS)})
    return settings


def _wants_ladder(settings: SearchSettings, dataset: Dataset) -> bool:
    """Whether a search gains by a ladder: it is large enough for one, has one objective, and may prune."""
    segments = len(dataset.rows_of(settings.split.train))
    may = settings.sampler != "nsga2" and settings.pruner != "none"
    return may and ladder.worthwhile(segments, _fewest_epochs(settings.space))


def _fewest_epochs(search_space: Space) -> int:
    entry = search_space.training.get("epochs", TrainingConfig().epochs)
    match entry:
        case Range(low=low):
            return int(low)
        case Choices(choices=choices):
            return min(int(choice) for choice in choices)
        case _:
            return int(entry)


def start(out: Path, settings: SearchSettings) -> None:
    """Make the folder of a new run.

    Raises:
        OutputError: `out` exists or cannot be written.
        SearchError: the objective needs a scoring rule that the target lacks, or the ladder one objective.
        SpaceError: the space offers a family what it does not take, or is too large for the grid sampler.
        TrustError: the target or the space has commands of its own, from a file that is not trusted.
    """
    trust.check(commands(settings))
    space.check(settings.space)
    if settings.sampler == "grid":
        space.grid_size(settings.space)
    if settings.sampler == "nsga2" and settings.ladder:
        raise SearchError(
            "a ladder ranks candidates by one objective",
            "the sampler nsga2, which has two",
            "Use another sampler, or --no-ladder.",
        )
    if settings.objective == "board_score" and score_rule(settings.target, settings.task) is None:
        raise SearchError(
            "the objective board_score needs a rule of score for the task on the target",
            f"none for {settings.task.name} on {settings.target.name}",
            "Use --objective fbeta_mean.",
        )
    check_least_objective(settings.objective, settings.standard)
    with files.staged_folder(out) as staged:
        files.make_folder(staged / RUN_TRIALS)
        settings.save(staged / RUN_SETTINGS)


def check_least_objective(objective: Objective, least: float | None) -> None:
    """Refuse a least objective that nothing can reach: F1 and Fβ are shares, and only the board's score has points.

    Raises:
        SearchError: with the highest value there is.
    """
    if objective != "board_score" and least is not None and least > 1:
        raise SearchError(
            f"the objective {objective} is a share, 1 at most", f"a least objective of {least:g}", "Give a share."
        )


def objective_of(record: TrialRecord) -> float:
    """What trials are ranked by; one without an objective comes last."""
    return float("-inf") if record.objective is None else record.objective


def pareto(trials: list[TrialRecord]) -> list[int]:
    """Numbers of the trials that no other one beats in both objective and MACs, cheapest first.

    Only those count that can be the best: proven, or trained in full and not proven yet.
    """
    sound = sorted((t for t in trials if t.can_be_best), key=lambda t: (t.macs, -objective_of(t)))
    return [number for number, _ in _rising(sound)]


def _rising(trials: list[TrialRecord]) -> Iterator[tuple[int, float]]:
    best = float("-inf")
    for trial in trials:
        if objective_of(trial) > best:
            best = objective_of(trial)
            yield trial.number, best
