"""Margins: places around a tensor in memory that hold its zero, so that a padded convolution reads on without a test.

A tensor (1, C, *S) with a margin lies channels-last. Entries of an axis and its padding follow each other; what comes
behind one line is also what comes before the next, so that the larger of the two is all that lies between them:

    . . . . .        one row and one column of padding around two rows of three entries:
    . a b c          the last place of a line is before the first of the next
    . d e f
    . . . . .
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ecm_edge.firmware.tensors import Indices

_PICTURE = 4  # axes of a tensor whose lines have gaps between them: batch, channels, height, width


@dataclass(frozen=True)
class Room:
    """What a convolution wants of a tensor (1, C, *S) in memory.

    Args:
        pads: for each spatial axis how many entries before and behind the tensor hold its zero; () for none at all.
        even: whether entries have an even number of elements, so that every window begins at an even one.
    """

    pads: tuple[tuple[int, int], ...] = ()
    even: bool = False

    @property
    def has_pads(self) -> bool:
        """Whether there is any padding."""
        return any(map(any, self.pads))

    def __or__(self, other: Room) -> Room:
        pads = self.pads or other.pads
        if self.pads and other.pads:
            pads = tuple((max(a, c), max(b, d)) for (a, b), (c, d) in zip(self.pads, other.pads, strict=True))
        return Room(pads, self.even or other.even)


@dataclass(frozen=True, eq=False)
class Margined:
    """A tensor as it was allocated with a margin.

    Args:
        index: its places (1, C, *S) in the buffer.
        steps: elements from one entry of each spatial axis to the next.
        size: elements of the tensor and its margin.
        fill: its stored zero, which the margin holds.
    """

    index: Indices
    steps: tuple[int, ...]
    size: int
    fill: int

    @property
    def _entries(self) -> Indices:
        """The first element of every entry (*S)."""
        return np.asarray(self.index.min(axis=(0, 1)))

    @property
    def filled(self) -> NDArray[np.bool_]:
        """(size,) whether each place is one of the margin."""
        margin = np.ones(self.size, bool)
        margin[self._entries.reshape(-1, 1) + np.arange(self.steps[-1])] = False
        return margin

    def holds(self, places: Indices) -> bool:
        """Whether all of these places are in the margin."""
        inside = (places >= 0) & (places < self.size)
        return bool(inside.all() and self.filled[places].all())

    def code(self, pointer: str) -> str:
        """C statements that fill the margin: what is before, what is behind, and the gaps between lines."""
        first, behind = int(self._entries.min()), int(self._entries.max()) + self.steps[-1]
        texts = [_fill(pointer, str(at), count, self.fill) for at, count in ((0, first), (behind, self.size - behind))]
        if len(self.index.shape) == _PICTURE:
            texts.append(self._gaps(pointer, first))
        return "\n".join(text for text in texts if text)

    def _gaps(self, pointer: str, first: int) -> str:
        """C that fills what lies between the lines of a picture."""
        lines, width = self.index.shape[2:]
        (step, entry), begin = self.steps, first + width * self.steps[1]
        text = _fill(pointer, f"{begin} + line * {step}", step - width * entry, self.fill)
        if lines == 1 or not text:
            return ""
        inner = "\n".join(f"    {line}" for line in text.splitlines())
        return f"for (int32_t line = 0; line < {lines - 1}; line++) {{\n{inner}\n}}"


def _fill(pointer: str, at: str, count: int, fill: int) -> str:
    return f"ECM_UNROLL_4\nfor (int32_t i = 0; i < {count}; i++) {{ ({pointer})[{at} + i] = {fill}; }}" if count else ""


def with_margin(shape: Sequence[int], room: Room, fill: int) -> Margined:
    """Where a tensor (1, C, *S) and its margin lie in a new buffer, channels side by side.

    >>> with_margin((1, 1, 2, 3), Room(((1, 1), (1, 1))), 0).index.tolist()
    [[[[5, 6, 7], [9, 10, 11]]]]
    """
    channels, *lengths = shape[1:]
    steps = [-(-channels // 2) * 2 if room.even else channels]
    for length, pads in zip(lengths[:0:-1], room.pads[:0:-1], strict=True):
        steps.insert(0, steps[0] * (length + max(pads)))
    entries = np.zeros((1,) * len(lengths), np.int64)
    for axis, (length, step) in enumerate(zip(lengths, steps, strict=True)):
        entries = entries + np.expand_dims(np.arange(length) * step, [a for a in range(len(lengths)) if a != axis])
    first = sum(before * step for (before, _), step in zip(room.pads, steps, strict=True))
    last = sum((n - 1 + pads[1]) * step for n, pads, step in zip(lengths, room.pads, steps, strict=True))
    index = first + entries[None] + np.arange(channels).reshape(-1, *(1,) * len(lengths))
    return Margined(index[None], tuple(steps), first + last + steps[-1], fill)


def around(index: Indices, steps: Sequence[int], room: Room) -> Indices:
    """The places around a regular view (1, C, *S) that a convolution with that room takes for padding."""
    lengths = index.shape[2:]
    spots = index[:, :, *(slice(0, 1),) * len(lengths)]
    inside = np.ones((1,) * index.ndim, bool)
    for axis, (length, step, (before, behind)) in enumerate(zip(lengths, steps, room.pads, strict=True)):
        entries = np.arange(-before, length + behind)
        others = [a for a in range(index.ndim) if a != axis + 2]
        spots = spots + np.expand_dims(entries * step, others)
        inside = inside & np.expand_dims((entries >= 0) & (entries < length), others)
    outside: Indices = spots[~np.broadcast_to(inside, spots.shape)]
    return outside
