"""`ecm-edge train` by itself: its defaults, its forms, its folder, and what it says when it is interrupted."""

import json
import os
import signal
import subprocess
import sys

import pytest

from ecm_edge import targets
from ecm_edge.base.records import Verdict
from ecm_edge.candidate import candidate, networks
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.forms import cost, export, gate
from tests import tiny

SMALL = ["--family", "afnet", "--set", "training.epochs=1"]
BOARDS = [targets.load(name) for name in targets.names()]


def train(dataset, out, *further, target="host"):
    return tiny.run(["train", "--data", dataset.folder, "--target", target, "-o", out, *further])


@pytest.mark.parametrize("family", networks.FAMILIES)
def test_the_default_network_of_a_family_fits_every_board(family, dataset):
    split = splits.holdout(dataset, seed=0)
    config = candidate.configure(dataset, split, family, networks.defaults(family), TrainingConfig(), 0)
    counted = cost.count(export.untrained(config, dataset.samples[:1]).simplified)
    forms = {board.name: "float32" if "float32" in board.precision else board.precision[0] for board in BOARDS}
    verdicts = {board.name: gate.check_cost(counted, board, forms[board.name]).verdict for board in BOARDS}
    assert set(verdicts.values()) == {Verdict.PASS}, verdicts


def test_without_options_it_trains_and_makes_every_form(dataset, tmp_path, capsys):
    assert train(dataset, tmp_path / "c", "--set", "training.epochs=1") == 0
    shown = capsys.readouterr()
    assert "family tcn, the default (--family names another): normalize=True" in shown.err
    assert "exported: PASS; weights: float32" in shown.out
    config = candidate.load_config(tmp_path / "c")
    assert (config.family, config.network) == ("tcn", networks.defaults("tcn"))
    assert {*candidate.FORM_FILES.values(), candidate.QUANTIZE} <= {path.name for path in (tmp_path / "c").iterdir()}


def test_no_export_leaves_the_forms_out(dataset, tmp_path, capsys):
    assert train(dataset, tmp_path / "c", *SMALL, "--no-export", "--json") == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert "head_factor=2, training.batch_size=64\n" in shown.err  # the family's own default
    assert candidate.load_config(tmp_path / "c").training.batch_size == 64
    assert (record["export"], record["quantize"]) == (None, None)
    assert not {candidate.EXPORTED, candidate.QUANTIZE} & {path.name for path in (tmp_path / "c").iterdir()}


def test_a_refused_candidate_leaves_no_folder(dataset, tmp_path, capsys):
    wide = ["--family", "tcn", "--set", "channels=128", "--set", "stem_channels=128"]
    assert train(dataset, tmp_path / "c", *wide, target="nucleo-l432kc") == 1
    assert list(tmp_path.iterdir()) == []
    assert f"not trained, and {tmp_path / 'c'} not made" in capsys.readouterr().out


def test_force_replaces_a_candidate_and_nothing_else(dataset, tmp_path, capsys):
    out = tmp_path / "c"
    assert train(dataset, out, *SMALL, "--no-export") == 0
    assert train(dataset, out, *SMALL) == 2
    assert f"{out} exists" in capsys.readouterr().err
    assert train(dataset, out, *SMALL, "--no-export", "--force", "--seed", "1") == 0
    assert candidate.load_config(out).seed == 1
    for name in ("trial.json", "manifest.json"):  # of a run, and of an entry of a registry
        (out / name).write_text("{}")
        assert train(dataset, out, *SMALL, "--force") == 2
        (out / name).unlink()
    (tmp_path / "other").mkdir()
    assert train(dataset, tmp_path / "other", *SMALL, "--force") == 2
    assert "only a candidate that `ecm-edge train` made by itself is replaced" in capsys.readouterr().err
    assert candidate.load_config(out).seed == 1


def test_a_factory_names_its_network(dataset, tmp_path):
    factory = "tests.test_networks:users_own"
    options = ["--factory", factory, "--set", "outputs=2", "--set", "training.epochs=1", "--no-export"]
    assert train(dataset, tmp_path / "c", *options) == 0
    config = candidate.load_config(tmp_path / "c")
    assert (config.family, config.factory, config.network) == (factory, factory, {"outputs": 2})


@pytest.mark.parametrize(
    ("folds", "said"),
    [([], "nothing was kept; begin again with"), (["--folds", "3"], "the networks of the folds are kept; go on with")],
)
def test_an_interrupt_says_how_to_go_on(dataset, tmp_path, folds, said):
    typed = ["train", "--data", str(dataset.folder), "--target", "host", "-o", str(tmp_path / "my c"), *SMALL, *folds]
    typed += ["--set", "training.epochs=1000", "--set", "training.keep=last"]
    command = ["env", "--default-signal=INT", sys.executable, "-m", "ecm_edge.cli", *typed]
    told = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **told) as run:
        next(line for line in run.stderr if line.startswith("family afnet"))
        run.send_signal(signal.SIGINT)
        lines = run.stderr.read().splitlines()
    assert run.returncode == 130
    quoted = " ".join(f"'{word}'" if " " in word else word for word in typed)
    assert f"{said}: ecm-edge {quoted}" in lines
    assert not (tmp_path / "my c").exists()
