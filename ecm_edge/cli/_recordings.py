"""What `predict` and `episodes` share: the options that say how recordings are read, as `data import` declares them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from ecm_edge.cli import data
from ecm_edge.data.recordings.formats import BY_SUFFIX, FORMATS
from ecm_edge.data.recordings.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ecm_edge.evaluate.answering import AnswersOf

_FIELDS = {field.name for field in dataclasses.fields(Options)} - {"splits"}
RHYTHM_OPTIONS = ("codes", "positive", "negative", "ignore", "mapping")
"""The options that say what a rhythm code counts as."""

_KNOWN = ", ".join(f"{suffix} {name}" for suffix, name in BY_SUFFIX.items())

model_task_option = click.option(
    "--task", help="The task: a name, or the path of a TOML file.  [default: the candidate's, or af-5s for a file]"
)

format_option = click.option(
    "--format",
    "file_format",
    type=click.Choice(list(FORMATS)),
    help=f"Of the recordings.  [default: that of the suffix: {_KNOWN}]",
)

on_error_option = click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What to do where a recording cannot be used.",
)


def recording_options(
    *, without: Collection[str] = (), also: Collection[str] = ()
) -> Callable[[click.Command], click.Command]:
    """The options of `data import` that are fields of `Options`, but those `without`, and `also` others of it."""
    wanted = (_FIELDS - set(without)) | set(also)

    def add(command: click.Command) -> click.Command:
        command.params.extend(option for option in data.import_.params if option.name in wanted)
        return command

    return add


def tell(record: AnswersOf) -> None:
    """What could not be used, the facts about recordings, and the warnings, on stderr."""
    for line in data.grouped((one.name, one.reason, one.windows) for one in record.left_out):
        click.echo(f"left out: {line}", err=True)
    for line in data.grouped((one.name, one.text, 0) for one in record.notes):
        click.echo(f"note: {line}", err=True)
    for warning in record.warnings:
        click.echo(f"warning: {warning}", err=True)
