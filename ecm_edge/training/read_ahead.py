"""The items of an iterator, made by a thread some way ahead of whoever takes them.

While a network learns from one batch, the next ones are read from disk.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")

AHEAD = 3
"""How many items are made ahead."""


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items in the same order, `AHEAD` of them made before they are asked for; none may be None.

    One thread makes them, one after the other. What the items raise is raised here, in their place. Whoever stops
    early, after k items, has had k + `AHEAD` made, not more and not fewer: what they draw from a generator does not
    depend on the speed of the machine.
    """
    source = iter(items)
    with ThreadPoolExecutor(1, "read-ahead") as thread:
        coming = deque(thread.submit(next, source, None) for _ in range(AHEAD))
        while (item := coming.popleft().result()) is not None:
            coming.append(thread.submit(next, source, None))
            yield item
