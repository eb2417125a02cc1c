"""Verbs on a registry and the pages: promote, history, rollback, compare, the report and the model card."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from ecm_edge.api import given

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.api.given import AnyDataset, AnyPath, AnyTarget
    from ecm_edge.base.records import Form
    from ecm_edge.registry.check import RegistryCheck
    from ecm_edge.registry.decision import PromoteRecord
    from ecm_edge.registry.events import Event
    from ecm_edge.registry.registry import HistoryRecord, RegistryHistory
    from ecm_edge.report.compare import CompareRecord
    from ecm_edge.report.model_card import CardRecord
    from ecm_edge.report.records import ReportRecord, ValidationRecord


def promote(
    candidate: AnyPath,
    dataset: AnyDataset,
    target: AnyTarget,
    registry: AnyPath,
    *,
    latency_files: Sequence[AnyPath] = (),
    form: Form | None = None,
    source: str | None = None,
    sign: str | None = None,
) -> PromoteRecord:
    """Decide whether a candidate replaces the incumbent, write that down, and install the candidate if it passed.

    Args:
        candidate: its folder, or that of a run.
        dataset: the one that the candidate was made from.
        target: whose incumbent is challenged.
        registry: its folder, made if it is not there.
        latency_files: bench.json or pytest-benchmark's JSON; the candidate's own bench.json by default. One that also
            names the incumbent's model is used for both.
        form: what would ship; the target's first form by default.
        source: of a merged data set, the one that figures, comparison and the entry's name are about; by default the
            incumbent's, or else the only one that both data sets have, or else all.
        sign: a key to sign the entry with, a PEM file or a URI of PKCS#11.

    Raises:
        CandidateError: the candidate lacks a piece (firmware.json too, for a target with firmware), has a changed
            file, no latency evidence names its model, or the source is not there or has no answers.
        DatasetError: the data set changed since it was written, or the test subjects have no segment.
        ModelError: a model is corrupt or its scores are not finite.
        RegistryError: the registry is damaged, or an entry of it was changed.
        OutputError: the registry cannot be written, or another process holds it; the incumbent is the old one.
    """
    from ecm_edge.registry.papers import signer
    from ecm_edge.registry.promote import promote as inner

    return inner(
        given.model(candidate),
        given.dataset(dataset),
        given.target(target),
        given.path(registry),
        latency_files=[given.path(one) for one in latency_files],
        form=form,
        source=source,
        sign=signer(sign) if sign else None,
    )


@overload
def history(registry: AnyPath, target: AnyTarget, *, out: AnyPath | None = None) -> HistoryRecord: ...


@overload
def history(registry: AnyPath, target: None = None, *, out: AnyPath | None = None) -> RegistryHistory: ...


def history(
    registry: AnyPath, target: AnyTarget | None = None, *, out: AnyPath | None = None
) -> HistoryRecord | RegistryHistory:
    """What was decided for a target, oldest first; without a target, for every target of the registry.

    Args:
        registry: its folder.
        target: the board.
        out: an HTML page to write; replaced if it is there.

    Raises:
        RegistryError: there is no registry, or it is damaged.
        TargetError: no such target.
        OutputError: `out` cannot be written.
    """
    from ecm_edge.registry.registry import history_record, whole_history
    from ecm_edge.report.history import write_history

    folder = given.path(registry)
    record = whole_history(folder) if target is None else history_record(*_shelf(folder, target))
    if out is not None:
        write_history(record, folder, given.path(out))
    return record


def rollback(registry: AnyPath, target: AnyTarget, entry: str | None = None) -> Event:
    """Make an earlier entry the incumbent again: the one named, or the one that the last promotion replaced.

    To say it again changes nothing.

    Raises:
        RegistryError: there is no such entry, the registry is damaged, or a file of the entry was changed.
        TargetError: no such target.
    """
    from ecm_edge.base.provenance import date_utc
    from ecm_edge.registry.registry import rollback as inner

    return inner(_shelf(registry, target)[0], date_utc(), entry)


def check_registry(registry: AnyPath, *, repair: bool = False, key: AnyPath | None = None) -> RegistryCheck:
    """Say everything that is wrong with a registry.

    Args:
        registry: its folder.
        repair: whether to write again what the history tells, and to remove what killed processes left.
        key: a public key, whose owner has to have signed every entry.

    Raises:
        RegistryError: there is no registry.
        OutputError: with `repair`, another process holds it, or it cannot be written.
    """
    from ecm_edge.registry.check import check

    return check(given.path(registry), repair=repair, key=given.path(key))


def compare(
    models: Sequence[AnyPath],
    dataset: AnyDataset | None = None,
    *,
    target: AnyTarget | None = None,
    against: AnyPath | None = None,
    form: Form | None = None,
    out: AnyPath | None = None,
) -> CompareRecord:
    """Compare models, each with the first: accuracy, cost, parity and configuration.

    Args:
        models: candidates, runs, entries of a registry, or ONNX files, whose cost alone is compared.
        dataset: what all answer, on subjects that neither of two was fitted to; without one, accuracy is from what is
            on record.
        target: the board whose costs are compared; a model without an image for it is built and counted. Without one,
            costs are those on record.
        against: the model that the others are compared with; by default the first.
        form: which form of a candidate; by default that of an entry, else the target's first, else the one on record.
        out: an HTML page to write; replaced if it is there.

    Raises:
        CandidateError: fewer than two models or too many, one twice, or a folder that is no candidate.
        ModelError: a file that is no classifier.
        RegistryError: an entry's manifest is damaged.
        DatasetError: the data set changed since it was written.
        OutputError: `out` cannot be written.
    """
    from ecm_edge.report.compare import compare_models

    return compare_models(
        [given.path(one) for one in models],
        given.dataset(dataset, check=False),
        target=given.target(target),
        against=given.path(against),
        form=form,
        out=given.path(out),
    )


def report(
    path: AnyPath, dataset: AnyDataset, out: AnyPath, *, registry: AnyPath | None = None
) -> ReportRecord | ValidationRecord:
    """Write the page about a candidate, or about a run and its best candidate, to `out`.

    On a data set that the candidate was not made from, and of an ONNX file, it is the page of a validation: nothing but
    the answers on that data set.

    Args:
        path: the candidate's folder, that of an entry of a registry, the run's, or an ONNX file.
        dataset: the one that the candidate was made from, or any other.
        out: the HTML file; replaced if it is there.
        registry: a registry whose decisions are shown; not on the page of a validation.

    Raises:
        EcmEdgeError: no model, no data set, or records that are damaged or of other files.
        OutputError: `out` cannot be written; whatever was there is as it was.
    """
    from ecm_edge.report import write_report

    return write_report(given.path(path), given.dataset(dataset), given.path(out), registry=given.path(registry))


def card(
    candidate: AnyPath, out: AnyPath, *, dataset: AnyDataset | None = None, extra: Sequence[AnyPath] = ()
) -> CardRecord:
    """Write the card of a candidate or of an entry of a registry.

    Args:
        candidate: its folder, or that of a run.
        out: the Markdown file; replaced if it is there.
        dataset: the one that the candidate was made from; its segments, subjects and labels are counted.
        extra: Markdown files, put in before the commands.

    Raises:
        CandidateError: not a candidate; a record that is damaged, or made from another configuration or other files;
            another data set; or an extra file that cannot be read as UTF-8.
        DatasetError: the data set's table changed since it was written.
        OutputError: `out` cannot be written, or lies in an entry.
        RegistryError: an entry's manifest is damaged.
    """
    from ecm_edge.report.model_card import write_card

    return write_card(
        given.model(candidate),
        given.path(out),
        dataset=given.dataset(dataset, check=False),
        extra=[given.path(one) for one in extra],
    )


def _shelf(registry: AnyPath, target: AnyTarget) -> tuple[Path, str]:
    """The folder of a target in a registry, and the target's name."""
    from ecm_edge.registry.registry import shelf_of

    name = given.target(target).name
    return shelf_of(given.path(registry), name), name
