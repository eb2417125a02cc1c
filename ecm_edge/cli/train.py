"""`ecm-edge train`: one candidate."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    CANDIDATE,
    PATH,
    SEED,
    data_option,
    emit,
    json_option,
    open_data,
    resumable,
    same_command,
    target_option,
    trust_option,
)
from ecm_edge.cli._help import example
from ecm_edge.cli._kept import figure_of, kept_epoch, tell_of_training
from ecm_edge.cli._network import divide, factory_option, family_option, parse_all, set_option
from ecm_edge.cli._told import tell

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.training_config import Scalar
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import FoldAssignment
    from ecm_edge.search.train_one import TrainResult
    from ecm_edge.training.epochs import Epoch
    from ecm_edge.training.fold_margins import Progress
    from ecm_edge.training.train import TrainingRecord


_OF_TEACHERS = ("training.teacher", "training.distill", "training.doubted")


class _Folds(click.ParamType):  # type: ignore[type-arg] # generic in the stubs of newer versions only
    """Folds by their number, or as `ecm-edge data folds` wrote them."""

    name = "K|FILE"

    def convert(
        self,
        value: str | int | FoldAssignment,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int | FoldAssignment:
        from ecm_edge.base.errors import DatasetError
        from ecm_edge.data.splits import FoldAssignment

        if not isinstance(value, str):
            return value
        if re.fullmatch(r"-?\d{1,18}", value):
            if int(value) < 3:  # noqa: PLR2004 - as many as `assign_folds` takes
                self.fail(f"{value} is not in the range x>=3.", param, ctx)
            return int(value)
        return FoldAssignment.load(PATH.convert(value, param, ctx), DatasetError)


@click.command(
    "train",
    epilog=example(
        "ecm-edge train --data af --target nucleo-l432kc -o one",
        "ecm-edge train --data af --target nucleo-l432kc -o two --family separable "
        "--set channels=6 --set depth=4 --set kernel=5 --set training.epochs=6",
    ),
)
@data_option
@target_option
@click.option("--out", "-o", type=PATH, required=True, help="The candidate's folder, new.")
@family_option
@factory_option
@set_option
@click.option(
    "--like",
    type=CANDIDATE,
    help="Train another candidate's configuration again; --set changes it.  [default: a new one]",
)
@click.option("--seed", type=SEED, help="Of the split, the weights and the order.  [default: 0, or that of --like]")
@click.option(
    "--folds",
    type=_Folds(),
    help="Also measure it out of fold: over K folds of subjects, or those in a file of `ecm-edge data folds`.  "
    "[default: not measured]",
)
@click.option(
    "--refit",
    is_flag=True,
    help="Train it on all subjects of the data set, but none in scores only, at the threshold that --folds finds.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes for --folds, of one thread each.  [default: one a core]"
)
@click.option(
    "--teachers",
    type=click.IntRange(1, 32),
    help="First train this many networks like it; it then learns their mean answer in place of the labels.  "
    "[default: none]",
)
@click.option("--export/--no-export", "export", default=True, show_default=True, help="Also export and quantise it.")
@click.option("--force", is_flag=True, help="Replace the candidate in --out, once the new one is trained.")
@trust_option
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
    folds: int | FoldAssignment | None,
    workers: int | None,
    teachers: int | None,
    *,
    refit: bool,
    export: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Gate, train, export and quantise one candidate; what does not fit the board is not trained (exit 1).

    Without --family and --set it is a small network that fits every board that ships.

    --folds K trains K more networks, so that each subject is answered by a network that has not seen it. Where
    training.threshold is chosen, K (K - 1) / 2 further ones choose it on others. Each has --teachers of its own, who
    have not seen the subject either. Interrupted, the same command goes on where it was.
    A family's parameters are those that `ecm-edge space` lists.
    """
    from ecm_edge.candidate import networks

    # Above 40 lines: the command has a parameter for each of its options.
    changes = parse_all(assignments)
    if like and (family or factory):
        raise click.UsageError("--like brings its own family; leave out --family and --factory")
    if teachers and any(name.startswith(_OF_TEACHERS) for name in changes):
        raise click.UsageError("--teachers says all of teacher, distill and doubted; describe others by --set alone")
    if refit and folds is None:
        raise click.UsageError("--refit takes its threshold from a cross-validation; say --folds too")
    if family and not (like or factory):
        networks.check_family(family)
    from ecm_edge import targets
    from ecm_edge.search.train_one import train_candidate, with_forms
    from ecm_edge.training import distill

    unlabelled = teachers is not None and changes.get("training.unlabelled") is True
    if unlabelled:
        del changes["training.unlabelled"]  # refused in a configuration without teachers, which come later
    kept = folds is not None
    said = "the networks of the folds are kept; go on with" if kept else "nothing was kept; begin again with"
    with resumable(same_command, said):
        dataset = open_data(data)
        config = _like(like, changes, dataset, seed) if like else _new(family, factory, changes, dataset, seed or 0)
        if teachers:
            config = distill.taught_by_its_kind(config, teachers, unlabelled=unlabelled)
        _say_network(config, chosen=bool(like or family or factory))
        result = train_candidate(
            out,
            config,
            dataset,
            targets.load(target),
            folds=folds,
            refit=refit,
            replace=force,
            workers=workers,
            on_epoch=_print_epoch,
            on_network=_print_network,
        )
    if export and result.training:
        with resumable(lambda: ["ecm-edge", "export", out, "--data", data], "trained; go on with"):
            result = with_forms(result, out, dataset)
    emit(result, as_json=as_json, render=lambda: _print_result(result, config, out))


def _print_result(result: TrainResult, config: CandidateConfig, out: Path) -> None:
    from ecm_edge.base.numbers import point, quantity, with_positives
    from ecm_edge.base.tables import printable, say
    from ecm_edge.forms.gate import BUDGET_NAMES

    for gate in result.cost.gates:
        unit = "" if gate.unit == "MAC" else gate.unit  # the budget's name says it
        used, limit = (quantity(value, unit) for value in (gate.value, gate.limit))
        say(
            f"{gate.verdict.value:7} {BUDGET_NAMES.get(gate.name, gate.name)}  {used} of {limit}  {gate.detail}",
            indent=8,
        )
    if result.training:
        for line in _concerned(result.training, config):
            say(line)
        say(f"{kept_epoch(result.training, config)}; saved in {out}")
        tell_of_training(result.training, config)
    elif result.verdict.value == "FAIL":
        say(f"not trained, and {out} not made: it does not fit; change it with --set, or search")
    if result.export and result.quantize:
        forms = ", ".join(f"{form} {size:,} B" for form, size in result.quantize.weight_bytes.items())
        say(f"exported: {result.export.verdict}; weights: {forms}")
    if result.folds:
        scores = result.folds.scores
        counted = with_positives(scores.subjects, scores.positive_subjects, config.task.label)
        say(
            f"out of fold over {counted}: F1 {scores.f1.value if scores.f1 else 0:.4f}, "
            f"Fβ {scores.fbeta_mean.value:.4f}, G {scores.g.value:.3f}, specificity {point(scores.specificity)}"
        )
        for source in scores.by_source:
            counted = with_positives(source.subjects, source.positive_subjects, config.task.label)
            say(
                f"  {printable(source.source)}, {counted}: F1 {point(source.f1)}, Fβ {source.fbeta_mean.value:.4f}, "
                f"G {source.g.value:.3f}, sensitivity {point(source.recall)}, specificity {point(source.specificity)}"
            )


def _concerned(record: TrainingRecord, config: CandidateConfig) -> list[str]:
    """How many segments an option concerned that asks for them, also where there were none."""
    asked = config.training
    said = [
        (asked.quiet_below > 0, f"{record.left_out_quiet:,} quiet windows were not trained on"),
        (
            asked.doubted == "soften",
            f"{record.softened_labels:,} doubted labels were replaced by the teacher's answers",
        ),
        (
            asked.unlabelled,
            f"{record.unlabelled_segments:,} segments without a label were taught by the teachers alone",
        ),
    ]
    return [f"{line} (of {record.train_segments:,} in training)" for wanted, line in said if wanted]


def _print_epoch(epoch: Epoch) -> None:
    click.echo(
        f"epoch {epoch.epoch:3d}  loss {epoch.train_loss:.4f} / {figure_of(epoch.validation_loss)}  "
        f"F1 {figure_of(epoch.f1)}  Fβ {figure_of(epoch.fbeta_mean)}  G {figure_of(epoch.g)}  "
        f"specificity {figure_of(epoch.specificity)}  {epoch.seconds:.1f} s",
        err=True,
    )


def _print_network(network: Progress) -> None:
    trained = (
        f"without fold {', '.join(map(str, network.left_out))}" if network.left_out else "for the candidate itself"
    )
    what = "teacher" if network.is_teacher else "network"
    click.echo(f"{what} {network.number:3d} of {network.total}, trained {trained}: {network.seconds:.1f} s", err=True)


def _say_network(config: CandidateConfig, *, chosen: bool) -> None:
    """Name the family, and the parameters that the configuration has."""
    from ecm_edge.candidate import networks

    own = networks.training_defaults(config.family, config.factory)
    shown = config.network | {f"training.{name}": getattr(config.training, name) for name in own}
    parameters = ", ".join(f"{name}={value}" for name, value in shown.items())
    default = "" if chosen else ", the default (--family names another)"
    tell([f"family {config.family}{default}: {parameters or 'no parameters'}"])


def _new(
    family: str | None, factory: str | None, changes: dict[str, Scalar], dataset: Dataset, seed: int
) -> CandidateConfig:
    """A new configuration; a network of the user's own is called as its factory unless it has another name."""
    from ecm_edge.candidate import candidate, networks, space
    from ecm_edge.data import splits

    training, network = divide(changes)
    family, network = networks.chosen(family, network, factory)
    training = {**networks.training_defaults(family, factory), **training}
    return candidate.configure(
        dataset, splits.holdout(dataset, seed=seed), family, network, space.training_config(training), seed, factory
    )


def _like(folder: Path, changes: dict[str, Scalar], dataset: Dataset, seed: int | None) -> CandidateConfig:
    from ecm_edge.candidate import candidate, space

    old = candidate.load_config(folder)
    training, network = divide(changes)
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
