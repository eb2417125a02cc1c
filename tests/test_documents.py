"""The commands that the other documents show are run as they stand, or parsed; every link leads somewhere."""

import re
import shlex
import signal
import subprocess
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
from .documents import ALL, ENVIRONMENT, ROOT, block, commands, not_printed, parse_only, run, session, shape, text_of
from .test_cli import LEAVES

CLI, TRAINING, FIRMWARE = "ecm_edge/cli/README.md", "ecm_edge/training/README.md", "firmware_check/README.md"
REFERENCE, YOURS = "data/reference/README.md", "data/YOUR_RECORDINGS.md"
SESSION = "A session with its output"


def test_a_session_with_its_output(tmp_path):
    """Every command ends well and prints lines of the shape that is shown: figures differ with the machine."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    lines = session(CLI, SESSION, 0)
    assert len(lines) > 5
    done = {line: run(line, tmp_path) for line, _ in lines}
    assert {line: one.stdout for line, one in done.items() if one.returncode} == {}
    missing = {line: not_printed(shown, done[line].stdout, shape) for line, shown in lines}
    assert {line: texts for line, texts in missing.items() if texts} == {}
    serve_and_measure(tmp_path)


def serve_and_measure(folder):
    """The session's second part: the image in the emulator, and the host's side of its serial line."""
    if missing := emulate.available(targets.load("loongson-2k0500")):
        pytest.skip(f"the rest of the session ran; {missing.reason}")
    serve, measure = commands(CLI, SESSION, 1)
    listening = ["env", "--default-signal=INT"]  # a shell's background job is started with SIGINT ignored
    words = [*listening, *shlex.split(serve.removesuffix("&"))]
    with subprocess.Popen(words, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as board:
        assert "board is" in board.stdout.readline()
        done = run(measure, folder)
        board.send_signal(signal.SIGINT)
        assert board.wait(30) == 0
    assert done.returncode == 0, done.stdout


def test_a_new_users_recordings(tmp_path):
    """Every command of the page, with the lines that it shows."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "flutter.toml").write_text(block(YOURS, "Another question than AF in 5 s", "toml"))
    for line, shown in session(YOURS):
        done = run(line, tmp_path)
        assert done.returncode == 0, (line, done.stdout)
        assert not_printed(shown, done.stdout) == [], (line, done.stdout)
    sets = [DatasetHeader.load(tmp_path / name / "dataset.json", DatasetError) for name in ("mine-set", "mapped")]
    assert [(one.segments, one.unit, one.rhythms) for one in sets] == [(12, "mV", ["AFIB", "B", "N", "SBR"])] * 2
    assert sets[0].content_sha256 == sets[1].content_sha256
    verbs = [line.split()[1:3] for line in commands(YOURS) if line.startswith("ecm-edge ")]
    assert {second for first, second in verbs if first == "data"} == {"import", "info", "audit", "synth", "merge"}
    assert {first for first, _ in verbs} == {"data", "tasks", "score", "report", "predict", "episodes"}


def test_the_files_of_your_recordings_are_read_as_the_page_says(tmp_path):
    (tmp_path / "labels.csv").write_text(block(YOURS, "The label table", "csv"))
    assert [len(labelled.spans) for labelled in read_labels(tmp_path / "labels.csv").values()] == [2, 1]
    (tmp_path / "two.csv").write_text(block(YOURS, "The label table", "csv", 1))
    two = read_labels(tmp_path / "two.csv")
    assert [(name, one.subject, one.spans[0].rhythm) for name, one in two.items()] == [
        ("A00001", "A00001", "N"),
        ("A00004", "A00004", "A"),
    ]
    for number, (rate_hz, samples_mv) in enumerate([(512, [0.001257, -0.001321]), (130, [-0.012, -0.009, 0.004])]):
        path = tmp_path / f"{number}.csv"
        path.write_text(block(YOURS, "What is read from a text file", "text", number))
        recording = csv_files.open_one(path, Options(), tasks.default())
        assert (recording.sampling_rate_hz, recording.unit) == (rate_hz, "mV")
        assert recording.read(0, recording.length) == pytest.approx(samples_mv)


def test_the_messages_of_your_recordings_are_those_of_the_readers():
    source = "".join(path.read_text() for path in (ROOT / "ecm_edge" / "data").rglob("*.py"))
    messages = re.findall(r"^\| `([^`]+)` \|", text_of(YOURS, "When it is refused"), re.MULTILINE)
    assert len(messages) > 9
    assert [text for text in messages if text.replace("100", "{needed_hz:g}") not in source] == []


def shell_blocks(document):
    """The `ecm-edge` lines of every block of a document that a shell could run."""
    blocks = re.findall(r"```(?:console|sh)\n(.*?)```", text_of(document), re.DOTALL)
    lines = [line.removeprefix("$ ") for text in blocks for line in text.splitlines()]
    return [re.sub(r" (?:&|\|\| true)$", "", line) for line in lines if line.startswith("ecm-edge ")]


@pytest.mark.parametrize("line", sorted({line for document in ALL for line in shell_blocks(document)}))
def test_every_command_shown_exists(line, tmp_path, monkeypatch):
    """Verbs, options and their values are parsed, also of commands that would take an hour or real recordings."""
    parse_only(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECM_EDGE_STORAGE", "sqlite:///study.db")  # the page on many machines exports it
    (tmp_path / "data").symlink_to(ROOT / "data")
    folds = {"A": 0, "B": 1, "C": 2}
    FoldAssignment(seed=0, count=3, dataset_sha256="", folds=folds).save(tmp_path / "folds.json")
    words = shlex.split(line)[1:]
    path = next(path for path in LEAVES if tuple(words[: len(path)]) == path)
    LEAVES[path].make_context(path[-1], words[len(path) :])


def test_the_reference_model_is_made_by_every_stage_on_one_candidate():
    lines = [line for line in commands(REFERENCE, "How an entry was made") if line.startswith("ecm-edge ")]
    verbs = [line.split()[1] for line in lines]
    assert verbs == [
        *("data", "data", "data", "train", "verify", "firmware"),
        *("bench", "score", "robustness", "promote", "card"),
    ]
    assert "--refit" in lines[3]
    assert "--out-of-fold" in lines[7]


def test_the_table_of_commands_has_every_command():
    rows = [line for line in text_of(CLI).splitlines() if line.startswith("| `")]
    known = {word for line in rows for word in re.findall(r"[a-z]+(?:-[a-z]+)*", line)}
    assert {word for path in LEAVES for word in path} <= known


def test_the_map_has_every_room():
    table = text_of("CONTRIBUTING.md", "The map")
    rooms = {path.parent.name for path in (ROOT / "ecm_edge").glob("*/__init__.py")}
    assert {room for room in rooms if f"`{room}/`" not in table} == set()


def test_a_users_own_onnx_file(tmp_path):
    """All commands end well with an LSTM that fits the board."""
    samples, labels = own_nets.keras_lstm(tmp_path / "mynet.onnx")
    np.savez(tmp_path / "mynet.npz", samples=samples, labels=labels)
    lines = commands(FIRMWARE, "Your own ONNX file")
    board = re.search(r"--target (\S+)", lines[0])[1]
    if missing := emulate.available(targets.load(board)):
        pytest.skip(missing.reason)
    for line in lines:
        done = run(line, tmp_path)
        assert done.returncode == 0, (line, done.stdout)
    words = {line.split()[1] for line in lines if line.startswith("ecm-edge ")}
    assert words == {"fit", "quantize", "verify", "bench", "firmware", "bundle"}


def test_a_users_own_networks_and_space(tmp_path):
    heading = "Your own networks and space"
    (tmp_path / "mine.py").write_text(block(TRAINING, heading, "python"))
    (tmp_path / "my-space.toml").write_text(block(TRAINING, heading, "toml"))
    _, mark, search, train = commands(TRAINING, heading)
    assert run("ecm-edge data synth -o af --subjects 8 --seed 1 --segments-per-subject 4", tmp_path).returncode == 0
    for line in (mark, search.replace("--trials 3", "--trials 1"), train):
        settings = f"PYTHONPATH={ENVIRONMENT.get('PYTHONPATH', '')}:. ECM_EDGE_TRUST={tmp_path}/trusted"
        done = run(f"env {settings} {line}", tmp_path)
        assert done.returncode in {0, 1}, done.stdout  # so few segments teach too little to pass every proof
    assert (tmp_path / "mine" / "summary.json").is_file()
    assert (tmp_path / "one" / "checkpoint.safetensors").is_file()


def anchors(document):
    """The names that a link to a heading of a document may have, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", ALL)
def test_every_link_leads_somewhere(document):
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL)):
        place, _, anchor = target.partition("#")
        path = (ROOT / document).parent / place if place else ROOT / document
        if "://" in target or (path.exists() and (not anchor or anchor in anchors(path.resolve().relative_to(ROOT)))):
            continue
        wrong.append(target)
    assert wrong == []


@pytest.mark.parametrize("document", ALL)
def test_every_path_named_is_there(document):
    """Paths of the checkout. CONTRIBUTING writes those of the package from its rooms on: `forms/export.py`."""
    rooms = [path.parent.name for path in (ROOT / "ecm_edge").glob("*/__init__.py")]
    roots = ["ecm_edge", "firmware_check", "tests", "benchmarks"]
    roots += [*rooms] if document == "CONTRIBUTING.md" else ["data"]
    places = re.findall(rf"`((?:{'|'.join(roots)})/[\w./]*)`", text_of(document))
    assert [p for p in places if not any((base / p).exists() for base in (ROOT, ROOT / "ecm_edge"))] == []


def test_readme_lists_every_document():
    table = text_of("README.md", "Where to read on")
    named = set(re.findall(r"\]\(([^)]+)\)", table))
    assert {document for document in ALL if document not in named} == {"README.md", "data/reference/recipe.md"}
    assert {str(Path(name)) for name in named} - set(ALL) == {"data/tour.ipynb"}
