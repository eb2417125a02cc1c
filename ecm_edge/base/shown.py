"""How a record shows itself in Python: in one line, as a small HTML table, and as a pandas table.

Fields of nested records become columns by their path ("latency_ms.mean_ms"); a field called `value`, that of an
interval, takes the name of the whole ("fbeta_mean", "fbeta_mean.low", "fbeta_mean.high").
"""

from __future__ import annotations

from enum import Enum
from html import escape
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias, get_args, get_origin

from pydantic import BaseModel

from ecm_edge.base.errors import EcmEdgeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

Tables: TypeAlias = "Mapping[str, tuple[str, ...]]"
"""The lists of records that a record has tables of, by their paths, with the columns that HTML shows of each."""

_LINE = 100  # characters of a line
_TEXT = 60  # of a text in it
_ROWS = 20  # of an HTML table
_COLUMNS = 10
_HASH = "sha256"


def line(record: BaseModel, keys: Sequence[str]) -> str:
    """The record in at most 100 characters: its class, its verdict, and what stands at `keys`, paths of fields.

    Without `keys` these are its fields that hold one value, in their order. What is absent is left out.
    """
    words = [type(record).__name__, *([str(getattr(record, "verdict", ""))] if hasattr(record, "verdict") else [])]
    named = {key: at(record, key) for key in keys or _plain_fields(record) if key != "verdict"}
    words += [f"{_last(key)}={_quoted(value)}" for key, value in named.items() if value is not None]
    while len(words) > 1 and len(" ".join(words)) > _LINE - 2:
        words.pop()
    return f"<{' '.join(words)}>"


def html(record: BaseModel, keys: Sequence[str], tables: Tables) -> str:
    """The line and the first table that has rows, as HTML; a table is cut at 20 rows, and says so.

    Without columns of its own a table has its first ones, up to 10, that are not empty in all rows.
    """
    heading = f"<p><code>{escape(line(record, keys))}</code></p>"
    shown = _first_filled(record, tables)
    every = list(rows(record, shown)) if shown else []
    if not every:
        return heading
    columns = tables[shown] or [name for name in _columns(every) if _says_something(name, every)][:_COLUMNS]
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(text(row.get(name)))}</td>' for name in columns)}</tr>" for row in every[:_ROWS]
    )
    left_out = f"{len(every) - _ROWS:,} more rows, and all columns" if len(every) > _ROWS else "All columns"
    note = f"<p>{left_out}: <code>to_frame({_last(shown)!r})</code></p>"
    return f"{heading}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def frame(record: BaseModel, tables: Tables, name: str | None) -> pd.DataFrame:
    """A table of the record with pandas: the one of that name, or the first that has rows.

    Raises:
        EcmEdgeError: the record has no such table, or pandas is not installed.
    """
    known = {_last(path): path for path in tables}
    if not known or name not in {None, *known}:
        raise EcmEdgeError(
            f"{type(record).__name__} has {'the tables ' + ', '.join(known) if known else 'no table'}",
            f"{name!r} asked for" if name else "a table asked for",
            "Give one of these names." if known else "Read its fields: model_dump() has all of them.",
        )
    try:
        import pandas as pd
    except ImportError:
        raise EcmEdgeError(
            "to_frame() makes a table of pandas", "no pandas in this Python", 'Run `pip install "ecm-edge[pandas]"`.'
        ) from None
    every = list(rows(record, known[name] if name else _first_filled(record, tables)))
    return pd.DataFrame(every, columns=list(_columns(every)))


def rows(record: BaseModel, path: str) -> Iterator[dict[str, object]]:
    """A row for each record of the list at `path`: its values by the path of their field; none where it is absent."""
    listed = at(record, path)
    for one in listed if isinstance(listed, list) else []:
        yield dict(_flat(one, ""))


def at(record: object, path: str) -> object:
    """What stands at the path of a field, such as "scores.by_subject"; None where a part of the way is absent."""
    try:
        return attrgetter(path)(record)
    except AttributeError:
        return None


def text(value: object) -> str:
    """A value for people.

    >>> text(165526), text(0.583629), text(None), text(["S0", "S1"])
    ('165,526', '0.5836', '–', 'S0, S1')
    """
    match value:
        case None:
            return "–"
        case bool() | Enum():
            return str(value)
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return ", ".join(map(text, value))
        case _:
            return str(value)


def _flat(record: BaseModel, before: str) -> Iterator[tuple[str, object]]:
    for name in type(record).model_fields:
        value = getattr(record, name)
        path = before.rstrip(".") if name == "value" and before else f"{before}{name}"
        of = _record_in(type(record).model_fields[name].annotation)
        if isinstance(value, BaseModel):
            yield from _flat(value, f"{path}.")
        elif of and isinstance(value, list):
            yield path, len(value)  # a table of its own
        elif value is None and of and "value" not in of.model_fields:
            continue  # its fields are the columns
        else:
            yield path, value.value if isinstance(value, Enum) else value


def tables_of(record: type[BaseModel]) -> Tables:
    """The fields that are lists of records, each with columns to be chosen from its rows."""
    fields = record.model_fields.items()
    return {name: () for name, of in fields if get_origin(of.annotation) is list and _record_in(of.annotation)}


def _record_in(annotation: object) -> type[BaseModel] | None:
    """The record that a field of this type holds, by itself, in a list, or perhaps."""
    kinds = [annotation, *get_args(annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _first_filled(record: BaseModel, tables: Tables) -> str:
    """The first table that has rows, or else the first."""
    return next((path for path in tables if at(record, path)), next(iter(tables), ""))


def _says_something(column: str, every: Sequence[Mapping[str, object]]) -> bool:
    """Whether a row has a value there that fits a cell."""
    return any(row.get(column) not in {None, ""} for row in every if not isinstance(row.get(column), list | dict))


def _plain_fields(record: BaseModel) -> list[str]:
    plain = (str, int, float, bool, Enum, list, dict)
    names = [name for name in type(record).model_fields if not name.endswith(_HASH)]
    return [name for name in names if isinstance(getattr(record, name), plain)]


def _columns(every: Sequence[Mapping[str, object]]) -> dict[str, None]:
    """The names of all rows' columns, each once, in their order."""
    return dict.fromkeys(name for row in every for name in row)


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _quoted(value: object) -> str:
    """A value within a line."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return repr(value if len(value) <= _TEXT else f"{value[: _TEXT - 1]}…")
    if isinstance(value, list | dict):
        return str(len(value))
    shown = getattr(value, "value", None)  # of an interval, that is
    low, high = getattr(value, "low", None), getattr(value, "high", None)
    if low is not None and high is not None:
        return f"{text(shown)} ({text(low)} … {text(high)})"
    return text(shown if isinstance(shown, float) else value)
