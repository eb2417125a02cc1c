"""Who may train: a point once among all workers, and as many trials as are wanted.

Workers share nothing but the storage, which has no lock across operations. So a trial says what it wants before it
looks at what the others want, as in Lamport's bakery: of two trials, at least one sees the other.

A running trial is in one of these phases, with its point, in one user attribute:

    drawn    its point is stored, and it wants to train
    back     it left the others the place, and asks again as soon as one can be left
    claimed  it trains

Whoever has written "drawn" reads all trials and decides by `decide`. With any order of the writes and reads of any
number of workers, two trials of one point are never both claimed, and never more than there are places
(`tests/test_claim.py` goes through all orders of three). Of those who wait, the one with the lowest number never waits
for another that waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Phase = Literal["drawn", "back", "claimed"]
Decision = Literal["claim", "avoid", "surplus", "back", "wait"]


@dataclass(frozen=True)
class Contender:
    """A running trial: its number in the study, its phase if it has one yet, and its point."""

    number: int
    phase: Phase | None
    point: str


def decide(mine: Contender, others: Sequence[Contender], *, is_taken: bool, places: int) -> Decision:
    """What a trial does that wants to train, from one look at the others.

    Args:
        mine: the trial; its phase in the storage is "drawn".
        others: all other trials that run.
        is_taken: a finished trial had the point, or was so near and so poor that it is avoided.
        places: how many trials more are to be trained, those that are claimed now among them.

    Returns:
        claim: train. avoid: the point is another's. surplus: no place is left and none can become free.
        back: leave the places to trials with lower numbers, and ask again. wait: look again, another will decide first.
    """
    claimed = [other for other in others if other.phase == "claimed"]
    drawn = [other for other in others if other.phase == "drawn"]
    lower = [other for other in drawn if other.number < mine.number]
    if is_taken or mine.point in {other.point for other in [*claimed, *lower]}:
        return "avoid"
    if places <= 0:
        return "surplus"
    free = places - len(claimed)
    if free <= len(lower):
        return "back"
    if free <= len(drawn) or mine.point in {other.point for other in drawn}:
        return "wait"
    return "claim"


def may_ask(others: Sequence[Contender], *, places: int) -> bool:
    """Whether a trial that went back asks again; else many that ask at once would keep those before them waiting.

    Args:
        others: all other trials that run.
        places: as `decide` takes them.
    """
    asking = sum(other.phase in {"claimed", "drawn"} for other in others)
    return places <= 0 or asking < places
