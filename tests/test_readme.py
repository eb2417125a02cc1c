"""The commands that the documents show are run as they stand."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecm_edge import targets
from ecm_edge.data.splits import FoldAssignment
from ecm_edge.firmware import emulate

from .test_cli import LEAVES

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "120",
}


def block(document, heading, language, number=0):
    """A fenced block of that language under a heading of a document, the first by default."""
    section = (ROOT / document).read_text().split(f"\n## {heading}\n")[1]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)[number]


def commands(document, heading, number=0):
    """The lines of a console session that a user types."""
    return [line[2:] for line in block(document, heading, "console", number).splitlines() if line.startswith("$ ")]


def run(line, folder):
    return subprocess.run(
        shlex.split(line), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_first_session(tmp_path):
    (tmp_path / "data").symlink_to(ROOT / "data")
    lines = commands("README.md", "A first session")
    assert len(lines) > 5
    codes = {line: run(line, tmp_path).returncode for line in lines}
    assert set(codes.values()) == {0}, codes
    serve_and_measure(tmp_path)


def serve_and_measure(folder):
    """The session's second part: the image in the emulator, and the host's side of its serial line."""
    if missing := emulate.available(targets.load("loongson-2k0500")):
        pytest.skip(f"the rest of the session ran; {missing.reason}")
    serve, measure = commands("README.md", "A first session", 1)
    listening = ["env", "--default-signal=INT"]  # a shell's background job is started with SIGINT ignored
    words = [*listening, *shlex.split(serve.removesuffix("&"))]
    with subprocess.Popen(words, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as board:
        assert "board is" in board.stdout.readline()
        done = run(measure, folder)
        board.send_signal(signal.SIGINT)
        assert board.wait(30) == 0
    assert done.returncode == 0, done.stderr


OWN = [
    line
    for heading in ("The real thing", "The reference model")
    for line in commands("README.md", heading)
    if line.startswith("ecm-edge ")
]


@pytest.mark.parametrize("line", OWN)
def test_the_real_sessions_commands_exist(line, tmp_path, monkeypatch):
    """They take an hour, so that they are parsed only: verbs, options and their values."""
    monkeypatch.chdir(tmp_path)
    folds = {"A": 0, "B": 1, "C": 2}
    FoldAssignment(seed=0, count=3, dataset_sha256="", folds=folds).save(tmp_path / "folds.json")
    words = shlex.split(line)[1:]
    path = next(path for path in LEAVES if tuple(words[: len(path)]) == path)
    LEAVES[path].make_context(path[-1], words[len(path) :])


def test_the_reference_model_is_made_by_every_stage_on_one_candidate():
    lines = commands("README.md", "The reference model")
    verbs = [line.split()[1] for line in lines]
    assert verbs == [
        *("data", "search", "train", "export", "quantize", "verify", "firmware"),
        *("bench", "score", "robustness", "promote", "card"),
    ]
    assert "--refit" in lines[2]
    assert "--out-of-fold" in lines[8]


def test_the_table_of_commands_has_every_command():
    section = (ROOT / "README.md").read_text().split("\n## Commands\n")[1].split("\n## ")[0]
    known = {word for line in section.splitlines() if line.startswith("| `") for word in re.findall(r"[a-z]+", line)}
    assert {word for path in LEAVES for word in path} <= known


def test_the_map_has_every_room():
    table = (ROOT / "CONTRIBUTING.md").read_text().split("\n## The map\n")[1].split("\n## ")[0]
    rooms = {path.parent.name for path in (ROOT / "ecm_edge").glob("*/__init__.py")}
    assert {room for room in rooms if f"`{room}/`" not in table} == set()


def test_a_users_own_networks_and_space(tmp_path):
    heading = "Your own networks and space"
    (tmp_path / "mine.py").write_text(block("README.md", heading, "python"))
    (tmp_path / "my-space.toml").write_text(block("README.md", heading, "toml"))
    _, search, train = commands("README.md", heading)
    assert run("ecm-edge data synth -o af --subjects 8 --seed 1 --segments-per-subject 4", tmp_path).returncode == 0
    for line in (search.replace("--trials 3", "--trials 1"), train):
        done = run(f"env PYTHONPATH=. {line}", tmp_path)
        assert done.returncode in {0, 1}, done.stderr  # so few segments teach too little to pass every proof
    assert (tmp_path / "mine" / "summary.json").is_file()
    assert (tmp_path / "one" / "checkpoint.safetensors").is_file()


def test_the_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in ("README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"`?make ([a-z]+)", (ROOT / document).read_text())) <= targets


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_what_the_documents_point_to_is_there(document):
    """Links and paths; CONTRIBUTING writes those of the package from its rooms on: `forms/export.py`."""
    text = (ROOT / document).read_text()
    rooms = [path.parent.name for path in (ROOT / "ecm_edge").glob("*/__init__.py")]
    roots = [
        "ecm_edge",
        "firmware_check",
        "tests",
        "benchmarks",
        *(rooms if document == "CONTRIBUTING.md" else ["data"]),
    ]
    places = re.findall(rf"`((?:{'|'.join(roots)})/[\w./]*)`", text) + re.findall(r"\]\(([^)#]+)\)", text)
    assert len(places) > 3
    assert [p for p in places if not ((ROOT / p).exists() or (ROOT / "ecm_edge" / p).exists())] == []
