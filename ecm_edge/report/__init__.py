"""Report: one self-contained HTML page about a candidate, a run or a validation, as one record too; and a model card.

    candidate_records.py   the records in a candidate's folder, read once for the page and for the card
    commands.py            the commands that run a stage, or make a candidate again
    templates.py           the *.jinja files with the filters that write numbers (`base/numbers.py`)

    records.py             ReportRecord: what the page shows
    report_record.py       makes it
    validation.py          ValidationRecord: a model on a data set that it was not made from
    stages.py              the verdict of every stage, and the command that runs a missing one
    mistakes.py            the answers and the most confident wrong ones, which no stage records
    occlusion.py           which parts of a segment spoke for a wrong answer
    svg.py                 how matplotlib draws a chart as SVG; the charts are score_charts.py and charts.py
    ecg.py                 segments as SVG, on ECG paper
    page.py                the HTML page: headline.py is its top, cards.py makes its tables fit a telephone
    search_page.py         the page of a search beside it, with the figures of search_figures.py to point at

    episodes.py            the episodes of recordings, as a folder of files
    strip_chart.py         the HTML page of one recording; timeline.py draws the whole of it

    compare/               models side by side, as a record and as a page
    history.py, trend.py   the history of a registry as a page, with its drawings

    model_card.py          the Markdown file

Only the commands and `ecm_edge.api` import this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.progress import doing
from ecm_edge.report import charts, page, score_charts, search_page
from ecm_edge.report.ecg import draw_strip

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.evaluate.score import ScoreRecord
    from ecm_edge.metrics.curves import Curves
    from ecm_edge.report.commands import Commands
    from ecm_edge.report.ecg import Strip
    from ecm_edge.report.records import Mistake, ReportRecord, ValidationRecord

__all__ = ["to_html", "write_report"]


@doing("read the records and draw the page")
def write_report(
    path: Path, dataset: Dataset, out: Path, *, registry: Path | None = None
) -> ReportRecord | ValidationRecord:
    """Write the page about a candidate, or about a run and its best candidate, to `out`.

    On a data set that the candidate was not made from, and of an ONNX file, it is the page of a validation: nothing but
    the answers on that data set.

    Args:
        path: the candidate's folder, that of an entry of a registry, the run's, or an ONNX file.
        dataset: the one that the candidate was made from, or any other.
        out: the HTML file; replaced if it is there. Of a run, `NAME.search.html` is written beside it.
        registry: a registry whose decisions are shown; not on the page of a validation.

    Raises:
        EcmEdgeError: as `gather` and `validate` say.
        OutputError: `out` cannot be written; whatever was there is as it was.
    """
    from ecm_edge.candidate import candidate  # these import torch and Optuna, which no strip chart needs
    from ecm_edge.report.commands import Commands
    from ecm_edge.report.report_record import gather
    from ecm_edge.report.validation import is_validation, validate

    files.check_file(out)
    if is_validation(path, dataset):
        validation = validate(path, dataset)
        strips = _strips(validation.mistakes.examples, dataset)
        drawn = _score_charts(validation.score, validation.curves)
        files.write_atomic(out, page.render_validation(validation, drawn, strips).encode())
        return validation
    record = gather(path, dataset, registry)
    commands = Commands(candidate.locate(path), str(dataset.folder), record.target or "TARGET")
    files.write_atomic(out, to_html(record, dataset, commands, search_page.url_of(search_page.beside(out))).encode())
    if record.run:
        files.write_atomic(search_page.beside(out), search_page.render(record, out).encode())
    return record


def to_html(record: ReportRecord, dataset: Dataset, commands: Commands, search_url: str = "") -> str:
    """The page of a record; the segments that it shows are read from the data set.

    `search_url` leads to the page of its search, where there is one.
    """
    examples = record.mistakes.examples if record.mistakes else []
    return page.render(record, _charts(record), _strips(examples, dataset), commands, search_url)


def _charts(record: ReportRecord) -> dict[str, str]:
    """Every chart for which there is something to draw."""
    drawn = _score_charts(record.records.score, record.curves) if record.records.score else {}
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


def _score_charts(score: ScoreRecord, curves: Curves | None) -> dict[str, str]:
    scores = score.scores
    drawn = {
        "subjects": score_charts.subjects_chart(scores),
        "rhythms": score_charts.rhythms_chart(scores.by_rhythm, score.label),
    }
    if scores.calibration:
        drawn["reliability"] = score_charts.reliability_chart(scores.calibration)
    if curves:
        drawn["roc"] = score_charts.roc_chart(curves)
        drawn["precision_recall"] = score_charts.precision_recall_chart(curves)
    return drawn


def _strips(examples: Sequence[Mistake], dataset: Dataset) -> list[tuple[Mistake, Strip]]:
    header = dataset.header
    return [
        (mistake, draw_strip(dataset.samples[mistake.row], header.sampling_rate_hz, header.unit))
        for mistake in examples
    ]
