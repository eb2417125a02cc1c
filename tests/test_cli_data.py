"""`ecm-edge data`: exit codes, one JSON object, and messages for people."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from ecm_edge.cli import main
from ecm_edge.data.audit import AuditRecord
from ecm_edge.data.info import InfoRecord
from ecm_edge.data.recordings.importer import ImportRecord
from ecm_edge.data.synthetic import SynthRecord
from tests.tiny import config

GOOD = "".join(f"{value:.4f}\n" for value in np.sin(np.arange(1250) / 9))


@pytest.fixture
def run(capsys):
    """Run the command line; gives exit code, stdout and stderr."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        return stopped.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def source(tmp_path):
    """Three segments, one of them with a blank rhythm."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("S1-AFIB-0.txt", "S1-N-0.txt", "S47--0.txt"):
        (folder / name).write_text(GOOD)
    return folder


IESD = ("--format", "iesd", "--sampling-rate-hz", "250")


def test_import_says_what_it_made_and_what_is_blank(run, source, tmp_path):
    code, out, err = run("data", "import", source, "-o", tmp_path / "d", *IESD)
    assert code == 0
    assert re.search("3 segments of 2 subjects in .*, unit unstated", out)
    assert "1 segments have a blank rhythm; they are counted as negative" in err


def test_import_prints_one_json_object(run, source, tmp_path):
    code, out, _ = run(
        "data", "import", source, "-o", tmp_path / "d", *IESD, "--blank", "drop", "--unit", "mV", "--json"
    )
    record = ImportRecord.model_validate_json(out)
    assert (code, record.segments, record.blank, record.unit) == (0, 3, "drop", "mV")


def test_bad_files_exit_with_2_and_json_names_all_of_them(run, source, tmp_path):
    for k in range(12):
        (source / f"S1-N-{k + 1}.txt").write_text("1\n")
    code, out, err = run("data", "import", source, "-o", tmp_path / "d", *IESD, "--json")
    assert code == 2
    found = json.loads(out)["error"]["found"]
    assert found.count("1 lines instead of 1250") == 1
    assert all(f"S1-N-{k + 1}.txt" in found for k in range(12))
    assert "--on-error skip" in err
    assert not (tmp_path / "d").exists()


def test_skip_lists_what_was_left_out(run, source, tmp_path):
    (source / "notes.md").write_text("x")
    code, _, err = run("data", "import", source, "-o", tmp_path / "d", *IESD, "--on-error", "skip")
    assert code == 0
    assert "left out: notes.md: not named" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--format", "iesd"),
        ("--format", "iesd", "--sampling-rate-hz", "x"),
        ("--format", "txt", "--sampling-rate-hz", "250"),
        (*IESD, "--split", "train"),
        (*IESD, "--lead", "II"),
    ],
)
def test_wrong_usage_exits_with_2(run, source, tmp_path, arguments):
    assert run("data", "import", source, "-o", tmp_path / "d", *arguments)[0] == 2
    assert not (tmp_path / "d").exists()


def test_splits_are_given_by_name(run, source, tmp_path):
    (tmp_path / "train.csv").write_text("label,Filename\n1,S1-AFIB-0.txt\n")
    split = ("--split", f"train={tmp_path / 'train.csv'}")
    code, out, _ = run("data", "import", source, "-o", tmp_path / "d", *IESD, *split, "--json")
    assert (code, json.loads(out)["splits"]) == (0, {"train": 1})


def test_synth_info_and_audit_speak_json(run, tmp_path):
    code, out, _ = run("data", "synth", "-o", tmp_path / "d", "--subjects", 4, "--seed", 1, "--json")
    assert (code, SynthRecord.model_validate_json(out).segments) == (0, 160)
    code, out, _ = run("data", "info", tmp_path / "d", "--check", "--json")
    record = InfoRecord.model_validate_json(out)
    assert (code, record.content_checked, sum(record.counts.labels.values())) == (0, True, 160)
    code, out, _ = run("data", "audit", tmp_path / "d", "--json")
    assert (code, AuditRecord.model_validate_json(out).verdict) == (0, "PASS")


def test_info_and_audit_show_tables(run, dataset):
    _, out, _ = run("data", "info", dataset.folder)
    assert "(synthetic)" in out
    assert "144 in 72 episodes of 12 subjects" in out
    code, out, _ = run("data", "audit", dataset.folder)
    assert (code, "PASS" in out) == (0, True)


def test_what_a_file_names_is_shown_and_never_acted_upon(run, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text(
        "t,\x1b[2Jecg\n" + "".join(f"{k / 250},{line}\n" for k, line in enumerate(GOOD.split()))
    )
    table = tmp_path / "labels.csv"
    table.write_text("file,subject,rhythm\na.csv,[/red],[/b]\x1b[2J\n")
    rate = ("--format", "csv", "--sampling-rate-hz", 250, "--labels", table)
    code, _, err = run("data", "import", tmp_path / "in", "-o", tmp_path / "d", *rate)
    assert code == 2
    assert "[/b]\\x1b[2J" in err
    assert "\x1b" not in err
    code, out, err = run("data", "import", tmp_path / "in", "-o", tmp_path / "d", *rate, "--negative", "[/b]\x1b[2J")
    assert code == 0
    assert "[/b]\\x1b[2J" in out
    assert "leads: \\x1b[2Jecg" in err
    code, out, _ = run("data", "info", tmp_path / "d")
    assert code == 0
    assert "[/red]" in out
    assert "\x1b" not in out


def test_the_last_line_says_which_class_is_missing(run, source, tmp_path):
    (source / "S1-AFIB-0.txt").unlink()
    words = "no positive window: nothing can be learnt or scored from this data set alone"
    for arguments in (
        ("import", source, "-o", tmp_path / "d", *IESD),
        ("info", tmp_path / "d"),
        ("audit", tmp_path / "d"),
    ):
        assert run("data", *arguments)[1].splitlines()[-1] == words


def test_info_tells_the_task_and_what_the_import_told(run, source, tmp_path):
    for k in range(4):
        (source / f"S1-N-{k + 1}.txt").write_text("1\n")
    (source / "two\nlines").touch()
    _, _, err = run("data", "import", source, "-o", tmp_path / "d", *IESD, "--on-error", "skip")
    _, out, _ = run("data", "info", tmp_path / "d")
    copied = "imported twice: the same samples under two"
    for line in (
        "left out: 4 recordings: 1 lines instead of 1250 (S1-N-1.txt, S1-N-2.txt, S1-N-3.txt, …)",
        r"left out: two\nlines: not named <subject>-<rhythm>-<index>.txt",
        f"note: S1-N-0.txt = S1-AFIB-0.txt: {copied} names",
        f"note: S47--0.txt = S1-AFIB-0.txt: {copied} subjects, which no split by subject keeps apart",
    ):
        assert line in err.splitlines()
        assert f" {line}" in out.splitlines()
    assert "task: af-5s: atrial fibrillation in 5 s" in out
    assert "unit unstated" in out


def test_a_failed_audit_exits_with_1(run, source, tmp_path):
    run("data", "import", source, "-o", tmp_path / "d", *IESD)
    code, out, _ = run("data", "audit", tmp_path / "d", "--json")
    assert (code, json.loads(out)["verdict"]) == (1, "FAIL")


def test_no_data_set_exits_with_2(run, tmp_path):
    code, out, err = run("data", "info", tmp_path, "--json")
    assert (code, "dataset.json" in json.loads(out)["error"]["found"], "error:" in err) == (2, True, True)


T = ("--target", "loongson-2k0500")


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "info", "d"),
        ("data", "audit", "d"),
        ("train", "--data", "d", "-o", "new", *T),
        ("search", "--data", "d", "-o", "new", *T),
        ("scale", "c", "--data", "d", "-o", "new", "--least-objective", "1", *T),
        ("export", "c", "--data", "d"),
        ("quantize", "c", "--data", "d"),
        ("verify", "c", "--data", "d", *T),
        ("bench", "c", "--data", "d"),
        ("score", "c", "--data", "d"),
    ],
    ids=" ".join,
)
def test_no_command_rests_on_a_data_set_that_changed(run, dataset, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "candidate.json").write_text(config(dataset).to_json())
    shutil.copytree(dataset.folder, tmp_path / "d")
    table = np.load(tmp_path / "d" / "table.npy")
    table["subject"] += 1
    np.save(tmp_path / "d" / "table.npy", table)
    code, _, err = run(*arguments)
    assert code == 2
    assert "table.npy of d changed" in err
    assert not (tmp_path / "new").exists()
