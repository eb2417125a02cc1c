"""The commands of `make demo`, against the same commands of the version that proved every trial.

python -m pytest benchmarks/test_demo.py --benchmark-only

Seconds of a core, of the commands and of the compilers and emulators that they start: a busy machine changes them less
than the time until they end.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from benchmarks import bars
from ecm_edge.candidate.candidate import RUN_SUMMARY
from ecm_edge.search.runs import SearchRecord

ROOT = Path(__file__).parents[1]
EVERY_TRIAL = "56e759c"  # the last commit whose search exports, verifies and builds every trial


def test_the_demo_against_one_that_proves_every_trial(benchmark, tmp_path):
    """One after the other; `make demo` compares the image of the model that ships byte for byte."""
    before = Path(tmp_path, "before")
    before.mkdir()
    archive = tmp_path / "before.tar"
    words = [shutil.which("git"), "archive", "-o", str(archive), EVERY_TRIAL]
    subprocess.run(words, cwd=ROOT, check=True)
    with tarfile.open(archive) as content:
        content.extractall(before, filter="data")
    then = demo(before, tmp_path / "then")
    ours = benchmark.pedantic(demo, (ROOT, tmp_path / "ours"), rounds=1)
    records = [SearchRecord.load(tmp_path / each / "runs" / "demo" / "run" / RUN_SUMMARY) for each in ("then", "ours")]
    assert [record.trained for record in records] == [8, 8]
    assert [record.verdict for record in records] == ["PASS", "PASS"]
    figures = {f"before_{name}": value for name, value in then.items()}
    figures |= {f"ours_{name}": value for name, value in ours.items()}
    benchmark.extra_info.update(checked=True, **figures)
    assert ours["cpu_s"] <= bars.DEMO_SHARE * then["cpu_s"]


def demo(tree: Path, out: Path) -> dict[str, float]:
    """Seconds of a core that the commands of `make demo` and of its search take in a tree, and until they end."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "ECM_EDGE_CACHE": str(out / "cache")}
    words = [shutil.which("make"), "-n", "demo", f"RUNS={out / 'runs'}", f"EDGE={sys.executable} -m ecm_edge.cli"]
    listed = subprocess.run(words, cwd=tree, env=environment, check=True, capture_output=True)
    spent = {"cpu_s": 0.0, "search_cpu_s": 0.0, "s": 0.0}
    for line in listed.stdout.decode().replace("\\\n", " ").splitlines():
        if not line.startswith((sys.executable, "cmp ")):
            continue
        began, started = _children(), time.perf_counter()
        subprocess.run(
            [shutil.which("bash"), "-c", line], cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL
        )
        cpu = _children() - began
        spent["cpu_s"] += cpu
        spent["search_cpu_s"] += cpu * (" search " in line)
        spent["s"] += time.perf_counter() - started
    return spent


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
