"""`ecm-edge data`: read, make, count and audit data sets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ecm_edge.cli._common import PATH, SEED, dataset_argument, emit, json_option, open_data, task_option
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
from ecm_edge.cli._told import lines_of_import, say_if_one_class, show_folds, show_rhythms, show_sources, tell
from ecm_edge.data.recordings.formats import FORMATS, usage

if TYPE_CHECKING:
    from ecm_edge.data.audit import AuditRecord
    from ecm_edge.data.dataset import Blank
    from ecm_edge.data.info import InfoRecord
    from ecm_edge.data.merge import MergeRecord
    from ecm_edge.data.recordings.formats import Format
    from ecm_edge.data.recordings.importer import ImportRecord, OnError
    from ecm_edge.data.rhythms import Codes
    from ecm_edge.data.synthetic import SynthFormat

_DUPLICATES_SHOWN = 10
_LINES_SHOWN = 20  # of what was left out and noted


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
    _note_left_out(record)
    line = (
        f"{record.segments} segments of {record.subjects} subjects in {record.dataset}, unit {record.unit} "
        f"({record.seconds:.1f} s, content {record.content_sha256[:12]})"
    )
    emit(record, as_json=as_json, render=lambda: _show_import(record, line))


def _show_import(record: ImportRecord, line: str) -> None:
    """What each rhythm counts as, then the data set; last of all that it has only one class, if it does."""
    show_rhythms(record.labels)
    click.echo(line)
    say_if_one_class({row.meaning for row in record.labels if row.segments})


def _note_left_out(record: ImportRecord) -> None:
    """What is not in the data set, what is to be known of the rest, and the number of blank rhythms, on stderr."""
    tell(lines_of_import(record))
    if record.blank_segments:
        meaning = "counted as negative" if record.blank == "negative" else "without a label"
        click.echo(f"note: {record.blank_segments} segments have a blank rhythm; they are {meaning}", err=True)


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
    _note_merge(record)
    emit(record, as_json=as_json, render=lambda: _show_merge(record))


def _note_merge(record: MergeRecord) -> None:
    """What the merge decided, on stderr; duplicates with their subjects, since they let training data into the test."""
    from ecm_edge.base.tables import printable
    from ecm_edge.data.reasons import of_notes

    tell(f"note: {line}" for line in of_notes(record.notes, of="data sets"))
    if not record.duplicates:
        return
    for one in record.duplicates[:_DUPLICATES_SHOWN]:
        unlike = f", {one.other_label} of them with another label" if one.other_label else ""
        pair = f"{one.subject} of {one.source} = {one.first_subject} of {one.first_source}"
        click.echo(f"duplicates: {printable(pair)}: {one.segments} segments{unlike}", err=True)
    if (more := len(record.duplicates) - _DUPLICATES_SHOWN) > 0:
        click.echo(f"duplicates: and {more} more pairs of subjects, all of them with --json", err=True)
    if not record.duplicates_dropped:
        click.echo("warning: one recording may come to lie in training and in test: --drop-duplicates", err=True)


def _show_merge(record: MergeRecord) -> None:
    show_sources(record.sources)
    show_rhythms(record.labels)
    click.echo(
        f"{record.segments} segments of {record.subjects} subjects in {record.dataset}, unit {record.unit} "
        f"({record.seconds:.1f} s, content {record.content_sha256[:12]})"
    )
    say_if_one_class({row.meaning for row in record.labels if row.segments})


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
    emit(record, as_json=as_json, render=lambda: _show_info(record))


def _show_info(record: InfoRecord) -> None:
    from ecm_edge.base.tables import printable, show
    from ecm_edge.data.dataset import LICENCE_UNSTATED

    header, counts = record.header, record.counts
    names = list(counts.rhythms)
    show(
        f"{record.dataset}{' (synthetic)' if header.synthetic else ''}",
        ["subject", *(name or "(blank)" for name in names)],
        [
            ["all", *(str(number) for number in counts.rhythms.values())],
            *([subject, *(str(row.get(name, "")) for name in names)] for subject, row in counts.subjects.items()),
        ],
    )
    if counts.sources:
        show_sources(counts.sources)
    words = {"positive": header.task.label}
    facts = {
        "segments": f"{counts.segments} in {counts.episodes} episodes of {len(counts.subjects)} subjects",
        "task": f"{header.task.name}: {header.task.title}",
        "labels": ", ".join(f"{number} {words.get(name, name)}" for name, number in counts.labels.items() if number),
        "splits": ", ".join(f"{number} {name}" for name, number in counts.splits.items()) or "none fixed",
        "signal": f"{header.sampling_rate_hz:g} Hz, {header.samples_per_segment} samples, unit {header.unit}",
        "source": ", ".join([header.source.format, *(f"{k}={v}" for k, v in header.source.options.items())]),
        "licence": header.source.licence or ("by source" if header.sources else LICENCE_UNSTATED),
        "content": f"{header.content_sha256} ({'recomputed' if record.content_checked else 'as recorded'})",
    }
    for name, fact in facts.items():
        click.echo(f"{name:>9}: {printable(fact)}")
    told = lines_of_import(header)
    for line in told[:_LINES_SHOWN]:
        click.echo(f" {line}")
    if len(told) > _LINES_SHOWN:
        click.echo(f" and {len(told) - _LINES_SHOWN} more lines: --json has all")
    say_if_one_class({name for name, number in counts.labels.items() if number})


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
    emit(record, as_json=as_json, render=lambda: _show_audit(record))


def _show_audit(record: AuditRecord) -> None:
    from ecm_edge.base.tables import Column, say, show
    from ecm_edge.data.audit import CLASSES

    show(
        f"{record.dataset}{' (synthetic)' if record.synthetic else ''}: {record.verdict}",
        ["gate", "verdict", "found", "limit", "detail"],
        [[g.name, g.verdict, f"{g.value:g}", f"{g.limit:g}", g.detail] for g in record.gates],
    )
    show(
        "Findings",
        ["kind", "segments", Column("detail", wraps=True), Column("such as", drop=1)],
        [[f.kind, str(f.segments), f.detail, ", ".join(f.examples[:3])] for f in record.findings],
    )
    _show_contradictions(record)
    click.echo(record.rule, err=True)
    for gate in record.gates:
        if gate.name == CLASSES and gate.detail:
            say(gate.detail)


def _show_contradictions(record: AuditRecord) -> None:
    from ecm_edge.base.tables import say, show

    if record.out_of_fold_auc is None:
        say("Labels contradicted out of fold: NOT RUN, too few or too short segments, or too few subjects")
        return
    show(
        f"Labels contradicted out of fold (AUC {record.out_of_fold_auc})",
        ["subject", "rhythm", "label", "segments", "contradicted"],
        [
            [c.subject, c.rhythm or "(blank)", str(c.label), str(c.segments), f"{c.contradicted} ({c.share:.0%})"]
            for c in record.contradictions
        ],
    )
