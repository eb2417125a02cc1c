"""The commands that the documents show are run as they stand."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ecm_edge import targets, tasks
from ecm_edge.base.errors import DatasetError
from ecm_edge.data.dataset import DatasetHeader
from ecm_edge.data.recordings import csv_files
from ecm_edge.data.recordings.options import Options, read_labels
from ecm_edge.data.splits import FoldAssignment
from ecm_edge.firmware import emulate

from . import own_nets
from .test_cli import LEAVES

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "120",
}


def block(document, heading, language, number=0):
    """A fenced block of that language under a heading of a document, or under its title; the first by default."""
    text = (ROOT / document).read_text()
    section = text.split(f"\n## {heading}\n")[1] if heading else text
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)[number]


def commands(document, heading, number=0):
    """The lines of a console session that a user types."""
    return [line[2:] for line in block(document, heading, "console", number).splitlines() if line.startswith("$ ")]


def run(line, folder):
    return subprocess.run(
        shlex.split(line), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=500
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


def session(document):
    """(command, the lines shown below it) of all console blocks of a document, in their order."""
    shown = []
    for text in re.findall(r"```console\n(.*?)```", (ROOT / document).read_text(), re.DOTALL):
        for line in text.splitlines():
            if line.startswith("$ "):
                shown.append((line[2:], []))
            else:
                shown[-1][1].append(line)
    return shown


def test_a_new_users_recordings(tmp_path):
    """Every command of the page, with the lines that it shows; of a line the page shows the beginning."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    page = "data/YOUR_RECORDINGS.md"
    (tmp_path / "flutter.toml").write_text(block(page, "Another question than AF in 5 s", "toml"))
    for line, shown in session(page):
        done = run(line, tmp_path)
        assert done.returncode == 0, (line, done.stderr)
        printed = (done.stdout + done.stderr).splitlines()
        missing = [text for text in shown if not any(known.startswith(text) for known in printed)]
        assert missing == [], line
    sets = [DatasetHeader.load(tmp_path / name / "dataset.json", DatasetError) for name in ("mine-set", "mapped")]
    assert [(one.segments, one.unit, one.rhythms) for one in sets] == [(12, "mV", ["AFIB", "B", "N", "SBR"])] * 2
    assert sets[0].content_sha256 == sets[1].content_sha256
    verbs = [line.split()[1:3] for line, _ in session(page) if line.startswith("ecm-edge ")]
    assert {second for first, second in verbs if first == "data"} == {"import", "info", "audit", "synth", "merge"}
    assert {first for first, _ in verbs} == {"data", "tasks", "score", "report", "predict", "episodes"}


def test_the_files_of_your_recordings_are_read_as_the_page_says(tmp_path):
    page = "data/YOUR_RECORDINGS.md"
    (tmp_path / "labels.csv").write_text(block(page, "The label table", "csv"))
    assert [len(labelled.spans) for labelled in read_labels(tmp_path / "labels.csv").values()] == [2, 1]
    (tmp_path / "two.csv").write_text(block(page, "The label table", "csv", 1))
    two = read_labels(tmp_path / "two.csv")
    assert [(name, one.subject, one.spans[0].rhythm) for name, one in two.items()] == [
        ("A00001", "A00001", "N"),
        ("A00004", "A00004", "A"),
    ]
    for number, (rate_hz, samples_mv) in enumerate([(512, [0.001257, -0.001321]), (130, [-0.012, -0.009, 0.004])]):
        path = tmp_path / f"{number}.csv"
        path.write_text(block(page, "What is read from a text file", "text", number))
        recording = csv_files.open_one(path, Options(), tasks.default())
        assert (recording.sampling_rate_hz, recording.unit) == (rate_hz, "mV")
        assert recording.read(0, recording.length) == pytest.approx(samples_mv)


def test_the_messages_of_your_recordings_are_those_of_the_readers():
    section = (ROOT / "data" / "YOUR_RECORDINGS.md").read_text().split("\n## When it is refused\n")[1]
    source = "".join(path.read_text() for path in (ROOT / "ecm_edge" / "data").rglob("*.py"))
    messages = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    assert len(messages) > 9
    assert [text for text in messages if text.replace("100", "{needed_hz:g}") not in source] == []


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
    lines = [line for line in commands("README.md", "The reference model") if line.startswith("ecm-edge ")]
    verbs = [line.split()[1] for line in lines]
    assert verbs == [
        *("data", "data", "data", "train", "export", "quantize", "verify", "firmware"),
        *("bench", "score", "robustness", "promote", "card"),
    ]
    assert "--refit" in lines[3]
    assert "--out-of-fold" in lines[9]


def test_the_table_of_commands_has_every_command():
    section = (ROOT / "README.md").read_text().split("\n## Commands\n")[1].split("\n## ")[0]
    known = {word for line in section.splitlines() if line.startswith("| `") for word in re.findall(r"[a-z]+", line)}
    assert {word for path in LEAVES for word in path} <= known


def test_the_map_has_every_room():
    table = (ROOT / "CONTRIBUTING.md").read_text().split("\n## The map\n")[1].split("\n## ")[0]
    rooms = {path.parent.name for path in (ROOT / "ecm_edge").glob("*/__init__.py")}
    assert {room for room in rooms if f"`{room}/`" not in table} == set()


def test_a_users_own_onnx_file(tmp_path):
    """All commands end well with an LSTM that fits the board."""
    samples, labels = own_nets.keras_lstm(tmp_path / "mynet.onnx")
    np.savez(tmp_path / "mynet.npz", samples=samples, labels=labels)
    lines = commands("README.md", "Your own ONNX file")
    board = re.search(r"--target (\S+)", lines[0])[1]
    if missing := emulate.available(targets.load(board)):
        pytest.skip(missing.reason)
    for line in lines:
        done = run(line, tmp_path)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    words = {line.split()[1] for line in lines if line.startswith("ecm-edge ")}
    assert words == {"fit", "quantize", "verify", "bench", "firmware", "bundle"}


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
