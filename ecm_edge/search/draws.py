"""The draws of a study. A trial that was cut off is repeated by another one, which has the same draw.

A draw's number is that of its first trial among the trials that repeat none. Seeds and folders follow it, so that they
do not depend on how often a worker was stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.trial import FrozenTrial

_REPEATS = "failed_trial"  # Optuna's own names, so that its tools know what a retry is
_HISTORY = "retry_history"
_FIXED = "fixed_params"
_MOST_DEATHS = 3
CLAIM = "claim"  # of a trial: its phase and its point, see `claim`


def numbers(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """The draw of each trial, by the trial's number; `trials` are all of the study in the order of their numbers."""
    found: dict[int, int] = {}
    count = 0
    for trial in trials:
        if _REPEATS in trial.system_attrs:
            found[trial.number] = found[trial.system_attrs[_REPEATS]]
        else:
            found[trial.number] = count
            count += 1
    return found


def grid_places(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """As `numbers`, among the draws whose points nobody gave: a grid goes through all of its points beside those."""
    found: dict[int, int] = {}
    count = 0
    for trial in trials:
        first = trial.system_attrs.get(_REPEATS)
        if first in found:
            found[trial.number] = found[first]
        elif first is None and _FIXED not in trial.system_attrs:
            found[trial.number] = count
            count += 1
    return found


def is_twin(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether a trial's draw was queued twice, by two that found it lost at once, and the other one comes first."""
    drawn = numbers(trials)
    return any(
        drawn[other.number] == drawn[trial.number] and other.number < trial.number and other.state != TrialState.FAIL
        for other in trials
    )


def repeats(trial: FrozenTrial) -> bool:
    """Whether a trial repeats one that was cut off."""
    return _REPEATS in trial.system_attrs


def table(trial: FrozenTrial, name: str) -> dict[str, Any]:
    """What is noted under a name; {} where nothing is, or something that is not ours."""
    found = trial.user_attrs.get(name)
    return found if isinstance(found, dict) else {}


def enqueue_again(study: optuna.Study, trial: FrozenTrial, *, died: bool) -> bool:
    """Queue a failed trial's draw once more; with its point, if all of it had been drawn.

    Args:
        study: that of the trial.
        trial: one that was cut off.
        died: its worker ended without a word. After three such ends the draw is given up: it may be what ends them.

    Returns:
        Whether it is queued.
    """
    history = [*trial.system_attrs.get(_HISTORY, []), *([trial.number] if died else [])]
    if len(history) >= _MOST_DEATHS:
        return False
    is_drawn = CLAIM in trial.user_attrs
    kept = {name: trial.system_attrs[name] for name in (_FIXED,) if name in trial.system_attrs}
    first = trial.system_attrs.get(_REPEATS, trial.number)
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params if is_drawn else {},
            distributions=trial.distributions if is_drawn else {},
            system_attrs={**kept, _REPEATS: first, _HISTORY: history},
        )
    )
    return True
