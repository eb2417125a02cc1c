"""`ecm-edge gate`: what an untrained candidate costs on a board."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import CANDIDATE, emit, json_option, print_gates, target_option, trust_option
from ecm_edge.cli._help import example
from ecm_edge.cli._names import shipped
from ecm_edge.cli._network import divide, factory_option, family_option, parse_all, set_option
from ecm_edge.cli._told import tell

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Gate
    from ecm_edge.candidate.training_config import Scalar
    from ecm_edge.forms.gate import CostRecord


@click.command(
    "gate",
    epilog=example(
        "ecm-edge gate --family separable --set channels=6 --set depth=4 --set kernel=5 --target nucleo-l432kc",
        "ecm-edge gate one --target nucleo-l432kc",
    ),
)
@click.argument(
    "candidate",
    type=CANDIDATE,
    required=False,
    help="A candidate's folder, or a run's (its best); --set changes its network.  [default: --family]",
)
@target_option
@family_option
@factory_option
@set_option
@click.option(
    "--task",
    shell_complete=shipped("tasks"),
    help="The task, for the length of a segment.  [default: the candidate's, or af-5s]",
)
@trust_option
@json_option
def command(
    candidate: Path | None,
    target: str,
    family: str | None,
    factory: str | None,
    assignments: tuple[str, ...],
    task: str | None,
    *,
    as_json: bool,
) -> None:
    """Hold a candidate against a board's budgets before it is trained: build it, untrained, and count it.

    `train` and `search` do the same first, and train nothing that does not fit. The answer says by how much a budget is
    broken, and which layer weighs most. Nothing is written; no data set is needed. Exits with 1 if it does not fit.
    """
    from ecm_edge import targets, tasks
    from ecm_edge.candidate import networks
    from ecm_edge.candidate.candidate import load_config
    from ecm_edge.search.gate import gate_network

    if candidate and (family or factory):
        raise click.UsageError("a candidate brings its own family; leave out --family and --factory")
    training, changes = divide(parse_all(assignments))
    if training:
        tell([f"note: training.{next(iter(training))} changes nothing here: nothing is trained"])
    board, samples = targets.load(target), tasks.load(task).samples_per_segment if task else None
    if candidate:
        config = load_config(candidate)
        family, factory, changes = config.family, config.factory, {**config.network, **changes}
        samples = samples or config.samples_per_segment
    else:
        family, changes = networks.chosen(family, changes, factory)
    samples = samples or tasks.default().samples_per_segment
    record = gate_network(family, changes, samples, board, factory=factory)
    emit(record, as_json=as_json, render=lambda: _render(record, _named(family, factory, changes)))


def _named(family: str, factory: str | None, network: dict[str, Scalar]) -> str:
    return ", ".join([factory or family, *(f"{name}={value}" for name, value in network.items())])


def _render(record: CostRecord, network: str) -> None:
    from ecm_edge.base.numbers import quantity
    from ecm_edge.base.tables import say, show
    from ecm_edge.forms.gate import BUDGET_NAMES

    budgets = [gate for gate in record.gates if gate.name in BUDGET_NAMES]
    show(
        f"{record.verdict}: {record.form} on {record.target}, untrained: {network}",
        ["budget", "evidence", "used", "of", "%", "verdict"],
        [
            [
                BUDGET_NAMES[gate.name],
                _evidence(gate, record),
                quantity(gate.value, _unit(gate)),
                quantity(gate.limit, _unit(gate)),
                f"{100 * (gate.value or 0) / (gate.limit or 1):.1f}",
                gate.verdict.value,
            ]
            for gate in budgets
        ],
    )
    for gate in sorted(budgets, key=lambda gate: gate.verdict == "PASS"):
        beyond = "over" if gate.verdict == "FAIL" else "left"
        by = quantity(abs(gate.margin or 0.0), _unit(gate))
        say(f"- {BUDGET_NAMES[gate.name]}: {by} {beyond}{_of(gate)}")
    print_gates(gate for gate in record.gates if gate.name not in BUDGET_NAMES)
    for other in record.also:
        broken = (
            f", above its {', '.join(BUDGET_NAMES.get(name, name) for name in other.broken)}" if other.broken else ""
        )
        say(f"as {other.form}: {other.verdict.value}{broken}; {quantity(other.flash_bytes, 'B')} flash")


def _unit(gate: Gate) -> str:
    return "" if gate.unit == "MAC" else gate.unit


def _of(gate: Gate) -> str:
    return f"; {gate.detail}" if gate.detail else ""


def _evidence(gate: Gate, record: CostRecord) -> str:
    if gate.name in {"flash_bytes", "ram_bytes"}:
        return record.evidence.value
    return record.latency_ms.evidence.value if gate.name == "latency_ms" else "counted"
