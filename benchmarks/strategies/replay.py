"""A strategy replayed on the table: what it would have found after how many passes, without any training.

A sampler proposes a point of the space. The candidate that it stands for is the nearest of the same family that was not
drawn yet: the one with the least sum of squares, over all parameters, of the differences of their positions in the
space, where two choices that are not the same differ by 1. Once a family is used up, it is the nearest of the others,
by the parameters of training alone. That candidate's own point is then given to the sampler with what came of it, so
that it learns only from what was trained. This is a surrogate: a sampler that knows well where to look finds only what
the table has there. It is the same for every strategy.

A pass is one training segment, forward and back. A candidate that ends at a rung or after an epoch costs the passes
until then; the rungs count too. One that does not fit costs none. Only a candidate that is trained to its end can be
the best of a search.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from ecm_edge.candidate import space
from ecm_edge.search import avoid, ladder, study, worker
from ecm_edge.search.avoid import AvoidList
from ecm_edge.search.runs import SearchSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.strategies.candidates import Candidate, Table
    from ecm_edge.candidate.space import Space
    from ecm_edge.search.avoid import Position
    from ecm_edge.search.ladder import Rung
    from ecm_edge.search.study import Pruner, Sampler

_IGNORED = TrialState.FAIL  # of a proposal, whose place a candidate of the table takes; samplers do not look at it


@dataclass(frozen=True)
class Strategy:
    """A way to search. With `objectives` 2 the MACs are minimised too, and nothing is pruned.

    `avoid_radius` is that of the neighbourhoods of all that was tried; None where there is no avoid list.
    """

    name: str
    sampler: Callable[[int], optuna.samplers.BaseSampler]
    pruner: Callable[[], optuna.pruners.BasePruner] = optuna.pruners.NopPruner
    rungs: Sequence[Rung] = ()
    objectives: int = 1
    avoid_radius: float | None = None


def random_sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's."""
    return optuna.samplers.RandomSampler(seed=seed)


def tpe_sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's, as it comes."""
    return optuna.samplers.TPESampler(seed=seed)


def nsga2_sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's, as it comes."""
    return optuna.samplers.NSGAIISampler(seed=seed)


def hyperband() -> optuna.pruners.BasePruner:
    """Optuna's, for trainings of 8 epochs."""
    return optuna.pruners.HyperbandPruner(max_resource=8)


def ours(name: str, *, sampler: Sampler | None = None, pruner: Pruner | None = None, rungs: bool = False) -> Strategy:
    """The search with its defaults, but for what is given."""
    defaults = {field: entry.default for field, entry in SearchSettings.model_fields.items()}
    return Strategy(
        name,
        sampler=partial(study.sampler_of, sampler or defaults["sampler"]),
        pruner=study.PRUNERS[pruner or defaults["pruner"]],
        rungs=ladder.RUNGS if rungs else (),
        avoid_radius=0.0,
    )


OPTUNA = ("random", "TPE", "TPE, Hyperband", "NSGA-II")


def strategies(table: Table) -> list[Strategy]:
    """What is compared: the seed work's way, Optuna's, and the search as it ships, with a ladder where it has one."""
    return [
        Strategy("random, avoid list", random_sampler, avoid_radius=avoid.RADIUS),
        Strategy("random", random_sampler),
        Strategy("TPE", tpe_sampler),
        Strategy("TPE, Hyperband", tpe_sampler, hyperband),
        Strategy("NSGA-II", nsga2_sampler, objectives=2),
        ours("ours", rungs=ladder_applies(table)),
    ]


def variants(table: Table) -> list[Strategy]:
    """What the search could have instead of its defaults."""
    applies = ladder_applies(table)
    return [
        ours("ours, without the ladder" if applies else "ours, with the ladder", rungs=not applies),
        ours("ours, nothing pruned", pruner="none"),
        ours("ours, halving", pruner="halving"),
        ours("ours, at random", sampler="random"),
    ]


def ladder_applies(table: Table) -> bool:
    """Whether a search on the table's data has a ladder by default."""
    curve = next(one.trained.epochs for one in table.candidates if one.trained)
    return ladder.worthwhile(curve[0].passes, 8)


@dataclass(frozen=True)
class Drawn:
    """A candidate that a replay drew, the passes spent when it ended, and whether it was trained to its end."""

    candidate: Candidate
    passes: int
    whole: bool


@dataclass
class Replay:
    """One replay of a strategy on the candidates of a table that has the space's points."""

    strategy: Strategy
    space: Space
    candidates: Sequence[Candidate]
    seed: int
    drawn: list[Drawn] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Open an empty study, kept in memory."""
        self._left = {one.number: space.position(self.space, one.point) for one in self.candidates}
        self._by_number = {one.number: one for one in self.candidates}
        self._at_rungs: list[list[float]] = [[] for _ in self.strategy.rungs]
        self._avoid_list = AvoidList()
        self._passes = 0
        self.study = optuna.create_study(
            study_name=f"{self.strategy.name} {self.seed}",  # Hyperband puts a trial into a bracket by it
            directions=["maximize", "minimize"][: self.strategy.objectives],
            sampler=self.strategy.sampler(self.seed),
            pruner=self.strategy.pruner(),
        )

    def run(self, most_passes: float) -> list[Drawn]:
        """Draw until so many passes are spent, or nothing more is found on the table."""
        idle = 0
        while self._left and self._passes < most_passes and idle < worker.MOST_IDLE_DRAWS:
            number = self._proposed()
            idle = idle + 1 if number is None else 0
            if number is not None:
                del self._left[number]
                self._take(self._by_number[number])
        return self.drawn

    def _proposed(self) -> int | None:
        """The candidate that the sampler's next proposal stands for; None where it is avoided."""
        trial = self.study.ask()
        position = space.position(self.space, space.draw(self.space, trial))
        self.study.tell(trial, state=_IGNORED)
        if self.strategy.avoid_radius is not None and self._avoid_list.avoids(position):
            return None
        return min(self._left, key=lambda number: (*distance(position, self._left[number]), number))

    def _take(self, one: Candidate) -> None:
        """Train the candidate, as far as the strategy lets it, and note what came of it."""
        self.study.enqueue_trial(dict(one.point))
        trial = self.study.ask()
        space.draw(self.space, trial)
        whole = self._trained(one, trial)
        self.drawn.append(Drawn(one, self._passes, whole))
        if whole and one.trained:
            self.study.tell(trial, [one.trained.objective, float(one.macs)][: self.strategy.objectives])
        else:
            self.study.tell(trial, state=TrialState.PRUNED)
        if self.strategy.avoid_radius is not None:
            position = space.position(self.space, one.point)
            self._avoid_list = self._avoid_list.extended(position, None, self.strategy.avoid_radius)

    def _trained(self, one: Candidate, trial: optuna.Trial) -> bool:
        """Whether the candidate is trained to its end; its passes are added."""
        if one.trained is None:
            return False
        for number, rung in enumerate(self.strategy.rungs):
            reached = one.rungs[number]
            self._passes += reached.segments
            before = list(self._at_rungs[number])
            self._at_rungs[number].append(reached.objective)
            if not ladder.goes_on(reached.objective, before, rung.keep):
                study.report_rung(trial, number, reached.objective)
                return False
        seen = 0
        for epoch in one.trained.epochs:
            self._passes += epoch.passes - seen
            seen = epoch.passes
            if self.strategy.objectives == 1:
                trial.report(epoch.objective, epoch.epoch)
                if trial.should_prune():
                    return False
        return True


def distance(a: Position, b: Position) -> tuple[bool, float]:
    """Whether two positions are of two families, and the sum of squares over the parameters that both have."""
    squares = (
        (a[name] - b[name]) ** 2 if isinstance(a[name], float) else float(a[name] != b[name])  # floats: of ranges only
        for name in (a.keys() & b.keys()) - {"family"}
    )
    return a["family"] != b["family"], sum(squares)
