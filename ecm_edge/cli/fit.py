"""`ecm-edge fit`: whether a model fits a board, form by form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    TargetName,
    emit,
    form_option,
    json_option,
    model_argument,
    refuse_for_candidate,
    say_facts,
    threshold_option,
    trust_option,
)
from ecm_edge.cli._help import example
from ecm_edge.cli._names import shipped

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form, Gate
    from ecm_edge.firmware.boards import BoardRanking
    from ecm_edge.firmware.fit_records import FitRecord, FormFit

_BUDGETS = ("flash_bytes", "ram_bytes", "latency_ms", "macs")
_LARGEST = 5
_ALL = "all"


@click.command("fit", epilog=example("ecm-edge fit mynet.onnx --target nucleo-l432kc"))
@model_argument
@click.option(
    "--target",
    type=TargetName(_ALL),
    required=True,
    shell_complete=shipped("targets"),
    help="The board: a name from `ecm-edge targets`, or the path of a TOML file; `all` for every one that ships.",
)
@form_option("all that the target runs; the first one decides")
@threshold_option
@trust_option
@json_option
def command(model: Path, target: str, form: Form | None, threshold: float | None, *, as_json: bool) -> None:
    """Check whether MODEL, a candidate's folder or any ONNX file, fits a board: build it, and count its instructions.

    The model need not be trained. Sizes are those of the linked image; instructions are counted in the emulator; the
    time is an estimate from them. Exits with 1 if the form that would ship does not fit; with `--target all`, which
    ranks the boards that ship, if it fits none.
    """
    from ecm_edge import targets
    from ecm_edge.base.progress import doing
    from ecm_edge.firmware.boards import rank_boards
    from ecm_edge.firmware.fit import fit_model

    refuse_for_candidate(model, threshold)
    if target == _ALL:
        ranking = rank_boards(model, [form] if form else None, threshold=threshold)
        emit(ranking, as_json=as_json, render=lambda: _render_boards(ranking))
        return
    board = targets.load(target)
    with doing(f"build {model.name} for {board.name}"):
        record = fit_model(model, board, [form] if form else None, threshold=threshold)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render_boards(ranking: BoardRanking) -> None:
    from ecm_edge.base.numbers import KIB, NONE, number, whole
    from ecm_edge.base.tables import Column, say, show

    show(
        f"{ranking.verdict}: {ranking.model} on every board that ships",
        [
            "board",
            "verdict",
            "form",
            Column("fits as", drop=3),
            "flash KiB",
            "RAM KiB",
            Column("instructions", drop=2),
            Column("cycles, estimated", drop=1),
            "ms, estimated",
            "why not",
        ],
        [
            [
                row.target,
                row.verdict.value,
                row.form,
                ", ".join(row.fits) or NONE,
                f"{row.flash_bytes / KIB:,.1f}",
                f"{row.ram_bytes / KIB:,.1f}",
                whole(row.instructions),
                whole(row.cycles),
                number(row.latency_ms),
                row.why,
            ]
            for row in ranking.boards
        ],
    )
    say(f"none of these boards was ever at hand: `ecm-edge fit {ranking.model} --target BOARD` says more of one")


def _render(record: FitRecord) -> None:
    """The verdict stands on top, and once more below the tables, which are longer than a screen."""
    from ecm_edge.base.tables import say
    from ecm_edge.firmware.time_notes import slower

    verdict = f"{record.verdict}: {record.model} as {record.ships} on {record.target}"
    say(f"{verdict}; fits as: {', '.join(record.fits) or 'none'}")
    for sentence in [*_in_the_way(record.forms[0]), *record.advice, *(f"{note}." for note in slower(record.forms))]:
        say(f"- {sentence}")
    say_facts(record.facts, record.serial)
    click.echo("")
    for form in record.forms:
        render_form(form, record.target)
    tools = ", ".join(filter(None, [record.compiler, record.emulator])) or "no tools"
    say(f"{tools}; {record.seconds:.1f} s")
    say(verdict)


def _in_the_way(form: FormFit) -> list[str]:
    """Of the form that would ship: what fails beside the budgets, what did not run; or the budget that is used most."""
    from ecm_edge.forms.gate import BUDGET_NAMES

    failed = [gate for gate in form.gates if gate.verdict == "FAIL" and gate.name not in _BUDGETS and not form.advice]
    if form.verdict == "FAIL":
        return [f"{gate.name} fails: {_why(gate)}" for gate in failed]
    missing = [gate.name for gate in form.gates if gate.verdict == "NOT RUN"]
    not_run = [f"Not run: {', '.join(missing)}. {form.reason}".rstrip(" .") + "."] if missing or form.reason else []
    budgets = [gate for gate in form.gates if gate.name in _BUDGETS and gate.value is not None and gate.limit]
    if not budgets:
        return not_run
    tightest = max(budgets, key=lambda gate: (gate.value or 0.0) / (gate.limit or 1.0))
    used, limit, percent = _used(tightest)
    return [*not_run, f"Of its budgets {BUDGET_NAMES[tightest.name]} is used most: {used} of {limit} ({percent} %)."]


def render_form(form: FormFit, target: str) -> None:
    """The use of each budget by one form, with its sections, layers and largest tensors."""
    from ecm_edge.base.tables import say, show
    from ecm_edge.forms.gate import BUDGET_NAMES

    title = f"{form.verdict}: {form.form} on {target}" + (f" ({form.note})" if form.note else "")
    evidence = {"flash_bytes": form.size_evidence, "ram_bytes": form.size_evidence, "latency_ms": "estimated"}
    budgets = {gate.name: gate for gate in form.gates}
    rows = [
        [BUDGET_NAMES[name], evidence.get(name, "counted"), *_used(budgets[name]), budgets[name].verdict.value]
        for name in _BUDGETS
        if name in budgets
    ]
    show(title, ["budget", "evidence", "used", "of", "%", "verdict"], rows)
    if form.sections:
        _sections(form)
    if form.layers:
        _layers(form)
        _tensors(form)
    low, high = form.latency_ms.low_ms, form.latency_ms.high_ms
    say(f"latency {form.latency_ms.mean_ms:.3f} ms ({low:.3f} … {high:.3f}), {form.latency_ms.evidence}")
    say(f"  from {form.latency_ms.source}")
    for gate in form.gates:
        if gate.name not in _BUDGETS:
            say(f"{gate.verdict.value:7} {gate.name:22} {_value(gate)} {gate.detail}".rstrip(), indent=8)
    click.echo("")


def _used(gate: Gate) -> list[str]:
    value, limit = gate.value or 0.0, gate.limit or 0.0
    shown = (f"{value:,.3f} ms", f"{limit:,.3g} ms") if gate.unit == "ms" else (f"{value:,.0f}", f"{limit:,.0f}")
    return [*shown, f"{100 * value / limit:.1f}" if limit else "–"]


def _why(gate: Gate) -> str:
    return f"{_value(gate)} {gate.detail}" if gate.detail.startswith("of ") else gate.detail or _value(gate)


def _value(gate: Gate) -> str:
    """What a gate found: of its limit, or where nothing is allowed, of how many, as its detail goes on."""
    if gate.value is None or gate.unit == "bool":
        return ""
    if gate.limit:
        return f"{gate.value:,.0f} of {gate.limit:,.0f} {gate.unit}"
    if gate.unit == "B":
        return f"{gate.value:,.0f} B"
    return f"{gate.value:,.0f}" if gate.detail.startswith("of ") else f"found {gate.value:,.0f}"


def _sections(form: FormFit) -> None:
    from ecm_edge.base.tables import show

    s = form.sections
    assert s is not None  # noqa: S101 - the caller has checked it
    rest = max(0, s.flash_bytes - s.text - s.rodata - s.data)
    flash = {"text": s.text, "rodata": s.rodata, "data": s.data, "headers, padding": rest}
    ram = {"data": s.data, "bss, arena": form.arena_bytes, "bss, other": s.bss - form.arena_bytes}
    rows = [["flash", name, f"{size:,}", f"{100 * size / max(1, s.flash_bytes):.1f}"] for name, size in flash.items()]
    rows += [["RAM", name, f"{size:,}", f"{100 * size / max(1, s.ram_bytes):.1f}"] for name, size in ram.items()]
    if form.stack_bound_bytes is not None:
        rows.append(["stack", "bound", f"{form.stack_bound_bytes:,}", "–"])
    if form.stack_high_water_bytes is not None:
        rows.append(["stack", "high water, emulated", f"{form.stack_high_water_bytes:,}", "–"])
    show("Sections of the linked image, in bytes", ["memory", "section", "bytes", "%"], rows)


def _layers(form: FormFit) -> None:
    from ecm_edge.base.numbers import whole
    from ecm_edge.base.tables import Column, show

    counts = form.instructions
    rows = [
        [
            layer.name,
            f"{layer.macs:,}",
            whole(layer.instructions),
            f"{100 * layer.instructions / counts.total:.1f}" if counts and layer.instructions is not None else "–",
            f"{layer.instructions / layer.macs:.2f}" if layer.instructions is not None and layer.macs else "–",
            *map(whole, (layer.code_bytes, layer.constant_bytes, layer.live_bytes)),
        ]
        for layer in form.layers
    ]
    counted = "not counted" if counts is None else f"{counts.total:,} instructions counted in the emulator"
    each = "" if form.instructions_per_mac is None else f", {form.instructions_per_mac:.2f} a MAC"
    columns: list[str | Column] = [
        "layer",
        "MACs",
        "instructions",
        "%",
        Column("a MAC", drop=1),
        "code B",
        "constants B",
        "alive B",
    ]
    show(f"Layers: {counted}{each}", columns, rows)


def _tensors(form: FormFit) -> None:
    from ecm_edge.base.tables import show

    largest = sorted(form.arena, key=lambda buffer: -buffer.size_bytes)[:_LARGEST]
    rows = [[b.tensor, f"{b.size_bytes:,}", f"{b.offset:,}", f"{b.first_layer} … {b.last_layer}"] for b in largest]
    show(f"Largest live tensors, in an arena of {form.arena_bytes:,} bytes", ["tensor", "bytes", "at", "layers"], rows)
