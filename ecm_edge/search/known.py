"""Points that are known to be good: those of candidates, runs and entries of a registry, for a search to try first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.errors import SearchError
from ecm_edge.candidate import candidate, space
from ecm_edge.candidate.candidate import RUN_SUMMARY
from ecm_edge.candidate.space import Choices, Range
from ecm_edge.search.runs import SearchRecord, objective_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.space import Entry, Point
    from ecm_edge.candidate.training_config import Scalar
    from ecm_edge.search.runs import SearchSettings

_MOST_OF_A_RUN = 5


def points(given: Sequence[Path], settings: SearchSettings) -> tuple[list[Point], list[str]]:
    """The points of what is given that lie in the settings' space, and why others are left out.

    Args:
        given: candidates' folders, entries of a registry, and runs, of which the five best trials are taken.
        settings: those of the search.

    Raises:
        CandidateError: a folder that is none of these.
        SearchError: a damaged summary of a run.
    """
    found: list[Point] = []
    reasons = []
    for path in given:
        for name, point in _of(path, settings):
            outside = _outside(point, settings)
            if outside:
                reasons.append(f"{name} is not tried first: {outside}")
            elif point not in found:
                found.append(point)
    return found, reasons


def _of(path: Path, settings: SearchSettings) -> list[tuple[str, Point]]:
    """The points of a run's best trials, or of a candidate, by name."""
    if (path / RUN_SUMMARY).is_file():
        record = SearchRecord.load(path / RUN_SUMMARY, SearchError)
        scored = (trial for trial in record.trials if trial.objective is not None)
        best = sorted(scored, key=objective_of, reverse=True)[:_MOST_OF_A_RUN]
        return [(f"trial {trial.number} of {path}", trial.point) for trial in best]
    return [(str(path), _point_of(candidate.load_config(path), settings))]


def _point_of(config: CandidateConfig, settings: SearchSettings) -> Point:
    """A candidate's configuration as a point: of its training, what the space names."""
    network = {f"{config.family}.{name}": value for name, value in config.network.items()}
    flat = _flat(config.training.model_dump(mode="json"), "training")
    named = settings.space.training
    return {"family": config.family, **network} | {
        k: v for k, v in flat.items() if k.removeprefix("training.") in named
    }


def _flat(values: dict[str, object], name: str) -> Point:
    """Nested tables as flat names: `training.augmentation.noise`."""
    found: dict[str, Scalar] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{name}.{key}")
        elif isinstance(value, str | int | float | bool):
            found[f"{name}.{key}"] = value
    return found


def _outside(point: Point, settings: SearchSettings) -> str:
    """Why a point does not lie in the space; empty if it does."""
    family = str(point["family"])
    if family not in settings.space.families:
        return f"its family {family} is not in the space"
    entries = space.entries(settings.space, family)
    for name in sorted({*entries, *point} - {"family"}):
        if name not in entries:
            return f"the space has no {name}"
        if name not in point:
            return f"it has no {name}"
        if not _holds(entries[name], point[name]):
            return f"{name} is {point[name]}, and in the space {space.describe(entries[name])}"
    return ""


def _holds(entry: Entry, value: Scalar) -> bool:
    if isinstance(entry, Choices):
        return any(value == choice and type(value) is type(choice) for choice in entry.choices)
    if not isinstance(entry, Range):
        return value == entry
    if isinstance(value, str | bool) or not entry.low <= value <= entry.high:
        return False
    steps = (value - entry.low) / (entry.step or 1)
    return abs(steps - round(steps)) < 1e-9 if entry.whole or entry.step is not None else True  # noqa: PLR2004 - a sum of floats
