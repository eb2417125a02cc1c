"""The page of a comparison: the record through the template, with every text of the record escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.report import cards
from ecm_edge.report.compare import words
from ecm_edge.report.page import environment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecm_edge.base.records import Interval
    from ecm_edge.report.compare.records import CompareRecord, LayerRow, PairComparison

SUBJECTS_SHOWN = 20
"""So many subjects of a pair stand on the page: those whose figures differ most."""

ROWS_SHOWN = 200
"""So many rows of any other table stand on the page, which says how many there are."""


def render(record: CompareRecord) -> str:
    """The whole page as HTML."""
    template = environment().get_template("compare.html.jinja")
    html = template.render(
        r=record,
        first=record.models[0],
        pairs=[(pair, words.figures_of(pair), _widest(pair)) for pair in record.accuracy],
        costs=words.costs_table(record.costs),
        hops=words.hops_table(record.parity),
        settings=words.settings_table(record),
        most_instructions=_most_instructions(record.layers),
        w=words,
        subjects_shown=SUBJECTS_SHOWN,
        rows_shown=ROWS_SHOWN,
    )
    return cards.with_labels(html)


def _widest(pair: PairComparison) -> float:
    """The largest end of an interval among the ratios, for the scale of their drawing; points have another unit."""
    return max(map(_reach, pair.others.values()), default=0.0) or 1.0


def _reach(difference: Interval) -> float:
    return max(abs(end) for end in (difference.value, difference.low, difference.high) if end is not None)


def _most_instructions(rows: Iterable[LayerRow]) -> int:
    return max((layer.instructions or 0 for row in rows for layer in row.layers if layer), default=0) or 1
