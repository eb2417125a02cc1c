"""`ecm-edge quantize`: the int8 and float16 forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    PATH,
    emit,
    json_option,
    model_argument,
    open_data,
    refuse_for_candidate,
    say_facts,
    threshold_option,
)
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.quantize import QuantizeRecord
    from ecm_edge.forms.sample_file import Samples

_SHOWN = 12


@click.command(
    "quantize",
    epilog=example("ecm-edge quantize one --data af", "ecm-edge quantize mynet.onnx --samples mynet.npz -o small"),
)
@model_argument
@click.option("--data", "data", type=PATH, help="The data set to calibrate on.  [default: --samples]")
@click.option(
    "--samples",
    type=PATH,
    help="A .npy or .npz file of segments (N, …) to calibrate an ONNX file on.  [default: --data]",
)
@click.option(
    "--out", "-o", type=PATH, help="A new folder for the forms of an ONNX file.  [default: the candidate's own]"
)
@click.option("--subjects", help="Training subjects, with commas, to calibrate an ONNX file on.  [default: all]")
@threshold_option
@json_option
def command(
    model: Path,
    data: Path | None,
    samples: Path | None,
    out: Path | None,
    subjects: str | None,
    threshold: float | None,
    *,
    as_json: bool,
) -> None:
    """Make the int8 and float16 forms of MODEL, an exported candidate's folder or any float32 ONNX classifier.

    A candidate is calibrated on its training subjects alone. The forms of a file of one score keep its threshold.
    """
    from ecm_edge.base.progress import doing
    from ecm_edge.forms.quantize import quantize_candidate, quantize_file
    from ecm_edge.forms.sample_file import Samples

    refuse_for_candidate(model, threshold)
    if samples and (model.is_dir() or subjects is not None):
        raise click.UsageError(
            "--samples is for an ONNX file, and has no subjects; a candidate needs its data: --data."
        )
    source = _source(model, data, samples)
    if model.is_dir() and not isinstance(source, Samples):
        if out is not None or subjects is not None:
            raise click.UsageError("-o and --subjects are for an ONNX file; a candidate's own split decides.")
        with doing("quantise and rank layers"):
            record = quantize_candidate(model, source)
    else:
        if out is None:
            raise click.UsageError("The forms of an ONNX file need a folder of their own: -o FOLDER.")
        chosen = [name.strip() for name in subjects.split(",")] if subjects else None
        with doing("quantise and rank layers"):
            record = quantize_file(model, source, out, subjects=chosen, threshold=threshold)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _source(model: Path, data: Path | None, samples: Path | None) -> Dataset | Samples:
    """What is calibrated on: the one that was given of a data set and a file of samples."""
    from ecm_edge.forms import onnx_model, sample_file

    if data is not None and samples is None:
        return open_data(data)
    if samples is not None and data is None:
        return sample_file.read(samples, onnx_model.load_classifier(model))
    raise click.UsageError("Say what is calibrated on, with one of --data and --samples.")


def _render(record: QuantizeRecord) -> None:
    from ecm_edge.base.numbers import fixed
    from ecm_edge.base.tables import say, show

    count = len(record.layers)
    show("Forms", ["form", "weights, B"], [[form, f"{size:,}"] for form, size in record.weight_bytes.items()])
    show(
        f"Noise of each layer, the worst {min(_SHOWN, count)} of {count}, on {record.ranked_segments} segments",
        ["layer", "operator", "SQNR, dB", "largest error"],
        [[layer.layer, layer.op, fixed(layer.sqnr_db, 1), f"{layer.max_abs:.4f}"] for layer in record.layers[:_SHOWN]],
    )
    subjects = len(record.calibration_subjects)
    of = f"{subjects} training subjects" if subjects else "the file of samples"
    if recurrent := [op for op in ("LSTM", "GRU", "RNN") if op in record.nodes_by_op]:
        say(f"int8: {', '.join(recurrent)} computed in float32, with float32 weights")
    say(f"calibrated on {record.calibration_segments} segments of {of}")
    say_facts(record.facts)
