"""optuna-dashboard shows a study as it is: names, figures with their units, and the drawings, in a real browser."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import optuna
import pytest
from matplotlib import image

from ecm_edge import targets
from ecm_edge.base.records import Verdict
from ecm_edge.candidate import space
from ecm_edge.search import artifacts, runs, shared
from ecm_edge.search.trial_record import TrialRecord
from tests import browser

RECORD = TrialRecord(
    number=0, outcome="done", family="tcn", point={"family": "tcn"}, objective=0.8125, f1=0.84375, fbeta_mean=0.8125,
    g=0.71875, specificity=0.96875, epochs=2, parameters=1, macs=123456, flash_bytes=65432, ram_bytes=1,
    latency_ms=1.0, verdict=Verdict.PASS, stage_seconds={"gate": 0.5, "train": 2.75},
)  # fmt: skip
SHOWN = [
    *("Fbeta", "0.8125", "F1", "0.84375", "G", "0.71875", "specificity", "0.96875"),
    *("MACs", "123456", "flash_bytes", "65432", "verdict", "PASS", "host", "lab-1", "seconds", "2.75"),
    "training.png",
]


@pytest.fixture(scope="module")
def served(dataset, tmp_path_factory):
    """The address of a dashboard on a study with one trial and its drawing."""
    at = tmp_path_factory.mktemp("dashboard")
    storage = f"sqlite:///{at / 'study.db'}"
    settings = runs.default_settings(
        dataset, targets.load("nucleo-l432kc"), space.load("quick"), objective="fbeta_mean"
    )
    shared.begin(storage, "af-july", settings)
    study = optuna.load_study(study_name="af-july", storage=storage)  # without heartbeats
    trial = study.ask()
    for name, value in shared.figures(RECORD, "lab-1").items():
        trial.set_user_attr(name, value)
    image.imsave(at / "training.png", [[0.0, 1.0]])
    artifacts.show(artifacts.Store(str(at / "store")), trial, at / "training.png")
    study.tell(trial, RECORD.objective)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).parent / "optuna-dashboard"
    words = [program, storage, "--host", "127.0.0.1", "--port", str(port), "--server", "wsgiref"]
    with (at / "log").open("wb") as log:
        server = subprocess.Popen([*words, "--artifact-dir", at / "store"], stdout=log, stderr=log, env=os.environ)
    try:
        address = f"http://127.0.0.1:{port}"
        while not answers(address):
            assert server.poll() is None, (at / "log").read_text()
        yield address
    finally:
        server.kill()
        server.wait()


def answers(address):
    try:
        with urllib.request.urlopen(f"{address}/api/studies", timeout=30) as page:  # noqa: S310 - our own server
            return bool(json.load(page)["study_summaries"])
    except OSError:
        return False


def test_a_trial_is_shown_with_names_figures_and_drawing(served, tmp_path):
    from selenium.webdriver.support.ui import WebDriverWait

    with browser.chromium(tmp_path) as driver:
        driver.get(f"{served}/dashboard/studies/1/trials?numbers=0")
        text = WebDriverWait(driver, 300).until(_whole_text)
        assert [word for word in SHOWN if word not in text] == []
        loaded = "return [...document.images].filter(i => i.src.includes('/artifacts/') && i.naturalWidth > 0).length"
        assert WebDriverWait(driver, 300).until(lambda driver: driver.execute_script(loaded)) == 1


def _whole_text(driver):
    text = driver.execute_script("return document.body.innerText")
    return text if "training.png" in text and "flash_bytes" in text else None
