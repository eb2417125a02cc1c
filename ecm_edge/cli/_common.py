"""What the commands share: types and options that several of them have, and the way a record is printed."""

from __future__ import annotations

import math
import os
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ecm_edge.base import progress, trust
from ecm_edge.cli._names import shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ecm_edge.base.records import Form, Gate, Record
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.facts import ModelFacts
    from ecm_edge.targets import Target

F = TypeVar("F", bound="Callable[..., Any]")


class _Path(click.Path):
    """A path that a record can hold: JSON is UTF-8."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401 - click's signature
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            str(path).encode()
        except UnicodeEncodeError:
            self.fail(f"{str(path)!a} is not UTF-8.", param, ctx)
        return path


PATH = _Path(path_type=Path)


class CandidatePath(_Path):
    """A candidate's folder or a model's file; a run's folder stands for its best candidate."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401 - click's signature
        from ecm_edge.candidate.candidate import locate

        return locate(super().convert(value, param, ctx))


CANDIDATE = CandidatePath(path_type=Path)


class ModelPath(CandidatePath):
    """As `CandidatePath`, and it is there: a command loads much before it reads its model."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401 - click's signature
        from ecm_edge.base.errors import ModelError
        from ecm_edge.base.names import path_meant

        path = super().convert(value, param, ctx)
        try:
            path.stat()
        except OSError as problem:
            hint = f"{path_meant(path)}Check the path."
            raise ModelError("a model is an ONNX file", f"{path} ({problem.strerror})", hint) from None
        return path


class TargetName(click.types.StringParamType):
    """A board's name or file, which is read before a command loads anything heavy; `words` stand for none."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's signature
        from ecm_edge import targets

        name = super().convert(value, param, ctx)
        if name not in self._words:
            targets.load(name)
        return name


TARGET = TargetName()


class FiniteRange(click.FloatRange):
    """A finite number within the bounds; click alone would accept NaN for any bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's signature
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not finite.", param, ctx)
        return number

    def _describe_range(self) -> str:
        """The bounds as `--help` prints them; nothing without bounds."""
        return "" if self.min is None and self.max is None else super()._describe_range()


SEED = click.IntRange(0, 2**31 - 1)
"""The seeds that torch, NumPy and Optuna take; a trial's number may be added to one."""


model_argument = click.argument(
    "model",
    type=ModelPath(path_type=Path),
    help="A candidate's folder, a run's (its best candidate), or an ONNX file.",
)

candidate_argument = click.argument("candidate", type=CANDIDATE, help="A candidate's folder, or a run's (its best).")

dataset_argument = click.argument("dataset", type=PATH, help="The data set's folder.")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
"""With it stdout holds exactly one JSON object, and no text for people."""


def _trust_everything(_context: click.Context, _parameter: click.Parameter, given: bool) -> None:  # noqa: FBT001 - click's signature
    if given:
        trust.allow_everything()


trust_option = click.option(
    "--trust",
    is_flag=True,
    expose_value=False,
    callback=_trust_everything,
    help="Run commands that files name, wherever they come from.",
)
"""Of every command that reads a board, a space or a candidate and runs what it names."""

data_option = click.option("--data", "data", type=PATH, required=True, help="The data set.")

own_data_option = click.option(
    "--data", "data", type=PATH, required=True, help="The data set that the candidate was made from."
)

target_option = click.option(
    "--target",
    type=TARGET,
    required=True,
    shell_complete=shipped("targets"),
    help="The board: a name from `ecm-edge targets`, or the path of a TOML file.",
)

rule_option = click.option(
    "--target",
    type=TARGET,
    shell_complete=shipped("targets"),
    help="A board, for its scoring rule: a name, or the path of a TOML file.  [default: no board]",
)
"""Of a command that scores, and needs no board for that."""

task_option = click.option(
    "--task", shell_complete=shipped("tasks"), help="The task: a name, or the path of a TOML file.  [default: af-5s]"
)

subjects_option = click.option(
    "--subjects",
    help="test, validation, train, all, or names of subjects, separated by commas.  "
    "[default: on a candidate's own data set its test subjects, else all]",
)

threshold_option = click.option(
    "--threshold",
    type=FiniteRange(),
    help="For a model with one score: the label is 1 from this score on.  [default: 0.5 for a sigmoid, 0 for a logit]",
)

classes_option = click.option(
    "--classes",
    help="The names of the labels, separated by commas, for the C code.  [default: as the file's metadata have them]",
)


def class_names(given: str | None) -> list[str]:
    """The names of --classes."""
    return [name.strip() for name in given.split(",")] if given else []


def refuse_for_candidate(model: Path, threshold: float | None = None, classes: str | None = None) -> None:
    """Refuse --threshold and --classes for a candidate: it has two scores, and the labels of its task."""
    if model.is_dir() and threshold is not None:
        raise click.UsageError("--threshold is for an ONNX file of one score; a candidate has two. Leave it out.")
    if model.is_dir() and classes:
        raise click.UsageError("--classes is for an ONNX file; a candidate has the labels of its task. Leave it out.")


mlflow_option = click.option(
    "--mlflow-uri", "mlflow_uri", help="An MLflow server that is told, too: http://HOST:PORT.  [default: none]"
)

sign_option = click.option(
    "--sign",
    metavar="KEY",
    help="Sign it with this key, a PEM file or a URI of PKCS#11; needs the extra `sign`.  [default: not signed]",
)

registry_option = click.option("--registry", "registry", type=PATH, required=True, help="The registry's folder.")


def form_option(default: str = "the target's first, or float32 without a target") -> Callable[[F], F]:
    """`--form`; `default` says for `--help` which form is taken without it."""
    choice = click.Choice(["float32", "float16", "int8"])
    return click.option("--form", type=choice, help=f"Which form of a candidate.  [default: {default}]")


def open_data(folder: Path) -> Dataset:
    """The data set in `folder`, its content checked against its hashes: no figure may come from changed data."""
    from ecm_edge.data.dataset import check_content, open_dataset

    dataset = open_dataset(folder)
    check_content(dataset)
    return dataset


def check_form(model: Path | None, form: Form | None) -> None:
    """Refuse --form for an ONNX file in another form: the option chooses one of a candidate's forms, and makes none.

    Raises:
        ModelError: the file cannot be read, or is in another form.
    """
    if form is None or model is None or model.is_dir():
        return
    from ecm_edge.base.errors import ModelError
    from ecm_edge.firmware.generate import form_of
    from ecm_edge.forms import onnx_model

    form_of_file = form_of(onnx_model.load_classifier(model).proto)
    if form_of_file != form:
        raise ModelError(
            "--form chooses one of a candidate's forms, and a file has one",
            f"--form {form} for {model}, which is {form_of_file}",
            "Make its other forms: `ecm-edge quantize`.",
        )


def choose_form(model: Path | None, form: Form | None, target: Target | None) -> Form:
    """The form of `--form`; without it the target's first, or float32 without a target; raises as `check_form`."""
    check_form(model, form)
    return form or (target.precision[0] if target else "float32")


def keeps_records(model: Path) -> bool:
    """Whether a command leaves its record in the model's folder: in a candidate's, and never in a registry's entry."""
    from ecm_edge.registry.entries import MANIFEST

    return model.is_dir() and not (model / MANIFEST).exists()


def say_facts(facts: ModelFacts | None, serial: str = "") -> None:
    """One line on a model that is no float32 detector: its shapes, its rule, and what it was converted from.

    One more on its serial answers, where they are not in the contest's frame.
    """
    from ecm_edge.base.tables import say

    if facts:
        say(facts.text)
    if serial:
        say(serial)


def print_gates(gates: Iterable[Gate]) -> None:
    """One line for each gate; the value goes before a detail that begins with "of"."""
    from ecm_edge.base.tables import say

    for gate in gates:
        count = f"{gate.value:g} " if gate.value is not None and gate.detail.startswith("of ") else ""
        say(f"{gate.verdict.value:7} {gate.name}  {count}{gate.detail}", indent=8)


@contextmanager
def resumable(command: Callable[[], Sequence[object]], said: str = "go on with") -> Iterator[None]:
    """On Ctrl-C, say with which command the work goes on: the words of `command` then, quoted for a shell."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"{said}: {shlex.join(map(str, command()))}")
        raise


def same_command() -> list[str]:
    """The command as it was typed."""
    return ["ecm-edge", *sys.argv[1:]]


@contextmanager
def unkept() -> Iterator[None]:
    """On Ctrl-C, say that nothing is kept of the work, and the command that begins it again."""
    with resumable(same_command, "nothing was kept; begin again with"):
        yield


def emit(record: Record, *, as_json: bool, render: Callable[[], None]) -> None:
    """Print the record as JSON, or call `render` to show it to people; exit 1 if its verdict is FAIL."""
    progress.hide()
    context = click.get_current_context()
    if as_json:
        click.echo(record.model_dump_json(), file=context.obj)  # stdout itself; prints go to stderr meanwhile
    else:
        render()
    if getattr(record, "verdict", None) == "FAIL":
        context.exit(1)
