"""A share of the fuzzing, the same inputs in every run, and the record of the long run: `tests/fuzz/`."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from tests.fuzz import attempt, compiled, frames, mutators, record
from tests.fuzz.attempt import Outcome
from tests.fuzz.pool import Pool
from tests.fuzz.readers import READERS

SHARE = {"answers": 300, "samples": 100, "toml": 60, "iesd": 30, "wfdb": 40, "edf": 40, "csv": 25, "dicom": 30}
SHARE |= {"dataset": 12, "registry": 10, "candidate": 10, "model": 40, "bundle": 60, "study": 40}


def drawn(seed):
    return random.Random(seed)  # noqa: S311 - no secret


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with Pool(tmp_path_factory.mktemp("fuzz")) as pool:
        yield pool


@pytest.mark.parametrize("name", READERS)
def test_a_share_of_the_inputs_ends_well(pool, name):
    outcomes = [pool.attempt(name, seed) for seed in range(SHARE[name])]
    assert [outcome for outcome in outcomes if outcome.finding] == []
    assert {outcome.code for outcome in outcomes} >= {0}


def test_the_same_seed_gives_the_same_input(tmp_path):
    made = []
    for name in ("a", "b"):
        folder = tmp_path / name
        READERS["iesd"].make(folder / "corpus")
        for seed in range(5):
            rng = drawn(seed)
            case = folder / str(seed)
            shutil.copytree(rng.choice(sorted((folder / "corpus").iterdir())), case)
            READERS["iesd"].mutate(case, rng)
            made.append({path.name: path.is_file() and path.read_bytes() for path in case.iterdir()})
    assert made[:5] == made[5:]


@pytest.mark.parametrize("change", [mutators.spoil, mutators.respell, mutators.json_text, mutators.toml_text])
def test_a_mutator_changes_most_inputs(change):
    content = (
        b'{"a": 1, "b": [2.5, "three"]}' if change is not mutators.toml_text else b'a = 1\n[b]\nc = [2.5, "three"]\n'
    )
    changed = {change(content, drawn(seed)) for seed in range(100)}
    assert len(changed - {content}) > 50


class _Broken:
    name = "broken"

    def __init__(self, use):
        self.use = use

    def mutate(self, folder, rng):
        del folder, rng


@pytest.mark.parametrize(
    ("use", "finding"),
    [
        (lambda *_: {}["a"], "KeyError at test_fuzz.py"),
        (lambda *_: (70, "internal error"), "exit 70: internal error"),
        (lambda _, out, __: out.mkdir() or (2, ""), "exit 2 and left behind: out"),
        (lambda _, out, __: (out.parent / ".d.x").mkdir() or (0, ""), "exit 0 and left behind: .d.x"),
    ],
)
def test_what_should_not_be_is_a_finding(tmp_path, use, finding):
    (tmp_path / "corpus" / "one").mkdir(parents=True)
    outcome = attempt.attempt(_Broken(use), tmp_path / "corpus", tmp_path / "scratch", 1)
    assert outcome.finding.startswith(finding)


@pytest.mark.parametrize(
    ("words", "finding"), [(["sleep", "60"], "ended after 0 s"), (["false"], "the process ended with 1: KeyError: 'a'")]
)
def test_a_process_that_hangs_or_dies_is_a_finding(tmp_path, monkeypatch, words, finding):
    monkeypatch.setattr("tests.fuzz.pool.ENDED_AFTER_S", 0 if words[0] == "sleep" else 60)
    (tmp_path / "log").write_text("Traceback\nKeyError: 'a'\n")
    with Pool(tmp_path) as pool:
        pool.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert pool.attempt("csv", 0).finding == finding


def test_frames_under_a_sanitizer_end_well(tmp_path):
    assert frames.drawn(tmp_path, 0, 3000) == (9852, "")


def test_a_broken_rule_of_the_frames_is_found(tmp_path):
    program = frames.program(tmp_path, guided=False)
    program.write_text("#!/bin/sh\necho 'x.c:1: runtime error: y' >&2\nexit 1\n")
    assert frames.drawn(tmp_path, 0, 1) == (0, "exit 1: x.c:1: runtime error: y")


def test_compiled_models_end_well():
    outcomes = compiled.turn(0)
    assert [outcome for outcome in outcomes if outcome.finding] == []
    assert sum(outcome.code == 0 for outcome in outcomes) > compiled.TOGETHER // 2


def test_a_wrong_score_of_a_compiled_model_is_found(monkeypatch):
    monkeypatch.setattr(compiled, "TOGETHER", 1)
    monkeypatch.setattr(compiled, "TOLERANCE", -1)
    assert [outcome.finding[:2] for outcome in compiled.turn(0)] == ["C "]


def test_counts_add_up():
    counts = {}
    record.add(counts, "csv", [Outcome("csv", 0, 2, "", 0.26, 100.2), Outcome("csv", 1, 70, "KeyError", 1, 50)], 2)
    record.add(counts, "csv", [Outcome("csv", 2, 0, "", 0, 0), Outcome("csv", 3, 70, "KeyError", 1, 50)], 2)
    record.add(counts, "frames", [Outcome("frames", 0, 0, "", 1, 0)], 900)
    assert counts["csv"] == {
        "inputs": 4,
        "taken": 1,
        "refused": 1,
        "failed": 2,
        "slowest_s": 1,
        "peak_mb": 100,
        "findings": {"KeyError": 1},
    }
    assert counts["frames"]["inputs"] == counts["frames"]["taken"] == 900


def test_the_table_is_that_of_the_record():
    counts = record.load()
    assert f"{record.BEGIN}\n{record.table(counts)}\n{record.END}" in record.README.read_text()
    assert set(counts) == {*READERS, "compiled", "frames"}
    for row in counts.values():
        assert row["inputs"] == row["taken"] + row["refused"] + row["failed"]
        assert row["slowest_s"] <= attempt.MOST_SECONDS
        assert row["peak_mb"] <= attempt.MOST_MB
        assert row["findings"] == {}
