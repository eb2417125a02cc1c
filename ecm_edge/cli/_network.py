"""The options that describe a network and its training: `--family`, `--factory` and `--set`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from ecm_edge.base import trust
from ecm_edge.base.parsing import json_of
from ecm_edge.cli._names import families

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecm_edge.candidate.training_config import Scalar

_TRAINING = "training."

family_option = click.option(
    "--family", shell_complete=families, help="A network family, or a name for --factory's.  [default: tcn]"
)


def _typed(factory: str | None) -> str | None:
    """A factory on the command line is the user's own word."""
    from ecm_edge.candidate.networks import command_of

    trust.typed([command_of(factory)] if factory else [])
    return factory


factory_option = click.option(
    "--factory",
    callback=lambda _context, _parameter, factory: _typed(factory),
    help="Your own network: module:function, called with (params, samples_per_segment).  [default: none]",
)

set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the family, or training.NAME; may be repeated.  [default: a small network, ten epochs]",
)


def parse_all(assignments: Iterable[str]) -> dict[str, Scalar]:
    """The values by their names; a factory among them is the user's own word."""
    values = dict(map(_parse, assignments))
    if factory := values.get("training.teacher.factory"):
        _typed(str(factory))
    return values


def _parse(assignment: str) -> tuple[str, Scalar]:
    """`name=value`; the value is a JSON scalar, or else text."""
    name, equals, text = assignment.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--set takes NAME=VALUE, not {assignment!r}")
    try:
        value: Scalar = json_of(text)
    except ValueError:
        value = text
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        raise click.UsageError(f"--set takes a finite number, true, false or text, not {text!r}")
    return name, value


def divide(changes: dict[str, Scalar]) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """Training parameters, without their prefix, and the network's."""
    training = {name.removeprefix(_TRAINING): value for name, value in changes.items() if name.startswith(_TRAINING)}
    return training, {name: value for name, value in changes.items() if not name.startswith(_TRAINING)}
