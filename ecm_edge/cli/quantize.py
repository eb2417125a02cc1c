"""`ecm-edge quantize`: the int8 and float16 forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import CANDIDATE, PATH, emit, json_option, open_data

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.forms.quantize import QuantizeRecord

_SHOWN = 12


@click.command("quantize")
@click.argument("model", type=CANDIDATE)
@click.option("--data", "data", type=PATH, required=True, help="The data set to calibrate on.")
@click.option("-o", "--out", type=PATH, help="A new folder for the forms of an ONNX file; a candidate keeps its own.")
@click.option("--subjects", help="Training subjects, with commas, to calibrate an ONNX file on; all by default.")
@json_option
def command(model: Path, data: Path, out: Path | None, subjects: str | None, *, as_json: bool) -> None:
    """Make the int8 and float16 forms of MODEL, an exported candidate's folder or any float32 ONNX classifier.

    A candidate is calibrated on its training subjects alone.
    """
    from ecm_edge.base.tables import busy
    from ecm_edge.forms.quantize import quantize_candidate, quantize_file

    dataset = open_data(data)
    if model.is_dir():
        if out is not None or subjects is not None:
            raise click.UsageError("-o and --subjects are for an ONNX file; a candidate's own split decides.")
        with busy("quantising and ranking layers"):
            record = quantize_candidate(model, dataset)
    else:
        if out is None:
            raise click.UsageError("The forms of an ONNX file need a folder of their own: -o FOLDER.")
        chosen = [name.strip() for name in subjects.split(",")] if subjects else dataset.header.subjects
        with busy("quantising and ranking layers"):
            record = quantize_file(model, dataset, out, subjects=chosen)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: QuantizeRecord) -> None:
    from ecm_edge.base.numbers import fixed
    from ecm_edge.base.tables import show

    show("Forms", ["form", "weights, B"], [[form, f"{size:,}"] for form, size in record.weight_bytes.items()])
    show(
        f"Noise of each layer, the worst {_SHOWN} of {len(record.layers)}, on {record.ranked_segments} segments",
        ["layer", "operator", "SQNR, dB", "largest error"],
        [[layer.layer, layer.op, fixed(layer.sqnr_db, 1), f"{layer.max_abs:.4f}"] for layer in record.layers[:_SHOWN]],
    )
    segments = f"{record.calibration_segments} segments of {len(record.calibration_subjects)} training subjects"
    click.echo(f"calibrated on {segments}")
