"""How a record shows itself in Python: in one line, as a small HTML table, and as a pandas table.

Fields of nested records become columns by their path ("latency_ms.mean_ms"); a field called `value`, that of an
interval, takes the name of the whole ("fbeta_mean", "fbeta_mean.low", "fbeta_mean.high").
"""

from __future__ import annotations

from enum import Enum
from html import escape
from operator import attrgetter
from typing import TYPE_CHECKING

from pydantic import BaseModel

from ecm_edge.base.errors import EcmEdgeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

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


def html(record: BaseModel, keys: Sequence[str], tables: Sequence[str]) -> str:
    """The line and the first table that has rows, as HTML; long tables are cut, and say so."""
    heading = f"<p><code>{escape(line(record, keys))}</code></p>"
    filled = next((name for name in tables if at(record, name)), None)
    if filled is None:
        return heading
    every = list(rows(record, filled))
    columns = [name for name in _columns(every) if any(row.get(name) is not None for row in every)][:_COLUMNS]
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(text(row.get(name)))}</td>' for name in columns)}</tr>" for row in every[:_ROWS]
    )
    left_out = f"{len(every) - _ROWS:,} more rows, and all columns" if len(every) > _ROWS else "All columns"
    note = f"<p>{left_out}: <code>to_frame({_last(filled)!r})</code></p>"
    return f"{heading}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def frame(record: BaseModel, tables: Sequence[str], name: str | None) -> pd.DataFrame:
    """A table of the record with pandas: the one of that name, or the first.

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
    every = list(rows(record, known[name] if name else tables[0]))
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
        if isinstance(value, BaseModel):
            yield from _flat(value, f"{path}.")
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            yield path, len(value)  # a table of its own
        else:
            yield path, value.value if isinstance(value, Enum) else value


def _plain_fields(record: BaseModel) -> list[str]:
    plain = (str, int, float, bool, Enum)
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
    if isinstance(value, list):
        return str(len(value))
    shown = getattr(value, "value", None)  # of an interval, that is
    low, high = getattr(value, "low", None), getattr(value, "high", None)
    if low is not None and high is not None:
        return f"{text(shown)} ({text(low)} … {text(high)})"
    return text(shown if isinstance(shown, float) else value)
