"""What the commands share: the --json option, and how a record is shown and becomes an exit code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.dataset import Dataset
    from ecm_edge.records import Record

F = TypeVar("F", bound="Callable[..., Any]")

PATH = click.Path(path_type=Path)


class _CandidatePath(click.Path):
    """A candidate's folder or a model's file; a run's folder stands for its best candidate."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401 - click's signature
        from ecm_edge.candidate import locate

        return locate(Path(os.fsdecode(super().convert(value, param, ctx))))


CANDIDATE = _CandidatePath(path_type=Path)


def open_data(folder: Path) -> Dataset:
    """The data set in `folder`, all of its content checked: no figure may rest on one that changed."""
    from ecm_edge.dataset import check_content, open_dataset

    dataset = open_dataset(folder)
    check_content(dataset)
    return dataset


def json_option(function: F) -> F:
    """Add `--json`: exactly one JSON object on stdout instead of text for people."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(function)


def emit(record: Record, *, as_json: bool, render: Callable[[], None]) -> None:
    """Print the record as JSON, or call `render` to show it to people; exit 1 if its verdict is FAIL."""
    if as_json:
        click.echo(record.model_dump_json())
    else:
        render()
    if getattr(record, "verdict", None) == "FAIL":
        click.get_current_context().exit(1)
