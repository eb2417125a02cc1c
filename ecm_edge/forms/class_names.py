"""Names of a model's labels: those that the user gives, or that the file's metadata have."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING

from ecm_edge.base.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import onnx

KEYS = ("ecm_edge.class_names", "class_names", "classes", "labels", "names")
"""Metadata in which tools keep them; the first is this project's own."""
MOST_LETTERS = 64
_MOST_TEXT = 1 << 16


def in_metadata(proto: onnx.ModelProto, count: int) -> tuple[str, ...]:
    """The names of so many labels that a file's metadata have, as a list, a mapping from numbers or text with commas.

    Empty without them, or where they are not so many names that differ.
    """
    held = {entry.key: entry.value for entry in proto.metadata_props}
    for key in KEYS:
        names = _parsed(held[key]) if key in held else ()
        if _fit(names, count):
            return names
    return ()


def checked(names: Sequence[str], count: int) -> tuple[str, ...]:
    """The names that a user gives for so many labels.

    Raises:
        ModelError: another number of names, one that is empty or too long, or the same one twice.
    """
    if not _fit(names, count):
        raise ModelError(
            f"each of the {count} labels has a name of 1 to {MOST_LETTERS} letters, and no two the same",
            f"{len(names)}: {', '.join(names)}",
            "Mend --classes.",
        )
    return tuple(names)


def _fit(names: Sequence[str], count: int) -> bool:
    return len(names) == len(set(names)) == count and all(map(_is_name, names))


def _is_name(name: str) -> bool:
    """Whether a name is of the right length, and has UTF-8: half of a surrogate pair, as JSON allows it, has none."""
    return 0 < len(name) <= MOST_LETTERS and not any("\ud800" <= letter <= "\udfff" for letter in name)


def _parsed(text: str) -> tuple[str, ...]:
    if len(text) > _MOST_TEXT:
        return ()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            found = text.replace("\n", ",").split(",")
    if isinstance(found, dict):
        found = _in_order(found)
    return _texts(found) if isinstance(found, list | tuple) else ()


def _in_order(found: dict[object, object]) -> list[object]:
    """The values of a mapping from the numbers of labels, in their order; none of any other mapping."""
    numbers = [str(key) for key in found]
    if sorted(numbers) != sorted(map(str, range(len(found)))):
        return []
    return [value for _, value in sorted(zip(map(int, numbers), found.values(), strict=True), key=lambda pair: pair[0])]


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(str(value).strip() for value in values)
