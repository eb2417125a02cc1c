"""A real search, really interrupted and really killed: at most the running trial is lost, and it goes on."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import optuna
import pytest

from ecm_edge.cli import main
from ecm_edge.search import search, worker
from ecm_edge.search.search import Limits, limits_of

from .test_search import fake

SPACE = """
[families.separable]
channels = { low = 2, high = 40 }
depth = 2
kernel = 3
stride = 4

[training]
epochs = 3
batch_size = 16
"""


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_search_goes_on_after(dataset, tmp_path, sent, code):
    """Wherever the signal comes, it ends the search within an epoch, long before the 39 points are through."""
    (tmp_path / "space.toml").write_text(SPACE)
    out = tmp_path / "run"
    listening = ["env", "--default-signal=INT"]  # a shell's background job is started with SIGINT ignored
    command = [*listening, sys.executable, "-m", "ecm_edge.cli", "search", "--data", str(dataset.folder)]
    command += [
        "--target",
        "loongson-2k0500",
        "--space",
        str(tmp_path / "space.toml"),
        "--trials",
        "1000",
        "-o",
        str(out),
    ]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=alone) as running:
        next(line for line in running.stderr if line.startswith("trial"))
        running.send_signal(sent)
        told = running.stderr.read()
    assert running.returncode == code
    going_on = f"go on with: ecm-edge search --data {dataset.folder} -o {out} --resume"
    assert (going_on in told.splitlines()) == (sent != signal.SIGKILL)
    assert limits_of(out) == Limits(1000)
    left = sorted(path.name for path in (out / "trials").iterdir() if not path.name.startswith("."))
    record = search.search(dataset, out, Limits(len(left) + 1))
    assert record.trained == len(left) + 1
    assert [f"{trial.number:04d}" for trial in record.trials][: len(left)] == left


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_that_gets_lost_ends_the_search_at_the_next_step(
    dataset, tmp_path, monkeypatch, capsys, request, sent, code
):
    """Python ignores an exception in a callback from C and in a `__del__`; the signal is noted all the same."""
    before = signal.signal(sent, signal.SIG_DFL)  # tests in the background of a shell ignore SIGINT, as a search would
    request.addfinalizer(lambda: signal.signal(sent, before))
    (tmp_path / "space.toml").write_text(SPACE)
    trained = []

    def lost(*arguments):
        trained.append(1)
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), sent)
        return fake()(*arguments)

    monkeypatch.setattr(worker, "train_trial", lost)
    out = str(tmp_path / "run")
    with pytest.raises(SystemExit) as ended:
        main(["search", "--data", str(dataset.folder), "--target", "loongson-2k0500", "--space",
              str(tmp_path / "space.toml"), "--trials", "3", "-o", out])  # fmt: skip
    assert (ended.value.code, len(trained)) == (code, 1)
    assert "interrupted" in capsys.readouterr().err.splitlines()
    states = [
        trial.state.name
        for trial in optuna.load_study(study_name="ecm-edge", storage=f"sqlite:///{out}/study.db").trials
    ]
    assert states == ["FAIL", "WAITING"]
