"""The threat model: hostile names in what is generated, leftovers of killed commands, faults, and its own page."""

import fcntl
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from ecm_edge import targets
from ecm_edge.base import fault_reports, files
from ecm_edge.base.errors import TargetError
from ecm_edge.cli import _CHAIN, main
from ecm_edge.registry import bundle
from ecm_edge.report import model_card
from ecm_edge.targets import commands

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
HOSTILE = [
    "*/ int x; /*",
    "a\nb: ; touch ran",
    "$(touch ran)",
    "`touch ran`",
    "<script>alert(1)</script>",
    "a|b",
    "'; :",
]


def test_the_page_has_every_command_and_every_kind_of_command_in_a_file():
    table = PAGE.split("## What each command may do")[1]
    named = {
        word for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for word in re.findall(r"`([a-z-]+)", row)
    }
    assert {name for section in _CHAIN.values() for name in section} == named - {"compare --target"}
    documented = set(re.findall(r"`([a-z_.]+)`", str(commands.__doc__)))
    fields = set(targets.load("nucleo-l432kc").firmware.model_dump()) - {"emulator"}
    assert fields | {"emulator.command", "emulator.serial_command", "emulator.package"} <= documented


@pytest.mark.parametrize("word", [word for word in HOSTILE if word.isprintable()])
def test_a_hostile_word_reaches_the_program_behind_make_and_the_shell_whole(word, tmp_path):
    (tmp_path / "Makefile").write_text(f"WORDS = {bundle._words([word])}\nall:\n\t@printf %s $(WORDS) > out\n")  # noqa: SLF001
    subprocess.run(["make", "-s", "-C", str(tmp_path)], check=True)  # noqa: S607 - the user's make
    assert (tmp_path / "out").read_text() == word
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("word", ["a\nb", "a#b", "a\\", "a\tb"])
def test_a_word_that_no_makefile_can_hold_is_refused(word):
    with pytest.raises(TargetError, match="a Makefile holds"):
        bundle._words([word])  # noqa: SLF001


@pytest.mark.parametrize("name", ["my board.c", "$(rm).c", "a;b.c", "a\nb.c", "é.c"])
def test_a_board_file_that_make_would_read_otherwise_is_refused(name, tmp_path):
    with pytest.raises(TargetError, match="letters, digits"):
        bundle._place(tmp_path / name)  # noqa: SLF001


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_of_a_card_takes_no_markup_from_a_name(text):
    row, code = model_card.row("name", text), model_card.code(text)
    assert "\n" not in row
    assert "\n" not in code
    assert not re.search(r"(?<!\\)(\\\\)*[`$\[]|<", row)
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert "`" not in code


def test_every_text_of_a_record_in_the_card_is_escaped_where_it_is_written():
    """What a template writes passes through a filter that escapes, or is no free text."""
    template = (Path(model_card.__file__).with_name("model_card.md.jinja")).read_text(encoding="utf-8")
    written = [part.strip() for part in re.findall(r"\{\{(.*?)\}\}", template)]
    escaped = re.compile(
        r"plain|code|printable|^(row|head|missing|figures|listed|change)\(|whole|length$|ratio|number|fixed|figure"
    )
    closed = re.compile(
        r"^(seconds|section|[a-z_.]*(form|verdict\.value|name|sha256|seed|epoch|part)\b|', '|'; '|training\.best"
        r"|training\.validation|\(training|command$|score\.part|'all subjects"
        r"|config\.(samples|task\.name)|\"%|'–'|others)"
    )
    assert [part for part in written if not escaped.search(part) and not closed.search(part)] == []


def test_an_internal_error_is_one_line_and_a_report_without_passwords(monkeypatch, tmp_path, capsys):
    def broken(*_):
        raise ValueError("no such postgresql://joe:s3cret@host/x\nsecond line")

    monkeypatch.setenv("ECM_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(targets, "names", broken)
    with pytest.raises(SystemExit) as end:
        main(["targets", "--json"])
    out, err = capsys.readouterr()
    assert end.value.code == fault_reports.EXIT_CODE == 70
    assert len(err.strip().splitlines()) == 1
    error = json.loads(out)["error"]
    assert error["found"] == "ValueError: no such postgresql://joe:***@host/x second line"
    (report,) = (tmp_path / "cache" / "faults").iterdir()
    assert str(report) in error["hint"]
    text = report.read_text()
    assert "command: ecm-edge targets --json" in text
    assert "Traceback" in text
    assert "ecm-edge " in text
    assert "s3cret" not in text + out + err
    assert report.stat().st_mode & 0o077 == 0


def test_a_fault_report_goes_where_it_can_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("ECM_EDGE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    error = fault_reports.write(ValueError("x"), ["fit"])
    assert str(next((tmp_path / "tmp").iterdir())) in error.hint


def test_too_little_memory_is_no_fault_of_the_program(monkeypatch, capsys):
    def greedy(*_):
        raise MemoryError

    monkeypatch.setattr(targets, "names", greedy)
    with pytest.raises(SystemExit) as end:
        main(["targets", "--json"])
    assert (end.value.code, json.loads(capsys.readouterr().out)["error"]["found"]) == (2, "no memory left")


@pytest.fixture
def held():
    """Locks a file or folder as another process would, and lets it go at the end."""
    handles = []

    def hold(path):
        handles.append(os.open(path, os.O_RDONLY))
        fcntl.flock(handles[-1], fcntl.LOCK_EX)
        return path

    yield hold
    for handle in handles:
        os.close(handle)


def test_a_temporary_file_of_a_killed_process_goes_and_one_in_use_stays(held, tmp_path):
    left, used = (tmp_path / f".incumbent.json.{letters}.unfinished" for letters in ("aaaaaaaa", "bbbbbbbb"))
    other = tmp_path / ".history.jsonl.aaaaaaaa.unfinished"
    for path in (left, used, other):
        path.write_text("half")
    held(used)
    files.write_atomic(tmp_path / "incumbent.json", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([used.name, other.name, "incumbent.json"])


def test_scratch_folders_of_killed_commands_go_and_those_in_use_stay(held, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, used, others = (tmp_path / name for name in (
        "ecm-edge-aaaaaaaa.unfinished", "ecm-edge-bbbbbbbb.unfinished", "ecm-edge-of-somebody"
    ))  # fmt: skip
    for path in (left, used, others):
        path.mkdir()
        (path / "x").write_text("")
    held(used)
    with files.scratch_folder() as own, files.scratch_folder() as second:
        assert own.is_dir()
        assert second.is_dir()
        assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([used.name, others.name])


def test_a_folder_that_was_being_replaced_is_put_back(tmp_path):
    aside = tmp_path / ".one.aaaaaaaa.replaced"
    aside.mkdir()
    (aside / "old").write_text("kept")
    with files.staged_folder(tmp_path / "one", replace=True) as staged:
        assert (tmp_path / "one" / "old").read_text() == "kept"
        (staged / "new").write_text("")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    aside.mkdir()
    files.remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_what_is_renamed_is_flushed_with_its_folder(monkeypatch, tmp_path):
    synced = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    files.write_atomic(tmp_path / "a", b"")
    with files.staged_folder(tmp_path / "b"):
        pass
    assert synced == [tmp_path, tmp_path]
