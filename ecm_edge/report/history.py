"""The history of a registry as a page: what replaced what, why, and how the incumbents changed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from markupsafe import Markup

from ecm_edge.base import files, provenance
from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.base.records import Verdict
from ecm_edge.candidate.candidate import SCORE
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.registry.registry import HistoryRecord, shelf_of
from ecm_edge.registry.wholeness import ENTRIES
from ecm_edge.report import cards
from ecm_edge.report.page import environment
from ecm_edge.report.trend import Point, trend

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Gate, Interval
    from ecm_edge.registry.events import Event
    from ecm_edge.registry.registry import RegistryHistory

CARD = "MODEL_CARD.md"
EVENTS_SHOWN = 200
"""So many decisions of a board stand on the page, the newest; the record has all."""

_INCUMBENTS_DRAWN = 24
_GATES_SHOWN = 20
_LONGEST = 2000  # characters of a reason
_CARD_TITLE = b"# Model card: "
_COSTS = {"flash_bytes": "flash, B", "ram_bytes": "RAM, B", "latency_ms": "ms, estimated", "macs": "MACs"}
_DRAWN_COSTS = ("flash_bytes", "ram_bytes", "latency_ms")
_FIGURES = {"fbeta_mean": "mean Fβ", "f1": "F1", "specificity": "specificity"}


@dataclass(frozen=True)
class Incumbent:
    """An entry that was in use from one decision on, with what is on record of it.

    `score` is the reason where there is none. `costs` are those of its promotion, by the budget's name.
    """

    event: Event
    score: ScoreRecord | str
    costs: dict[str, float]

    def figure(self, name: str) -> Interval | None:
        """A figure of its score."""
        return None if isinstance(self.score, str) else getattr(self.score.scores, name)


@dataclass(frozen=True)
class Shelf:
    """What the page shows of one board; `card` is a link, and `card_of` the entry that it is about."""

    history: HistoryRecord
    incumbents: list[Incumbent]
    charts: list[tuple[str, Markup]]
    card: str | None
    card_of: str | None

    @property
    def synthetic(self) -> int:
        """How many decisions rest on synthetic data."""
        return sum(event.synthetic for event in self.history.events)


def write_history(record: HistoryRecord | RegistryHistory, registry: Path, out: Path) -> None:
    """Write the page about one board's decisions, or about those of all boards.

    Args:
        record: what was decided.
        registry: the folder that it was read from.
        out: the HTML file; replaced if it is there.

    Raises:
        OutputError: `out` cannot be written; whatever was there is as it was.
    """
    histories = [record] if isinstance(record, HistoryRecord) else record.shelves
    shelves = [_shelf(n, one, shelf_of(registry, one.target), out.parent) for n, one in enumerate(histories)]
    files.write_atomic(out, render(shelves, registry.resolve().name).encode())


def render(shelves: list[Shelf], registry: str) -> str:
    """The page as HTML; every text of the records is escaped."""
    html = (
        environment()
        .get_template("history.html.jinja")
        .render(
            shelves=shelves,
            registry=registry,
            provenance=provenance.collect(),
            events_shown=EVENTS_SHOWN,
            gates_shown=_GATES_SHOWN,
            longest=_LONGEST,
            drawn=_INCUMBENTS_DRAWN,
            unpassed=unpassed,
            figures=_FIGURES,
            costs=_COSTS,
        )
    )
    return cards.with_labels(html)


def unpassed(event: Event) -> list[Gate]:
    """The gates that a refusal is due to: those that failed, or else those that did not run."""
    if event.event != "refused":
        return []
    failed = [gate for gate in event.gates if gate.verdict == Verdict.FAIL]
    return failed or [gate for gate in event.gates if gate.verdict == Verdict.NOT_RUN]


def _shelf(number: int, history: HistoryRecord, folder: Path, page_folder: Path) -> Shelf:
    made = [event for event in history.events if event.entry is not None][-_INCUMBENTS_DRAWN:]
    costs = {event.entry: _costs(event) for event in history.events if event.event == "promoted"}
    incumbents = [Incumbent(event, _score(folder, str(event.entry)), costs.get(event.entry, {})) for event in made]
    card = folder / CARD
    there = card.is_file()
    return Shelf(
        history=history,
        incumbents=incumbents,
        charts=_charts(number, incumbents),
        card=_link(card, page_folder) if there else None,
        card_of=_card_of(card) if there else None,
    )


def _score(folder: Path, entry: str) -> ScoreRecord | str:
    try:
        return ScoreRecord.load(folder / ENTRIES / entry / SCORE)
    except EcmEdgeError as problem:
        return problem.found


def _costs(event: Event) -> dict[str, float]:
    return {gate.name: gate.value for gate in event.gates if gate.name in _COSTS and gate.value is not None}


def _charts(number: int, incumbents: list[Incumbent]) -> list[tuple[str, Markup]]:
    """A drawing of each figure and of each cost that is known of an incumbent, with its caption."""
    drawn = []
    for name, label in _FIGURES.items():
        figures = [(incumbent, incumbent.figure(name)) for incumbent in incumbents]
        points = [
            Point(str(one.event.entry), figure.value, figure.low, figure.high)
            if figure
            else Point(str(one.event.entry), None)
            for one, figure in figures
        ]
        drawn.append((f"{label}, with its 95 % interval", trend(f"board-{number}-{name}", points, label)))
    for name in _DRAWN_COSTS:
        label = _COSTS[name]
        points = [Point(str(one.event.entry), one.costs.get(name)) for one in incumbents]
        drawn.append((label, trend(f"board-{number}-{name}", points, label)))
    return [(caption, Markup(svg)) for caption, svg in drawn if svg is not None]  # noqa: S704 - drawn by matplotlib


def _card_of(card: Path) -> str | None:
    """The entry that a card is about, by its first line."""
    with card.open("rb") as file:
        first = file.readline(200).strip()
    if not first.startswith(_CARD_TITLE):
        return None
    return first.removeprefix(_CARD_TITLE).decode("utf-8", "replace").strip()


def _link(path: Path, page_folder: Path) -> str:
    """The path from the page's folder, as a link."""
    return quote(os.path.relpath(path.resolve(), page_folder.resolve()).replace(os.sep, "/"))
