"""The same inputs give the same bytes: in another clone, folder, home, time zone and locale, with an empty cache.

Dates are data: SOURCE_DATE_EPOCH gives them. So is the commit, which a copy without Git does not have, and the version
of Python, since another user may have another one. zig's own library, which takes it a minute, is shared by all.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ecm_edge.base import machine, provenance

from . import disturbed, tiny

CHECKOUT = Path(__file__).parents[1]
BOARD = disturbed.BOARD
RUN_ALL = """
import json, platform, sys
platform.python_version = lambda: sys.argv[2]
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


def run_elsewhere(at, clone, cache, user=None):
    """In another clone, time zone and locale, with another home, mask, hash seed and an empty cache; as `user`."""
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
        [*as_user(user), sys.executable, "-c", RUN_ALL, json.dumps(commands(at)), platform.python_version()],
        cwd=clone / "home",
        env=environment,
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return made(at)


@pytest.fixture
def open_to_all():
    """A folder that every user can enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


NOBODY = 65534


def as_user(user):
    """The words in front of a command that another user is to run; none for the same one."""
    return [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


def can_run_as_nobody():
    """Whether this process may become that user, and that user run this Python."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return False
    words = [*as_user(NOBODY), sys.executable, "-c", "import numpy, onnx, torch"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("user", [None, NOBODY], ids=["same user", "nobody"])
def test_another_clone_and_environment_give_the_same_bytes(given, open_to_all, monkeypatch, user):
    if user is not None and not can_run_as_nobody():
        pytest.skip("another user: only root can become one, who has to be able to run this Python")
    monkeypatch.setattr(provenance, "_git", lambda *_: None)
    clone = open_to_all / "else where"
    for name in ("ecm_edge", "firmware_check"):
        shutil.copytree(CHECKOUT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "home").mkdir()
    cache = open_to_all / "empty cache"
    (machine.cache_folder() / "zig").mkdir(parents=True, exist_ok=True)
    cache.mkdir()
    if user is None:
        (cache / "zig").symlink_to(machine.cache_folder() / "zig")
    else:  # who may not enter our home
        shutil.copytree(machine.cache_folder() / "zig", cache / "zig", symlinks=True)
    here, there = open_to_all / "a", open_to_all / "deeper" / "b"
    for place in (here, there):
        shutil.copytree(given, place)
    if user is not None:
        for path in [there, *there.rglob("*"), clone / "home", cache, *cache.rglob("*")]:
            os.chown(path, user, user)
    first, second = run_here(here), run_elsewhere(there, clone, cache, user)
    differing = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    assert differing == []
    assert {"bundle.zip", "bundle/manifest.json", f"registry/{BOARD}/history.jsonl", "sources/model.c"} <= first.keys()
