"""What the commands tell of recordings and data sets: what was left out, notes, rhythms, sources, a missing class."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from ecm_edge.data.dataset import Dataset, LeftOut, Note
    from ecm_edge.data.info import SourceCounts
    from ecm_edge.data.rhythms import RhythmCount
    from ecm_edge.data.splits import FoldAssignment


class _OfRecordings(Protocol):
    """A record or a header that says what was left out, and what is to be known of the rest."""

    @property
    def left_out(self) -> list[LeftOut]: ...

    @property
    def notes(self) -> list[Note]: ...


class _OfImport(_OfRecordings, Protocol):
    """One that counts its recordings by lead and by sampling rate as well."""

    @property
    def leads(self) -> dict[str, int]: ...

    @property
    def rates_hz(self) -> dict[str, int]: ...

    @property
    def sampling_rate_hz(self) -> float: ...


def lines_of(record: _OfRecordings) -> list[str]:
    """What was left out, and the notes; equal ones once, with their number."""
    from ecm_edge.data.reasons import of_left_out, of_notes

    left_out = [f"left out: {line}" for line in of_left_out(record.left_out)]
    return left_out + [f"note: {line}" for line in of_notes(record.notes)]


def lines_of_import(record: _OfImport) -> list[str]:
    """These lines, the leads that were read, and the rates that were changed."""
    lines = lines_of(record)
    if record.leads:
        lines.append("leads: " + ", ".join(f"{lead} of {count:,}" for lead, count in record.leads.items()))
    others = {rate: count for rate, count in record.rates_hz.items() if rate != f"{record.sampling_rate_hz:g}"}
    if others:
        each = ", ".join(f"{count:,} from {rate} Hz" for rate, count in others.items())
        lines.append(f"recordings resampled to {record.sampling_rate_hz:g} Hz: {each}")
    return lines


def tell(lines: Iterable[str], warnings: Iterable[str] = ()) -> None:
    """Print lines and warnings on stderr; what a terminal would act on is escaped."""
    from ecm_edge.base.tables import printable

    for line in [*lines, *(f"warning: {warning}" for warning in warnings)]:
        click.echo(printable(line), err=True)


def show_rhythms(labels: Iterable[RhythmCount]) -> None:
    """A table of what each rhythm counts as."""
    from ecm_edge.base.tables import show

    def name(row: RhythmCount) -> str:
        written = "" if row.written_as == [row.rhythm] else f" (written {', '.join(row.written_as)})"
        return (row.rhythm or "(blank)") + written

    show(
        "Rhythms",
        ["rhythm", "counts as", "windows", "subjects"],
        [[name(row), row.meaning, f"{row.segments:,}", str(row.subjects)] for row in labels],
    )


def show_sources(sources: Sequence[SourceCounts]) -> None:
    """A table of the sources of a merged data set."""
    from ecm_edge.base.tables import Column, show
    from ecm_edge.data.dataset import LICENCE_UNSTATED

    labels = list(sources[0].labels) if sources else []
    show(
        "Sources",
        [
            "source",
            Column("format", drop=2),
            "subjects",
            "segments",
            *labels,
            Column("content", drop=1),
            "licence",
        ],
        [
            [s.source, s.format, f"{s.subjects:,}", f"{s.segments:,}"]
            + [f"{s.labels[name]:,}" for name in labels]
            + [s.content_sha256[:12], s.licence or LICENCE_UNSTATED]
            for s in sources
        ],
    )


def show_folds(record: FoldAssignment, dataset: Dataset | None = None) -> None:
    """The subjects in each fold; of a merged data set, their number by source."""
    from ecm_edge.base.tables import say, show

    numbers = range(record.count)
    if dataset is None:
        for number in numbers:
            say(f"fold {number}: {', '.join(record.subjects(number))}")
        return
    rows = []
    for source in dataset.header.sources:
        inside = Counter(record.folds.get(name) for name in source.subjects)
        use = "scores only" if source.name in record.score_only else "training and scores"
        use = "training only" if source.name in record.train_only else use
        rows.append([source.name, use, *(f"{inside[number]:,}" for number in numbers)])
    show("Subjects", ["source", "is in", *(f"fold {number}" for number in numbers)], rows)


def say_if_one_class(classes: Collection[str]) -> None:
    """Say which of "positive" and "negative" is not among the classes that have a window."""
    from ecm_edge.base.tables import say
    from ecm_edge.data.rhythms import one_class

    if missing := one_class(classes):
        say(missing)
