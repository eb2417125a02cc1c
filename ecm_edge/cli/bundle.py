"""`ecm-edge bundle`: everything for a contest entry or a firmware team, in one folder or archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    CANDIDATE,
    PATH,
    check_form,
    class_names,
    classes_option,
    emit,
    form_option,
    json_option,
    print_gates,
    refuse_for_candidate,
    say_facts,
    sign_option,
    target_option,
    threshold_option,
    trust_option,
)
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.registry.bundle import BundleRecord


@click.command("bundle", epilog=example("ecm-edge bundle run --target loongson-2k0500 -o bundle"))
@click.argument(
    "model",
    metavar="MODEL|CANDIDATE|ENTRY",
    type=CANDIDATE,
    help="An ONNX file, a candidate, or an entry of a registry.",
)
@target_option
@form_option("the target's first")
@threshold_option
@classes_option
@click.option("--report", type=PATH, help="An HTML page to put in, as `ecm-edge report` writes it.  [default: none]")
@sign_option
@click.option("--out", "-o", type=PATH, required=True, help="A new folder, or a new file that ends in .zip.")
@trust_option
@json_option
def command(
    model: Path,
    target: str,
    form: Form | None,
    threshold: float | None,
    classes: str | None,
    report: Path | None,
    sign: str | None,
    out: Path,
    *,
    as_json: bool,
) -> None:
    """Pack the image of MODEL for a board, its C code with a Makefile for any compiler, the ONNX file and its records.

    Unpacked anywhere, `make check` gives the same answers to the bit. Exits with 1 if the emulated board does not, or
    if the image is not the one that was verified.
    """
    from ecm_edge import targets
    from ecm_edge.registry.bundle import bundle

    refuse_for_candidate(model, threshold, classes)
    check_form(model, form)
    record = bundle(
        model,
        targets.load(target),
        out,
        form=form,
        report=report,
        threshold=threshold,
        classes=class_names(classes),
        sign=sign,
    )
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: BundleRecord) -> None:
    from ecm_edge.base.tables import say

    packed = record.manifest
    say(f"{record.verdict}: {packed.form} for {packed.target}, {len(packed.files) + 1} files in {record.out}")
    say_facts(record.facts, record.serial)
    print_gates(record.gates)
    if record.archive_sha256:
        say(f"SHA-256 {record.archive_sha256}")
