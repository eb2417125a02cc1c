"""`ecm-edge verify`: whether every form gives the same answers, and which one does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import CANDIDATE, data_option, emit, json_option, open_data, target_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from ecm_edge.evaluate.verify import Hop, VerifyRecord
    from ecm_edge.evaluate.verify.records import FirstByte

_SHOWN = 20


@click.command("verify")
@click.argument("model", type=CANDIDATE)
@data_option
@target_option
@click.option("--segments", type=click.IntRange(min=1), help="At most so many segments, evenly over the subjects.")
@click.option(
    "--emulated",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="At most so many of them on the emulated board.",
)
@json_option
def command(model: Path, data: Path, target: str, segments: int | None, emulated: int, *, as_json: bool) -> None:
    """Compare the forms of MODEL on real segments, from PyTorch to the board's C; where they differ, layer by layer.

    MODEL is a candidate's folder (its validation subjects; the record stays there as verify.json) or any ONNX
    classifier of one input (all labelled segments). The thresholds are those of the board.
    """
    from ecm_edge import targets
    from ecm_edge.evaluate.verify import verify_candidate, verify_model

    check = verify_candidate if model.is_dir() else verify_model
    record = check(model, open_data(data), targets.load(target), segments=segments, emulated=emulated, watch=_watch)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _watch(steps: Sequence[Callable[[], Hop]]) -> Iterable[Callable[[], Hop]]:
    from ecm_edge.base.tables import track

    return track(steps, "comparing", len(steps))


def _render(record: VerifyRecord) -> None:
    from ecm_edge.base.numbers import with_positives
    from ecm_edge.base.tables import show

    made_up = " SYNTHETIC DATA" if record.synthetic else ""
    counted = with_positives(len(record.subjects), record.positive_subjects, record.label)
    title = f"{record.model}: {record.segments} segments of {counted}; {record.target}{made_up}"
    show(
        title,
        ["hop", "verdict", "max abs", "cos", "flips", "F1", "Fβ", "specificity", "max LSB"],
        [_row(hop) for hop in record.hops],
    )
    for hop in record.hops:
        _explain(hop)
    click.echo(record.verdict.value)


def _row(hop: Hop) -> list[str]:
    from ecm_edge.base.numbers import fixed, number

    compared = hop.parity
    return [
        hop.name,
        hop.verdict.value,
        number(compared.max_abs if compared else None, 3),
        fixed(compared.cos if compared else None, 6),
        str(len(hop.label_flips)) if compared else "–",
        _change(hop.f1_before, hop.f1_after),
        _change(hop.fbeta_mean_before, hop.fbeta_mean_after),
        _change(hop.specificity_before, hop.specificity_after),
        str(max(layer.max_lsb for layer in hop.layers)) if hop.layers else "–",
    ]


def _first(byte: FirstByte) -> str:
    actual, expected = ("–" if value is None else f"{value:.9g}" for value in (byte.actual, byte.expected))
    where = f"first on {byte.segment} at {byte.position}: {actual} for {expected}"
    return f"{byte.differing_bytes:,} of {byte.compared_bytes:,} bytes differ, {where}"


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "–"
    return f"{before:.4f} → {after:.4f}" if before != after else f"{before:.4f}"


def _explain(hop: Hop) -> None:
    """The reason of a hop that did not run; the gates that failed, with the layer and the files."""
    from ecm_edge.base.numbers import number

    if hop.reason:
        click.echo(f"{hop.name}: {hop.reason}")
    for gate in hop.gates:
        if gate.verdict.value == "FAIL":
            click.echo(f"{hop.name}: {gate.name} {number(gate.value, 3)} against {number(gate.limit, 3)} {gate.detail}")
    if hop.first_diverging:
        layer = hop.first_diverging
        click.echo(f"{hop.name}: first diverging layer {layer.layer} ({layer.op}, tensor {layer.tensor})")
        if layer.first:
            click.echo(f"{hop.name}: {_first(layer.first)}")
    for flip in hop.label_flips[:_SHOWN]:
        margins = f"{number(flip.reference_margin, 3)} → {number(flip.other_margin, 3)}"
        click.echo(f"{hop.name}: label of {flip.name} flips, margin {margins}")
    if len(hop.label_flips) > _SHOWN:
        click.echo(f"{hop.name}: and {len(hop.label_flips) - _SHOWN} more, which --json names")
