"""A real search, really interrupted and really killed: at most the running trial is lost, and it goes on."""

import os
import signal
import subprocess
import sys

import pytest

from ecm_edge.search import search
from ecm_edge.search.search import Limits, limits_of

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
