"""Report: one self-contained HTML page about a candidate or a run, and the same as one record.

    records.py    ReportRecord: what the page says
    gather.py     the records of every stage, read from where they lie
    stages.py     their verdicts; what has not run, and the command that would
    mistakes.py   the most confident wrong answers, the one thing that no stage records
    charts.py     matplotlib drawings as inline SVG;  ecg.py  segments on ECG paper
    page.py       all of it through the *.jinja templates

Nothing imports this package but its command and `ecm_edge.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.candidate import candidate
from ecm_edge.report import charts, page
from ecm_edge.report.ecg import draw_strip
from ecm_edge.report.gather import gather
from ecm_edge.report.records import Mistake, Mistakes, ReportRecord, Stage
from ecm_edge.report.stages import Place

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.report.ecg import Strip

__all__ = ["Mistake", "Mistakes", "ReportRecord", "Stage", "gather", "to_html", "write_report"]


def write_report(path: Path, dataset: Dataset, out: Path, *, registry: Path | None = None) -> ReportRecord:
    """Write the page about a candidate, or about a run and its best candidate, to `out`.

    Args:
        path: the candidate's folder, or the run's.
        dataset: the one that the candidate was made from.
        out: the HTML file; replaced if it is there.
        registry: a registry whose decisions are told.

    Raises:
        EcmEdgeError: as `gather` says.
        OutputError: `out` cannot be written; whatever was there is as it was.
    """
    record = gather(path, dataset, registry)
    place = Place(candidate.locate(path), dataset.folder, record.target or "TARGET")
    files.write_atomic(out, to_html(record, dataset, place).encode())
    return record


def to_html(record: ReportRecord, dataset: Dataset, place: Place) -> str:
    """The page of a record; the segments that it shows are read from the data set."""
    return page.render(record, _charts(record), _strips(record, dataset), place)


def _charts(record: ReportRecord) -> dict[str, str]:
    """Every chart for which there is something to draw."""
    drawn = {}
    if record.records.score:
        drawn["subjects"] = charts.subjects_chart(record.records.score.scores)
    if record.records.training:
        drawn["losses"] = charts.losses_chart(record.records.training)
        if record.records.training.validation_subjects:
            drawn["epochs"] = charts.epochs_chart(record.records.training)
    fitted = page.reported_form(record)
    if fitted and fitted.layers:
        drawn["arena"] = charts.arena_chart(fitted)
        drawn["flash"] = charts.flash_chart(fitted)
        if fitted.instructions:
            drawn["instructions"] = charts.instructions_chart(fitted)
    if record.run:
        drawn["pareto"] = charts.pareto_chart(record.run)
    return drawn


def _strips(record: ReportRecord, dataset: Dataset) -> list[tuple[Mistake, Strip]]:
    header = dataset.header
    return [
        (mistake, draw_strip(dataset.samples[mistake.row], header.sampling_rate_hz, header.unit))
        for mistake in (record.mistakes.examples if record.mistakes else [])
    ]
