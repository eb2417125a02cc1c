"""A registry: what survives a kill, what a changed file does, and the way back."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from ecm_edge.base import faults, files
from ecm_edge.base.errors import CandidateError, OutputError, RegistryError
from ecm_edge.registry import entries, registry
from ecm_edge.registry.events import Event
from ecm_edge.registry.promote import promote
from ecm_edge.registry.registry import HistoryRecord, history, incumbent, rollback
from tests import tiny

NAME = tiny.TARGET.name
DATE = "2025-01-31T12:00:00Z"


@pytest.fixture
def dataset(tmp_path):
    return tiny.graded(tmp_path / "data")


@pytest.fixture
def shelf(tmp_path):
    return tmp_path / "registry" / NAME


@pytest.fixture
def decide(tmp_path, dataset):
    """Promote the candidate that misses `column` tenths of the AF, made once, into the registry of this test."""

    def run(column):
        folder = tmp_path / f"misses-{column}"
        if not folder.exists():
            tiny.ready(folder, dataset, column=column)
        return promote(folder, dataset, tiny.TARGET, tmp_path / "registry")

    return run


def events(shelf):
    return [(event.event, event.entry, event.replaces) for event in history(shelf)]


def test_promotions_refusals_and_rollbacks_are_all_in_the_history(shelf, decide):
    for column in (3, 2, 4, 1):
        decide(column)
    assert rollback(shelf, DATE).entry == "100-80"
    assert rollback(shelf, DATE, "100-70").entry == "100-70"
    assert rollback(shelf, DATE, "100-90").entry == "100-90"
    assert events(shelf) == [
        ("promoted", "100-70", None),
        ("promoted", "100-80", "100-70"),
        ("refused", None, "100-80"),
        ("promoted", "100-90", "100-80"),
        ("rolled back", "100-80", "100-70"),
        ("rolled back", "100-70", None),
        ("rolled back", "100-90", "100-80"),
    ]
    assert incumbent(shelf) == history(shelf)[-1]
    assert history(shelf)[-1].reason == "rolled back from 100-70"


def test_equal_names_get_a_number(shelf, decide):
    decide(1)
    for name in ("incumbent.json", "history.jsonl", "latest.json"):
        (shelf / name).unlink()  # as if on another board
    manifest = next((shelf / "entries").glob("*/manifest.json"))
    manifest.write_text(manifest.read_text().replace('"synthetic": true', '"synthetic": false'))
    (manifest.parent / "extra").write_text("so that it is not the same entry")
    assert decide(1).entry == "100-90-2"


def test_the_incumbent_again_is_promoted_already_and_adds_nothing(shelf, decide):
    first = decide(1)
    again = decide(1)
    assert (again.verdict, again.entry, again.reason, again.already) == ("PASS", first.entry, first.reason, True)
    assert len(list((shelf / "entries").iterdir())) == len(history(shelf)) == 1


def test_a_refusal_said_twice_is_one_line(shelf, decide):
    for column in (2, 3, 3, 4, 3):
        decide(column)
    assert [event.candidate for event in history(shelf)] == ["misses-2", "misses-3", "misses-4", "misses-3"]


def test_a_rollback_said_again_changes_nothing(shelf, decide):
    for column in (3, 2, 1):
        decide(column)
    back = rollback(shelf, DATE)
    assert (back.entry, rollback(shelf, DATE)) == ("100-80", back)
    assert rollback(shelf, DATE, "100-80") == back
    further = rollback(shelf, DATE, "100-70")
    assert (further.entry, rollback(shelf, DATE, "100-70"), rollback(shelf, DATE)) == ("100-70", further, further)
    assert len(history(shelf)) == 5


@pytest.mark.parametrize("wanted", [None, "50-50"])
def test_a_rollback_needs_an_earlier_entry(shelf, decide, wanted):
    decide(3)
    with pytest.raises(RegistryError, match="the incumbent is 100-70"):
        rollback(shelf, DATE, wanted)


def test_a_rollback_needs_an_incumbent_and_a_registry(shelf):
    with pytest.raises(RegistryError, match="a rollback needs a registry"):
        rollback(shelf, DATE)
    shelf.mkdir(parents=True)
    with pytest.raises(RegistryError, match="there is no incumbent"):
        rollback(shelf, DATE)


@pytest.mark.parametrize("name", ["model.int8.onnx", "candidate.json", "verify.json", "manifest.json"])
def test_a_changed_file_stops_a_rollback(shelf, decide, name):
    decide(3)
    decide(2)
    path = shelf / "entries" / "100-70" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(RegistryError, match=f"{name} of .*100-70 changed"):
        rollback(shelf, DATE)
    assert incumbent(shelf).entry == "100-80"


def test_missing_and_added_files_stop_a_rollback(shelf, decide):
    decide(3)
    decide(2)
    entry = shelf / "entries" / "100-70"
    (entry / "more.txt").write_text("")
    with pytest.raises(RegistryError, match=r"more\.txt of .* was added"):
        rollback(shelf, DATE)
    (entry / "more.txt").unlink()
    (entry / "cost.json").unlink()
    with pytest.raises(RegistryError, match=r"cost\.json of .* is missing"):
        rollback(shelf, DATE)
    (entry / "manifest.json").unlink()
    with pytest.raises(RegistryError, match=r"manifest\.json of .* is missing"):
        rollback(shelf, DATE)


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", ["stage", "manifest", "incumbent", "history"])
def test_a_kill_at_any_step_leaves_a_valid_incumbent(shelf, decide, monkeypatch, step):
    decide(3)
    steps = {
        "stage": (files, "staged_folder"),
        "manifest": (entries.Manifest, "save"),
        "incumbent": (registry, "log"),
        "history": (registry.events, "append"),
    }

    def killed(*_arguments, **_options):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(*steps[step], killed)
        with pytest.raises(KilledError):
            decide(2)
    expected = "100-80" if step == "history" else "100-70"
    assert incumbent(shelf).entry == expected
    registry.entry_of(shelf, incumbent(shelf))
    assert history(shelf)[-1].entry == expected
    decide(1)
    assert [event.entry for event in history(shelf)] == ["100-70", *(["100-80"] if step == "history" else []), "100-90"]


def test_an_entry_that_was_staged_but_not_installed_is_used_again(shelf, decide, monkeypatch):
    decide(3)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "log", lambda *_: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            decide(2)
    assert (shelf / "entries" / "100-80").is_dir()
    assert decide(2).entry == "100-80"
    assert len(list((shelf / "entries").iterdir())) == 2


KILL_BEFORE_WRITING = """
import os, signal, sys
from pathlib import Path
from ecm_edge.base import files
from ecm_edge.data.dataset import open_dataset
from ecm_edge.registry.promote import promote
from ecm_edge.registry import proof
from tests import tiny

proof.prove = tiny.believing(proof.prove)
real = files.write_atomic
def write_and_die(path, content):
    if path.name == sys.argv[5]:
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, content)
files.write_atomic = write_and_die
promote(Path(sys.argv[1]), open_dataset(Path(sys.argv[2])), tiny.TARGET, Path(sys.argv[4]))
"""


@pytest.mark.parametrize(("name", "expected"), [("manifest.json", "100-70"), ("history.jsonl", "100-80")])
def test_kill_9_while_promoting(shelf, decide, dataset, tmp_path, name, expected):
    decide(3)
    tiny.ready(tmp_path / "misses-2", dataset, column=2)
    arguments = [tmp_path / "misses-2", dataset.folder, NAME, tmp_path / "registry", name]
    process = subprocess.run([sys.executable, "-c", KILL_BEFORE_WRITING, *map(str, arguments)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert len(list((shelf / "entries").iterdir())) == 2  # the first, and the second or what was staged of it
    assert incumbent(shelf).entry == expected
    decide(1)
    assert [event.entry for event in history(shelf)][-2:] == [expected, "100-90"]
    assert not list((shelf / "entries").glob(".*"))


@pytest.mark.parametrize("name", ["model.int8.onnx", "manifest.json", "incumbent.json"])
def test_a_full_disk_leaves_the_incumbent(shelf, decide, monkeypatch, name):
    decide(3)

    def is_full(point, path):
        if point == "write.content" and path.name == name and shelf in path.parents:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(faults, "point", is_full)
        with pytest.raises(OutputError, match="No space left on device"):
            decide(2)
    assert incumbent(shelf).entry == "100-70"
    assert decide(2).entry == "100-80"


def test_one_process_at_a_time(shelf, decide):
    decide(3)
    with (shelf / ".lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another one at"):
            decide(2)
        with pytest.raises(OutputError, match="another one at"):
            rollback(shelf, DATE)
    assert decide(2).entry == "100-80"


def test_a_candidate_that_changes_while_it_is_copied(shelf, decide):
    decide(3)
    folder, manifest = registry.entry_of(shelf, incumbent(shelf))
    other = manifest.model_copy(update={"entry": "other", "files": dict.fromkeys(manifest.files, "0")})
    with pytest.raises(CandidateError, match=r"candidate\.json|bench\.json"):
        entries.add_entry(shelf / "entries", folder, other)
    assert [path.name for path in (shelf / "entries").iterdir()] == ["100-70"]


@pytest.mark.not_root
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_registry_that_cannot_be_written(tmp_path, decide):
    (tmp_path / "registry").mkdir(mode=0o500)
    with pytest.raises(OutputError):
        decide(3)


def test_a_registry_that_is_a_file(tmp_path, decide):
    (tmp_path / "registry").write_text("")
    with pytest.raises(RegistryError, match=r"a registry is a folder.* found a file at"):
        decide(3)


@pytest.mark.parametrize(
    ("name", "content"), [("incumbent.json", "{}"), ("history.jsonl", "{}\n"), ("incumbent.json", "")]
)
def test_a_damaged_registry_is_refused(shelf, decide, name, content):
    decide(3)
    (shelf / name).write_text(content)
    with pytest.raises(RegistryError):
        decide(2)
    with pytest.raises(RegistryError):
        history(shelf)


def test_commands(tmp_path, decide, capsys):
    arguments = ["--target", NAME, "--registry", tmp_path / "registry"]
    assert tiny.run(["history", *arguments]) == 2
    decide(3)
    decide(2)
    assert tiny.run(["rollback", *arguments, "--json"]) == 0
    assert Event.model_validate_json(capsys.readouterr().out).entry == "100-70"
    assert tiny.run(["history", *arguments, "--json"]) == 0
    record = HistoryRecord.model_validate_json(capsys.readouterr().out)
    assert (record.incumbent, [e.event for e in record.events]) == ("100-70", ["promoted", "promoted", "rolled back"])
    assert tiny.run(["history", *arguments]) == 0
    assert "misses-3 (synthetic)" in capsys.readouterr().out
    assert tiny.run(["rollback", *arguments]) == 0
    assert "the incumbent is 100-70 already (rolled back, " in capsys.readouterr().out
    assert tiny.run(["rollback", "100-70", "--to", "100-80", *arguments]) == 2
    assert tiny.run(["history", "--target", "nucleo-l432kc", "--registry", tmp_path / "registry", "--json"]) == 0
    assert HistoryRecord.model_validate_json(capsys.readouterr().out).incumbent is None
    assert not (tmp_path / "registry" / "nucleo-l432kc").exists()
