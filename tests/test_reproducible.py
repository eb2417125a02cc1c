"""The same inputs give the same bytes: in another clone, folder, home, time zone and locale, with an empty cache.

Dates are data: SOURCE_DATE_EPOCH gives them. So is the commit, which a copy without Git does not have. zig's own
library, which takes it a minute, is shared by all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ecm_edge.base import machine, provenance

from . import disturbed, tiny

CHECKOUT = Path(__file__).parents[1]
BOARD = disturbed.BOARD
RUN_ALL = """
import json, sys
from ecm_edge.cli import main
from ecm_edge.registry import proof
proof.prove = lambda _: proof.Proof([], 0.0)  # of invented records: tests/tiny.py
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"exit {ended.code} of {words}")
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory, dataset):
    """A trained candidate, one that can be promoted, and the data sets of both; read-only."""
    at = tmp_path_factory.mktemp("given")
    train = disturbed.train_words(dataset.folder, at / "trained")
    assert disturbed.run(train, at / "log") == 0, (at / "log").read_text()
    data = tiny.graded(at / "tiny")
    disturbed.ready(at / "ready", data, 1)
    shutil.copytree(dataset.folder, at / "data")
    return at


def commands(at):
    """What is made of a candidate, in the folder `at` that has what is given."""
    trained, board = at / "trained", ["--target", BOARD]
    words = [
        ["export", trained, "--data", at / "data"],
        ["quantize", trained, "--data", at / "data"],
        ["firmware", "build", trained, *board],
        ["firmware", "generate", trained / disturbed.FLOAT32, *board, "-o", at / "sources"],
        ["bundle", trained, *board, "-o", at / "bundle"],
        ["bundle", trained, *board, "-o", at / "bundle.zip"],
        ["promote", at / "ready", "--data", at / "tiny", *board, "--registry", at / "registry"],
    ]
    return [[str(word) for word in each] for each in words]


def made(folder):
    """Every file that the commands made or changed, by its hash, but for what measured seconds are in."""
    found = disturbed.hashes(folder, "export.log", "log")
    return {name: digest for name, digest in found.items() if not name.startswith(("data/", "tiny/"))}


def run_here(at):
    """In this clone, in this time zone and locale, with the cache that there is."""
    for words in commands(at):
        assert disturbed.run(words, at / "log") == 0, (at / "log").read_text()
    return made(at)


def run_elsewhere(at, clone, cache):
    """In another clone, time zone and locale, with another home, mask, hash seed and an empty cache."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(clone / "home"),
        "USER": "somebody",
        "TZ": "Pacific/Chatham",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": str(clone),
        "OMP_NUM_THREADS": "1",
        "ECM_EDGE_CACHE": str(cache),
        "SOURCE_DATE_EPOCH": disturbed.DATE,
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps(commands(at))],
        cwd=clone / "home",
        env=environment,
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return made(at)


def test_another_clone_and_environment_give_the_same_bytes(given, tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_git", lambda *_: None)
    clone = tmp_path / "else where"
    for name in ("ecm_edge", "firmware_check"):
        shutil.copytree(CHECKOUT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "home").mkdir()
    cache = tmp_path / "empty cache"
    (machine.cache_folder() / "zig").mkdir(parents=True, exist_ok=True)
    cache.mkdir()
    (cache / "zig").symlink_to(machine.cache_folder() / "zig")
    here, there = tmp_path / "a", tmp_path / "deeper" / "b"
    for place in (here, there):
        shutil.copytree(given, place)
    first, second = run_here(here), run_elsewhere(there, clone, cache)
    differing = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    assert differing == []
    assert {"bundle.zip", "bundle/manifest.json", f"registry/{BOARD}/history.jsonl", "sources/model.c"} <= first.keys()
