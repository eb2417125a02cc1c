"""JSON and TOML from files, parsed within bounds: what comes out can be counted with, printed and written again.

Python's integers have no end, and one of thousands of digits can neither be divided nor printed. `tomllib` takes memory
that grows with the square of the parts of a dotted key.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any

_LARGEST_INTEGER = (1 << 63) - 1  # in size: what TOML promises, and what JSON's readers agree on
_LONGEST_INTEGER = 20  # characters, with a sign
LARGEST_TOML_BYTES = 1 << 16
"""Of a file of TOML, for whoever reads one before it is parsed."""
_MOST_DOTS = 100  # of a line


def json_of(content: bytes | str) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """What a JSON text holds.

    Raises:
        ValueError: no JSON, too deep, or an integer of more than 64 bits.
    """
    try:
        return json.loads(content, parse_int=_integer)
    except RecursionError:
        raise ValueError("JSON that is too deep") from None


def toml_of(content: bytes) -> dict[str, Any]:
    """What a TOML text in UTF-8 holds.

    Raises:
        ValueError: no TOML, too long or too deep, a line with too many dots, or an integer of more than 64 bits.
    """
    if len(content) > LARGEST_TOML_BYTES:
        raise ValueError(f"{len(content):,} bytes, of at most {LARGEST_TOML_BYTES:,}")
    for number, line in enumerate(content.split(b"\n"), 1):
        if (dots := line.count(b".")) > _MOST_DOTS:
            raise ValueError(f"{dots:,} dots in line {number}, of at most {_MOST_DOTS}")
    try:
        parsed = tomllib.loads(content.decode())
        _check_integers(parsed)
    except RecursionError:
        raise ValueError("TOML that is too deep") from None
    return parsed


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER or abs(value := int(text)) > _LARGEST_INTEGER:
        raise ValueError(f"an integer of more than 64 bits, {text[:_LONGEST_INTEGER]}…")
    return value


def _check_integers(value: object) -> None:
    """Refuse an integer of more than 64 bits, at any depth."""
    if isinstance(value, dict):
        for inner in value.values():
            _check_integers(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_integers(inner)
    elif isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        raise ValueError("an integer of more than 64 bits")
