"""The seed work's second phase: widen or narrow one candidate until score and size both meet their bars.

Widths are multiplied by FACTORS, narrowest first, and the first that meets both bars wins, so that it is the smallest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ecm_edge.base import files
from ecm_edge.base.errors import SpaceError
from ecm_edge.base.names import did_you_mean
from ecm_edge.base.records import Record, Verdict
from ecm_edge.base.shown import Tables
from ecm_edge.candidate import networks
from ecm_edge.candidate.candidate import check_dataset, trial_folder
from ecm_edge.metrics import Objective
from ecm_edge.search.runs import check_least_objective
from ecm_edge.search.trial import Setting, prove_trial, train_trial
from ecm_edge.search.trial_record import TRIAL_COLUMNS, TrialRecord
from ecm_edge.training import train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.training_config import Scalar
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.targets import Target

FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
SCALE = "scale.json"


class ScaleRecord(Record):
    """PASS if some width meets both bars; `best` is its number in `trials`."""

    verdict: Verdict
    target: str
    objective: Objective
    standard: float
    most_flash_bytes: int
    best: int | None
    trials: list[TrialRecord]

    KEYS = ("target", "objective", "standard", "best")
    TABLES: ClassVar[Tables] = {"trials": TRIAL_COLUMNS}


def scale(
    config: CandidateConfig,
    dataset: Dataset,
    target: Target,
    out: Path,
    *,
    objective: Objective,
    least_objective: float,
    most_flash_bytes: int | None = None,
    widths: Sequence[str] = (),
    on_trial: Callable[[TrialRecord], None] = lambda _: None,
) -> ScaleRecord:
    """Train the configuration at growing widths into the new folder `out` until both bars are met.

    Args:
        config: the chosen candidate's.
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
    check_dataset(config, dataset)
    check_least_objective(objective, least_objective)
    bar = most_flash_bytes or target.budget.flash_bytes
    limited = target.model_copy(update={"budget": target.budget.model_copy(update={"flash_bytes": bar})})
    setting = Setting(
        dataset,
        train.load_data(dataset, config.split, unlabelled=config.training.unlabelled),
        limited,
        objective,
    )
    trials: list[TrialRecord] = []
    with files.staged_folder(out) as staged:
        for number, scaled in enumerate(_scaled(config, _widths(config, widths))):
            folder = trial_folder(staged, number)
            files.make_folder(folder)
            trial = train_trial(folder, number, dict(scaled.network), scaled, setting)
            trials.append(prove_trial(folder, trial, setting) if _reaches(trial, least_objective) else trial)
            on_trial(trials[-1])
            if trials[-1].outcome == "unfit" or _meets(trials[-1], least_objective):
                break
        best = next((trial.number for trial in trials if _meets(trial, least_objective)), None)
        record = ScaleRecord(
            verdict=Verdict.FAIL if best is None else Verdict.PASS,
            target=target.name,
            objective=objective,
            standard=least_objective,
            most_flash_bytes=bar,
            best=best,
            trials=trials,
        )
        record.save(staged / SCALE)
    return record


def _reaches(trial: TrialRecord, least_objective: float) -> bool:
    return trial.objective is not None and trial.objective >= least_objective


def _meets(trial: TrialRecord, least_objective: float) -> bool:
    return trial.is_proven and _reaches(trial, least_objective)


def _widths(config: CandidateConfig, chosen: Sequence[str]) -> Sequence[str]:
    """The chosen parameters, or of the family's own those that the candidate has."""
    for name in chosen:
        if name not in config.network:
            raise SpaceError(
                "a width is one of the candidate's parameters",
                f"{name!r} for the family {config.family!r}",
                f"{did_you_mean(name, config.network)}Name one of {', '.join(config.network) or 'none: it has none'}.",
            )
    own = networks.widths(config.family)
    if not chosen and not own:
        raise SpaceError("a family says what makes it wider", f"{config.family!r} does not", "Name it with --width.")
    return chosen or [name for name in own if name in config.network]


def _scaled(config: CandidateConfig, widths: Sequence[str]) -> Iterator[CandidateConfig]:
    """The configuration at each factor, leaving out repeats that rounding makes."""
    seen: list[dict[str, Scalar]] = []
    for factor in FACTORS:
        network = {**config.network, **{name: _multiplied(config.network, name, factor) for name in widths}}
        if network not in seen:
            seen.append(network)
            yield config.model_copy(update={"network": network})


def _multiplied(network: dict[str, Scalar], name: str, factor: float) -> int:
    value = network[name]
    if isinstance(value, bool | str):
        raise SpaceError("a width is a number", f"{name} = {value!r}", "Name another parameter with --width.")
    return max(1, round(value * factor))
