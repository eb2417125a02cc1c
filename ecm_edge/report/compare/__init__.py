"""Compare: models side by side, and each of them against the first: accuracy, cost, parity and configuration.

records.py       CompareRecord: what the page and the tables show
sides.py         what was given, opened once
accuracy.py      answers to a data set, paired as promotion pairs them
on_record.py     the same from the counts on record, where no data set is given
costs.py         cost on a board, whole and by layer
differences.py   parity and configurations
page.py          the HTML page
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge import targets
from ecm_edge.base import files, provenance
from ecm_edge.data.dataset import check_content
from ecm_edge.report.compare import costs, differences
from ecm_edge.report.compare.accuracy import compare_answers
from ecm_edge.report.compare.on_record import compare_records, recorded_figures
from ecm_edge.report.compare.records import CompareRecord, NotCompared
from ecm_edge.report.compare.sides import open_sides
from ecm_edge.report.report_record import facts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.report.compare.costs import SideCost
    from ecm_edge.report.compare.sides import Side
    from ecm_edge.targets import Target

__all__ = ["CompareRecord", "compare_models"]


def compare_models(
    paths: Sequence[Path],
    dataset: Dataset | None = None,
    *,
    target: Target | None = None,
    against: Path | None = None,
    form: Form | None = None,
    out: Path | None = None,
) -> CompareRecord:
    """Compare models, each with the first.

    Args:
        paths: candidates, runs (their best candidate), entries of a registry, or ONNX files, whose cost alone is
            compared.
        dataset: what all answer, on subjects that neither of two was fitted to; without one, accuracy is from what is
            on record.
        target: the board whose costs are compared; a model without an image for it is built and counted. Without one,
            costs are those on record.
        against: the model that the others are compared with; the first of `paths` by default.
        form: which form of a candidate; by default that of an entry, else the target's first, else the one on record.
        out: an HTML page to write; replaced if it is there.

    Raises:
        CandidateError: fewer than two models or too many, one twice, or a folder that is no candidate.
        ModelError: a file that is no classifier.
        RegistryError: an entry's manifest is damaged.
        DatasetError: the data set changed since it was written.
        OutputError: `out` cannot be written.
    """
    sides = open_sides(paths, against, form, target)
    if dataset:
        check_content(dataset)
    rule = target or _target_on_record(sides[0])
    answered = compare_answers(sides, dataset, rule) if dataset else compare_records(sides, rule)
    board = target.name if target else costs.board_of(sides)
    priced = [costs.cost_of(side, target, board) for side in sides]
    parity = [differences.parity_of(side) for side in sides]
    record = CompareRecord(
        models=[side.record() for side in sides],
        board=board,
        rule=rule.name if rule else None,
        label=next((side.records.config.task.label for side in sides if side.records), "AF"),
        synthetic=any(side.records.synthetic for side in sides if side.records)
        or bool(dataset and dataset.header.synthetic),
        data=facts(dataset) if dataset else None,
        accuracy=answered.pairs,
        recorded=list(recorded_figures(sides)),
        costs=[each.record for each in priced],
        layers=costs.layer_rows(priced, target, board),
        parity=parity,
        settings=differences.settings_of(sides),
        not_compared=[*answered.missing, *_missing(sides, priced)],
        notes=answered.notes,
        provenance=provenance.collect(),
    )
    if out:
        from ecm_edge.report.compare.page import render  # brings matplotlib

        files.write_atomic(out, render(record).encode())
    return record


def _target_on_record(first: Side) -> Target | None:
    """The board of the first model's records, if it is one that ships."""
    name = first.records.target if first.records else None
    return targets.load(name) if name in targets.names() else None


def _missing(sides: Sequence[Side], priced: Sequence[SideCost]) -> list[NotCompared]:
    """What of cost, parity and configuration is not there."""
    found = []
    for side, price in zip(sides, priced, strict=True):
        cost = price.record
        if cost.made == "counted" or cost.instructions is None:
            what = "cost" if cost.made == "counted" else "instructions"
            found.append(NotCompared(model=side.letter, what=what, reason=cost.reason))
        parity = differences.parity_of(side)
        if parity.reason:
            found.append(NotCompared(model=side.letter, what="parity", reason=parity.reason))
        if side.records is None:
            found.append(NotCompared(model=side.letter, what="configuration", reason="an ONNX file has none"))
    return found
