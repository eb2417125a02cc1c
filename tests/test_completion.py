"""Completion as a shell asks for it: real shells where they are, and click's protocol."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from ecm_edge.cli.completion import VARIABLE

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
HEAVY = {"torch", "onnx", "onnxruntime", "optuna", "matplotlib", "scipy", "sklearn", "pandas"}


def asked(words, folder, variable="bash_complete"):
    """What a bash would be given for the last of the words, and the modules that were imported for it."""
    code = (
        "import atexit, sys; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)));"
        "from ecm_edge.cli import main; main()"
    )
    environment = {**ENVIRONMENT, VARIABLE: variable, "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines(), {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fit x --target lo", ["plain,loongson-2k0500"]),
        ("fit x --target my", ["plain,my-board.toml"]),
        ("fit x --target boards/o", ["plain,boards/other.toml"]),
        ("fit x --target elsewhere", ["file,elsewhere"]),
        ("search --space re", ["plain,reference"]),
        ("space qu", ["plain,quick"]),
        ("data import x --task va", ["plain,va-5s"]),
        ("train --family sep", ["plain,separable"]),
        ("promote x --form i", ["plain,int8"]),
        ("fi", ["plain,fit", "plain,firmware"]),
        ("firmware ser", ["plain,serve"]),
        ("verify m.onnx --emu", ["plain,--emulated"]),
        ("data info mine", ["file,mine"]),
    ],
)
def test_names_options_and_commands(line, offered, tmp_path):
    (tmp_path / "my-board.toml").touch()
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "other.toml").touch()
    found, modules = asked(["ecm-edge", *line.split(" ")], tmp_path)
    assert found == offered
    assert HEAVY & modules == set()


def script(shell):
    command = [sys.executable, "-m", "ecm_edge.cli", "completion", shell]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_clicks_and_asks_the_program(shell):
    text = script(shell)
    assert VARIABLE in text
    assert "ecm-edge" in text


@pytest.fixture
def program(tmp_path):
    """A folder with `ecm-edge`, as an installation has it, that runs this checkout."""
    place = tmp_path / "bin" / "ecm-edge"
    place.parent.mkdir()
    place.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m ecm_edge.cli "$@"\n')
    place.chmod(0o755)
    return place.parent


SHELLS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
BEGIN = {
    "bash": "source {script}",
    "zsh": "autoload -U compinit && compinit -u && source {script}",
    "fish": "source {script}",
}


@pytest.mark.parametrize("shell", [name for name in SHELLS if shutil.which(name)])
def test_a_real_shell_completes_a_board(shell, program, tmp_path):
    (tmp_path / "script").write_text(script(shell))
    environment = {**os.environ, "PATH": f"{program}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "READY> "}
    with pexpect.spawn(shell, SHELLS[shell], env=environment, cwd=tmp_path, encoding="utf-8", timeout=120) as terminal:
        terminal.sendline(BEGIN[shell].format(script=tmp_path / "script") + "; echo be''gun")
        terminal.expect("begun")
        terminal.send("echo ecm-edge; ecm-edge fit x --target lo\t")
        terminal.expect("ongson-2k0500 ")
        terminal.sendcontrol("c")
