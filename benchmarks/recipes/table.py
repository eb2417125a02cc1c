"""What recipes scored: a record of a comparison in benchmarks/records/, and its table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from benchmarks.recipes.changes import NOT_CHANGED, Recipe, recipes
from ecm_edge.base import provenance
from ecm_edge.base.records import Interval, Record
from ecm_edge.data.dataset import open_dataset
from ecm_edge.evaluate import timing
from ecm_edge.metrics.resample import interval, subject_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.recipes.runs import Result, Setting

FOLDER = Path(__file__).parents[1] / "records"
COLUMNS = ("recipe", "change", "MACs", "Fβ (seeds)", "G", "F1", "Fβ less base's (95 %)", "passes", "and teachers'", "s")


class Line(Record):
    """Figures of a recipe: means over its seeds, and the least and the largest Fβ among them.

    Attributes:
        gain: mean Fβ less the base's, paired by seed and by subject; None for the base.
        passes: segments times epochs, of a seed's networks; `with_teachers` those of their teachers added.
        seconds: what the training of a seed's networks took.
    """

    recipe: str
    change: str
    macs: int
    fbeta: float
    fbeta_min: float
    fbeta_max: float
    g: float
    f1: float | None
    gain: Interval | None
    passes: int
    with_teachers: int
    seconds: float


class Comparison(Record):
    """One comparison of recipes, the base first: all on the same subjects and folds, with the same seeds."""

    command: str
    commit: str | None
    date_utc: str
    machine: str
    note: str = ""
    dataset_sha256: str
    synthetic: bool
    subjects: int
    folds: int
    seeds: int
    lines: list[Line] = Field(min_length=1)


def compare(setting: Setting, results: Mapping[str, Sequence[Result]], command: str) -> Comparison:
    """The record of results by recipe, one for each seed; the base is among them."""
    header, where = open_dataset(setting.data).header, provenance.collect()
    base = results[setting.base.name]
    return Comparison(
        command=command,
        commit=where.git_sha,
        date_utc=where.date_utc,
        machine=timing.host().split(",")[0],
        dataset_sha256=header.content_sha256,
        synthetic=header.synthetic,
        subjects=len(setting.folds.folds),
        folds=setting.folds.count,
        seeds=len(base),
        lines=[line(each, base) for each in results.values()],
    )


def line(results: Sequence[Result], base: Sequence[Result]) -> Line:
    """The figures of one recipe, from a result for each seed."""
    fbeta = [result.scores.fbeta_mean.value for result in results]
    f1 = [result.scores.f1.value for result in results if result.scores.f1]
    own = sum(result.passes for result in results) // len(results)
    teachers = sum(result.teacher_passes for result in results) // len(results)
    return Line(
        recipe=results[0].recipe.name,
        change=results[0].recipe.change,
        macs=results[0].macs,
        fbeta=float(np.mean(fbeta)),
        fbeta_min=min(fbeta),
        fbeta_max=max(fbeta),
        g=float(np.mean([result.scores.g.value for result in results])),
        f1=float(np.mean(f1)) if f1 else None,
        gain=None if results is base else difference(results, base),
        passes=own,
        with_teachers=own + teachers,
        seconds=float(np.mean([result.seconds for result in results])),
    )


def difference(ours: Sequence[Result], base: Sequence[Result]) -> Interval | None:
    """Mean Fβ less the base's, averaged over the seeds, with a 95 % interval by resampling subjects."""
    gain = _fbeta_by_subject(ours) - _fbeta_by_subject(base)  # (S,)
    return interval(subject_weights(len(gain)) @ gain / len(gain))


def _fbeta_by_subject(results: Sequence[Result]) -> NDArray[np.float64]:
    """(S,) Fβ of each subject, averaged over the seeds."""
    by_seed = [[subject.fbeta for subject in result.scores.by_subject] for result in results]
    return np.asarray(np.mean(by_seed, axis=0))


def load_all() -> list[Comparison]:
    """Every comparison that was kept, oldest first."""
    kept = [Comparison.load(path) for path in sorted(FOLDER.glob("recipes-*.json"))]
    return sorted(kept, key=lambda comparison: comparison.date_utc)


def save(comparison: Comparison) -> Path:
    """Keep a comparison, under its date."""
    path = FOLDER / f"recipes-{comparison.date_utc[:10]}.json"
    comparison.save(path)
    return path


def tables(comparisons: Sequence[Comparison], known: Sequence[Recipe] | None = None) -> str:
    """A table for each comparison, and the recipes that are in none."""
    trained = {line.recipe for comparison in comparisons for line in comparison.lines}
    missing = [recipe.name for recipe in known or recipes() if recipe.name not in trained]
    parts = [table(comparison) for comparison in comparisons]
    if missing:
        parts.append(f"NOT RUN: {', '.join(missing)}.")
    return "\n\n".join(parts)


def table(comparison: Comparison) -> str:
    """A comparison as Markdown, with what it is of."""
    data = f"{'synthetic ' if comparison.synthetic else ''}data set {comparison.dataset_sha256[:12]}"
    seeds = f"{comparison.seeds} {'seed' if comparison.seeds == 1 else 'seeds'}"
    subjects = f"{comparison.subjects} subjects in {comparison.folds} folds"
    caption = f"{comparison.date_utc[:10]}, {comparison.machine}: {subjects}, {seeds}, {data}. {comparison.note}"
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(_cells, comparison.lines)]
    return "\n".join([caption.strip(), "", *map(_row, rows)])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.recipe,
        line.change,
        f"{line.macs:,}",
        f"{line.fbeta:.4f} ({line.fbeta_min:.4f} … {line.fbeta_max:.4f})",
        f"{line.g:.4f}",
        NOT_CHANGED if line.f1 is None else f"{line.f1:.4f}",
        _gain(line.gain),
        f"{line.passes:,}",
        f"{line.with_teachers:,}",
        f"{line.seconds:,.0f}",
    )


def _gain(gain: Interval | None) -> str:
    """A difference; in bold type where its interval lies above or below 0."""
    if gain is None or gain.low is None or gain.high is None:
        return NOT_CHANGED
    text = f"{gain.value:+.4f} ({gain.low:+.4f} … {gain.high:+.4f})"
    return f"**{text}**" if gain.low > 0 or gain.high < 0 else text
