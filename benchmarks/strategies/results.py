"""What the replays say: the best candidate against the passes spent, over many seeds; as a record, a table, a picture.

Passes are counted in trainings: those of one candidate of the table that is trained to its end.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna

from benchmarks.strategies import candidates, replay
from benchmarks.strategies.candidates import Table
from ecm_edge.base import files, plots
from ecm_edge.base.processes import run_all
from ecm_edge.base.records import Record
from ecm_edge.candidate import space

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from benchmarks.strategies.replay import Drawn, Strategy
    from ecm_edge.base.plots import Colours

RECORD = Path(__file__).parents[1] / "records" / "strategies_replayed.json"
PICTURE = Path(__file__).parents[2] / "data" / "pictures" / "strategies.svg"
PROGRAM = "python -m benchmarks.strategies"
REPLAYS = 200
BUDGETS = (2, 5, 10, 20, 50, 100)
RANDOM, OURS = "random, avoid list", "ours"
CHEAPER = 3  # the bar: what random search has at the end, with so many times fewer passes
_CHUNK = 10  # replays of one process


class Spread(Record):
    """The median over the replays, and the quartiles; None where fewer replays had any candidate by then."""

    low: float | None
    median: float | None
    high: float | None


class At(Record):
    """What a strategy has after so many trainings: the best objective on the validation subjects, and its test's."""

    trainings: float
    validation: Spread
    test: Spread


class Line(Record):
    """A strategy over all replays.

    drawn: candidates in the mean, when the last budget was spent, and `whole` of them trained to their end.
    reaches: trainings after which half of the replays have what random search has at the last budget, in the median.
    kept: the share of replays in which the best of all drawn was trained to its end, so that it is proven.
    """

    strategy: str
    at: list[At]
    drawn: float
    whole: float
    reaches: float | None
    kept: float


class Replays(Record):
    """All strategies on one table; `second_seeds` candidates were trained twice.

    between_seeds: the standard deviation of the objective between two seeds of a candidate, and `between_candidates`
        that between candidates.
    with_test: Spearman's rank correlation of the objectives on validation and test subjects.
    """

    table_sha256: str
    replays: int
    drawn: int
    trained: int
    unfit: int
    second_seeds: int
    between_seeds: float | None
    between_candidates: float
    with_test: float
    best: float
    training_passes: int
    target: float
    ladder_applies: bool
    lines: list[Line]


def replayed(table: Table, strategies: Sequence[Strategy], replays: int, workers: int) -> Replays:
    """Every strategy on the table, with the seeds from 0 on."""
    budgets = _budgets(table)
    found = _all_runs(table, strategies, replays, workers, budgets[-1])
    length = training_passes(table)
    target = _spread([_best(run, budgets[-1] * length)[0] for run in found[RANDOM]]).median
    if target is None:
        raise ValueError("random search finds a candidate")
    trained = table.trained
    twice = [(one.trained.objective, one.second.objective) for one in trained if one.trained and one.second]
    objectives = [one.trained.objective for one in trained if one.trained]
    return Replays(
        table_sha256=sha256(table),
        replays=replays,
        drawn=len(table.candidates),
        trained=len(trained),
        unfit=sum(one.reason == candidates.UNFIT for one in table.candidates),
        second_seeds=len(twice),
        between_seeds=_within(twice),
        between_candidates=float(np.std(objectives)),
        with_test=_rank_correlation(objectives, [one.trained.test.objective for one in trained if one.trained]),
        best=max(objectives),
        training_passes=length,
        target=target,
        ladder_applies=replay.ladder_applies(table),
        lines=[_line(name, runs, budgets, length, target) for name, runs in found.items()],
    )


def sha256(table: Table) -> str:
    """The hash of a table, by which replays name it."""
    return files.sha256_json(table.model_dump(mode="json"))


def training_passes(table: Table) -> int:
    """Those of a candidate that is trained to its end."""
    return max(one.trained.epochs[-1].passes for one in table.trained if one.trained)


def _budgets(table: Table) -> list[int]:
    """In trainings; at most half of the table, so that there is always something left to choose from."""
    half = len(table.trained) // 2
    return [*(budget for budget in BUDGETS if budget < half), min(half, BUDGETS[-1])]


def _all_runs(
    table: Table, strategies: Sequence[Strategy], replays: int, workers: int, budget: int
) -> dict[str, list[list[Drawn]]]:
    """The replays of each strategy, by its name and in the order of the seeds; the workers do not matter."""
    chunks = [range(first, min(first + _CHUNK, replays)) for first in range(0, replays, _CHUNK)]
    tasks = [partial(_runs, table, strategy, seeds, budget) for strategy in strategies for seeds in chunks]
    found: dict[str, dict[int, list[Drawn]]] = {strategy.name: {} for strategy in strategies}
    for name, runs in run_all(tasks, workers):
        found[name] |= runs
    return {name: [runs[seed] for seed in range(replays)] for name, runs in found.items()}


def _runs(table: Table, strategy: Strategy, seeds: range, budget: int) -> tuple[str, dict[int, list[Drawn]]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawn_from, most = space.load(table.space), budget * training_passes(table)
    return strategy.name, {
        seed: replay.Replay(strategy, drawn_from, table.candidates, seed).run(most) for seed in seeds
    }


def _line(name: str, runs: list[list[Drawn]], budgets: list[int], length: int, target: float) -> Line:
    most = budgets[-1] * length
    within = [[drawn for drawn in run if drawn.passes <= most] for run in runs]
    reached = _spread([_reaches(run, target) for run in runs], worst=math.inf).median
    return Line(
        strategy=name,
        at=[_at(runs, budget, length) for budget in budgets],
        drawn=float(np.mean([len(run) for run in within])),
        whole=float(np.mean([sum(drawn.whole for drawn in run) for run in within])),
        reaches=None if reached is None else reached / length,
        kept=float(np.mean([_is_kept(run) for run in within])),
    )


def _at(runs: list[list[Drawn]], budget: int, length: int) -> At:
    best = [_best(run, budget * length) for run in runs]
    return At(
        trainings=budget,
        validation=_spread([validation for validation, _ in best]),
        test=_spread([test for _, test in best]),
    )


def _best(run: list[Drawn], passes: int) -> tuple[float, float]:
    """The best objective within so many passes, and that candidate's on the test subjects; -inf without any."""
    done = [drawn.candidate.trained for drawn in run if drawn.whole and drawn.passes <= passes]
    return max(((one.objective, one.test.objective) for one in done if one), default=(-math.inf, -math.inf))


def _reaches(run: list[Drawn], target: float) -> float:
    """The passes after which a candidate of that objective was trained to its end."""
    done = [(drawn.passes, drawn.candidate.trained) for drawn in run if drawn.whole]
    return min((passes for passes, one in done if one and one.objective >= target), default=math.inf)


def _is_kept(run: list[Drawn]) -> bool:
    trained = [(drawn.candidate.trained.objective, drawn.whole) for drawn in run if drawn.candidate.trained]
    return bool(trained) and max(trained)[1]


def _spread(values: Sequence[float], worst: float = -math.inf) -> Spread:
    """Each is the value of one replay, without a mean of two; None where that replay has none."""
    low, median, high = np.quantile(np.array(values), (0.25, 0.5, 0.75), method="inverted_cdf").tolist()
    return Spread(
        **{
            name: None if value == worst else value
            for name, value in (("low", low), ("median", median), ("high", high))
        }
    )


def _within(pairs: list[tuple[float, float]]) -> float | None:
    return float(np.sqrt(np.mean([(a - b) ** 2 / 2 for a, b in pairs]))) if pairs else None


def _rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    from scipy import stats

    return float(stats.spearmanr(a, b).statistic)


def save(found: Replays) -> None:
    """Keep the record and its picture."""
    found.save(RECORD)
    figure = plots.figure(partial(_draw, found), height_in=4.2)
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "strategies"}):
        figure.savefig(PICTURE, metadata={"Date": None})


def _draw(found: Replays, axes: Axes, colours: Colours) -> None:
    """The median of the best objective against trainings, ours with its quartiles; test subjects dashed."""
    styles = [colours.muted, colours.muted, colours.orange, colours.orange, colours.green, colours.blue]
    marks = ["o", "x", "o", "x", "s", "D"]
    for line, colour, mark in zip(found.lines, styles, marks, strict=False):
        shown = [at for at in line.at if at.validation.median is not None]
        x = [at.trainings for at in shown]
        axes.plot(
            x, [at.validation.median for at in shown], f"{mark}-", color=colour, label=line.strategy, markersize=4
        )
        axes.plot(x, [at.test.median for at in shown], f"{mark}:", color=colour, markersize=3, linewidth=1)
        if line.strategy == OURS:
            low, high = [at.validation.low for at in shown], [at.validation.high for at in shown]
            axes.fill_between(x, np.array(low, float), np.array(high, float), color=colours.band)
    axes.set_xscale("log")
    ticks = [at.trainings for at in found.lines[0].at]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("passes spent, as trainings of one candidate")
    axes.set_ylabel("best objective (points); dotted: test")
    plots.legend(axes, columns=3)


def load() -> Replays | None:
    """The replays on record, if there are any."""
    return Replays.load(RECORD) if RECORD.is_file() else None


def shown() -> str:
    """The table of the replays on record, and else how many candidates there are so far."""
    found = load()
    if found:
        return shown_of(found)
    trained = len(Table.load(candidates.RECORD).trained) if candidates.RECORD.is_file() else 0
    so_far = f"{trained} of {candidates.CANDIDATES} candidates are trained so far"
    return f"NOT RUN: {so_far}; once there are enough, `{PROGRAM} replay --write` makes it."


def shown_of(found: Replays) -> str:
    """Replays as Markdown: what they are of, medians with quartiles, and the bars."""
    budgets = [f"{at.trainings:g}" for at in found.lines[0].at]
    heads = ["strategy", *budgets, "test", "drawn", "trained", "reaches", "kept"]
    rows = [heads, ["---"] * len(heads), *(_cells(line) for line in found.lines)]
    picture = "![The best objective against the passes spent](../data/pictures/strategies.svg)"
    table = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([_caption(found), "", *table, "", *_bars(found), "", picture])


def _caption(found: Replays) -> str:
    missing = candidates.CANDIDATES - found.trained
    seeds = f", {found.between_seeds:.2f} between two seeds of one" if found.between_seeds is not None else ""
    parts = [
        f"**Provisional: {missing} candidates are not trained yet.**" if missing > 0 else "",
        (
            f"{found.replays} replays of each on {found.trained} trained candidates, of {found.drawn} that were drawn "
            f"({found.unfit} did not fit), {found.second_seeds} of them with two seeds."
        ),
        (
            f"The best has {found.best:.2f} points; the standard deviation is {found.between_candidates:.2f} between "
            f"candidates{seeds}, the rank correlation of validation and test {found.with_test:.2f}."
        ),
        (
            f"One training is {found.training_passes:,} passes; the ladder "
            f"{'applies' if found.ladder_applies else 'does not apply at this size'}."
        ),
    ]
    return " ".join(part for part in parts if part)


def _cells(line: Line) -> list[str]:
    last = line.at[-1]
    return [
        line.strategy,
        *(_told(at.validation) for at in line.at),
        _told(last.test),
        f"{line.drawn:.0f}",
        f"{line.whole:.0f}",
        "–" if line.reaches is None else f"{line.reaches:.1f}",
        f"{line.kept:.0%}".replace("%", " %"),
    ]


def _told(spread: Spread) -> str:
    if spread.median is None:
        return "–"
    low = "–" if spread.low is None else f"{spread.low:.1f}"
    return f"{spread.median:.2f} ({low} … {spread.high:.1f})"


def _bars(found: Replays) -> list[str]:
    """Each bar, and whether it is met."""
    by_name = {line.strategy: line for line in found.lines}
    own, last = by_name[OURS], found.lines[0].at[-1].trainings
    bar = last / CHEAPER
    told = "never" if own.reaches is None else f"after {own.reaches:.1f} trainings"
    met = own.reaches is not None and own.reaches <= bar
    behind = behind_at(found)
    lead = "never behind the best of Optuna"
    if behind:
        lead = f"behind the best of Optuna at {', '.join(f'{at:g} ({by:+.2f})' for at, by in behind.items())}"
    has = f"what {RANDOM} has after {last:g} trainings, {found.target:.2f} points"
    return [
        f"- Ours reaches {has}, {told}; bar: at most {bar:.1f}{'' if met else ': **missed**'}.",
        f"- Ours is {lead}, in the medians; bar: never{': **missed**' if behind else ''}.",
    ]


def behind_at(found: Replays) -> dict[float, float]:
    """By how much the median of ours is behind the best of Optuna's, at the budgets where it is."""
    by_name = {line.strategy: line for line in found.lines}
    others = [by_name[name] for name in replay.OPTUNA]
    leads = {}
    for number, own in enumerate(by_name[OURS].at):
        medians = [line.at[number].validation.median for line in others]
        best = max((median for median in medians if median is not None), default=-math.inf)
        mine = -math.inf if own.validation.median is None else own.validation.median
        if mine < best:
            leads[own.trainings] = mine - best
    return leads
