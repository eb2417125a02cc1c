"""`ecm-edge train`: one candidate."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import CANDIDATE, PATH, SEED, emit, json_option, open_data

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.candidate import CandidateConfig, Scalar
    from ecm_edge.dataset import Dataset
    from ecm_edge.epochs import Epoch


@click.command("train")
@click.option("--data", "data", type=PATH, required=True, help="The data set.")
@click.option("--target", required=True, help="The board: a name or a TOML file.")
@click.option("--out", "-o", type=PATH, required=True, help="The candidate's folder, new.")
@click.option("--family", help="A network family.  [default: afnet]")
@click.option("--factory", help="A user's own module:function in place of a shipped family.")
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A parameter of the family, or training.NAME."
)
@click.option("--like", type=CANDIDATE, help="Train another candidate's configuration again; --set changes it.")
@click.option("--seed", type=SEED, help="[default: 0, or that of --like]")
@click.option("--folds", type=click.IntRange(min=2), help="Also measure it out of fold over so many folds of subjects.")
@json_option
def command(
    data: Path,
    target: str,
    out: Path,
    family: str | None,
    factory: str | None,
    assignments: tuple[str, ...],
    like: Path | None,
    seed: int | None,
    folds: int | None,
    *,
    as_json: bool,
) -> None:
    """Gate and train one candidate; what does not fit the board is not trained (exit 1).

    A family's parameters are those that `ecm-edge space` lists.
    For instance: ecm-edge train --data af --target nucleo-l432kc -o one --family separable
    --set channels=6 --set depth=4 --set kernel=5 --set training.epochs=6
    """
    from ecm_edge import targets
    from ecm_edge.trial import train_candidate

    if like and (family or factory):
        raise click.UsageError("--like brings its own family; leave out --family and --factory")
    dataset = open_data(data)
    changes = dict(_parse(assignment) for assignment in assignments)
    config = (
        _like(like, changes, dataset, seed) if like else _new(family or "afnet", factory, changes, dataset, seed or 0)
    )
    result = train_candidate(out, config, dataset, targets.load(target), folds=folds, tell=_say)

    def render() -> None:
        for gate in result.cost.gates:
            click.echo(
                f"{gate.verdict:8s} {gate.name:12s} {gate.value:>12,.6g} of {gate.limit:,.6g} {gate.unit}  "
                f"{gate.detail}"
            )
        if result.training:
            best = result.training.best
            click.echo(
                f"kept epoch {best.epoch}, of least validation loss: "
                f"F1 {best.f1:.4f}, Fβ {best.fbeta_mean:.4f}, G {best.g:.3f} "
                f"on validation subjects; {out}"
            )
        if result.folds:
            scores = result.folds.scores
            click.echo(
                f"out of fold over {scores.subjects} subjects: Fβ {scores.fbeta_mean.value:.4f}, G {scores.g.value:.3f}"
            )

    emit(result, as_json=as_json, render=render)


def _say(epoch: Epoch) -> None:
    click.echo(
        f"epoch {epoch.epoch:3d}  loss {epoch.train_loss:.4f} / {epoch.validation_loss:.4f}  F1 {epoch.f1:.4f}  "
        f"Fβ {epoch.fbeta_mean:.4f}  G {epoch.g:.3f}  {epoch.seconds:.1f} s",
        err=True,
    )


def _parse(assignment: str) -> tuple[str, Scalar]:
    """`name=value`; the value is a JSON scalar, or else text."""
    name, equals, text = assignment.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--set takes NAME=VALUE, not {assignment!r}")
    try:
        value: Scalar = json.loads(text)
    except json.JSONDecodeError:
        value = text
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        raise click.UsageError(f"--set takes a finite number, true, false or text, not {text!r}")
    return name, value


def _new(family: str, factory: str | None, changes: dict[str, Scalar], dataset: Dataset, seed: int) -> CandidateConfig:
    from ecm_edge import candidate, space, splits

    training, network = _divide(changes)
    return candidate.configure(
        dataset, splits.holdout(dataset, seed=seed), family, network, space.training_config(training), seed, factory
    )


def _like(folder: Path, changes: dict[str, Scalar], dataset: Dataset, seed: int | None) -> CandidateConfig:
    from ecm_edge import candidate, space

    old = candidate.load_config(folder)
    training, network = _divide(changes)
    flat = old.training.model_dump(exclude={"augmentation"})
    flat |= {f"augmentation.{name}": value for name, value in old.training.augmentation.model_dump().items()}
    return candidate.configure(
        dataset,
        old.split,
        old.family,
        {**old.network, **network},
        space.training_config({**flat, **training}),
        old.seed if seed is None else seed,
        old.factory,
    )


def _divide(changes: dict[str, Scalar]) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """Training parameters, without their prefix, and the network's."""
    prefix = "training."
    training = {name.removeprefix(prefix): value for name, value in changes.items() if name.startswith(prefix)}
    return training, {name: value for name, value in changes.items() if not name.startswith(prefix)}
