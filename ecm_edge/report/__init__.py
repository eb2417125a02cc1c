"""Report: one self-contained HTML page about a candidate or a run, the same as one record, and a model card.

    candidate_records.py   the records in a candidate's folder, read once for the page and for the card
    commands.py            the commands that run a stage, or make a candidate again
    templates.py           the *.jinja files with the filters that write numbers (`base/numbers.py`)

    records.py             ReportRecord: what the page shows
    report_record.py       makes it
    stages.py              the verdict of every stage, and the command that runs a missing one
    mistakes.py            the most confident wrong answers, which no stage records
    charts.py, ecg.py      drawings as SVG: charts by matplotlib, segments on ECG paper
    page.py                the HTML page

    episodes.py            the episodes of recordings, as a folder of files
    strip_chart.py         the HTML page of one recording; timeline.py draws the whole of it

    model_card.py          the Markdown file

Only the commands and `ecm_edge.api` import this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.report import charts, page
from ecm_edge.report.ecg import draw_strip

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.report.commands import Commands
    from ecm_edge.report.ecg import Strip
    from ecm_edge.report.records import Mistake, ReportRecord

__all__ = ["to_html", "write_report"]


def write_report(path: Path, dataset: Dataset, out: Path, *, registry: Path | None = None) -> ReportRecord:
    """Write the page about a candidate, or about a run and its best candidate, to `out`.

    Args:
        path: the candidate's folder, or the run's.
        dataset: the one that the candidate was made from.
        out: the HTML file; replaced if it is there.
        registry: a registry whose decisions are shown.

    Raises:
        EcmEdgeError: as `gather` says.
        OutputError: `out` cannot be written; whatever was there is as it was.
    """
    from ecm_edge.candidate import candidate  # these import torch and Optuna, which no strip chart needs
    from ecm_edge.report.commands import Commands
    from ecm_edge.report.report_record import gather

    record = gather(path, dataset, registry)
    commands = Commands(candidate.locate(path), str(dataset.folder), record.target or "TARGET")
    files.write_atomic(out, to_html(record, dataset, commands).encode())
    return record


def to_html(record: ReportRecord, dataset: Dataset, commands: Commands) -> str:
    """The page of a record; the segments that it shows are read from the data set."""
    return page.render(record, _charts(record), _strips(record, dataset), commands)


def _charts(record: ReportRecord) -> dict[str, str]:
    """Every chart for which there is something to draw."""
    drawn = {}
    if record.records.score:
        drawn["subjects"] = charts.subjects_chart(record.records.score.scores)
    if record.records.training:
        drawn["losses"] = charts.losses_chart(record.records.training)
        if record.records.training.validation_subjects:
            drawn["epochs"] = charts.epochs_chart(record.records.training)
    fit = page.reported_fit(record)
    if fit and fit.layers:
        drawn["arena"] = charts.arena_chart(fit)
        drawn["flash"] = charts.flash_chart(fit)
        if fit.instructions:
            drawn["instructions"] = charts.instructions_chart(fit)
    if record.run:
        drawn["pareto"] = charts.pareto_chart(record.run)
    return drawn


def _strips(record: ReportRecord, dataset: Dataset) -> list[tuple[Mistake, Strip]]:
    header = dataset.header
    return [
        (mistake, draw_strip(dataset.samples[mistake.row], header.sampling_rate_hz, header.unit))
        for mistake in (record.mistakes.examples if record.mistakes else [])
    ]
