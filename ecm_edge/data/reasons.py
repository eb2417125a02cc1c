"""Many reasons as few lines, for people: what is equal is said once, with its count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.tables import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecm_edge.data.dataset import LeftOut, Note


def of_left_out(left_out: Iterable[LeftOut]) -> list[str]:
    """What is left out, as `grouped` writes it."""
    return grouped((one.name, one.reason, one.windows) for one in left_out)


def of_notes(notes: Iterable[Note], of: str = "recordings") -> list[str]:
    """What is to be known of recordings, or of `of`, as `grouped` writes it."""
    return grouped(((one.name, one.text, 0) for one in notes), of=of)


def grouped(reasons: Iterable[tuple[str, str, int]], names_shown: int = 3, of: str = "recordings") -> list[str]:
    """Lines for (name, reason, windows): each reason once, with its windows, its recordings, or `of`, and some names.

    >>> grouped([("a", "flat", 2), ("b", "flat", 1), ("c", "truncated", 0)])
    ['3 windows of 2 recordings: flat (a, b)', 'c: truncated']
    """
    by_reason: dict[str, list[tuple[str, int]]] = {}
    for name, reason, windows in reasons:
        by_reason.setdefault(reason, []).append((name, windows))
    lines = []
    for reason, places in by_reason.items():
        names, windows = list(dict.fromkeys(name for name, _ in places)), sum(count for _, count in places)
        shown = ", ".join(map(printable, names[:names_shown])) + (", …" if len(names) > names_shown else "")
        lost = f"{windows:,} windows of " if windows else ""
        if len(names) == 1:
            lines.append(f"{lost}{shown}: {printable(reason)}")
        else:
            lines.append(f"{lost}{len(names):,} {of}: {printable(reason)} ({shown})")
    return lines


def in_one(lines: Sequence[str], shown: int) -> str:
    """The first lines as one, with the number of the others.

    >>> in_one(["a: flat", "b: truncated", "c: empty"], 1)
    'a: flat; and 2 more reasons'
    """
    more = len(lines) - shown
    return "; ".join([*lines[:shown], *([f"and {more} more reasons"] if more > 0 else [])])


def some(names: Sequence[str], shown: int) -> str:
    """The first names, with the number of the others.

    >>> some(["a", "b", "c"], 2), some(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
