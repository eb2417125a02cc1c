"""A registry that people or accidents changed: what is said to be damaged, by whom, and what is repaired."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ecm_edge import tasks
from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, RegistryError
from ecm_edge.firmware.fit_records import target_sha256
from ecm_edge.registry import events
from ecm_edge.registry.check import RegistryCheck, check
from ecm_edge.registry.promote import promote
from ecm_edge.registry.registry import history, history_record, incumbent, rollback
from tests import tiny

NAME = tiny.TARGET.name
DATE = "2099-01-31T12:00:00Z"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A registry with three entries and a refusal, the data set, and a candidate that would be promoted; read-only."""
    place = tmp_path_factory.mktemp("made")
    dataset = tiny.graded(place / "data")
    for column in (3, 2, 1, 4):
        promote(
            tiny.ready(place / f"misses-{column}", dataset, column=column), dataset, tiny.TARGET, place / "registry"
        )
    tiny.ready(place / "misses-0", dataset, column=0)
    return place, dataset


@pytest.fixture
def shelf(made, tmp_path):
    """A copy of its shelf."""
    shutil.copytree(made[0] / "registry", tmp_path / "registry")
    return tmp_path / "registry" / NAME


@pytest.fixture
def decide(made, tmp_path):
    """Promote the best candidate into the copy."""
    return lambda: promote(made[0] / "misses-0", made[1], tiny.TARGET, tmp_path / "registry")


def lines(shelf):
    return (shelf / "history.jsonl").read_bytes().splitlines(keepends=True)


def rewrite(shelf, content):
    (shelf / "history.jsonl").write_bytes(b"".join(content))


def found(shelf, **options):
    return {finding.name for finding in check(shelf.parent, **options).findings if finding.kind == "damage"}


def test_a_registry_as_promote_leaves_it_is_whole(shelf, capsys):
    assert check(shelf.parent).findings == []
    assert tiny.run(["registry", "check", shelf.parent]) == 0
    assert capsys.readouterr().out.endswith("1 shelf, 3 entries: whole\n")
    chained = [json.loads(line)["previous_sha256"] for line in lines(shelf)]
    assert chained == ["0" * 64, *(files.sha256_bytes(line.rstrip()) for line in lines(shelf)[:-1])]


EDITS = {
    "emptied": (lambda _: [], {"history_cut", "incumbent_misfit"}),
    "first line gone": (lambda old: old[1:], {"history_chain"}),
    "last lines gone": (lambda old: old[:2], {"history_cut", "incumbent_misfit"}),
    "reordered": (lambda old: [old[1], old[0], *old[2:]], {"history_chain"}),
    "line edited": (lambda old: [old[0].replace(b"misses-3", b"misses-9"), *old[1:]], {"history_chain"}),
    "last line edited": (lambda old: [*old[:3], old[3].replace(b"misses-4", b"misses-9")], {"history_cut"}),
    "line twice": (lambda old: [old[0], old[0], *old[1:]], {"history_chain"}),
    "no hashes": (
        lambda old: [json.dumps(json.loads(one) | {"previous_sha256": None}).encode() + b"\n" for one in old],
        {"history_cut", "incumbent_misfit"},
    ),
    "no text": (lambda _: [b"\xff\n"], {"unreadable"}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_history_that_was_changed_is_damage_to_every_command(shelf, decide, edit):
    change, expected = EDITS[edit]
    rewrite(shelf, change(lines(shelf)))
    assert found(shelf) == expected
    before = incumbent_bytes(shelf)
    for command in (decide, lambda: rollback(shelf, DATE), lambda: history_record(shelf, NAME)):
        with pytest.raises(RegistryError, match="registry check"):
            command()
    assert found(shelf, repair=True) == expected
    assert incumbent_bytes(shelf) == before


def incumbent_bytes(shelf):
    return (shelf / "incumbent.json").read_bytes()


def test_a_deleted_incumbent_is_damage_and_comes_back_from_the_history(shelf, decide):
    before = incumbent_bytes(shelf)
    (shelf / "incumbent.json").unlink()
    for command in (decide, lambda: rollback(shelf, DATE), lambda: history(shelf)):
        with pytest.raises(RegistryError, match=r"no incumbent\.json, and a history whose incumbent is 100-90"):
            command()
    assert found(shelf) == {"incumbent_missing"}
    assert found(shelf, repair=True) == set()
    assert incumbent_bytes(shelf) == before
    assert decide().entry == "100-100"


def test_an_older_incumbent_is_damage(shelf):
    older = json.loads(lines(shelf)[0])
    (shelf / "incumbent.json").write_text(json.dumps(older))
    with pytest.raises(RegistryError, match="the incumbent 100-70 and a history of which 100-90 is the incumbent"):
        incumbent(shelf)
    assert found(shelf, repair=True) == set()
    assert incumbent(shelf).entry == "100-90"


def test_an_incumbent_whose_entry_was_changed_is_derived_too_so_that_a_rollback_leads_away(shelf):
    (shelf / "incumbent.json").unlink()
    (shelf / "entries" / "100-90" / "bench.json").write_text("{}")
    assert found(shelf, repair=True) == {"entry_changed"}
    assert rollback(shelf, DATE).entry == "100-80"


def test_a_missing_latest_line_is_damage_and_is_derived(shelf):
    (shelf / "latest.json").unlink()
    with pytest.raises(RegistryError, match=r"no latest\.json"):
        history(shelf)
    assert found(shelf, repair=True) == set()
    assert (shelf / "latest.json").read_bytes() == lines(shelf)[-1]


def test_a_shelf_of_an_earlier_version_goes_on_as_a_chain(shelf, decide):
    old = [{k: v for k, v in json.loads(line).items() if k != "previous_sha256"} for line in lines(shelf)]
    rewrite(shelf, [json.dumps(one).encode() + b"\n" for one in old])
    (shelf / "latest.json").unlink()
    (shelf / "incumbent.json").write_text(json.dumps(old[2]))
    assert check(shelf.parent).findings == []
    assert decide().entry == "100-100"
    assert json.loads(lines(shelf)[-1])["previous_sha256"] == files.sha256_bytes(lines(shelf)[-2].rstrip())
    assert check(shelf.parent).findings == []


OUTSIDE = ["../../../outside", "..", ".", "", "/etc", "a/b", "a\\b", "-x", "a\n", "x" * 65, "é"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("file", ["history.jsonl", "incumbent.json", "latest.json"])
def test_names_of_entries_are_names(shelf, tmp_path, file, name):
    (tmp_path / "outside").mkdir()
    path = shelf / file
    each = [json.loads(line) for line in path.read_text().splitlines()] if file != "incumbent.json" else None
    changed = [one | {"entry": name} for one in each] if each else json.loads(path.read_text()) | {"entry": name}
    path.write_text("".join(json.dumps(one) + "\n" for one in changed) if each else json.dumps(changed))
    with pytest.raises(RegistryError, match="entry"):
        rollback(shelf, DATE)
    arguments = ["--target", NAME, "--registry", shelf.parent]
    assert tiny.run(["history", *arguments]) == tiny.run(["rollback", *arguments]) == 2


@pytest.mark.parametrize("name", ["incumbent.json", "history.jsonl", "latest.json", "entries", ".lock", "."])
def test_no_link_in_a_shelf_is_followed(shelf, tmp_path, name):
    path = shelf if name == "." else shelf / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RegistryError, match="is a link"):
        rollback(shelf, DATE)
    assert "link" in found(shelf)


@pytest.mark.parametrize("name", ["100-80", "100-80/bench.json", "100-80/manifest.json", "100-80/firmware"])
def test_no_link_in_an_entry_is_followed(shelf, tmp_path, name):
    path = shelf / "entries" / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RegistryError, match=r"an entry stays as it was promoted.*link"):
        rollback(shelf, DATE)
    assert found(shelf) & {"entry_changed", "entry_name"}


@pytest.mark.parametrize("place", ["evil", "firmware/evil"])
def test_a_link_in_a_candidate_is_not_promoted(shelf, made, tmp_path, place):
    shutil.copytree(made[0] / "misses-0", tmp_path / "c")
    (tmp_path / "c" / place).symlink_to("/etc/passwd")
    with pytest.raises(CandidateError, match=r"a link at .*evil"):
        promote(tmp_path / "c", made[1], tiny.TARGET, shelf.parent)
    assert incumbent(shelf).entry == "100-90"


@pytest.mark.parametrize("name", ["bench.json", "manifest.json", None])
def test_a_changed_entry_is_told_of_by_every_command(shelf, capsys, name):
    folder = shelf / "entries" / "100-70"
    (folder / name).write_text("{}") if name else shutil.rmtree(folder)
    arguments = ["--target", NAME, "--registry", shelf.parent]
    for command in ("history", "rollback"):
        assert tiny.run([command, *arguments]) == 0
        assert "warning: " in (told := capsys.readouterr().err)
        assert "100-70" in told
    assert tiny.run(["registry", "check", shelf.parent, "--json"]) == 1
    record = RegistryCheck.model_validate_json(capsys.readouterr().out)
    assert [(one.name, one.repairable) for one in record.findings] == [("entry_changed", False)]
    assert tiny.run(["rollback", "--to", "100-70", *arguments]) == 2


def test_a_clock_that_went_back_is_told(shelf, capsys):
    rollback(shelf, "2001-01-01T00:00:00Z")
    record = check(shelf.parent)
    assert [(one.name, one.kind) for one in record.findings] == [("clock", "note")]
    assert record.verdict == "PASS"
    assert tiny.run(["history", "--target", NAME, "--registry", shelf.parent]) == 0
    assert "warning: line 5 is of 2001-01-01T00:00:00Z" in capsys.readouterr().err


def test_what_a_killed_process_left_is_a_note_and_goes(shelf):
    (shelf / "entries" / ".100-60.abcdefgh.unfinished").mkdir()
    (shelf / ".history.jsonl.x1").write_text("")
    (shelf / "entries" / "100-60").mkdir()
    assert {one.name for one in check(shelf.parent).findings} == {"left_over", "unknown_entry"}
    record = check(shelf.parent, repair=True)
    assert [one.name for one in record.findings] == ["unknown_entry"]  # a promotion uses it again
    assert len(record.repaired) == 2


def test_a_registry_is_needed(tmp_path):
    assert tiny.run(["registry", "check", tmp_path / "none"]) == 2


KILL = """
import os, signal, sys
from pathlib import Path
from ecm_edge.base import files
from ecm_edge.data.dataset import open_dataset
from ecm_edge.registry.promote import promote
from ecm_edge.registry.registry import rollback
from ecm_edge.registry import proof
from tests import tiny

proof.prove = tiny.believing(proof.prove)
real, name, when, what, registry = files.write_atomic, *sys.argv[1:5]
def write_and_die(path, content):
    if when == "after":
        real(path, content)
    if path.name == name:
        os.kill(os.getpid(), signal.SIGKILL)
    if when == "before":
        real(path, content)
files.write_atomic = write_and_die
if what == "rollback":
    rollback(Path(registry) / tiny.TARGET.name, "2099-01-31T12:00:00Z")
else:
    promote(Path(what), open_dataset(Path(sys.argv[5])), tiny.TARGET, Path(registry))
"""


@pytest.mark.parametrize("what", ["promote", "rollback"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["latest.json", "incumbent.json", "history.jsonl"])
def test_the_same_command_after_a_kill_ends_as_undisturbed(shelf, made, decide, what, when, name):
    place, dataset = made
    asked = "rollback" if what == "rollback" else place / "misses-0"
    arguments = [name, when, asked, shelf.parent, dataset.folder]
    killed = subprocess.run([sys.executable, "-c", KILL, *map(str, arguments)], check=False)
    assert killed.returncode == -9
    assert found(shelf) == set()
    assert incumbent(shelf).entry in {"100-90", "100-80", "100-100"}
    expected = [*["100-70", "100-80", "100-90"], None, "100-80" if what == "rollback" else "100-100"]
    for _ in range(2):
        decided = rollback(shelf, DATE) if what == "rollback" else decide()
        assert decided.entry == expected[-1]
        assert [event.entry for event in history(shelf)] == expected
    assert check(shelf.parent).findings == []
    assert events.latest_line(shelf).content == lines(shelf)[-1].rstrip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("require_signature = true", "this registry takes signed entries only"),
        ("promoters = ['nobody at all']", "nobody at all may promote into this registry"),
        ("promotors = ['ana']", "unknown field promotors"),
        ("least_test_subjects = -1", "least_test_subjects"),
        ("promoters = [", "policy.toml"),
    ],
)
def test_a_policy_that_forbids_it_or_is_none_stops_a_promotion(shelf, decide, text, expected):
    (shelf.parent / "policy.toml").write_text(text)
    with pytest.raises(RegistryError, match=expected):
        decide()
    assert incumbent(shelf).entry == "100-90"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("require_signature = true", "no signature of the entry 100-80"),
        ("promoters = ['nobody at all']", "nobody at all may promote into this registry"),
        ("promotors = ['ana']", "unknown field promotors"),
    ],
)
def test_a_policy_stops_a_rollback_too(shelf, text, expected):
    (shelf.parent / "policy.toml").write_text(text)
    with pytest.raises(RegistryError, match=expected):
        rollback(shelf, DATE)
    assert incumbent(shelf).entry == "100-90"


def test_an_incumbent_without_the_signature_that_the_policy_asks_for_is_damage(shelf):
    (shelf.parent / "policy.toml").write_text("require_signature = true")
    assert found(shelf) == {"unsigned"}
    (shelf / "entries" / "100-90" / "model.sig").write_text("{}")
    record = check(shelf.parent)
    assert [finding.name for finding in record.findings] == ["signature_not_run"]
    assert record.verdict == "PASS"
    assert "1 signature that was not verified" in record.findings[0].found


def test_a_history_that_is_gone_as_a_whole_is_damage(shelf, decide):
    for name in ("history.jsonl", "latest.json", "incumbent.json"):
        (shelf / name).unlink()
    assert found(shelf, repair=True) == {"history_gone"}
    for command in (decide, lambda: rollback(shelf, DATE), lambda: history(shelf)):
        with pytest.raises(RegistryError, match="3 entries, and neither history"):
            command()


def test_one_entry_without_a_history_is_what_a_killed_promotion_leaves(shelf, decide):
    for name in ("history.jsonl", "latest.json", "incumbent.json"):
        (shelf / name).unlink()
    for name in ("100-70", "100-80"):
        shutil.rmtree(shelf / "entries" / name)
    assert found(shelf) == set()
    assert decide().entry == "100-100"


ADDED = {
    "a folder": lambda at: (at / "more").mkdir(),
    "a pipe": lambda at: os.mkfifo(at / "pipe"),
    "a file": lambda at: (at / "more.json").write_text("{}"),
    "a file among the images": lambda at: [(at / "firmware").mkdir(exist_ok=True), (at / "firmware/x").write_text("")],
    "a name of two lines": lambda at: (at / "a\nPASS: b").write_text(""),
    "a name that is not UTF-8": lambda at: Path(os.fsdecode(bytes(at) + b"/a\xff")).write_text(""),
}


@pytest.mark.parametrize("kind", ADDED)
def test_what_was_added_to_an_entry_is_found(shelf, kind, capsys):
    ADDED[kind](shelf / "entries" / "100-80")
    assert found(shelf) == {"entry_changed"}
    with pytest.raises(RegistryError, match="an entry stays as it was promoted"):
        rollback(shelf, DATE)
    assert tiny.run(["registry", "check", shelf.parent]) == 1
    assert "\nPASS: b" not in capsys.readouterr().out
    assert tiny.run(["registry", "check", shelf.parent, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["name"] == "entry_changed"


@pytest.mark.parametrize("name", ["a\nPASS: b", os.fsdecode(b"a\xff"), "-x"])
def test_a_shelf_of_a_name_that_no_target_has_is_found(shelf, name, capsys):
    shutil.copytree(shelf, shelf.parent / name)
    assert found(shelf) == {"shelf_name"}
    assert tiny.run(["registry", "check", shelf.parent, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["shelves"] == 1
    assert tiny.run(["history", "--registry", shelf.parent]) == 0
    assert "\nPASS: b" not in capsys.readouterr().out


FILES = {
    "a name of two lines": lambda at: (at / "a\nPASS: b").write_text(""),
    "a name that is not UTF-8": lambda at: Path(os.fsdecode(bytes(at) + b"/a\xff")).write_text(""),
    "a pipe": lambda at: os.mkfifo(at / "pipe"),
    "a large file": lambda at: [(at / "large").touch(), os.truncate(at / "large", (1 << 30) + 1)],
}


@pytest.mark.parametrize("kind", FILES)
def test_a_candidate_with_a_file_that_cannot_be_kept_is_refused(made, tmp_path, kind, capsys):
    folder = shutil.copytree(made[0] / "misses-0", tmp_path / "c")
    FILES[kind](folder)
    asked = ["promote", folder, "--data", made[0] / "data", "--target", "host", "--registry", tmp_path / "new"]
    with pytest.raises(CandidateError, match="the files of a candidate"):
        promote(folder, made[1], tiny.TARGET, tmp_path / "new")
    assert tiny.run([*asked, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["rule"]


@pytest.mark.parametrize(("least", "verdict"), [(3, "PASS"), (4, "FAIL")])
def test_a_policy_asks_for_so_many_subjects(made, tmp_path, least, verdict):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "policy.toml").write_text(f"least_test_subjects = {least}")
    record = promote(made[0] / "misses-0", made[1], tiny.TARGET, tmp_path / "new")
    gate = next(gate for gate in record.gates if gate.name == "test_subjects")
    assert (gate.value, gate.limit, gate.verdict, record.verdict) == (3, least, verdict, verdict)


def test_a_required_signature_is_asked_of_whoever_signs(made, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "policy.toml").write_text("require_signature = true")
    seen = []
    signer = lambda folder: seen.append((folder / "manifest.json").is_file())  # noqa: E731
    assert promote(made[0] / "misses-0", made[1], tiny.TARGET, tmp_path / "new", sign=signer).verdict == "PASS"
    assert seen == [True]


def test_hashes_of_board_and_task_are_in_manifest_and_history(shelf):
    manifest = json.loads((shelf / "entries" / "100-90" / "manifest.json").read_text())
    event = history(shelf)[-1]
    assert manifest["target_sha256"] == event.target_sha256 == target_sha256(tiny.TARGET)
    assert manifest["task_sha256"] == event.task_sha256 == files.sha256_json(tasks.default().model_dump(mode="json"))
