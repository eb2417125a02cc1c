"""The help of every command: an example that parses, and what each argument and option is, with its default."""

import os
import re
import shlex

import click
import pytest

from ecm_edge import cli
from ecm_edge.data.splits import FoldAssignment

from .documents import parse_only
from .test_cli import LEAVES, run

GROUPS = {("data",): None, ("firmware",): None, (): None}
EVERY = [*LEAVES, *GROUPS]


def command_of(path):
    command = cli.cli
    for name in path:
        command = command.get_command(click.Context(command), name)
    return command


def examples(path):
    """The commands of an example, as a shell reads them."""
    text = command_of(path).epilog
    lines = text.replace("\\\n", "").splitlines()
    return [shlex.split(line.partition(" > ")[0]) for line in lines if line.strip().startswith("ecm-edge ")]


def named(command):
    """(option or argument, its row of the help) of a command, but for what has no value."""
    context = click.Context(command, show_default=True)
    for parameter in command.params:
        yield parameter, parameter.get_help_record(context)[1]


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_an_example_parses(path, tmp_path, monkeypatch):
    parse_only(monkeypatch)
    monkeypatch.chdir(tmp_path)
    FoldAssignment(seed=0, count=3, dataset_sha256="", folds={"A": 0, "B": 1, "C": 2}).save(tmp_path / "folds.json")
    shown = examples(path)
    assert shown
    for words in shown:
        assert words[0] == "ecm-edge"
        assert tuple(words[1 : 1 + len(path)]) == path
        leaf = next(leaf for leaf in LEAVES if tuple(words[1 : 1 + len(leaf)]) == leaf)
        LEAVES[leaf].make_context(leaf[-1], words[1 + len(leaf) :])


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_argument_and_option_is_described(path):
    assert [p.name for p, row in named(LEAVES[path]) if len(re.sub(r"\[.*", "", row).strip()) < 5] == []


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_default_is_shown_where_there_is_one(path):
    """In words where it is no value; what may be repeated has none, and a switch is off."""
    left = [p for p in LEAVES[path].params if not (p.required or p.multiple or getattr(p, "is_flag", False))]
    rows = dict(named(LEAVES[path]))
    assert [p.name for p in left if rows[p].count("[default: ") != 1] == []


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_help_fits_80_columns(path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(*path, "--help") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_a_group_without_a_command_shows_its_help(path, capsys):
    assert run(*path) == 0
    bare = capsys.readouterr()
    assert run(*path, "--help") == 0
    assert (bare.out, bare.err) == (capsys.readouterr().out, "")


def test_one_meaning_has_one_spelling():
    spellings = {}
    for path, command in LEAVES.items():
        for p in command.params:
            if isinstance(p, click.Option):
                words = [word for word in p.opts if word != "--html"]  # of `history`, whose only file is a page
                assert len([word for word in words if word.startswith("--")]) == 1, (path, p.opts)
                spellings.setdefault(words[0], set()).add(tuple(words))
    assert [every for every in spellings.values() if len(every) > 1] == []
    assert spellings["--out"] == {("--out", "-o")}
    assert not {"--output", "--standard"} & set(spellings)


def test_the_groups_of_the_help_are_those_of_the_chain(capsys):
    assert run() == 0
    shown = capsys.readouterr().out
    places = [shown.index(f"\n  {name} ") for name in ("data", "fit", "train", "export", "quantize", "verify", "bench")]
    assert places == sorted(places)
    assert os.linesep + "Recordings:" in shown
