"""Nets such as people bring go from ONNX to C, to `verify` and to a bundle by the commands, on both boards."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import onnxruntime
import pytest

from ecm_edge import targets
from ecm_edge.firmware import emulate
from ecm_edge.forms.gate import BUDGETS

from .own_nets import NETS
from .tiny import run, run_for_output

BOARDS = ["loongson-2k0500", "nucleo-l432kc"]
COUNT = 12
OWN = pytest.mark.parametrize("name", NETS)


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """What their owner has: NAME.onnx, and of twelve segments NAME.npz with labels and NAME.npy without; read-only."""
    folder = tmp_path_factory.mktemp("own")
    for name, net in NETS.items():
        samples, labels = net.write(folder / f"{name}.onnx", **net.smaller)
        np.savez(folder / f"{name}.npz", samples=samples[:COUNT], labels=labels[:COUNT])
        np.save(folder / f"{name}.npy", samples[:COUNT])
        words = ["quantize", folder / f"{name}.onnx", "--samples", folder / f"{name}.npz", "-o", folder / name]
        assert run(words) == 0
    return folder


def answers(folder, name):
    """The scores of onnxruntime for the file and its segments, and the labels that belong to the segments."""
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    given, known = session.get_inputs()[0].name, np.load(folder / f"{name}.npz")
    return np.concatenate([session.run(None, {given: one[None]})[0] for one in known["samples"]]), known["labels"]


def told(*words):
    """The exit code and the record of a command."""
    code, text = run_for_output(*words, "--json")
    return code, json.loads(text)


@OWN
def test_the_answers_depend_on_the_segment(name, brought):
    scores, labels = answers(brought, name)
    found = scores.argmax(axis=1) if scores.shape[1] > 1 else scores[:, 0] >= 0.5
    assert scores.shape == (COUNT, NETS[name].scores)
    assert len(set(found.tolist())) > 1
    assert np.mean(found == labels) > 0.8


@pytest.mark.parametrize("board", BOARDS)
@OWN
def test_from_a_file_to_an_image(name, board, brought, tmp_path):
    if missing := emulate.available(targets.load(board)):
        pytest.skip(missing.reason)
    model = brought / f"{name}.onnx"
    code, fit = told("fit", model, "--target", board, "--form", "float32")
    failed = {gate["name"] for gate in fit["forms"][0]["gates"] if gate["verdict"] != "PASS"}
    assert failed <= set(BUDGETS)
    assert code == bool(failed)
    assert bool(failed) == any(f"[budget] in ecm_edge/targets/{board}.toml" in sentence for sentence in fit["advice"])
    code, built = told("firmware", "build", model, "--target", board, "-o", tmp_path / "built")
    assert code == bool(failed)
    assert (tmp_path / "built" / built["forms"][0]["image"]["file"]).stat().st_size > 0
    code, timed = told("bench", model, "--target", board, "--runs", 3, "--warm-ups", 1)
    assert (code, timed["verdict"]) == (0, "PASS")


@OWN
def test_the_header_says_what_goes_in_and_comes_out(name, brought, tmp_path):
    net = NETS[name]
    words = ("firmware", "generate", brought / f"{name}.onnx", "--target", "nucleo-l432kc", "-o", tmp_path / "c")
    assert told(*words)[0] == 0
    header = (tmp_path / "c" / "model.h").read_text()
    stated = dict(re.findall(r"#define (MODEL_\w+) (.+)", header))
    assert stated["MODEL_SAMPLES"] == str(np.prod(net.shape))
    assert stated["MODEL_SCORES"] == str(net.scores)
    assert stated["MODEL_LABELS"] == str(net.labels)
    assert stated["MODEL_INPUT_SHAPE"] == "{" + ", ".join(map(str, net.shape)) + "}"
    assert stated.get("MODEL_THRESHOLD") == ("0.5f" if net.scores == 1 else None)


@pytest.mark.parametrize("board", BOARDS)
@OWN
def test_it_is_verified(name, board, brought):
    if missing := emulate.available(targets.load(board)):
        pytest.skip(missing.reason)
    for form, path in (("float32", brought / f"{name}.onnx"), ("int8", brought / name / "model.int8.onnx")):
        for source in (("--samples", brought / f"{name}.npz"), ("--samples", brought / f"{name}.npy"), ("--noise", 3)):
            code, record = told("verify", path, *source, "--target", board)
            hops = {hop["name"]: hop for hop in record["hops"]}
            last = hops[f"{form}: C→{board} (emulated)"]
            assert (code, record["verdict"], last["verdict"]) == (0, "PASS", "PASS")
            assert record["segments"] == (3 if source[0] == "--noise" else COUNT)
            figure = last.get("f1_after" if NETS[name].scores == 1 else "accuracy_after")
            assert (figure is not None) == (source[1] == brought / f"{name}.npz")
            if figure is not None and form == "float32" and NETS[name].scores > 1:
                scores, labels = answers(brought, name)
                assert figure == pytest.approx(np.mean(scores.argmax(axis=1) == labels))


@pytest.mark.parametrize("board", BOARDS)
@OWN
def test_it_is_bundled(name, board, brought, tmp_path):
    if missing := emulate.available(targets.load(board)):
        pytest.skip(missing.reason)
    code, record = told("bundle", brought / f"{name}.onnx", "--target", board, "-o", tmp_path / "bundle")
    assert (code, record["verdict"]) == (0, "PASS")
    readme = (tmp_path / "bundle" / "README.txt").read_text()
    assert (
        f"The input is {np.prod(NETS[name].shape)} values: {' x '.join(map(str, NETS[name].shape))}"
        in readme.replace(",", "")
    )
    if shutil.which("make") is None or shutil.which("cc") is None:
        pytest.skip("what the page says was not run: apt-get install make gcc")
    done = subprocess.run(
        ["/usr/bin/env", "make", "check"], cwd=tmp_path / "bundle", capture_output=True, text=True, check=False
    )
    assert (done.returncode, "every answer is the expected one" in done.stdout) == (0, True), done.stderr
    expected = np.fromfile(tmp_path / "bundle" / "check" / "expected.bin", np.float32, offset=4)
    assert expected.size % NETS[name].scores == 0
    assert len(np.unique(expected.reshape(-1, NETS[name].scores), axis=0)) > 1
