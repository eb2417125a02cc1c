"""The command line: one thin command a verb, imported only when it is called.

Exit codes: 0 done, PASS or NOT RUN, 1 FAIL by a gate, 2 bad input or usage, 70 a fault of ecm-edge, 130 interrupted.
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
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.exceptions import NoSuchCommand

from ecm_edge.base import fault_reports, interrupts, progress
from ecm_edge.base.errors import EcmEdgeError, FirmwareError
from ecm_edge.base.names import did_you_mean, or_known, path_meant
from ecm_edge.base.tables import printable
from ecm_edge.base.threads import choose_threads
from ecm_edge.base.trust import of_one_command
from ecm_edge.cli._help import Group, example

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

_CHAIN = {
    "What there is": {
        "tasks": "list what a detector looks for, and in what signal",
        "targets": "list the boards and their budgets",
        "space": "show a search space",
    },
    "Recordings": {
        "data": "read, make, count and audit data sets",
    },
    "A model for a board": {
        "fit": "check whether a model fits a board, by building it",
        "gate": "hold an untrained candidate against a board's budgets",
        "search": "find the best candidate that fits a board: the main job",
        "worker": "help a search from another process or machine",
        "pull": "fetch a run from its study and its artefacts",
        "train": "train one candidate",
        "scale": "widen a candidate until score and size both meet their bars",
        "export": "write a candidate's network as ONNX and simplify it",
        "simplify": "make a graph smaller, its answers the same",
        "quantize": "make the int8 and float16 forms",
    },
    "Proofs and figures": {
        "verify": "prove that every form gives the same answers",
        "firmware": "generate, build and serve the C of a model",
        "bench": "measure latency and cost of every form on this host",
        "score": "measure accuracy, by subject and by rhythm",
        "robustness": "measure accuracy under noise, other gains and recorders",
        "measure": "score a board over its serial line, real or emulated",
    },
    "Decisions": {
        "promote": "let a candidate replace the incumbent, or print why not",
        "rollback": "make an earlier entry the incumbent again",
        "history": "list what was promoted, refused and rolled back",
        "registry": "check a registry, and repair what is safe",
        "compare": "compare models: accuracy, cost, parity, configuration",
        "bundle": "pack image, C, model and proofs for a firmware team",
        "verify-bundle": "check who signed a bundle, and that it is unchanged",
        "report": "write one HTML page about a candidate or a run",
        "card": "write a model card: purpose, limits and figures",
    },
    "Use of a model": {
        "predict": "write what a model answers to recordings or a data set",
        "episodes": "find episodes in recordings: burden, notes, strip charts",
    },
    "This machine": {
        "doctor": "say what is installed, what is missing, and how to get it",
        "trust": "mark a folder whose files may name commands, or list them",
        "completion": "print the script for completion in bash, zsh or fish",
    },
}
"""Every command with its line of help, in the order of the chain, by the headings of the help."""

_LONGEST_MESSAGE = 4_000
"""Letters of an error on the terminal: names in a file may be of any length."""

_COMMANDS = {name: line for section in _CHAIN.values() for name, line in section.items()}


class _LazyGroup(Group):
    """Imports `ecm_edge.cli.<name>` when `<name>` is called; its help is written without an import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"ecm_edge.cli.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        width = max(map(len, _COMMANDS))
        for title, section in _CHAIN.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:{width}}", line) for name, line in section.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog=example(
        "ecm-edge data synth -o af --subjects 30 --seed 1",
        "ecm-edge search --data af --target loongson-2k0500 --space quick --trials 4 -o run",
        "ecm-edge fit mynet.onnx --target nucleo-l432kc",
    ),
)
@click.version_option(package_name="ecm-edge")
def cli() -> None:
    """Turn labelled ECG recordings into a firmware image for a named board: verified, counted, measured.

    Where a command takes a candidate, the folder of a run stands for its best candidate.
    Exit codes: 0 done, PASS or NOT RUN, 1 FAIL by a gate, 2 bad input or usage, 70 a fault of ecm-edge,
    130 interrupted (143 by SIGTERM).
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; every expected failure ends here as one message."""
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words  # even if the other arguments are not valid
    stdout = sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show an Fβ is no reason to stop
    choose_threads()
    interrupts.clear()
    try:
        with (
            _interrupted_by(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
            of_one_command(),
            progress.command(next((word for word in words if word in _COMMANDS), "ecm-edge")),
            redirect_stdout(sys.stderr if as_json else stdout),  # a user's own network may print
        ):
            code = cli.main(args=arguments, prog_name="ecm-edge", standalone_mode=False, obj=stdout)
    except (KeyboardInterrupt, click.Abort) as interrupt:
        for line in ("interrupted", *getattr(interrupt.__cause__ or interrupt, "__notes__", ())):
            click.echo(printable(line), err=True)
        exec("")  # noqa: S102 - CPython ends with SIGINT if one passed through an `exec`, of which an import has some
        code = 128 + (interrupts.first() or signal.SIGINT)
    except (EcmEdgeError, click.UsageError, OSError, MemoryError) as problem:
        code = _say(_explained(problem), stdout if as_json else None, 2)
    except Exception as problem:  # noqa: BLE001 - whatever else comes is a fault of this program
        code = _say(fault_reports.write(problem, words), stdout if as_json else None, fault_reports.EXIT_CODE)
    finally:
        interrupts.clear()
    sys.exit(code if isinstance(code, int) else 0)


def _say(error: EcmEdgeError, stdout: TextIO | None, code: int) -> int:
    """Print an error on stderr, and with --json on stdout; gives the exit code."""
    with suppress(OSError):  # they themselves may be what cannot be written
        lines = f"error: {error}".split("\n") if isinstance(error, FirmwareError) else [f"error: {error}"]
        said = "\n  ".join(map(printable, lines))  # a compiler's words alone have lines
        if (more := len(said) - _LONGEST_MESSAGE) > 0:
            said = f"{said[:_LONGEST_MESSAGE]}… ({more:,} letters more)"
        click.echo(said, err=True)
    if stdout is not None:
        with suppress(OSError):
            click.echo(
                json.dumps({"error": {name: getattr(error, name) for name in ("rule", "found", "hint")}}), stdout
            )
    return code


@contextmanager
def _interrupted_by(*numbers: int) -> Iterator[None]:
    """These signals end the block as Ctrl-C does, so that nothing stays behind; `interrupts` knows those that came.

    A signal that is ignored stays so (`nohup`).
    """

    def interrupt(number: int, _frame: object) -> None:
        interrupts.note(number)
        raise KeyboardInterrupt

    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in numbers}
    caught = [number for number in numbers if before[number] in usual]
    if threading.current_thread() is not threading.main_thread():
        caught = []  # only the main thread may set a handler
    for number in caught:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, before[number])


def _explained(problem: EcmEdgeError | click.UsageError | OSError | MemoryError) -> EcmEdgeError:
    """Any expected failure as rule, value found and hint."""
    if isinstance(problem, MemoryError):
        hint = "Close other programs, or give less at once: fewer recordings, a smaller model, fewer --workers."
        return EcmEdgeError("the work has to fit into memory", str(problem) or "no memory left", hint)
    if isinstance(problem, EcmEdgeError):
        return problem
    if isinstance(problem, click.UsageError):
        command = problem.ctx.command_path if problem.ctx else "ecm-edge"
        found = problem.message if isinstance(problem, click.NoSuchOption) else problem.format_message()
        hint = f"{_meant(problem)}See `{command} --help`."
        return EcmEdgeError("the command line has to be valid", " ".join(found.split()).rstrip(".?,"), hint)
    place = f" at {problem.filename}" if problem.filename else ""
    there = path_meant(Path(problem.filename)) if isinstance(problem.filename, str) else ""
    return EcmEdgeError(
        "files must be readable and writable",
        f"{problem.strerror or problem}{place}",
        f"{there}Check the path, its rights and the free space.",
    )


def _meant(problem: click.UsageError) -> str:
    """What a hint begins with where a command, an option or a value of a list is not known."""
    match problem:
        case NoSuchCommand(ctx=click.Context(command=click.Group() as group) as context):
            return or_known(problem.command_name, group.list_commands(context), "commands") + " "
        case click.NoSuchOption(ctx=click.Context(command=command)):
            return did_you_mean(problem.option_name, (word for p in command.params for word in p.opts))
        case click.BadParameter(param=click.Parameter(type=click.Choice(choices=choices))):
            return did_you_mean(problem.message.partition("'")[2].partition("'")[0], choices)
    return ""
