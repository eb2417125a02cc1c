"""`ecm-edge measure`: labels, latency and score of a board on a serial line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    CANDIDATE,
    PATH,
    FiniteRange,
    choose_form,
    data_option,
    emit,
    form_option,
    json_option,
    open_data,
    rule_option,
)
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from ecm_edge.base.records import Form
    from ecm_edge.evaluate.measure import MeasureRecord


@click.command(
    "measure",
    epilog=example(
        "ecm-edge measure --port /dev/ttyUSB0 --data af --model run --target loongson-2k0500 -o answers.jsonl"
    ),
)
@click.option("--port", required=True, help="The serial device, or the link that `ecm-edge firmware serve` printed.")
@data_option
@click.option(
    "--subjects",
    help="all, names with commas, or with --model test, validation or train.  [default: the model's test subjects]",
)
@click.option(
    "--model",
    type=CANDIDATE,
    help="The candidate or ONNX file in the image, to compare the labels with.  [default: none]",
)
@form_option()
@rule_option
@click.option(
    "--image", type=PATH, help="The file that runs on the board, for its size in the board's score.  [default: none]"
)
@click.option(
    "--out",
    "-o",
    "answers",
    type=PATH,
    default=Path("answers.jsonl"),
    show_default=True,
    help="The file of answers.",
)
@click.option("--resume", is_flag=True, help="Go on with the answers in that file.")
@click.option("--emulated", is_flag=True, help="The port is an emulator: its latency is not called measured.")
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    help="How often a segment is sent again, at most.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=FiniteRange(min=0.1, max=600),
    default=5.0,
    show_default=True,
    help="Seconds from a segment to its answer.",
)
@json_option
def command(
    port: str,
    data: Path,
    subjects: str | None,
    model: Path | None,
    form: Form | None,
    target: str | None,
    image: Path | None,
    answers: Path,
    retries: int,
    timeout_s: float,
    *,
    resume: bool,
    emulated: bool,
    as_json: bool,
) -> None:
    """Send labelled segments to the board at a serial device, and score its answers.

    The protocol is the contest's, 115200 8N1, or with --target the one that this board names. Answers are kept as they
    come: after an error or Ctrl-C --resume goes on. The latency is the one that the board reports; that of an emulator
    is marked as such and enters no score. With --model the labels have to be those of the model.
    """
    from ecm_edge import targets
    from ecm_edge.evaluate.exchange import LineOptions
    from ecm_edge.evaluate.measure import measure
    from ecm_edge.evaluate.score import parse_subjects

    board = targets.load(target) if target else None
    form = choose_form(model, form, board)
    record = measure(
        port,
        open_data(data),
        answers,
        subjects=parse_subjects(subjects),
        model=model,
        form=form,
        target=board,
        image=image,
        emulated=emulated,
        resume=resume,
        options=LineOptions(retries, timeout_s),
    )
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: MeasureRecord) -> None:
    from ecm_edge.base.numbers import figure, fixed, with_positives
    from ecm_edge.base.tables import say, show

    scores, t = record.scores, record.latency_ms
    made_up = " SYNTHETIC DATA" if record.synthetic else ""
    counted = with_positives(scores.subjects, scores.positive_subjects, record.label)
    counts = f"{record.segments} segments of {counted}; {record.retried} sent again"
    show(
        f"{record.verdict}: {record.emulator or 'a board'} at {record.port}, {counts}{made_up}",
        ["figure", "value (95 %)"],
        [[name, figure(getattr(scores, name))] for name in ("f1", "recall", "fbeta_mean", "g", "specificity")],
    )
    show(
        "Confusion",
        ["", record.label, f"not {record.label}"],
        [
            [f"called {record.label}", str(scores.confusion.tp), str(scores.confusion.fp)],
            [f"not called {record.label}", str(scores.confusion.fn), str(scores.confusion.tn)],
        ],
    )
    times = (t.mean_ms, t.median_ms, t.p95_ms, t.min_ms, t.max_ms, t.std_ms)
    show(
        f"Latency in ms, {t.evidence}: {t.source}",
        ["", "mean", "median", "p95", "min", "max", "std"],
        [["as the board reports it", *(fixed(value, 4) for value in times)]],
    )
    for gate in record.gates:
        count = "" if gate.value is None else f"{gate.value:g} of {record.segments} "
        say(f"{gate.verdict.value:7} {gate.name}  {count}{gate.detail}")
    if record.board_score:
        say(f"{record.board_score.title} score: {record.board_score.total:.2f} of {record.board_score.most:g}")
