"""`ecm-edge fit` and `ecm-edge firmware` by their commands; a served board scored by `ecm-edge measure`."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from ecm_edge import targets
from ecm_edge.candidate import candidate
from ecm_edge.cli import schemas
from ecm_edge.firmware import emulate
from ecm_edge.forms import onnx_model
from tests import nets, tiny

TARGET = targets.load("loongson-2k0500")
MISSING = emulate.available(TARGET)
needs_emulator = pytest.mark.skipif(MISSING is not None, reason=MISSING.reason if MISSING else "")


@pytest.fixture
def dataset(tmp_path):
    return tiny.graded(tmp_path / "data")


@pytest.fixture
def folder(tmp_path, dataset):
    return tiny.make_candidate(tmp_path / "c", dataset)


@needs_emulator
def test_fit_prints_budgets_sections_layers_and_tensors(folder, capsys):
    assert tiny.run(["fit", folder, "--target", TARGET.name, "--form", "float32"]) == 0
    said = capsys.readouterr().out
    for part in ("PASS: float32 on loongson-2k0500", "rodata", "bss, arena", "Largest live tensors",
                 "counted in the emulator", "estimated", "fits as: float32", "unaligned_accesses"):  # fmt: skip
        assert part in said


@needs_emulator
def test_what_does_not_fit_exits_with_1_and_says_what_to_change(folder, tmp_path, capsys):
    content = Path(targets.__file__).with_name(f"{TARGET.name}.toml").read_text(encoding="utf-8")
    (tmp_path / "tight.toml").write_text(content.replace("latency_ms = 15.0", "latency_ms = 0.000001"), "utf-8")
    assert tiny.run(["fit", folder, "--target", tmp_path / "tight.toml", "--form", "float32"]) == 1
    assert "- The estimate is " in capsys.readouterr().out


def test_a_board_that_is_not_known_exits_with_2(folder, capsys):
    assert tiny.run(["fit", folder, "--target", "no-such-board", "--json"]) == 2
    assert "no-such-board" in json.loads(capsys.readouterr().out)["error"]["found"]


def test_generated_c_lies_in_a_folder_of_its_own(folder, tmp_path, capsys):
    arguments = ["firmware", "generate", folder, "--target", TARGET.name, "-o", tmp_path / "src", "--name", "af"]
    assert tiny.run([*arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record["files"]) == {path.name for path in (tmp_path / "src").iterdir()} >= {"af.c", "af.h"}
    assert "void af_run(const float *samples, float *scores);" in (tmp_path / "src" / "af.h").read_text()
    assert tiny.run(arguments) == 2  # it exists now


@needs_emulator
def test_a_file_is_built_into_a_folder_of_its_own(folder, tmp_path, capsys):
    model = folder / candidate.FORM_FILES["int8"]
    assert tiny.run(["firmware", "build", model, "--target", TARGET.name]) == 2
    assert "--out" in capsys.readouterr().err
    assert tiny.run(["firmware", "build", model, "--target", TARGET.name, "-o", tmp_path / "out"]) == 0
    assert (tmp_path / "out" / candidate.FIRMWARE).is_file()
    assert (tmp_path / "out" / "firmware" / "int8" / f"{TARGET.name}.elf").read_bytes()[:4] == b"\x7fELF"


def test_a_form_that_a_file_is_not_in_is_refused(folder, dataset, tmp_path, capsys):
    model, out = folder / candidate.FORM_FILES["float32"], tmp_path / "out"
    for words in (
        ("firmware", "generate", model, "--target", TARGET.name, "-o", out),
        ("bundle", model, "--target", TARGET.name, "-o", out),
        ("score", model, "--data", dataset.folder),
    ):
        assert tiny.run([*words, "--form", "int8"]) == 2
        assert "which is float32" in capsys.readouterr().err
        assert not out.exists()
    assert tiny.run(["firmware", "generate", model, "--target", TARGET.name, "-o", out, "--form", "float32"]) == 0


def test_an_operator_without_c_leaves_nothing_behind(tmp_path, capsys):
    from tests.test_fit import strange

    onnx_model.save(strange(), tmp_path / "odd.onnx")
    for words in (("generate",), ("build",)):
        out = tmp_path / words[0]
        assert tiny.run(["firmware", *words, tmp_path / "odd.onnx", "--target", TARGET.name, "-o", out]) == 2
        assert "odd_one" in capsys.readouterr().err
        assert not out.exists()


@needs_emulator
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_served_board_is_scored_and_a_signal_ends_it(end, tmp_path, capsys):
    data = nets.dataset(tmp_path / "d")
    onnx_model.save(nets.graph(
        [nets.node("Flatten", ["samples"], "f"), nets.node("MatMul", ["f", "w"], "scores")],
        {"w": nets.segments(2).T.copy()}), tmp_path / "m.onnx")  # fmt: skip
    link = tmp_path / "board"
    words = ["firmware", "serve", tmp_path / "m.onnx", "--target", TARGET.name, "--link", link, "--json"]
    listening = ["env", "--default-signal=INT", sys.executable]  # a shell's background job starts with SIGINT ignored
    with subprocess.Popen([*listening, "-m", "ecm_edge.cli", *map(str, words)], stdout=subprocess.PIPE) as served:
        try:
            said = json.loads(served.stdout.readline())
            jsonschema.validate(said, schemas.schema("firmware-serve"))
            answers = ["--out", tmp_path / "answers.jsonl", "--model", tmp_path / "m.onnx", "--subjects", "S5"]
            code = tiny.run(["measure", "--port", link, "--data", data.folder, *answers, "--json"])
            measured = json.loads(capsys.readouterr().out)
        finally:
            served.send_signal(end)
        assert served.wait(timeout=20) == 0
    assert code == 0
    jsonschema.validate(measured, schemas.schema("measure"))
    assert (measured["segments"], measured["labels_differing"]) == (20, [])
    assert measured["latency_ms"]["evidence"] == "emulated"
    assert not link.is_symlink()
