"""A kill or a failing write at the points where a command changes a disk: nothing is lost, and the command goes on.

Here each command is disturbed at a share of its points, and trials of a search are faked. `make faults` does all.
"""

from __future__ import annotations

import errno
import itertools
import json
import os

import pytest

from ecm_edge.base import faults, files
from ecm_edge.base.errors import EcmEdgeError, OutputError
from ecm_edge.registry import proof
from ecm_edge.search import worker

from . import disturb_all, disturbed, tiny
from .fuzz import record
from .test_search import fake, fake_proof

COMMANDS = ("data import", "search", "promote", "rollback", "bundle", "pull")
LEAST_POINTS = {"data import": 12, "search": 40, "promote": 40, "rollback": 8, "bundle": 90, "pull": 25}
EVERY = {"data import": 4, "search": 37, "promote": 17, "rollback": 4, "bundle": 83, "pull": 17}
"""Of how many points one is disturbed, so that the whole takes seconds."""


@pytest.fixture(scope="module")
def commands(tmp_path_factory, dataset):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "train_trial", fake())
        patch.setattr(worker, "prove_trial", fake_proof())
        patch.setattr(proof, "prove", tiny.believing(proof.prove))
        yield disturbed.commands(tmp_path_factory.mktemp("disturbed") / "world", dataset.folder, *COMMANDS, "train")


def test_a_point_does_nothing_unless_it_is_asked_to(tmp_path, monkeypatch):
    path = tmp_path / "a"
    for asked in ("", "write.rename/b:ENOSPC", "write.rename/a:ENOSPC:2"):
        monkeypatch.setenv(faults.VARIABLE, asked)
        files.write_atomic(path, b"content")
    with pytest.raises(OutputError, match="No space left"):  # the second time
        files.write_atomic(path, b"other")
    monkeypatch.setenv(faults.VARIABLE, "write.rename/a:EIO")
    for _ in range(2):
        with pytest.raises(OutputError, match=os.strerror(errno.EIO)):
            files.write_atomic(path, b"other")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"content")]


@pytest.mark.parametrize("asked", ["write.rename/a", "write.rename/a:EPERM", "write.rename/a:kill:0"])
def test_a_fault_that_cannot_be_read_is_refused(tmp_path, monkeypatch, asked):
    monkeypatch.setenv(faults.VARIABLE, asked)
    with pytest.raises(EcmEdgeError, match=faults.VARIABLE):
        files.write_atomic(tmp_path / "a", b"")


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_changes_a_disk_without_a_point_before_it(commands, tmp_path, name):
    changes = disturbed.changes(commands[name], tmp_path)
    assert sum(not change.is_point for change in changes) >= LEAST_POINTS[name] / 2
    assert sum(change.is_point for change in changes) >= LEAST_POINTS[name]
    assert disturbed.without_point(changes) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_what_befalls_a_command_costs_nothing(commands, tmp_path, name):
    command = commands[name]
    wanted = disturbed.undisturbed(command, tmp_path / "alone")
    points = disturbed.numbered(disturbed.reached(command, tmp_path))
    kinds = itertools.cycle([faults.KILL, *faults.ERRORS])
    assert points
    for number, ((point, time), kind) in enumerate(zip(points[:: EVERY[name]], kinds, strict=False)):
        fault = f"{point}:{kind}:{time}"
        assert disturbed.disturb(command, tmp_path / str(number) / "at", fault, wanted) == "", fault


OURS, OTHERS = "which another process made meanwhile", "one process at a time works in a folder"


@pytest.mark.parametrize(
    ("name", "stopped_at"),
    [
        ("data import", "stage.make/out"),
        ("data import", "stage.rename/out"),
        ("train", "stage.rename/c"),
        ("bundle", "stage.rename/b"),
        ("pull", "stage.rename/run"),
    ],
)
def test_of_two_that_make_a_folder_one_says_that_the_other_did(commands, tmp_path, name, stopped_at):
    command = commands[name]
    wanted = disturbed.undisturbed(command, tmp_path / "alone")
    at = tmp_path / "at"
    command.prepare(at)
    first, told, second, _ = disturbed.beside(command.words(at), command.words(at), stopped_at, tmp_path)
    assert (first, second) == (2, 0)
    assert OURS in told
    assert command.outcome(at) == wanted


@pytest.mark.parametrize("pair", [*itertools.product(("promote", "rollback"), repeat=2)])
@pytest.mark.parametrize("stopped_at", ["write.rename/incumbent.json", "write.rename/history.jsonl"])
def test_of_two_that_change_a_shelf_one_waits_and_nothing_is_lost(commands, tmp_path, pair, stopped_at):
    """Whoever comes while the other writes is refused; said again, its decision stands after the other's."""
    at = tmp_path / "at"
    commands["promote"].prepare(at)
    one, other = (commands[name] for name in pair)
    first, _, second, told = disturbed.beside(one.words(at), other.words(at), stopped_at, tmp_path)
    assert (first, second) == (0, 2)
    assert OTHERS in told
    between = disturbed.shelf_state(at / "registry" / disturbed.BOARD)["history"]
    assert disturbed.run(other.words(at), tmp_path / "log") in {0, 1}
    after = disturbed.shelf_state(at / "registry" / disturbed.BOARD)["history"]
    assert after.startswith(between.removesuffix("]"))


def test_of_two_searches_in_a_folder_one_is_refused(commands, tmp_path):
    command, at = commands["search"], tmp_path / "at"
    wanted = disturbed.undisturbed(command, tmp_path / "alone")
    command.prepare(at)
    words = command.words(at)
    first, _, second, told = disturbed.beside(words, [*words, "--resume"], "stage.rename/0000", tmp_path)
    assert (first, second) == (0, 2)
    assert OTHERS in told
    assert command.outcome(at) == wanted


def test_of_two_archives_of_a_name_one_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "b.zip"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: path.write_bytes(b"of another"))
        with pytest.raises(OutputError, match=OURS):
            files.write_new(path, b"ours")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("b.zip", b"of another")]
    path.unlink()
    files.write_new(path, b"ours")
    assert (path.read_bytes(), path.stat().st_nlink) == (b"ours", 1)


def test_the_table_of_faults_is_that_of_the_record():
    counts = json.loads(disturb_all.RECORD.read_text())
    assert disturb_all.table(counts) in record.README.read_text()
    assert [row["wrong"] for row in counts.values() if row["wrong"]] == []
