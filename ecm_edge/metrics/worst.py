"""Which subjects a table or a chart shows, where there may be thousands of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.data.dataset import natural_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecm_edge.metrics.evaluate import SubjectScore

SHOWN = 60
"""At most so many subjects are shown to people; a record has them all."""

_GOOD_ABOVE = 0.9


def worst_first(subjects: Iterable[SubjectScore]) -> list[SubjectScore]:
    """By Fβ, then by specificity, then by the number of wrong answers; equal ones by name, S2 before S10."""
    return sorted(subjects, key=_order)


def shown(subjects: Sequence[SubjectScore], most: int = SHOWN) -> list[SubjectScore]:
    """The worst subjects, `most` at most, worst first.

    Where there are more, half of the places are for subjects with positive segments and half for those without, whose
    Fβ is 1 by rule and who are ranked by specificity; places that one kind leaves free go to the other.
    """
    ranked = worst_first(subjects)
    if len(ranked) <= most:
        return ranked
    with_positives = [subject for subject in ranked if _has_positives(subject)]
    without = [subject for subject in ranked if not _has_positives(subject)]
    half = max(most // 2, most - len(without))
    kept = with_positives[:half]
    return worst_first([*kept, *without[: most - len(kept)]])


def left_out(subjects: Sequence[SubjectScore], most: int = SHOWN, label: str = "AF") -> str:
    """What `shown` leaves out, in numbers; empty where it shows all."""
    if len(subjects) <= most:
        return ""
    kept = {subject.subject for subject in shown(subjects, most)}
    rest = [subject for subject in subjects if subject.subject not in kept]
    positive = [subject for subject in rest if _has_positives(subject)]
    negative = [subject for subject in rest if not _has_positives(subject)]
    good = sum(subject.fbeta > _GOOD_ABOVE for subject in positive)
    clean = sum(subject.specificity is not None and subject.specificity > _GOOD_ABOVE for subject in negative)
    return (
        f"shown: the worst {len(kept):,} of {len(subjects):,} subjects, with and without {label}. Of the others, "
        f"{len(positive):,} have {label}, {good:,} of them Fβ above {_GOOD_ABOVE:g}; {len(negative):,} have none, "
        f"{clean:,} of them specificity above {_GOOD_ABOVE:g}. --json has all"
    )


def _has_positives(subject: SubjectScore) -> bool:
    return subject.tp + subject.fn > 0


def _order(subject: SubjectScore) -> tuple[object, ...]:
    specificity = 1.0 if subject.specificity is None else subject.specificity
    return subject.fbeta, specificity, -(subject.fp + subject.fn), natural_key(subject.subject)
