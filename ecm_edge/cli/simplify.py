"""`ecm-edge simplify`: a smaller graph with the same answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import PATH, emit, json_option, model_argument, open_data
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.forms.simplify import SimplifyRecord


@click.command(
    "simplify",
    epilog=example("ecm-edge simplify one --data af", "ecm-edge simplify mynet.onnx -o small.onnx"),
)
@model_argument
@click.option("--data", "data", type=PATH, help="Of a candidate: the data set that it was made from.  [default: none]")
@click.option(
    "--samples", type=PATH, help="Of an ONNX file: a .npy or .npz file of segments to compare on.  [default: noise]"
)
@click.option("--out", "-o", type=PATH, help="A new file for a simplified ONNX file.  [default: the candidate's own]")
@json_option
def command(model: Path, data: Path | None, samples: Path | None, out: Path | None, *, as_json: bool) -> None:
    """Simplify MODEL: fold what is constant, drop what changes nothing, and compare the answers before and after.

    `export` does it too, so a candidate needs it by itself only after a change of the tools. Of a candidate
    model.simplified.onnx and simplify.json are replaced; of a file a new one is written, if the answers stay the same.
    """
    from ecm_edge.base.progress import doing
    from ecm_edge.forms.export import simplify_candidate

    if model.is_dir():
        if samples or out:
            raise click.UsageError("--samples and --out are for an ONNX file; a candidate needs its data: --data")
        if data is None:
            raise click.UsageError("a candidate is compared on segments of its own data set: --data")
        dataset = open_data(data)
        with doing("simplify"):
            record = simplify_candidate(model, dataset)
    else:
        record = _file(model, data, samples, out)
    emit(record, as_json=as_json, render=lambda: render(record))


def _file(model: Path, data: Path | None, samples: Path | None, out: Path | None) -> SimplifyRecord:
    from ecm_edge.base.progress import doing
    from ecm_edge.forms import onnx_model, sample_file
    from ecm_edge.forms.simplify import simplify_file

    if data:
        raise click.UsageError("--data is for a candidate; segments for an ONNX file are --samples")
    if out is None:
        raise click.UsageError("a simplified ONNX file needs a name of its own: --out FILE")
    given = sample_file.read(samples, onnx_model.load_classifier(model)) if samples else None
    with doing("simplify"):
        return simplify_file(model, out, given)


def render(record: SimplifyRecord) -> None:
    """The nodes before and after, and what was compared."""
    from ecm_edge.base.tables import say, show

    before, after = record.nodes_by_op_before, record.nodes_by_op_after
    rows = [[op, str(before.get(op, 0)), str(after.get(op, 0))] for op in sorted({*before, *after})]
    rows.append(["all", str(record.nodes_before), str(record.nodes_after)])
    show(f"Nodes, {record.weight_bytes:,} B of weights", ["nodes", "before", "after"], rows)
    for gate in record.gates:
        say(f"{gate.verdict.value}  {gate.name} {gate.value:g} (limit {gate.limit:g})")
    say(f"{record.verdict.value}: {record.parity.segments} segments compared")
