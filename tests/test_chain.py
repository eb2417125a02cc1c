"""The whole chain by its commands, as a user runs them, each output held against its published schema."""

import json
from pathlib import Path

import jsonschema
import pytest

from ecm_edge import targets
from ecm_edge.cli import schemas

from .test_cli import LEAVES
from .tiny import run_for_output as run

SPACE = """
[families.separable]
channels = { low = 4, high = 8 }
depth = 3
kernel = 5

[training]
epochs = 3
batch_size = 16
learning_rate = 0.01
"""


LENIENT = ("f1_drop = 0.01, fbeta_drop = 0.01", "f1_drop = 0.5, fbeta_drop = 0.5")
"""A net of three epochs may lose to int8 what none that ships may; how much hangs on the processor that trained it."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Everything a user would run, once; command -> (exit code, JSON)."""
    at = tmp_path_factory.mktemp("chain")
    (at / "space.toml").write_text(SPACE)
    board = (Path(targets.__file__).parent / "loongson-2k0500.toml").read_text(encoding="utf-8")
    assert LENIENT[0] in board
    (at / "board.toml").write_text(board.replace(*LENIENT), encoding="utf-8")
    data, target, registry = ("--data", at / "d"), ("--target", at / "board.toml"), ("--registry", at / "registry")
    steps = {
        "data-synth": ("data", "synth", "-o", at / "iesd", "--subjects", 14, "--seed", 5, "--format", "iesd"),
        "data-import": ("data", "import", at / "iesd", "-o", at / "d", "--format", "iesd",
                        "--sampling-rate-hz", 250, "--synthetic"),
        "data-info": ("data", "info", at / "d"),
        "data-audit": ("data", "audit", at / "d"),
        "data-folds": ("data", "folds", at / "d", "-o", at / "folds.json"),
        "data-synth-wfdb": ("data", "synth", "-o", at / "wfdb", "--subjects", 2, "--seed", 6, "--format", "wfdb"),
        "data-import-wfdb": ("data", "import", at / "wfdb", "-o", at / "other", "--format", "wfdb", "--synthetic"),
        "data-merge": ("data", "merge", at / "d", at / "other", "-o", at / "both", "--unit", "mV"),
        "doctor": ("doctor",),
        "completion": ("completion", "fish"),
        "tasks": ("tasks",),
        "trust": ("trust", "--list"),
        "targets": ("targets",),
        "space": ("space", at / "space.toml"),
        "search": ("search", *data, *target, "--space", at / "space.toml", "--trials", 2, "-o", at / "run",
                   "--artifacts", at / "store"),
        "worker": ("worker", *data, "--storage", f"sqlite:///{at / 'run' / 'study.db'}", "--name", "ecm-edge",
                   "-o", at / "scratch"),
        "pull": ("pull", "ecm-edge", "--storage", f"sqlite:///{at / 'run' / 'study.db'}", "-o", at / "pulled"),
        "train": ("train", *data, *target, "--like", at / "run", "-o", at / "c"),
        "export": ("export", at / "c", *data),
        "gate": ("gate", at / "c", *target),
        "simplify": ("simplify", at / "c", *data),
        "quantize": ("quantize", at / "c", *data),
        "fit": ("fit", at / "c", *target),
        "firmware-generate": ("firmware", "generate", at / "c", *target, "-o", at / "sources"),
        "verify": ("verify", at / "c", *data, *target),
        "firmware-build": ("firmware", "build", at / "c", *target),
        "bench": ("bench", at / "c", *data, "--runs", 20),
        "score": ("score", at / "c", *data, *target),
        "predict": ("predict", at / "c", at / "wfdb", "-o", at / "answers.csv"),
        "episodes": ("episodes", at / "c", at / "wfdb", "--reference", "--start", 0, "-o", at / "episodes"),
        "robustness": ("robustness", at / "c", *data, *target, "--segments", 20),
        "card": ("card", at / "c", *data, "-o", at / "card.md"),
        "promote": ("promote", at / "c", *data, *target, *registry),
        "history": ("history", *target, *registry),
        "registry-check": ("registry", "check", at / "registry"),
        "compare": ("compare", at / "c", at / "run", *data),
        "bundle": ("bundle", at / "c", *target, "-o", at / "bundle.zip"),
        "scale": ("scale", at / "c", *data, *target, "-o", at / "scaled", "--least-objective", 0.0),
        "report": ("report", at / "run", *data, "-o", at / "report.html"),
    }  # fmt: skip
    results = {name: run(*arguments, "--json") for name, arguments in steps.items()}
    return {name: (code, json.loads(out)) for name, (code, out) in results.items()}


def test_every_command_has_a_schema():
    assert {"-".join(path) for path in LEAVES} == set(schemas.RECORDS)


@pytest.mark.parametrize("command", schemas.RECORDS)
def test_a_published_schema_is_its_records(command):
    assert schemas.path(command).read_text() == schemas.text(command), "run `python -m ecm_edge.cli.schemas`"


def test_no_schema_is_left_over():
    assert {path.stem for path in schemas.FOLDER.glob("*.json")} == set(schemas.RECORDS)


ELSEWHERE = {"rollback", "firmware-serve", "firmware-sign", "measure", "verify-bundle"}
"""Commands whose outputs other tests hold against their schemas."""


@pytest.mark.parametrize("command", sorted(set(schemas.RECORDS) - ELSEWHERE))
def test_the_output_is_as_the_schema_says(chain, command):
    code, output = chain[command]
    assert code in {0, 1}
    jsonschema.validate(output, schemas.schema(command))


def test_the_exit_code_is_the_verdict(chain):
    for code, output in chain.values():
        assert code == (1 if output.get("verdict") == "FAIL" else 0)


def test_the_chain_verifies_and_decides(chain):
    assert chain["verify"][1]["segments"] > 0
    assert chain["promote"][1]["synthetic"] is True
    promoted = chain["promote"][1]["verdict"] == "PASS"
    assert [event["event"] == "promoted" for event in chain["history"][1]["events"]] == [promoted]


def test_a_candidate_trained_again_is_the_same(chain):
    trained = chain["train"][1]["training"]
    (best,) = [t for t in chain["search"][1]["trials"] if t["number"] == chain["search"][1]["best"]]
    assert trained["best"]["f1"] == best["f1"]
