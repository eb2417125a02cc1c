"""`ecm-edge predict`: what a model answers to recordings or to a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ecm_edge.cli._common import PATH, choose_form, emit, form_option, json_option, model_argument
from ecm_edge.cli._help import example
from ecm_edge.cli._recordings import format_option, model_task_option, on_error_option, reading_options
from ecm_edge.cli._told import lines_of, tell

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.data.recordings.formats import Format
    from ecm_edge.data.recordings.importer import OnError
    from ecm_edge.evaluate.predict import PredictRecord


@click.command("predict", epilog=example("ecm-edge predict run recordings -o answers.csv"))
@model_argument
@click.argument(
    "source",
    metavar="RECORDING|FOLDER|DATASET",
    type=PATH,
    help="A recording, a folder of them, or a data set.",
)
@click.option("--out", "-o", type=PATH, required=True, help="The CSV file to write; it must not exist.")
@form_option("float32")
@model_task_option
@format_option
@on_error_option
@reading_options(without=("labels", "subjects", "annotator"))
@json_option
def command(
    model: Path,
    source: Path,
    out: Path,
    form: Form | None,
    task: str | None,
    file_format: Format | None,
    on_error: OnError,
    *,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - fields of Options
) -> None:
    """Write what MODEL, a candidate's folder or any ONNX file, answers to every window, labelled or not.

    The file has start_s, score, label and reason; several recordings also name and subject. Of a data set it has name,
    which ends in the start, subject, score and label. The score is the margin: the model's score for the positive class
    minus that for the negative class; for a network trained here it is in log-odds. The label is 1 where it is at least
    0. A window that cannot be used has a reason in place of a score.
    """
    from ecm_edge import tasks
    from ecm_edge.data.recordings.options import Options
    from ecm_edge.evaluate.predict import predict

    record = predict(
        model,
        source,
        out,
        form=choose_form(model, form, None),
        task=tasks.load(task) if task else None,
        file_format=file_format,
        options=Options(**given),
        on_error=on_error,
    )
    tell(lines_of(record), record.warnings)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: PredictRecord) -> None:
    from ecm_edge.base.numbers import whole
    from ecm_edge.base.tables import say

    made_up = " SYNTHETIC DATA" if record.synthetic else ""
    say(
        f"{whole(record.answered)} of {whole(record.windows)} windows answered, {whole(record.positive)} "
        f"{record.label}, in {record.answers} ({record.seconds:.1f} s){made_up}"
    )
