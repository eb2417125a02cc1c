"""The avoid list: what stayed below the least objective wanted is not proposed again, nor anything near it.

A point's neighbourhood holds the points of the same family and the same choices whose every number lies within
`radius` of its own, as a share of the number's range.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import Field

from ecm_edge.base.errors import SearchError
from ecm_edge.base.records import Record
from ecm_edge.candidate.training_config import Scalar

if TYPE_CHECKING:
    from pathlib import Path

Position = dict[str, float | Scalar]
"""As `space.position` gives it: numbers in ranges as shares from 0 to 1, which are its only floats."""

RADIUS = 0.1


class Avoided(Record):
    """One configuration and what it reached; without a score it failed to train."""

    position: Position
    score: float | None
    radius: float = Field(default=RADIUS, ge=0)


class AvoidList(Record):
    """Grown by `extended`, kept as one JSON file, and usable by another run over the same space."""

    avoided: list[Avoided] = Field(default=[])

    def avoids(self, position: Position) -> bool:
        """Whether a position lies in the neighbourhood of anything on the list."""
        return any(_near(entry, position) for entry in self.avoided)

    def extended(self, position: Position, score: float | None, radius: float = RADIUS) -> AvoidList:
        """The list with one more entry."""
        return AvoidList(avoided=[*self.avoided, Avoided(position=position, score=score, radius=radius)])


@dataclass
class GrowingList:
    """An avoid list to which a long search adds; it finds what it avoids without going through all of it."""

    avoided: list[Avoided] = field(default_factory=list)
    _points: set[frozenset[tuple[str, Scalar]]] = field(default_factory=set)
    _around: dict[frozenset[tuple[str, Scalar]], list[Avoided]] = field(default_factory=dict)

    def avoids(self, position: Position) -> bool:
        """As `AvoidList.avoids`."""
        if frozenset(position.items()) in self._points:
            return True
        return any(_near(entry, position) for entry in self._around.get(_choices(position), ()))

    def add(self, position: Position, score: float | None, radius: float) -> None:
        """One more entry, as `AvoidList.extended` has it."""
        entry = Avoided(position=position, score=score, radius=radius)
        self.avoided.append(entry)
        self._points.add(frozenset(position.items()))
        if radius > 0:
            self._around.setdefault(_choices(position), []).append(entry)

    def kept(self) -> AvoidList:
        """The list as a record."""
        return AvoidList(avoided=self.avoided)


def load(path: Path) -> AvoidList:
    """The list at `path`, empty if there is none.

    Raises:
        SearchError: the file is not an avoid list.
    """
    return AvoidList.load(path, SearchError) if path.exists() else AvoidList()


def _choices(position: Position) -> frozenset[tuple[str, Scalar]]:
    """What has to be the same in two positions that are near; of shares, that they are some."""
    return frozenset((name, "" if isinstance(value, float) else value) for name, value in position.items())


def _near(entry: Avoided, position: Position) -> bool:
    if entry.position.keys() != position.keys():
        return False
    return all(_close(entry.position[name], position[name], entry.radius) for name in position)


def _close(a: Scalar, b: Scalar, radius: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= radius
    return a == b
