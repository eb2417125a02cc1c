"""The number of threads that commands choose, and that a user's own choice stays."""

import os
import subprocess
import sys

import pytest

from ecm_edge.base import threads


def environment(**chosen):
    """What a fresh process has after the choice, before anything is imported."""
    code = "from ecm_edge.base.threads import choose_threads as c; c(); import os; print(*map(os.getenv, {0}))"
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    without = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", code.format(names)]
    done = subprocess.run(command, env={**without, **chosen}, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_there_are_as_many_threads_as_cores_and_they_wait_passively():
    assert environment() == [str(threads.usable_cores()), "PASSIVE"]


def test_what_the_user_chose_stays():
    assert environment(OMP_NUM_THREADS="3", OMP_WAIT_POLICY="ACTIVE") == ["3", "ACTIVE"]


def test_nothing_is_changed_once_torch_is_there(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads.choose_threads()
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "1600000 100000\n"}, 4),
        ({"cpu.max": "nonsense"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_a_containers_quota_counts(files, cores, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert threads.usable_cores(tmp_path) == cores
