"""The command line itself: quick help, exit codes, and one JSON object whatever happens."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from ecm_edge import cli, targets
from ecm_edge.cli import main

HEAVY = {"numpy", "torch", "onnx", "onnxruntime", "optuna", "pydantic", "rich", "matplotlib", "scipy", "sklearn"}


def leaves(group=cli.cli, path=()):
    """Every command that does something, with its path."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


LEAVES = dict(leaves())


def run(*arguments):
    """The exit code of the command line in this process."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from ecm_edge.cli import cli; cli(['--help'], standalone_mode=False); "
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Recordings:" in done.stdout
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in done.stderr.split())


def test_an_endless_name_in_an_error_is_cut(capsys):
    assert run("targets", "x" * 10_000) == 2
    said = capsys.readouterr().err
    assert len(said) < 4_100
    assert said.rstrip().endswith("letters more)")


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_help_and_json(path, capsys):
    assert run(*path, "--help") == 0
    assert "--json" in capsys.readouterr().out


def test_an_option_with_one_meaning_is_declared_once():
    sources = [path.read_text() for path in Path(cli.__file__).parent.glob("*.py")]
    assert sum(source.count('"--form"') for source in sources) == 1
    assert sum(source.count('help="The data set."') for source in sources) == 1


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "ecm_edge.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("ecm-edge, version ")


def test_bad_usage_exits_with_2(capsys):
    assert run("targets", "--colour") == 2
    assert "No such option" in capsys.readouterr().err


def test_an_unknown_command_exits_with_2():
    assert run("deploy") == 2


def test_an_error_states_rule_value_and_remedy(capsys):
    assert run("targets", "esp32") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: a target is one of")
    assert "found 'esp32'" in said.err


def test_a_text_of_several_lines_cannot_begin_a_line_as_a_verdict_does(capsys):
    assert run("targets", "x\nPASS: all\r") == 2
    assert not re.search(r"^PASS|\r", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments", [("targets", "esp32", "--json"), ("search", "--json"), ("targets", "--json", "--x")]
)
def test_with_json_an_error_is_one_object_on_stdout(arguments, capsys):
    assert run(*arguments) == 2
    assert set(json.loads(capsys.readouterr().out)["error"]) == {"rule", "found", "hint"}


def test_a_terminal_without_unicode_still_gets_its_table():
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "ecm_edge.cli", "targets"], capture_output=True, env=ascii_only, check=True
    )
    assert b"nucleo-l432kc" in done.stdout


@pytest.mark.parametrize("arguments", [("targets", "--json"), ("targets", "esp32", "--json")], ids=" ".join)
def test_a_full_stdout_exits_with_2(arguments):
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "ecm_edge.cli", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "--least-objective", "nan"),
        ("search", "--timeout", "nan"),
        ("search", "--timeout", "inf"),
        ("search", "--seed", "-1"),
        ("search", "--seed", "2147483648"),
        ("scale", "c", "--flash-kib", "nan"),
        ("train", "--seed", "-1"),
    ],
    ids=" ".join,
)
def test_a_number_that_is_none_is_refused_by_its_option(arguments, capsys):
    assert run(*arguments) == 2
    assert f"Invalid value for '{arguments[-2]}'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("data", "info", "\udcff"), ("score", "\udcff", "--data", "d")], ids=ascii)
def test_a_path_that_no_record_can_hold_is_refused(arguments, capsys):
    assert run(*arguments, "--json") == 2
    assert r"'\udcff' is not UTF-8" in json.loads(capsys.readouterr().out)["error"]["found"]


def test_with_json_what_a_users_code_prints_goes_to_stderr(monkeypatch, capsys):
    monkeypatch.setattr(targets, "names", lambda: sys.stdout.write("hello\n") and [])
    assert run("targets", "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"targets": []}
    assert said.err == "hello\n"


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (KeyboardInterrupt(), 130),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 2),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2),
    ],
)
def test_interrupts_and_the_disk(monkeypatch, capsys, raised, code):
    def fails(_name):
        raise raised

    monkeypatch.setattr(targets, "load", fails)
    assert run("targets") == code
    assert capsys.readouterr().err != ""


def test_an_interrupt_within_an_exec_has_the_same_exit_code(tmp_path):
    """As within an import: CPython then ends with SIGINT, unless it is kept from that."""
    script = 'from ecm_edge import cli\ncli.cli.main = lambda **_: exec("raise KeyboardInterrupt")\ncli.main([])\n'
    (tmp_path / "interrupted.py").write_text(script)
    run_as_module = [sys.executable, "-m", "interrupted"]
    assert subprocess.run(run_as_module, cwd=tmp_path, check=False, capture_output=True).returncode == 130


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_command_as_an_interrupt_does(tmp_path, sent, code):
    command = ["data", "synth", "-o", str(tmp_path / "d"), "--subjects", "5000", "--seed", "1"]
    default = ["env", "--default-signal=HUP"]  # `nohup` around the tests would leave it ignored
    with subprocess.Popen(
        [*default, sys.executable, "-m", "ecm_edge.cli", *command], stderr=subprocess.DEVNULL
    ) as running:
        while running.poll() is None and not list(tmp_path.glob(".d.*/samples.npy")):
            time.sleep(0.02)
        running.send_signal(sent)
        assert running.wait(timeout=60) == code
    assert not list(tmp_path.iterdir())
