"""The page of a search: plotly's figures in one file beside the report, so that the report itself has no script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.report.page import environment

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.report.records import ReportRecord


def beside(report: Path) -> Path:
    """Where the page of a search lies, given where the report does.

    >>> from pathlib import Path
    >>> beside(Path("out/report.html")).as_posix()
    'out/report.search.html'
    """
    return report.with_name(f"{report.stem}.search.html")


def render(record: ReportRecord, report: Path) -> str:
    """The page as HTML, some 5 MB of it plotly.js; empty for the report of a candidate without its search."""
    import plotly
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs, get_plotlyjs_version

    from ecm_edge.report.search_figures import FEWEST_TRIALS, figures

    if record.run is None:
        return ""
    drawn = figures(record.run)
    return (
        environment()
        .get_template("search.html.jinja")
        .render(
            run=record.run,
            name=record.candidate.partition("/")[0],
            report=url_of(report),
            figures={name: Markup(text) for name, text in drawn.items()},  # noqa: S704 - JSON without a "<"
            scored=sum(trial.objective is not None for trial in record.run.summary.trials),
            fewest=FEWEST_TRIALS,
            plotly=Markup(get_plotlyjs()) if drawn else "",  # noqa: S704 - the library's own text
            plotly_version=f"{get_plotlyjs_version()} of plotly {plotly.__version__}",
            version=record.provenance.tool_version,
        )
    )


def url_of(path: Path) -> str:
    """A link to a file in the same folder, whatever it is called."""
    from urllib.parse import quote

    return "./" + quote(path.name)
