"""`ecm-edge data`: read, make, count and audit data sets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ecm_edge.cli._common import PATH, SEED, dataset_argument, emit, json_option, open_data, task_option
from ecm_edge.cli._data_records import note_import, note_merge, show_audit, show_info, show_made
from ecm_edge.cli._help import Group, example
from ecm_edge.cli._recordings import (
    listed,
    mapped,
    on_error_option,
    pair,
    reading_options,
    rhythm_options,
    rhythm_rules,
)
from ecm_edge.cli._told import show_folds
from ecm_edge.data.recordings.formats import FORMATS, usage

if TYPE_CHECKING:
    from ecm_edge.data.dataset import Blank
    from ecm_edge.data.recordings.formats import Format
    from ecm_edge.data.recordings.importer import OnError
    from ecm_edge.data.rhythms import Codes
    from ecm_edge.data.synthetic import SynthFormat


@click.group(
    "data", cls=Group, epilog=example("ecm-edge data synth -o af --subjects 30 --seed 1", "ecm-edge data info af")
)
def command() -> None:
    """Read, make, count and audit data sets."""


@command.command(
    "import",
    short_help="read recordings into a data set",
    epilog=example("ecm-edge data import recordings -o af --format wfdb"),
)
@click.argument("source", type=PATH, help="The folder of recordings.")
@click.option("--out", "-o", type=PATH, required=True, help="The data set to make; it must not exist.")
@click.option(
    "--format", "file_format", type=click.Choice(list(FORMATS)), required=True, help="The format of the recordings."
)
@reading_options()
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME=CSV",
    help=f"A part of a fixed split and the CSV file that lists it, with the columns label,Filename; {usage('splits')}.",
)
@rhythm_options
@task_option
@on_error_option
@click.option(
    "--blank",
    type=click.Choice(["negative", "drop"]),
    default="negative",
    show_default=True,
    help="What a blank rhythm counts as: negative, or no label.",
)
@click.option("--synthetic", is_flag=True, help="The recordings are synthetic: every report is marked so.")
@click.option(
    "--licence",
    help="That of the recordings, as `data info` and model cards show it, such as ODC-By 1.0.  [default: not stated]",
)
@json_option
def import_(
    source: Path,
    out: Path,
    *,
    file_format: Format,
    task: str | None,
    splits: tuple[str, ...],
    codes: Codes,
    positive: str,
    negative: str,
    ignore: str,
    mapping: tuple[str, ...],
    on_error: OnError,
    blank: Blank,
    synthetic: bool,
    licence: str | None,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - fields of Options
) -> None:
    """Read the recordings of folder SOURCE into a data set.

    A file that cannot be used stops the import, and is listed with its reason; --on-error skip imports the rest. A
    blank rhythm is kept as blank; with --blank it counts as negative, or as no label. An unknown rhythm code stops the
    import: --positive, --negative, --ignore and --map say what it is.
    """
    from ecm_edge import tasks
    from ecm_edge.data.recordings.importer import import_recordings
    from ecm_edge.data.recordings.options import Options

    chosen = tasks.load(task) if task else tasks.default()
    record = import_recordings(
        source,
        out,
        file_format=file_format,
        options=Options(**given, splits=tuple(_split(text) for text in splits)),
        task=chosen,
        rules=rhythm_rules(chosen, codes, positive=positive, negative=negative, ignore=ignore, mapping=mapping),
        on_error=on_error,
        blank=blank,
        synthetic=synthetic,
        licence=licence,
        problems_shown=sys.maxsize if as_json else 10,
    )
    note_import(record)
    emit(record, as_json=as_json, render=lambda: show_made(record))


def _split(text: str) -> tuple[str, Path]:
    name, path = pair(text, "--split", "NAME=CSV")
    return name, Path(path)


@command.command(
    "merge",
    short_help="merge data sets of several sources",
    epilog=example("ecm-edge data merge af cinc -o both --unit unstated"),
)
@click.argument("datasets", type=PATH, nargs=-1, required=True, help="The folders of two data sets or more.")
@click.option("--out", "-o", type=PATH, required=True, help="The data set to make; it must not exist.")
@click.option(
    "--positive",
    default="",
    show_default="theirs",
    metavar="CODES",
    help="The positive rhythms, by commas, where the sets do not agree.",
)
@click.option(
    "--map", "mapping", multiple=True, metavar="CODE=KNOWN", help="A rhythm that becomes another; may be repeated."
)
@click.option(
    "--unit", help="The unit of sets that state none; `unstated` to state none for the whole.  [default: theirs]"
)
@click.option(
    "--blank",
    type=click.Choice(["negative", "drop"]),
    help="What a blank rhythm counts as, where sets do not agree.  [default: as in the sets]",
)
@click.option("--drop-duplicates", is_flag=True, help="Leave out segments with the samples of one in an earlier set.")
@json_option
def merge(
    datasets: tuple[Path, ...],
    out: Path,
    *,
    positive: str,
    mapping: tuple[str, ...],
    unit: str | None,
    blank: Blank | None,
    drop_duplicates: bool,
    as_json: bool,
) -> None:
    """Merge DATASETS into one, in which every subject keeps its source.

    A subject whose name an earlier set has is renamed SOURCE:SUBJECT. Segments that two sets have in common are
    reported. A split takes subjects of every source into each part, and `ecm-edge score` has figures by source.
    """
    from ecm_edge.data.merge import merge as put_together
    from ecm_edge.data.merge.agreement import MergeRules

    record = put_together(
        [open_data(dataset) for dataset in datasets],
        out,
        MergeRules(listed(positive), mapped(mapping), unit, blank, drop_duplicates=drop_duplicates),
    )
    note_merge(record)
    emit(record, as_json=as_json, render=lambda: show_made(record, record.sources))


@command.command(
    "synth",
    short_help="make deterministic synthetic ECG",
    epilog=example("ecm-edge data synth -o af --subjects 30 --seed 1"),
)
@click.option("--out", "-o", type=PATH, required=True, help="The folder to make; it must not exist.")
@click.option("--subjects", type=click.IntRange(1), required=True, help="Number of subjects.")
@click.option("--seed", type=SEED, required=True, help="The same seed gives the same bytes.")
@click.option("--segments-per-subject", type=click.IntRange(2), default=40, show_default=True, help="An even number.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["dataset", *FORMATS]),
    default="dataset",
    show_default=True,
    help="A data set, or recordings in an input format.",
)
@task_option
@json_option
def synth(
    out: Path,
    subjects: int,
    seed: int,
    segments_per_subject: int,
    file_format: SynthFormat,
    *,
    task: str | None,
    as_json: bool,
) -> None:
    """Make deterministic synthetic signals with the positive rhythms of the task.

    For AF: ECG with sinus rhythm, AF, ectopy, bradycardia and noise. For ventricular arrhythmia: electrograms.
    """
    from ecm_edge import tasks
    from ecm_edge.data import synthetic

    record = synthetic.synthesise(
        out,
        subjects=subjects,
        seed=seed,
        segments_per_subject=segments_per_subject,
        file_format=file_format,
        task=tasks.load(task) if task else None,
    )

    def render() -> None:
        click.echo(f"{record.segments} synthetic segments of {record.subjects} subjects in {record.path}")

    emit(record, as_json=as_json, render=render)


@command.command(
    "info", short_help="count a data set by subject, rhythm, label and split", epilog=example("ecm-edge data info af")
)
@dataset_argument
@click.option("--check", is_flag=True, help="Read everything and recompute the hashes.")
@json_option
def info(dataset: Path, *, check: bool, as_json: bool) -> None:
    """Count DATASET by subject, rhythm, label and split."""
    from ecm_edge.data.dataset import open_dataset
    from ecm_edge.data.info import info as count

    record = count(open_dataset(dataset), check=check)
    emit(record, as_json=as_json, render=lambda: show_info(record))


@command.command(
    "folds",
    short_help="assign the subjects to folds",
    epilog=example("ecm-edge data folds af -o folds.json --count 5"),
)
@dataset_argument
@click.option("--out", "-o", type=PATH, required=True, help="The JSON file to write, for `ecm-edge train --folds`.")
@click.option("--count", type=click.IntRange(min=3), default=5, show_default=True, help="Number of folds.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="The same seed gives the same folds.")
@click.option(
    "--by-source",
    is_flag=True,
    help="Divide each source of a merged data set by itself: its folds are those of the source alone.",
)
@click.option(
    "--train-only",
    multiple=True,
    metavar="SOURCE",
    help="Train every network on this source, and score none of it out of fold; with --by-source, may be repeated.",
)
@click.option(
    "--score-only",
    multiple=True,
    metavar="SOURCE",
    help="Train and tune no network on this source, and score all of it; with --by-source, may be repeated.",
)
@json_option
def folds(
    dataset: Path,
    out: Path,
    count: int,
    seed: int,
    train_only: tuple[str, ...],
    score_only: tuple[str, ...],
    *,
    by_source: bool,
    as_json: bool,
) -> None:
    """Assign every labelled subject of DATASET to a fold; positives are spread alike over the folds.

    `ecm-edge train --folds` follows --train-only and --score-only for the candidate itself too.
    """
    from ecm_edge.data import splits

    if (train_only or score_only) and not by_source:
        raise click.UsageError("--train-only and --score-only go with --by-source")
    opened = open_data(dataset)
    if by_source:
        use = {"train_only": train_only, "score_only": score_only}
        record = splits.assign_folds_by_source(opened, count=count, seed=seed, **use)
    else:
        record = splits.assign_folds(opened, count=count, seed=seed)
    record.save(out)
    emit(record, as_json=as_json, render=lambda: show_folds(record, opened if by_source else None))


@command.command(
    "audit",
    short_help="look for leakage, duplicates, bad signals and contradicted labels",
    epilog=example("ecm-edge data audit af"),
)
@dataset_argument
@json_option
def audit(dataset: Path, *, as_json: bool) -> None:
    """Look in DATASET for leakage, duplicates, bad signals and labels that other subjects contradict."""
    from ecm_edge.data.audit import audit as examine

    record = examine(open_data(dataset))
    emit(record, as_json=as_json, render=lambda: show_audit(record))
