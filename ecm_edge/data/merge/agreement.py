"""What the sets of a merge have to agree in, and what the user states where they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ecm_edge.base.errors import DatasetError
from ecm_edge.data.dataset import BLANK_RHYTHM, UNSTATED, Blank, Description, Note, Source, check_content, natural_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.merge.parts import Part
    from ecm_edge.data.rhythms import Meaning

T = TypeVar("T")

MEANINGS: dict[int, Meaning] = {1: "positive", 0: "negative", -1: "no label"}
"""What a label is called."""


@dataclass(frozen=True)
class MergeRules:
    """What the user states where sets differ.

    Args:
        positive: the positive rhythms of the merged set; none where those of all sets agree.
        mapping: pairs of (rhythm, the rhythm that it becomes).
        unit: the unit of the sets that state none; `UNSTATED` if no unit is to be stated for the whole.
        blank: what a blank rhythm counts as.
        drop_duplicates: whether a segment with the samples of one in an earlier set is left out.
    """

    positive: tuple[str, ...] = ()
    mapping: tuple[tuple[str, str], ...] = ()
    unit: str | None = None
    blank: Blank | None = None
    drop_duplicates: bool = False

    def statement(self) -> dict[str, str]:
        """What was stated, for the source of the header."""
        stated = {
            "positive": ",".join(self.positive),
            "map": ",".join(f"{code}={known}" for code, known in self.mapping),
            "unit": self.unit or "",
            "blank": self.blank or "",
            "drop_duplicates": "true" if self.drop_duplicates else "",
        }
        return {name: text for name, text in stated.items() if text}


def check_sets(datasets: Sequence[Dataset]) -> None:
    """Refuse fewer than two sets, what is there twice, segments of two forms, and what changed since it was written.

    Raises:
        DatasetError: with the folders.
    """
    if len(datasets) < 2:  # noqa: PLR2004 - two sets are the fewest to merge
        raise DatasetError("a merge is of two data sets or more", f"{len(datasets)} given", "Name all of them.")
    places: dict[str, Path] = {}
    for dataset in datasets:
        header = dataset.header
        for sha256 in {header.content_sha256, *header.source_sha256}:
            if sha256 in places:
                raise DatasetError(
                    "each data set is merged once",
                    f"content {sha256[:12]} in {places[sha256]} and in {dataset.folder}",
                    "Name it once; of a merged set that holds it, name the sets that it was merged from.",
                )
            places[sha256] = dataset.folder
    for dataset in datasets[1:]:
        _check_form(datasets[0], dataset)
    for dataset in datasets:
        check_content(dataset)


def _check_form(first: Dataset, other: Dataset) -> None:
    one, another = _form(first), _form(other)
    if one != another:
        raise DatasetError(
            "segments of merged sets have one window, sampling rate and band",
            f"{one} in {first.folder}, {another} in {other.folder}",
            "Import the recordings again for one task, with --task.",
        )


def _form(dataset: Dataset) -> str:
    header, task = dataset.header, dataset.header.task
    band = "{:g}-{:g} Hz".format(*task.band_hz) if task.band_hz else "no band"
    rate = f"{header.samples_per_segment} samples at {header.sampling_rate_hz:g} Hz"
    return f"{rate}, {task.window_s:g} s, {band}"


def check_rules(datasets: Sequence[Dataset], rules: MergeRules) -> None:
    """Refuse a rule that names a rhythm of no set, or maps one twice.

    Raises:
        DatasetError: with the rhythm.
    """
    mapping = dict(rules.mapping)
    there = {code for dataset in datasets for code in (*dataset.header.rhythms, *dataset.header.positive_rhythms)}
    here = {mapping.get(code, code) for code in there}
    stated = [(code, there) for pair in rules.mapping for code in pair] + [(code, here) for code in rules.positive]
    for code, known in stated:
        if code not in known or code == BLANK_RHYTHM:
            raise DatasetError(
                "a rhythm that is stated is one of the sets",
                f"{code!r}, not among {', '.join(sorted(known - {BLANK_RHYTHM}, key=natural_key))}",
                "Check --positive and --map.",
            )
    codes = [code for code, _ in rules.mapping]
    if twice := [code for code in mapping if codes.count(code) > 1]:
        raise DatasetError("each rhythm is mapped once", f"{twice[0]!r} twice", "Check --map.")


def describe(parts: Sequence[Part], rules: MergeRules) -> Description:
    """The meaning of the merged set, but for its sources.

    Raises:
        DatasetError: positive rhythms, units or rules of blank rhythms that do not agree.
    """
    headers = [part.dataset.header for part in parts]
    first, mapping = headers[0], dict(rules.mapping)
    positives = [sorted({mapping.get(code, code) for code in header.positive_rhythms}) for header in headers]
    positive = list(rules.positive) or _agreed(
        parts, positives, "the same rhythms are positive in all sets", _positive_hint
    )
    with_blank = [part for part in parts if BLANK_RHYTHM in part.dataset.header.rhythms] or parts[:1]
    blank = rules.blank or _agreed(
        with_blank,
        [part.dataset.header.blank for part in with_blank],
        "a blank rhythm counts as the same in all sets",
        lambda _: "State it with --blank negative or --blank drop.",
    )
    same_splits = all(sorted(header.splits) == sorted(first.splits) for header in headers)
    return Description(
        sampling_rate_hz=first.sampling_rate_hz,
        samples_per_segment=first.samples_per_segment,
        unit=_unit(parts, rules.unit),
        splits=first.splits if same_splits else [],
        positive_rhythms=positive,
        blank=blank,
        synthetic=any(header.synthetic for header in headers),
        source=Source(format="merge", options=rules.statement()),
        task=first.task.model_copy(update={"positive": positive}),
    )


def _unit(parts: Sequence[Part], stated: str | None) -> str:
    """That of all sets, or the one that is stated for those without."""
    if stated == UNSTATED:
        return UNSTATED
    units = [part.dataset.header.unit for part in parts]
    if stated and UNSTATED not in units:
        raise DatasetError("--unit is for sets without a unit", f"units {', '.join(units)}", "Leave it out.")
    if stated:
        units = [stated if unit == UNSTATED else unit for unit in units]
    return _agreed(parts, units, "samples of merged sets have one unit", _unit_hint)


def _agreed(parts: Sequence[Part], values: Sequence[T], rule: str, hint: Callable[[Sequence[T]], str]) -> T:
    """The value that all sets have; else the error names the first set and one that has another."""
    for part, value in zip(parts, values, strict=True):
        if value != values[0]:
            one, other = (", ".join(each) if isinstance(each, list) else str(each) for each in (values[0], value))
            raise DatasetError(rule, f"{one} in {parts[0].title}, {other} in {part.title}", hint(values))
    return values[0]


def _positive_hint(found: Sequence[list[str]]) -> str:
    every = {code for codes in found for code in codes}
    first, differing = set(found[0]), sorted(code for code in every if any(code not in codes for codes in found))
    more = next((code for code in differing if code not in first), differing[0])
    known = min(first - {more} or every - {more})
    stated = ",".join(sorted(every))
    return f"If the two mean one rhythm, write --map {more}={known}; else state all that are, --positive {stated}."


def _unit_hint(found: Sequence[str]) -> str:
    if UNSTATED not in found:
        return "Import one of them again in the unit of the other."
    known = next(unit for unit in found if unit != UNSTATED)
    return f"State that of the sets without one, with --unit {known}, or leave it open with --unit {UNSTATED}."


def notes(parts: Sequence[Part], description: Description) -> list[Note]:
    """What the merge decided, by set."""
    return [Note(name=part.title, text=text) for part in parts for text in _decided(part, description)]


def _decided(part: Part, description: Description) -> Iterator[str]:
    header = part.dataset.header
    for code in header.rhythms:
        was, now = header.label(code), description.label(part.rhythms[code])
        if was != now:
            yield f"the rhythm {code or '(blank)'} was {MEANINGS[was]} there and is {MEANINGS[now]} here"
    if header.unit != description.unit:
        yield f"unit {header.unit} there, {description.unit} here"
    if header.synthetic != description.synthetic:
        yield "not synthetic, in a set that is marked synthetic for another one"
    if header.splits and not description.splits:
        yield f"its fixed splits are not kept, since the sets have different ones: {', '.join(header.splits)}"
    if header.task.name != description.task.name:
        yield f"made for the task {header.task.name}, in a set for {description.task.name}"
    renamed = [(old, new) for old, new in part.subjects.items() if new != old]
    if renamed:
        such = f"{renamed[0][0]} is {renamed[0][1]}"
        yield f"{len(renamed)} subjects renamed, since an earlier set has their names: {such}"
