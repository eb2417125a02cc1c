"""A search as figures to point at, by Optuna and plotly: the front, what each parameter matters, parallel coordinates.

The study is made again from the records of the trials, so that any storage does. Names from a space are escaped: plotly
reads a little HTML in its texts.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import optuna

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecm_edge.candidate.training_config import Scalar
    from ecm_edge.report.records import RunRecords
    from ecm_edge.search.trial_record import TrialRecord

FEWEST_TRIALS = 10
"""Below so many trials with an objective, importances say nothing."""

_MOST_COORDINATES = 10
_EVALUATOR_SEED = 0
_OTHERS, _ON_FRONT = "#5bb8ee", "#d9410a"
_LAYOUT = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "template": None,
    "title": None,
    "autosize": True,
    "width": None,
    "height": 460,
    "margin": {"l": 60, "r": 30, "t": 30, "b": 60},
}


def figures(run: RunRecords) -> dict[str, str]:
    """JSON of plotly's figures by name: "front", and where there is enough to show "importances" and "parallel".

    No figure has a `<`, so that each can stand in a <script> element.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = [trial for trial in run.summary.trials if trial.objective is not None]
    name = run.summary.objective.replace("_", " ")
    drawn = {"front": _front(trials, name)} if trials else {}
    shared = _shared(trials)
    if not shared:
        return {key: _json(figure) for key, figure in drawn.items()}
    study = _study(trials, shared)
    drawn["parallel"] = optuna.visualization.plot_parallel_coordinate(
        study, params=list(shared)[:_MOST_COORDINATES], target=lambda t: t.values[0], target_name=name
    )
    if len(trials) >= FEWEST_TRIALS:
        drawn["importances"] = optuna.visualization.plot_param_importances(
            study,
            evaluator=optuna.importance.FanovaImportanceEvaluator(seed=_EVALUATOR_SEED),
            params=list(shared),
            target=lambda t: t.values[0],
            target_name=name,
        )
    return {key: _json(figure) for key, figure in drawn.items()}


def _front(trials: Sequence[TrialRecord], name: str) -> Any:  # noqa: ANN401 - plotly ships no types
    """Optuna's plot of a Pareto front, over objective and MACs; each mark tells the parameters of its trial."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trials(
        [
            optuna.trial.create_trial(
                values=[trial.objective or 0.0, float(trial.macs)],
                params={escape(key): _escaped(value) for key, value in trial.point.items()},
                distributions={
                    escape(key): optuna.distributions.CategoricalDistribution([_escaped(value)])
                    for key, value in trial.point.items()
                },
                user_attrs={"trial": trial.number, "verdict": str(trial.verdict), "outcome": trial.outcome},
            )
            for trial in trials
        ]
    )
    figure = optuna.visualization.plot_pareto_front(
        study, target_names=["MACs", name], targets=lambda t: (t.values[1], t.values[0])
    )
    marker = {"size": 11, "line": {"width": 1, "color": "#5b6675"}, "showscale": False}
    for trace, colour in zip(figure.data, (_OTHERS, _ON_FRONT), strict=True):
        trace.update(marker=marker | {"color": colour})
    return figure


def _shared(trials: Sequence[TrialRecord]) -> dict[str, list[Scalar]]:
    """The parameters that every trial has and that differ, with their values."""
    names = [name for name in trials[0].point if all(name in trial.point for trial in trials)] if trials else []
    values = {name: [trial.point[name] for trial in trials] for name in names}
    return {escape(name): column for name, column in values.items() if len(set(map(repr, column))) > 1}


def _study(trials: Sequence[TrialRecord], shared: Mapping[str, Sequence[Scalar]]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    kinds = {name: _distribution(column) for name, column in shared.items()}
    for place, trial in enumerate(trials):
        point = {name: _value(column[place], kinds[name]) for name, column in shared.items()}
        study.add_trial(optuna.trial.create_trial(value=trial.objective, params=point, distributions=kinds))
    return study


def _distribution(column: Sequence[Scalar]) -> optuna.distributions.BaseDistribution:
    """Numbers between the least and the largest that were drawn, or a choice of texts."""
    if any(isinstance(value, bool | str) for value in column):
        return optuna.distributions.CategoricalDistribution(sorted({_escaped(value) for value in column}))
    numbers = [float(value) for value in column]
    return optuna.distributions.FloatDistribution(min(numbers), max(numbers))


def _value(value: Scalar, kind: optuna.distributions.BaseDistribution) -> str | float:
    return float(value) if isinstance(kind, optuna.distributions.FloatDistribution) else _escaped(value)


def _escaped(value: Scalar) -> str:
    return escape(str(value))


def _json(figure: Any) -> str:  # noqa: ANN401 - plotly ships no types
    figure.update_layout(**_LAYOUT)
    return str(figure.to_json()).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
