"""What two settings differ in, for people."""

from __future__ import annotations

import json

_MOST = 6


def found(there: object, here: object, name: str = "") -> list[str]:
    """Where two JSON values differ, in words; some of them if there are many.

    >>> found({"seed": 0, "space": {"epochs": 3}}, {"seed": 1, "space": {"epochs": 3}})
    ['seed 0 in the study, 1 here']
    """
    lines = _found(there, here, name)
    more = len(lines) - _MOST
    return [*lines[:_MOST], f"and {more} more"] if more > 0 else lines


def _found(there: object, here: object, name: str) -> list[str]:
    if isinstance(there, dict) and isinstance(here, dict):
        inner = [(there.get(key), here.get(key), f"{name}.{key}".lstrip(".")) for key in sorted({*there, *here})]
        return [line for one, other, path in inner for line in _found(one, other, path)]
    if there == here:
        return []
    return [f"{name} {short(there)} in the study, {short(here)} here"]


def short(value: object, most: int = 40) -> str:
    """A JSON value as a text of at most so many letters."""
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False).strip('"')
    return text if len(text) <= most else f"{text[:most]}…"
