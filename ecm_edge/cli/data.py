"""`ecm-edge data`: read, make, count and audit data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import PATH, emit, json_option

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.synthetic import SynthFormat


@click.group("data")
def command() -> None:
    """Read, make, count and audit data sets."""


@command.command("synth")
@click.option("-o", "--out", type=PATH, required=True, help="The folder to make; it must not exist.")
@click.option("--subjects", type=click.IntRange(1), required=True, help="Number of subjects.")
@click.option("--seed", type=click.IntRange(0), required=True, help="The same seed gives the same bytes.")
@click.option("--segments-per-subject", type=click.IntRange(2), default=40, show_default=True, help="Even; 5 s each.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["dataset", "iesd", "wfdb", "edf", "csv"]),
    default="dataset",
    show_default=True,
    help="A data set, or recordings in an input format.",
)
@json_option
def synth(
    out: Path, subjects: int, seed: int, segments_per_subject: int, file_format: SynthFormat, *, as_json: bool
) -> None:
    """Make deterministic synthetic ECG: sinus, AF, ectopy, bradycardia and noise."""
    from ecm_edge import synthetic

    record = synthetic.synthesise(
        out, subjects=subjects, seed=seed, segments_per_subject=segments_per_subject, file_format=file_format
    )

    def render() -> None:
        click.echo(f"{record.segments} synthetic segments of {record.subjects} subjects in {record.path}")

    emit(record, as_json=as_json, render=render)
