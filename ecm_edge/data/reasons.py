"""Many reasons as few lines, for people: what is equal is said once, with its count."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


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
        some = ", ".join(map(printable, names[:names_shown])) + (", …" if len(names) > names_shown else "")
        lost = f"{windows:,} windows of " if windows else ""
        if len(names) == 1:
            lines.append(f"{lost}{some}: {printable(reason)}")
        else:
            lines.append(f"{lost}{len(names):,} {of}: {printable(reason)} ({some})")
    return lines


def printable(text: str) -> str:
    r"""The text on one line, with what a terminal would act on escaped: a file may have any name.

    >>> printable("a\nb")
    'a\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
