"""`ecm-edge bench`: latency of every form on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    CANDIDATE,
    PATH,
    emit,
    json_option,
    keeps_records,
    model_argument,
    open_data,
    print_gates,
    refuse_for_candidate,
    say_facts,
    threshold_option,
    trust_option,
)
from ecm_edge.cli._help import example
from ecm_edge.cli._names import shipped

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.evaluate.bench import BenchRecord, OnBoard


@click.command("bench", epilog=example("ecm-edge bench run --data af --target loongson-2k0500"))
@model_argument
@click.option("--data", "data", type=PATH, help="A data set whose segments are the input.  [default: noise]")
@click.option(
    "--against", type=CANDIDATE, help="Another candidate, entry or file, timed in alternation.  [default: none]"
)
@click.option(
    "--target",
    shell_complete=shipped("targets"),
    help="A board to build and count every form for.  [default: as firmware.json has them]",
)
@click.option("--runs", type=click.IntRange(min=1), default=1000, show_default=True, help="Timed runs of each form.")
@click.option("--warm-ups", type=click.IntRange(min=0), default=100, show_default=True, help="Runs before those.")
@threshold_option
@trust_option
@json_option
def command(
    model: Path,
    data: Path | None,
    against: Path | None,
    target: str | None,
    runs: int,
    warm_ups: int,
    threshold: float | None,
    *,
    as_json: bool,
) -> None:
    """Time MODEL, a candidate's folder or any ONNX file, in onnxruntime on one thread of this host.

    The record is kept in a candidate's folder as bench.json, and `promote` reads it. An entry of a registry is not
    changed. The costs of each form on a board are printed too: the image's sizes, counted instructions, and an estimate
    of the time, which `promote` does not take.
    """
    from ecm_edge import targets
    from ecm_edge.candidate import candidate
    from ecm_edge.evaluate.bench import bench_candidate

    refuse_for_candidate(model, threshold)
    segments = open_data(data) if data else None
    board = targets.load(target) if target else None
    record = bench_candidate(
        model, segments, against=against, target=board, threshold=threshold, runs=runs, warm_ups=warm_ups
    )
    if keeps_records(model):
        record.save(model / candidate.BENCH)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: BenchRecord) -> None:
    from ecm_edge.base.numbers import KIB, fixed
    from ecm_edge.base.tables import Column, say, show

    forms = [*record.forms, *record.against]
    show(
        f"{record.verdict}: latency in ms, measured on this host",
        [
            "form",
            Column("file KiB", drop=5),
            Column("weights KiB", drop=4),
            "median",
            "p95",
            "mean",
            Column("min", drop=3),
            Column("max", drop=2),
            Column("std", drop=1),
            "runs",
        ],
        [
            [
                f"{'against ' if form in record.against else ''}{form.form or form.file}",
                f"{form.file_bytes / KIB:.1f}",
                f"{form.weight_bytes / KIB:.1f}",
                *(fixed(ms, 4) for ms in (t.median_ms, t.p95_ms, t.mean_ms, t.min_ms, t.max_ms, t.std_ms)),
                str(t.runs),
            ]
            for form, t in ((form, form.latency_ms) for form in forms)
        ],
    )
    say(f"measured: {forms[0].latency_ms.source}; fed with {record.segments}")
    say(f"{record.macs:,} MACs, {record.parameters:,} parameters")
    say_facts(record.facts)
    _render_boards(record)
    if record.board_latency_ms:
        say(f"{record.board}: {record.board_latency_ms.mean_ms:.3f} ms ({record.board_latency_ms.evidence})")
    print_gates(record.gates)


def _render_boards(record: BenchRecord) -> None:
    """The forms on a board, if they were built for one, with their evidence."""
    from ecm_edge.base.numbers import fixed, whole
    from ecm_edge.base.tables import Column, say, show

    on_board = [(form, form.on_board) for form in [*record.forms, *record.against] if form.on_board]
    if not on_board:
        return
    columns: list[str | Column] = [
        "form",
        "flash B",
        "RAM B",
        Column("stack B", drop=2),
        "instructions",
        Column("a MAC", drop=1),
        "ms",
        "low",
        "high",
    ]
    rows = [
        [
            f"{'against ' if form in record.against else ''}{form.form or form.file}",
            *map(whole, (board.flash_bytes, board.ram_bytes, board.stack_bytes, board.instructions)),
            fixed(board.instructions_per_mac, 2),
            *(fixed(ms, 3) for ms in _interval(board)),
        ]
        for form, board in on_board
    ]
    first = on_board[0][1]
    sizes = f"sizes {first.size_evidence}" + (" on the image" if first.size_evidence == "measured" else "")
    show(f"On {first.target}: {sizes}, instructions emulated, ms {first.latency_ms.evidence}", columns, rows)
    for form, board in on_board:
        if board.by_class:
            kinds = ", ".join(f"{kind} {number:,}" for kind, number in board.by_class.items())
            say(f"{form.form or form.file}: {kinds}")


def _interval(board: OnBoard) -> tuple[float | None, ...]:
    return board.latency_ms.mean_ms, board.latency_ms.low_ms, board.latency_ms.high_ms
