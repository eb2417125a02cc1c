"""`ecm-edge bench`: latency of every form on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import CANDIDATE, PATH, emit, json_option, open_data

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.bench import BenchRecord


@click.command("bench")
@click.argument("model", type=CANDIDATE)
@click.option("--data", "data", type=PATH, help="A data set whose segments are fed; noise without it.")
@click.option(
    "--against", type=CANDIDATE, help="Another candidate, entry of a registry or file, timed in the same turns."
)
@click.option("--runs", type=click.IntRange(min=1), default=1000, show_default=True, help="Timed runs of each form.")
@click.option("--warm-ups", type=click.IntRange(min=0), default=100, show_default=True, help="Runs before those.")
@json_option
def command(model: Path, data: Path | None, against: Path | None, runs: int, warm_ups: int, *, as_json: bool) -> None:
    """Time MODEL, a candidate's folder or any ONNX file, in onnxruntime on one thread of this host.

    A candidate keeps the record as bench.json, which `promote` takes as the latency evidence. An entry of a registry
    is left as it is.
    """
    from ecm_edge import candidate
    from ecm_edge.bench import bench_candidate
    from ecm_edge.entries import MANIFEST

    segments = open_data(data) if data else None
    record = bench_candidate(model, segments, against=against, runs=runs, warm_ups=warm_ups)
    if model.is_dir() and not (model / MANIFEST).exists():
        record.save(model / candidate.BENCH)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: BenchRecord) -> None:
    from ecm_edge.tables import show

    forms = [*record.forms, *record.against]
    show(
        f"{record.verdict}: latency in ms, measured on this host",
        ["form", "file KiB", "weights KiB", "median", "p95", "mean", "min", "max", "std", "runs"],
        [
            [
                f"{'against ' if form in record.against else ''}{form.form or form.file}",
                f"{form.file_bytes / 1024:.1f}",
                f"{form.weight_bytes / 1024:.1f}",
                *(
                    "–" if value is None else f"{value:.4f}"
                    for value in (t.median_ms, t.p95_ms, t.mean_ms, t.min_ms, t.max_ms, t.std_ms)
                ),
                str(t.runs),
            ]
            for form, t in ((form, form.latency_ms) for form in forms)
        ],
    )
    click.echo(f"measured: {forms[0].latency_ms.source}; fed with {record.segments}")
    click.echo(f"{record.macs:,} MACs, {record.parameters:,} parameters")
    if record.board_latency_ms:
        click.echo(f"{record.board}: {record.board_latency_ms.mean_ms:.3f} ms ({record.board_latency_ms.evidence})")
    for gate in record.gates:
        click.echo(f"{gate.verdict.value:7} {gate.name}  {gate.detail}")
