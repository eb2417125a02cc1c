"""The command line: one thin command a verb, imported only when it is called.

Exit codes: 0 done, PASS or NOT RUN, 1 FAIL by a gate, 2 bad input or usage, 130 interrupted.
SIGTERM and SIGHUP end a command as Ctrl-C does, with 143 and 129.
"""

from __future__ import annotations

import importlib
import io
import json
import signal
import sys
import threading
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING

import click

from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.base.tables import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMANDS = {
    "data": "read, make, count and audit data sets",
    "tasks": "list what a detector looks for, and in what signal",
    "targets": "list the boards and their budgets",
    "space": "show a search space",
    "fit": "check whether a model fits a board, trained or not, by building it",
    "search": "find the best candidate that fits a board: the main job",
    "scale": "scale one family until score and size both meet their bars",
    "train": "train one candidate",
    "export": "write a candidate's network as ONNX and simplify it",
    "quantize": "make the int8 and float16 forms",
    "verify": "prove that every form gives the same answers",
    "bench": "measure latency and cost of every form on this host",
    "score": "measure accuracy, by subject and by rhythm",
    "predict": "write what a model answers to recordings or a data set, labelled or not",
    "episodes": "find episodes in recordings: burden, rhythm notes, strip charts, EC57's comparison",
    "robustness": "measure accuracy under noise, other gains, units and recorders",
    "firmware": "generate, build and serve the C of a model",
    "measure": "score a board over its serial line, real or emulated",
    "promote": "let a candidate replace the incumbent, or print why not",
    "rollback": "make an earlier entry the incumbent again",
    "history": "list what was promoted, refused and rolled back",
    "bundle": "pack image, C, model and proofs for a contest entry or a firmware team",
    "report": "write one HTML page about a candidate or a run",
    "card": "write a model card in Markdown: purpose, limits and figures of a model",
}
"""Every command with its line of help: the group lists them without importing their modules."""


class _LazyGroup(click.Group):
    """Imports `ecm_edge.cli.<name>` when `<name>` is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"ecm_edge.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ecm-edge")
def cli() -> None:
    """Labelled ECG recordings and a named board in; a proven, counted, honestly measured firmware image out.

    A run's folder stands for its best candidate wherever a command takes a candidate.
    Exit codes: 0 done, PASS or NOT RUN, 1 FAIL by a gate, 2 bad input or usage, 130 interrupted (143 by SIGTERM).
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; every expected failure ends here as one message."""
    as_json = "--json" in (
        sys.argv[1:] if arguments is None else arguments
    )  # even if the other arguments are not valid
    stdout = sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show an Fβ is no reason to stop
    received: list[int] = []
    try:
        with (
            _interrupted_by(received, signal.SIGTERM, signal.SIGHUP),
            redirect_stdout(sys.stderr if as_json else stdout),  # a user's own network may print
        ):
            code = cli.main(args=arguments, prog_name="ecm-edge", standalone_mode=False, obj=stdout)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        exec("")  # noqa: S102 - CPython ends with SIGINT if one passed through an `exec`, of which an import has some
        code = 128 + (received[0] if received else signal.SIGINT)
    except (EcmEdgeError, click.UsageError, OSError) as problem:
        error = _explained(problem)
        click.echo("\n".join(map(printable, f"error: {error}".split("\n"))), err=True)
        if as_json:
            with suppress(OSError):  # stdout itself may be what cannot be written
                click.echo(json.dumps({"error": vars(error)}), stdout)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def _interrupted_by(received: list[int], *numbers: int) -> Iterator[None]:
    """These signals end the block as Ctrl-C does, so that nothing stays behind; `received` gets those that came.

    A signal that is ignored stays so (`nohup`).
    """

    def interrupt(number: int, _frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    caught = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        caught = []  # only the main thread may set a handler
    for number in caught:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


def _explained(problem: EcmEdgeError | click.UsageError | OSError) -> EcmEdgeError:
    """Any expected failure as rule, value found and hint."""
    if isinstance(problem, EcmEdgeError):
        return problem
    if isinstance(problem, click.UsageError):
        command = problem.ctx.command_path if problem.ctx else "ecm-edge"
        message = " ".join(problem.format_message().split()).rstrip(".?,")
        return EcmEdgeError("the command line has to be valid", message, f"See `{command} --help`.")
    place = f" at {problem.filename}" if problem.filename else ""
    return EcmEdgeError(
        "files must be readable and writable",
        f"{problem.strerror or problem}{place}",
        "Check the path, its rights and the free space.",
    )
