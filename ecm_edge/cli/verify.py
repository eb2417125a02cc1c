"""`ecm-edge verify`: whether every form gives the same answers, and which one does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    PATH,
    emit,
    form_option,
    json_option,
    model_argument,
    open_data,
    refuse_for_candidate,
    say_facts,
    target_option,
    threshold_option,
    trust_option,
)
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.evaluate.verify import Hop, VerifyRecord
    from ecm_edge.evaluate.verify.records import FirstByte
    from ecm_edge.forms.sample_file import Samples

_SHOWN = 20


@click.command(
    "verify",
    epilog=example(
        "ecm-edge verify run --data af --target loongson-2k0500",
        "ecm-edge verify mynet.onnx --noise 20 --target nucleo-l432kc",
    ),
)
@model_argument
@click.option(
    "--data",
    "data",
    type=PATH,
    help="A data set; of a candidate the one that it was made from.  [default: --samples or --noise]",
)
@click.option(
    "--samples",
    type=PATH,
    help="A .npy or .npz file of segments (N, …) for an ONNX file.  [default: --data or --noise]",
)
@click.option(
    "--noise",
    type=click.IntRange(min=1),
    help="This many segments of random noise, the same each time, for an ONNX file.  [default: --data or --samples]",
)
@target_option
@threshold_option
@form_option("the one that the target ships, its first")
@click.option(
    "--segments",
    type=click.IntRange(min=1),
    help="Compare at most this many segments, spread evenly over the subjects.  [default: all]",
)
@click.option(
    "--emulated",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Run at most this many of them on the emulated board.",
)
@trust_option
@json_option
def command(
    model: Path,
    data: Path | None,
    samples: Path | None,
    noise: int | None,
    target: str,
    threshold: float | None,
    form: Form | None,
    segments: int | None,
    emulated: int,
    *,
    as_json: bool,
) -> None:
    """Compare the forms of MODEL on real segments, from PyTorch to the board's C; where they differ, layer by layer.

    MODEL is a candidate's folder (its validation subjects; the record stays there as verify.json) or any ONNX
    classifier of one input (all labelled segments, those of a file, or noise). The limits are those of the board. The
    verdict on a candidate is about one form; others that fail are named and held back.
    """
    if sum(given is not None for given in (data, samples, noise)) != 1:
        raise click.UsageError("Say what is compared on, with one of --data, --samples and --noise.")
    refuse_for_candidate(model, threshold)
    if model.is_dir() and data is None:
        raise click.UsageError("--samples and --noise are for an ONNX file; a candidate needs its data: --data.")
    if model.is_file() and form is not None:
        raise click.UsageError("--form is for a candidate: an ONNX file has the one form that it is.")
    from ecm_edge import targets
    from ecm_edge.evaluate.verify import verify_candidate, verify_model

    board, dataset = targets.load(target), open_data(data) if data else None
    if model.is_dir() and dataset:
        record = verify_candidate(model, dataset, board, form=form, segments=segments, emulated=emulated)
    else:
        source = dataset or _segments(model, samples, noise or 0)
        record = verify_model(model, source, board, segments=segments, emulated=emulated, threshold=threshold)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _segments(model: Path, path: Path | None, noise: int) -> Samples:
    """The segments of a file, or of noise."""
    from ecm_edge.forms import onnx_model, sample_file

    classifier = onnx_model.load_classifier(model)
    return sample_file.read(path, classifier) if path else sample_file.noise(noise, classifier)


def _render(record: VerifyRecord) -> None:
    from ecm_edge.base.numbers import with_positives
    from ecm_edge.base.tables import Column, say, show
    from ecm_edge.evaluate.verify.remedies import remedies

    made_up = " SYNTHETIC DATA" if record.synthetic else ""
    counted = with_positives(len(record.subjects), record.positive_subjects, record.label)
    source = counted if record.task else record.dataset
    title = f"{record.model}: {record.segments:,} segments of {source}; {record.target}{made_up}"
    classes = record.facts is not None and record.facts.scores > 2  # noqa: PLR2004 - of two scores one is positive
    names = ["accuracy"] if classes else ["F1", "Fβ", "specificity"]
    figures = [Column(name, drop=2 + number) for number, name in enumerate(reversed(names))][::-1]
    show(
        title,
        [
            "hop",
            "verdict",
            "max abs",
            Column("cos", drop=1),
            "flips",
            *figures,
            Column("max LSB", drop=2 + len(names)),
        ],
        [_row(hop, classes=classes) for hop in record.hops],
    )
    say_facts(record.facts)
    _tell_emulated(record)
    for hop in record.hops:
        _explain(hop)
    for sentence in remedies(record):
        say(f"- {sentence}")
    say(f"{record.verdict.value}{_about(record)}")


def _about(record: VerifyRecord) -> str:
    """What the verdict is about, where that is not everything that was compared."""
    if record.form is None or not record.failing_forms:
        return ""
    beside = [form for form in record.failing_forms if form != record.form]
    others = f"; {', '.join(beside)} fails and is held back" if beside else ""
    return f" for {record.form}{others}"


def _tell_emulated(record: VerifyRecord) -> None:
    """Say where the board answered some of the segments only: the figures of its hop are then those of these."""
    from ecm_edge.base.tables import say

    counts = {form.emulated_segments for form in record.firmware if 0 < form.emulated_segments < record.segments}
    for count in sorted(counts):
        of = f"{count:,} of the {record.segments:,} segments"
        say(f"{record.target}: {of}, and its figures are of these alone")


def _row(hop: Hop, *, classes: bool) -> list[str]:
    """The cells of a hop; of a model of several `classes` the share of right labels instead of F1 and its like."""
    from ecm_edge.base.numbers import fixed, number

    compared = hop.parity
    two = [
        (hop.f1_before, hop.f1_after),
        (hop.fbeta_mean_before, hop.fbeta_mean_after),
        (hop.specificity_before, hop.specificity_after),
    ]
    return [
        hop.name,
        hop.verdict.value,
        number(compared.max_abs if compared else None, 3),
        fixed(compared.cos if compared else None, 6),
        str(len(hop.label_flips)) if compared else "–",
        *(_change(*pair) for pair in ([(hop.accuracy_before, hop.accuracy_after)] if classes else two)),
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
    from ecm_edge.base.tables import say

    if hop.reason:
        say(f"{hop.name}: {hop.reason}")
    for gate in hop.gates:
        if gate.verdict.value == "NOT RUN":
            say(f"{hop.name}: {gate.name} NOT RUN: {gate.detail}")
        if gate.verdict.value == "FAIL":
            say(f"{hop.name}: {gate.name} {number(gate.value, 3)} against {number(gate.limit, 3)} {gate.detail}")
    if hop.first_diverging:
        layer = hop.first_diverging
        say(f"{hop.name}: first diverging layer {layer.layer} ({layer.op}, tensor {layer.tensor})")
        if layer.first:
            say(f"{hop.name}: {_first(layer.first)}")
    for flip in hop.label_flips[:_SHOWN]:
        margins = f"{number(flip.reference_margin, 3)} → {number(flip.other_margin, 3)}"
        say(f"{hop.name}: label of {flip.name} flips, margin {margins}")
    if len(hop.label_flips) > _SHOWN:
        say(f"{hop.name}: and {len(hop.label_flips) - _SHOWN} more, which --json names")
