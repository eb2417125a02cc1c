"""`ecm-edge promote`: whether a candidate replaces the incumbent, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    PATH,
    candidate_argument,
    emit,
    form_option,
    json_option,
    mlflow_option,
    own_data_option,
    sign_option,
    target_option,
    trust_option,
)
from ecm_edge.cli._help import example
from ecm_edge.cli._told import tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.registry.decision import PromoteRecord
    from ecm_edge.registry.remedies import Asked


@click.command("promote", epilog=example("ecm-edge promote run --data af --target loongson-2k0500 --registry registry"))
@candidate_argument
@own_data_option
@target_option
@click.option(
    "--registry", "registry", type=PATH, required=True, help="The registry's folder; made if it is not there."
)
@click.option(
    "--latency",
    "latency_files",
    type=PATH,
    multiple=True,
    help="A bench.json, or pytest-benchmark's JSON of benchmarks/test_latency.py.  [default: the candidate's own]",
)
@form_option("the target's first")
@click.option(
    "--source",
    help="For a merged data set: the one source to compare on, which the figures and the entry's name are about.  "
    "[default: the incumbent's or the only one that both have, else all]",
)
@click.option(
    "--verbose", is_flag=True, help="List every gate, the passed ones too.  [default: only what stands in the way]"
)
@sign_option
@mlflow_option
@trust_option
@json_option
def command(
    candidate: Path,
    data: Path,
    target: str,
    registry: Path,
    latency_files: tuple[Path, ...],
    form: Form | None,
    source: str | None,
    sign: str | None,
    mlflow_uri: str | None,
    *,
    verbose: bool,
    as_json: bool,
) -> None:
    """Let CANDIDATE replace the incumbent of a target, or say why not (exit 1).

    It must be verified, timed and within budget. If there is an incumbent, it must also score better on the same
    subjects and cost no more than the target tolerates. With --mlflow-uri, MLflow's registry gets the promoted model:
    as a version of the model that is called after the board, with the alias `incumbent`.
    """
    from ecm_edge import targets
    from ecm_edge.data.dataset import open_dataset
    from ecm_edge.registry.papers import signer
    from ecm_edge.registry.promote import promote
    from ecm_edge.registry.remedies import Asked

    log = mlflow_models(mlflow_uri)
    board, segments = targets.load(target), open_dataset(data)
    record = promote(
        candidate,
        segments,
        board,
        registry,
        latency_files=latency_files,
        form=form,
        source=source,
        sign=signer(sign) if sign else None,
    )
    if record.entry and log:
        log(registry, board.name)
    tell_notes(registry, board.name)
    asked = Asked(candidate, data, target, registry)
    emit(record, as_json=as_json, render=lambda: _render(record, asked, verbose=verbose))
    if record.entry is None:
        click.get_current_context().exit(1)


def tell_notes(registry: Path, board: str) -> None:
    """Tell of entries that were changed, and of a clock that went back."""
    from ecm_edge.registry.check import notes
    from ecm_edge.registry.registry import shelf_of

    tell([], notes(shelf_of(registry, board)))


def mlflow_models(uri: str | None) -> Callable[[Path, str], None] | None:
    """What makes MLflow's alias name the incumbent of a registry's board, where it is asked for."""
    if uri is None:
        return None
    from ecm_edge.registry.mlflow_models import log_incumbent
    from ecm_edge.registry.registry import shelf_of
    from ecm_edge.search.mlflow_log import connect

    server = connect(uri)
    server.check()

    def log(registry: Path, board: str) -> None:
        version = log_incumbent(server, shelf_of(registry, board))
        tell([f"MLflow: {board} version {version} is the incumbent"])

    return log


def _render(record: PromoteRecord, asked: Asked, *, verbose: bool) -> None:
    from ecm_edge.base.tables import say

    made_up = " (SYNTHETIC DATA)" if record.synthetic else ""
    done = "the incumbent already, as" if record.already else "promoted as"
    what = f"{done} {record.entry}" if record.entry else "refused"
    say(f"{record.verdict}: {record.candidate} {record.form} {what}{made_up}")
    if not record.entry:
        _in_the_way(record, asked)
    if verbose:
        _every_gate(record)
    if record.entry:
        say(record.reason)
    if record.proof_s is not None:
        say(f"built, verified on a sample and scored again in {record.proof_s:.1f} s")
    if not verbose:
        say(_counted(record))


def _in_the_way(record: PromoteRecord, asked: Asked) -> None:
    """The gates that failed, then those that did not run; under each what would help."""
    from ecm_edge.base.records import Verdict
    from ecm_edge.base.tables import say
    from ecm_edge.registry.remedies import due, remedy, said

    for verdict in (Verdict.FAIL, Verdict.NOT_RUN):
        for gate in due(record, verdict):
            say(f"{verdict.value:7} {gate.name}: {said(gate)}", indent=8)
            if help_ := remedy(gate, record, asked):
                say(f"        {help_}")


def _counted(record: PromoteRecord) -> str:
    """How many gates passed, and how many say nothing."""
    from ecm_edge.base.records import Verdict
    from ecm_edge.registry.remedies import due

    verdicts = [gate.verdict for gate in record.gates]
    passed, void = verdicts.count(Verdict.PASS), verdicts.count(Verdict.NOT_RUN)
    void -= 0 if record.entry else len(due(record, Verdict.NOT_RUN))
    why = "do not apply" if record.entry else "compare with the incumbent, and were not reached"
    others = f"; {void} {why}" if void else ""
    return f"{passed} gates passed{others}; --verbose lists them"


def _every_gate(record: PromoteRecord) -> None:
    from ecm_edge.base.tables import Column, show

    show(
        f"{len(record.gates)} gates",
        ["gate", "verdict", Column("value", drop=3), Column("limit", drop=2), Column("unit", drop=1), "why"],
        [
            [
                gate.name,
                gate.verdict.value,
                "" if gate.value is None else f"{gate.value:,.6g}",
                "" if gate.limit is None else f"{gate.limit:,.6g}",
                gate.unit,
                gate.detail,
            ]
            for gate in record.gates
        ],
    )
