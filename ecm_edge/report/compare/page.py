"""The page of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecm_edge.report.compare.records import CompareRecord


def render(record: CompareRecord) -> str:
    """The page as HTML."""
    return record.to_json()
