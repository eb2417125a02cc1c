"""The page: the record and its drawings through the templates beside this file, with every value escaped."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from ecm_edge.base.records import Verdict, not_run
from ecm_edge.firmware.time_notes import time_notes
from ecm_edge.forms.gate import BUDGET_NAMES
from ecm_edge.metrics.worst import left_out, shown
from ecm_edge.registry.remedies import said
from ecm_edge.registry.score_gate import signed
from ecm_edge.report import cards, headline, templates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jinja2 import Environment

    from ecm_edge.base.records import Gate, Provenance
    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.report.commands import Commands
    from ecm_edge.report.ecg import Strip
    from ecm_edge.report.records import Mistake, ReportRecord, ValidationRecord
    from ecm_edge.search.trial_record import TrialRecord

_MINUS = re.compile(r"(?<![\w.])-(?=\d)")  # before a number, but not in 1e-3

SECTIONS = (
    ("score", "Score"),
    ("mistakes", "Wrong segments"),
    ("verdicts", "Gates"),
    ("budgets", "Budgets"),
    ("board", "On the board"),
    ("latency", "Latency"),
    ("parity", "Parity"),
    ("training", "Training"),
    ("search", "Search"),
    ("promotion", "Promotion"),
    ("provenance", "Provenance"),
    ("use", "Intended use"),
)

TITLES = {
    "budgets": "Budgets of the board",
    "training": "Training",
    "simplify": "Export and simplify",
    "quantize": "Quantise",
    "verify": "Verify",
    "firmware": "Firmware",
    "bench": "Bench",
    "score": "Score",
    "records": "Records belong together",
    "promotion": "Promotion",
}

BOARD_GATES = BUDGET_NAMES | {
    "memory_regions": "beyond the memory",
    "arena_off_plan": "arena off its plan",
    "forbidden_symbols": "malloc, free, printf",
    "emulated_answers_differing": "answers unlike here",
    "stack_bound": "stack bound",
    "stack_high_water": "stack used",
    "aligned_on_host": "aligned, by UBSan here",
    "unaligned_accesses": "unaligned accesses",
    "counts_repeatable": "same counts twice",
}

FIGURES = (
    ("accuracy", "accuracy"),
    ("recall", "sensitivity (recall)"),
    ("specificity", "specificity"),
    ("precision", "PPV (precision)"),
    ("npv", "NPV"),
    ("f1", "F1"),
)

PARITY_FIGURES = ("acc", "rmse", "mae", "l2r", "mean", "std", "nse", "cos", "max_abs")


def render(
    record: ReportRecord,
    charts: Mapping[str, str],
    strips: Sequence[tuple[Mistake, Strip]],
    commands: Commands,
    search_url: str = "",
) -> str:
    """The whole page as HTML.

    Args:
        record: what it shows.
        charts: inline SVG by name, trusted; absent where there is nothing to draw.
        strips: the examples of wrong segments with their drawings.
        commands: those that run what has not run.
        search_url: where the page of its search lies.
    """
    from markupsafe import Markup

    template = environment().get_template("page.html.jinja")
    groups, fit = gate_groups(record), reported_fit(record)
    html = template.render(
        r=record,
        score=record.records.score,
        misleading=headline.misleading(record.records.score) if record.records.score else "",
        validation=False,
        label=record.config.task.label,
        charts={name: Markup(svg) for name, svg in charts.items()},  # noqa: S704 - drawn by matplotlib, which escapes
        strips=strips,
        stage={stage.name: stage for stage in record.stages},
        counts=gate_counts(record),
        unpassed=headline.unpassed(groups),
        passed=headline.passed(groups),
        head_budgets=headline.budgets(record, fit, tuple(BUDGET_NAMES)),
        head_parity=headline.parity(record),
        fit=fit,
        trials=ranked(record.run.summary.trials) if record.run else [],
        stage_provenance=stage_provenance(record),
        training_options=dict(templates.flat(record.config.training.model_dump())),
        search_url=search_url,
        time_notes=time_notes(record.records.firmware.forms) if record.records.firmware else [],
        folds_command=commands.retrain("--folds", "5"),
        quantize_command=commands.stage("quantize"),
        sections=SECTIONS,
        titles=TITLES,
        budgets=BUDGET_NAMES,
        board_gates=BOARD_GATES,
        figures=FIGURES,
        parity_figures=PARITY_FIGURES,
    )
    return cards.with_labels(html)


def render_validation(
    record: ValidationRecord, charts: Mapping[str, str], strips: Sequence[tuple[Mistake, Strip]]
) -> str:
    """The page of a validation as HTML; the arguments are as for `render`."""
    from markupsafe import Markup

    template = environment().get_template("validation.html.jinja")
    html = template.render(
        r=record,
        score=record.score,
        misleading=headline.misleading(record.score),
        charts={name: Markup(svg) for name, svg in charts.items()},  # noqa: S704 - as in `render`
        strips=strips,
        validation=True,
        label=record.score.label,
        figures=FIGURES,
    )
    return cards.with_labels(html)


def gate_counts(record: ReportRecord) -> dict[str, int]:
    """How many gates of the stages passed, failed and did not run; a stage that has not run counts as one."""
    gates = Counter(gate.verdict for stage in record.stages for gate in stage.gates)
    gates[Verdict.NOT_RUN] += sum(stage.verdict == Verdict.NOT_RUN and not stage.gates for stage in record.stages)
    return {verdict.value: gates[verdict] for verdict in Verdict}


def gate_groups(record: ReportRecord) -> list[tuple[str, list[tuple[str, Gate]]]]:
    """Every gate under the title of its stage, those of verify's hops under the hop's; a stage not run is one gate."""
    groups: dict[str, list[tuple[str, Gate]]] = {}
    for stage in [*record.stages, record.promotion]:
        gates = stage.gates or ([not_run("the whole stage", stage.detail)] if stage.verdict == Verdict.NOT_RUN else [])
        for gate in gates:
            hop, _, name = gate.name.rpartition(": ")
            title = f"{TITLES[stage.name]}: {hop}" if hop else TITLES[stage.name]
            groups.setdefault(title, []).append((name, gate))
    return list(groups.items())


def reported_fit(record: ReportRecord) -> FormFit | None:
    """The image of the form that the report is about, or of the first one built; None where none was."""
    built = record.records.firmware
    if built is None:
        return None
    return built.of(record.form) or next(iter(built.forms), None)


def ranked(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Best objective first; those without one last, by number."""
    return sorted(trials, key=lambda t: (t.objective is None, -(t.objective or 0.0), t.number))


def stage_provenance(record: ReportRecord) -> list[tuple[str, Provenance]]:
    """When, and with which version, the records that decisions rest on were made."""
    stages = record.records
    made = {"verify": stages.verify, "firmware": stages.firmware, "bench": stages.bench, "score": stages.score}
    return [(f"{name}.json", stage.provenance) for name, stage in made.items() if stage]


def environment() -> Environment:
    """The templates; on the page a negative number has the minus sign of printed text, not a hyphen."""
    made = templates.environment(
        {name: _with_minus_sign(write) for name, write in templates.WRITERS.items()}, autoescape=True
    )
    made.filters |= {"shown": shown, "left_out": left_out, "signed": _with_minus_sign(signed), "minus": _minus}
    made.globals["said"] = _with_minus_sign(said)
    return made


def _with_minus_sign(write: Callable[..., str]) -> Callable[..., str]:
    def written(*values: Any) -> str:  # noqa: ANN401 - what `write` takes
        return _minus(write(*values))

    return written


def _minus(text: str) -> str:
    return _MINUS.sub("−", text)
