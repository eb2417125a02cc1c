"""What commands on recordings share: the options that say how recordings are read, and what a rhythm code counts as."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ecm_edge.cli._common import PATH
from ecm_edge.cli._names import shipped
from ecm_edge.data.recordings.formats import FORMATS, known_suffixes, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from ecm_edge.data.rhythms import Codes, RhythmRules
    from ecm_edge.tasks import Task

F = TypeVar("F", bound="Callable[..., Any]")

_READING: dict[str, Callable[[Any], Any]] = {
    "sampling_rate_hz": click.option(
        "--sampling-rate-hz",
        type=float,
        help=f"The sampling rate of the recordings; {usage('sampling_rate_hz')}.  [default: as the file says]",
    ),
    "lead": click.option(
        "--lead",
        help=f"The signal's or column's name, where there are several; {usage('lead')}.  "
        "[default: the task's, or the only one]",
    ),
    "labels": click.option(
        "--labels",
        type=PATH,
        help=f"The labels: a CSV table file,rhythm[,subject,onset_s,duration_s]; {usage('labels')}.  [default: none]",
    ),
    "annotator": click.option(
        "--annotator", help=f"The suffix of the files with rhythm notes; {usage('annotator')}.  [default: atr]"
    ),
    "subjects": click.option(
        "--subjects",
        type=PATH,
        help=f"A CSV table with the columns record,subject; {usage('subjects')}.  [default: each record is a subject]",
    ),
    "unit": click.option(
        "--unit", help=f"The unit of a sample, such as uV or mV; {usage('unit')}.  [default: as the file says]"
    ),
    "delimiter": click.option(
        "--delimiter",
        type=click.Choice([",", ";", "tab", "space"]),
        help=f"What separates the columns; {usage('delimiter')}.  [default: found]",
    ),
    "decimal": click.option(
        "--decimal", type=click.Choice([".", ","]), help=f"The decimal sign; {usage('decimal')}.  [default: found]"
    ),
}
"""The options that are fields of `Options`, by the field, but for `splits`, which `data import` alone takes."""

_RHYTHMS: dict[str, Callable[[Any], Any]] = {
    "codes": click.option(
        "--codes",
        type=click.Choice(["physionet", "cinc2017", "snomed"]),
        default="physionet",
        show_default=True,
        help="The vocabulary of the rhythm codes.",
    ),
    "positive": click.option(
        "--positive", default="", show_default="the task's", metavar="CODES", help="The positive rhythms, by commas."
    ),
    "negative": click.option(
        "--negative",
        default="",
        show_default="the task's",
        metavar="CODES",
        help="More codes that count as negative.",
    ),
    "ignore": click.option(
        "--ignore", default="", show_default="the task's", metavar="CODES", help="Codes whose windows are left out."
    ),
    "mapping": click.option(
        "--map",
        "mapping",
        multiple=True,
        metavar="CODE=KNOWN",
        help="Read CODE as the known code KNOWN; may be repeated.",
    ),
}
"""The options that say what a rhythm code counts as."""

RHYTHM_OPTIONS = tuple(_RHYTHMS)

model_task_option = click.option(
    "--task",
    shell_complete=shipped("tasks"),
    help="The task: a name, or the path of a TOML file.  [default: the candidate's, or af-5s for a file]",
)

format_option = click.option(
    "--format",
    "file_format",
    type=click.Choice(list(FORMATS)),
    help=f"The format of the recordings.  [default: that of the suffix: {known_suffixes()}]",
)

on_error_option = click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What to do where a recording cannot be used.",
)


def reading_options(*, without: Collection[str] = ()) -> Callable[[F], F]:
    """The options that are fields of `Options`, but those `without`."""
    return _all(option for name, option in _READING.items() if name not in without)


def rhythm_options(function: F) -> F:
    """The options of `rhythm_rules`."""
    return _all(_RHYTHMS.values())(function)


def _all(options: Iterable[Callable[[Any], Any]]) -> Callable[[F], F]:
    return lambda function: functools.reduce(lambda made, option: option(made), reversed(list(options)), function)


def rhythm_rules(
    task: Task, codes: Codes, *, positive: str, negative: str, ignore: str, mapping: Sequence[str]
) -> RhythmRules:
    """The rules of a task with what the options state besides."""
    from ecm_edge.data.rhythms import RhythmRules

    own = RhythmRules.of(task)
    return RhythmRules(
        codes,
        listed(positive) or own.positive,
        own.negative + listed(negative),
        own.ignored + listed(ignore),
        mapped(mapping),
    )


def mapped(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The pairs of `--map`."""
    return tuple(pair(text, "--map", "CODE=KNOWN") for text in texts)


def pair(text: str, option: str, form: str) -> tuple[str, str]:
    """What stands before and behind the first `=`; `option` and `form` are for the error."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise click.BadParameter(f"{text!r} is not {form}", param_hint=option)
    return name, value


def listed(text: str) -> tuple[str, ...]:
    """The entries of an option that holds several, by commas."""
    return tuple(filter(None, map(str.strip, text.split(","))))
