"""The page on many machines: SQL on a real server, the Slurm script by shellcheck, the Job by Kubernetes' schema."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .documents import ROOT, block, text_of
from .test_cli import LEAVES

PAGE = "ecm_edge/search/README.md"
EXAMPLES = ROOT / "ecm_edge" / "search" / "examples"


def tool(name):
    """A program that a Python package installs beside the interpreter."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return found or pytest.skip(f"NOT RUN: {name} is not installed: pip install 'ecm-edge[dev]'")


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_role_and_the_database_are_made_as_the_page_says(postgresql):
    for statement in block(PAGE, "PostgreSQL, from Debian's package", "sql").strip().splitlines():
        done = postgresql.ask("psql", "-c", statement, "postgres")
        assert done.returncode == 0, done.stderr
    assert "studies" in postgresql.ask("psql", "-Atc", "SELECT datname FROM pg_database", "postgres").stdout


def test_the_line_of_pg_hba_is_one(postgresql):
    """PostgreSQL reads the file without a complaint."""
    line = block(PAGE, "PostgreSQL, from Debian's package", "text")
    path = postgresql.folder / "data" / "pg_hba.conf"
    path.write_text(f"{path.read_text()}\n{line}")
    query = "SELECT type, database, user_name, address, auth_method FROM pg_hba_file_rules"
    read = postgresql.ask("psql", "-Atc", query, "postgres").stdout
    assert "hostssl|{studies}|{lab}|10.0.0.0|scram-sha-256" in read.splitlines()


def test_the_slurm_script(tmp_path):
    """It has no fault that shellcheck knows, and starts a worker with what it was given."""
    script = EXAMPLES / "slurm_array.sh"
    run(tool("shellcheck"), str(script))
    (tmp_path / "srun").write_text('#!/bin/sh\necho "$OMP_NUM_THREADS $*"\n')
    (tmp_path / "srun").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "ECM_EDGE_STORAGE": "sqlite:///x",
        "SLURM_CPUS_PER_TASK": "4",
    }
    printed = run("bash", str(script), "/data/af", "af-july", env=environment)
    assert re.fullmatch(r"4 ecm-edge worker --data /data/af --name af-july --out /tmp/\S+\n", printed)


def test_the_kubernetes_job():
    yaml = pytest.importorskip("yaml", reason="NOT RUN: pip install 'ecm-edge[dev]'")
    validator = pytest.importorskip("kubernetes_validate", reason="NOT RUN: pip install 'ecm-edge[dev]'")
    job = yaml.safe_load((EXAMPLES / "kubernetes_job.yaml").read_text())
    validator.validate(job, validator.latest_version(), strict=True)
    job["spec"]["paralelism"] = 3
    with pytest.raises(validator.ValidationError, match="paralelism"):
        validator.validate(job, validator.latest_version(), strict=True)


def test_the_commands_of_the_examples_exist(monkeypatch):
    monkeypatch.setenv("ECM_EDGE_STORAGE", "postgresql+psycopg://db/studies")  # both hand it on
    shell = re.search(r"^srun ecm-edge (.*)$", (EXAMPLES / "slurm_array.sh").read_text(), re.MULTILINE)[1]
    listed = re.search(r"args: \[ecm-edge, (.*)\]", (EXAMPLES / "kubernetes_job.yaml").read_text())[1]
    for verb, *words in (shell.replace('"', "").split(), listed.split(", ")):
        LEAVES[verb,].make_context(verb, words)


def test_the_proxys_command_is_a_program():
    (line,) = [each for each in text_of(PAGE).splitlines() if each.startswith("python -c")]
    compile(re.search(r'"(.*)"', line)[1], "proxy", "exec")
