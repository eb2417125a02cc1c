"""Signals that ask a command to end. Each is noted, since the exception that it raises can be lost.

Python ignores an exception in a `__del__` or in a callback from C. Whoever works in steps calls `check` between two of
them, so that the command ends at the next step at the latest.
"""

from __future__ import annotations

_RECEIVED: list[int] = []


def note(number: int) -> None:
    """A signal came."""
    _RECEIVED.append(number)


def clear() -> None:
    """A command begins, or has ended."""
    _RECEIVED.clear()


def first() -> int | None:
    """The first signal that came since the command began."""
    return _RECEIVED[0] if _RECEIVED else None


def check() -> None:
    """Raise KeyboardInterrupt if a signal came."""
    if _RECEIVED:
        raise KeyboardInterrupt
