"""The templates beside this file, with the filters that write numbers: the same for the page and for the card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecm_edge.base import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jinja2 import Environment

WRITERS: dict[str, Callable[..., str]] = {
    "number": numbers.number,
    "whole": numbers.whole,
    "fixed": numbers.fixed,
    "ratio": numbers.ratio,
    "point": numbers.point,
    "ends": numbers.ends,
    "figure": numbers.figure,
    "percent": numbers.percent,
    "quantity": numbers.quantity,
    "margin": numbers.margin,
    "latency": numbers.latency,
    "parity": numbers.parity,
    "setting": numbers.setting,
    "subjects": numbers.subjects,
    "with_positives": numbers.with_positives,
}
"""The writers of numbers, in templates both filters and functions."""


def environment(writers: Mapping[str, Callable[..., str]] = WRITERS, **options: Any) -> Environment:  # noqa: ANN401 - jinja's own options
    """Templates that fail on a name that is not there; `options` are those of `jinja2.Environment`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(  # noqa: S701 - each caller says how its text is escaped
        loader=PackageLoader("ecm_edge.report", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    made.filters |= writers
    made.globals |= writers
    return made


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of a configuration; nested ones have dots in their names.

    >>> list(flat({"epochs": 12, "augmentation": {"gain": 0.2}}))
    [('epochs', 12), ('augmentation.gain', 0.2)]
    """
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
