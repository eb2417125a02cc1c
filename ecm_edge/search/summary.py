"""The record of a run, from what its study holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.records import Verdict
from ecm_edge.search.runs import SearchRecord, objective_of, pareto

if TYPE_CHECKING:
    from ecm_edge.search.runs import SearchSettings, StoppedBy
    from ecm_edge.search.shared import View


def summary(settings: SearchSettings, view: View, stopped_by: StoppedBy | None, seconds: float) -> SearchRecord:
    """The run so far; its best trial is the best that is proven."""
    best = max((record for record in view.records if record.is_proven), key=objective_of, default=None)
    outcomes = [record.outcome for record in view.records]
    return SearchRecord(
        verdict=Verdict.PASS if best else Verdict.FAIL,
        target=settings.target.name,
        objective=settings.objective,
        synthetic=settings.synthetic,
        stopped_by=stopped_by,
        best=best.number if best else None,
        best_objective=best.objective if best else None,
        trained=view.trained,
        pruned=outcomes.count("pruned"),
        unfit=outcomes.count("unfit"),
        avoided=view.avoided,
        failed=outcomes.count("failed"),
        pareto=pareto(view.records),
        seconds=seconds,
        trials=view.records,
    )
