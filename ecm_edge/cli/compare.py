"""`ecm-edge compare`: models side by side, and each of them against the first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import PATH, emit, form_option, json_option, trust_option
from ecm_edge.cli._help import example
from ecm_edge.cli._names import shipped

if TYPE_CHECKING:
    from ecm_edge.base.records import Form
    from ecm_edge.report.compare.records import CompareRecord


_WIDE_TABLE = 4  # models, of which a table of layers has room for


@click.command(
    "compare",
    epilog=example(
        "ecm-edge compare data/reference/loongson-2k0500/entries/96-90 run --data af --target loongson-2k0500"
    ),
)
@click.argument(
    "models",
    metavar="MODEL...",
    type=PATH,
    nargs=-1,
    required=True,
    help="Candidates, runs (their best candidates), entries of a registry, or ONNX files.",
)
@click.option("--data", type=PATH, help="A data set to answer.  [default: accuracy from what is on record]")
@click.option(
    "--target",
    shell_complete=shipped("targets"),
    help="The board: a name, or a TOML file.  [default: the costs on record]",
)
@click.option("--against", type=PATH, help="The model to compare with.  [default: the first MODEL]")
@form_option("an entry's own, else the target's first, else the one on record")
@click.option("--out", "-o", type=PATH, help="An HTML page; replaced if it is there.  [default: no page]")
@trust_option
@json_option
def command(
    models: tuple[Path, ...],
    data: Path | None,
    target: str | None,
    against: Path | None,
    form: Form | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Compare MODELs with the first of them: accuracy, cost, parity and configuration.

    A MODEL is a candidate's folder, a run (its best candidate), an entry of a registry, or an ONNX file, whose cost
    alone is compared. Accuracy is that on subjects that neither of two models was fitted to, or out of fold; the
    difference is paired and has its 95 % interval. What cannot be compared is listed with its reason.
    """
    from ecm_edge.candidate.candidate import load_config, locate

    for folder in filter(Path.is_dir, models):  # before the imports of what compares, which take seconds
        load_config(locate(folder))

    from ecm_edge import targets
    from ecm_edge.data.dataset import open_dataset
    from ecm_edge.report.compare import compare_models

    dataset = open_dataset(data) if data else None
    board = targets.load(target) if target else None
    record = compare_models(models, dataset, target=board, against=against, form=form, out=out)
    emit(record, as_json=as_json, render=lambda: _render(record, out))


def _render(record: CompareRecord, out: Path | None) -> None:
    _models(record)
    _accuracy(record)
    _costs(record)
    _layers(record)
    _parity(record)
    _settings(record)
    _not_compared(record)
    if out:
        click.echo(out)


def _not_compared(record: CompareRecord) -> None:
    from ecm_edge.base.tables import say

    for note in record.notes:
        say(f"note: {note}")
    if record.not_compared:
        say("Not compared:")
    for missing in record.not_compared:
        say(f"- {missing.model} {missing.what}: {missing.reason}")


def _models(record: CompareRecord) -> None:
    from ecm_edge.base.tables import Column, show

    synthetic = " SYNTHETIC DATA" if record.synthetic else ""
    show(
        f"Models; differences are each model less A{synthetic}",
        [
            "model",
            Column("is"),
            Column("form"),
            Column("family", drop=2),
            Column("made for"),
            Column("SHA-256", drop=1),
        ],
        [
            [
                f"{m.letter} {m.name}",
                m.kind,
                m.form or "–",
                m.family or "–",
                m.target or "–",
                (m.model_sha256 or "–")[:12],
            ]
            for m in record.models
        ],
    )


def _accuracy(record: CompareRecord) -> None:
    from ecm_edge.base.tables import say, show
    from ecm_edge.registry.score_gate import signed
    from ecm_edge.report.compare.words import FIGURES, figures_of, title_of, verdict_of

    for pair in record.accuracy:
        columns = ["figure", pair.against, pair.model, "difference (95 %)"]
        show(title_of(pair, record.label), columns, figures_of(pair))
        parts = pair.parts
        say(f"{verdict_of(pair)}.")
        if parts:
            say(f"Of {FIGURES[pair.statistic]}: {signed(parts.network)} by the network, at even odds,")
            say(f"and {signed(parts.threshold)} by the threshold.")
        say("")
    if record.recorded and not record.data:
        _recorded(record)


def _recorded(record: CompareRecord) -> None:
    from ecm_edge.base.numbers import figure, point, whole
    from ecm_edge.base.tables import show

    show(
        "On record, each model on its own subjects: not paired",
        ["model", "source", "subjects", "mean Fβ (95 %)", "F1", "specificity"],
        [
            [
                r.model,
                r.source or "all",
                whole(r.subjects),
                figure(r.figures.fbeta_mean),
                point(r.figures.f1),
                point(r.figures.specificity),
            ]
            for r in record.recorded
        ],
    )


def _costs(record: CompareRecord) -> None:
    from ecm_edge.base.tables import show
    from ecm_edge.report.compare.words import MADE, costs_table

    made = ", ".join(f"{cost.model} {MADE[cost.made]}" for cost in record.costs)
    on = f" on {record.board}" if record.board else ""
    columns = ["cost", "evidence", *(cost.model for cost in record.costs)]
    show(f"Cost of one inference{on}: {made}", columns, costs_table(record.costs))


def _layers(record: CompareRecord) -> None:
    from ecm_edge.base.tables import Column, show
    from ecm_edge.report.compare.words import layer_cells

    if not record.layers:
        return
    letters = [model.letter for model in record.models]
    columns: list[str | Column] = ["layer"]
    for place, letter in enumerate(letters):
        late = 2 if place >= _WIDE_TABLE else 0
        columns += [Column(f"{letter} instructions", drop=late), Column(f"{letter} ms", drop=1)]
    rows = []
    for row in record.layers:
        name = next(layer.name for layer in row.layers if layer)
        rows.append([name, *(cell for layer in row.layers for cell in layer_cells(layer)[1:])])
    show("Layers: instructions emulated, ms estimated from them", columns, rows)


def _parity(record: CompareRecord) -> None:
    from ecm_edge.base.tables import Column, say, show
    from ecm_edge.report.compare.words import hops_table

    told = ", ".join(f"{parity.model} {parity.verdict.value}" for parity in record.parity)
    rows = hops_table(record.parity, short=True)
    if not rows:
        say(f"Parity by verify.json: {told}")
        return
    columns = [Column("hop", wraps=True), *(Column(parity.model, wraps=True) for parity in record.parity)]
    show(f"Parity by verify.json: {told}; and the labels that flip", columns, rows)


def _settings(record: CompareRecord) -> None:
    from ecm_edge.base.tables import Column, show
    from ecm_edge.report.compare.words import settings_table

    if record.settings:
        columns = [Column("parameter", wraps=True), *(Column(m.letter, wraps=True) for m in record.models)]
        rows = [[name.removeprefix("training."), *values] for name, *values in settings_table(record)]
        show("Configurations: what is not the same in all", columns, rows)
    elif sum(model.kind != "file" for model in record.models) > 1:
        click.echo("Configurations: the same in all")
