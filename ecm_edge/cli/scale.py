"""`ecm-edge scale`: the second phase, one family at growing widths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    PATH,
    FiniteRange,
    candidate_argument,
    data_option,
    emit,
    json_option,
    open_data,
    target_option,
    trust_option,
    unkept,
)
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "scale", epilog=example("ecm-edge scale run --data af --target nucleo-l432kc --least-objective 0.9 -o scaled")
)
@candidate_argument
@data_option
@target_option
@click.option("--out", "-o", type=PATH, required=True, help="The folder to write.")
@click.option(
    "--least-objective",
    "least_objective",
    type=FiniteRange(),
    required=True,
    help="The lowest objective that is good enough.",
)
@click.option(
    "--objective",
    type=click.Choice(["f1", "fbeta_mean", "board_score"]),
    default="fbeta_mean",
    show_default=True,
    help="What has to reach --least-objective.",
)
@click.option(
    "--flash-kib", type=FiniteRange(min=1), help="The most flash that it may take.  [default: the target's budget]"
)
@click.option(
    "--width", "widths", multiple=True, help="A parameter to multiply; may be repeated.  [default: the family's own]"
)
@trust_option
@json_option
def command(
    candidate: Path,
    data: Path,
    target: str,
    out: Path,
    least_objective: float,
    objective: str,
    flash_kib: float | None,
    widths: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Train a candidate at several widths, narrowest first, until its score and its size both meet their limits."""
    from ecm_edge import targets
    from ecm_edge.base.numbers import KIB
    from ecm_edge.candidate.candidate import load_config
    from ecm_edge.cli._trials import print_trial, show_trials
    from ecm_edge.search import scale

    with unkept():
        record = scale.scale(
            load_config(candidate),
            open_data(data),
            targets.load(target),
            out,
            objective=objective,  # type: ignore[arg-type] # click.Choice has checked it
            least_objective=least_objective,
            most_flash_bytes=round(flash_kib * KIB) if flash_kib else None,
            widths=widths,
            on_trial=print_trial,
        )
    emit(
        record,
        as_json=as_json,
        render=lambda: show_trials(
            f"{record.verdict}: {record.objective} of {record.standard:g} or more within "
            f"{record.most_flash_bytes / KIB:.0f} KiB of flash on {record.target}",
            record.objective,
            record.trials,
            record.best,
        ),
    )
