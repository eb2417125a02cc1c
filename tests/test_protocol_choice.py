"""Which frames the serial program answers with: as the target's file names it, and as the model fits it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import serial

from ecm_edge import targets
from ecm_edge.evaluate.measure import measure
from ecm_edge.firmware import emulate, generate, make, protocol, serve
from ecm_edge.firmware.fit_records import target_sha256
from ecm_edge.firmware.interface import serial_answers
from ecm_edge.forms import onnx_model

from . import nets
from .test_shapes import model
from .tiny import run_for_output

SHIPPED = [targets.load(name) for name in targets.names()]
HOST = targets.load("host")
OTHER = HOST.model_copy(update={"name": "other", "firmware": HOST.firmware.model_copy(update={"protocol": "scores"})})
PATIENCE_S = 20
SHELVES = Path(__file__).parents[1] / "data" / "reference"


@pytest.fixture
def saved(tmp_path):
    def save(shape, scores, **options):
        onnx.save(model(shape, scores, **options), tmp_path / "m.onnx")
        return tmp_path / "m.onnx"

    return save


def test_shipped_targets_name_the_contest_and_keep_their_hashes():
    assert {target.name: target.firmware.protocol for target in SHIPPED} == dict.fromkeys(targets.names(), "iesd-2024")
    for target in SHIPPED:
        shelf = SHELVES / target.name
        if shelf.is_dir():  # older entries may be of an older target
            entry = json.loads((shelf / "incumbent.json").read_text())["entry"]
            record = json.loads((shelf / "entries" / entry / "firmware.json").read_text())
            assert record["target_sha256"] == target_sha256(target)
    assert target_sha256(OTHER) != target_sha256(OTHER.model_copy(update={"firmware": HOST.firmware}))


def test_a_file_that_names_none_has_answers_with_scores(tmp_path):
    text = (Path(targets.__file__).parent / "host.toml").read_text()
    (tmp_path / "mine.toml").write_text(
        text.replace('protocol = "iesd-2024"', "").replace('name = "host"', 'name = "m"')
    )
    assert targets.load(str(tmp_path / "mine.toml")).firmware.protocol == "scores"


@pytest.mark.parametrize(
    ("shape", "scores", "target", "said"),
    [
        ((1, 1, 30), 2, HOST, ""),
        (
            (1, 1, 30),
            2,
            OTHER,
            "serial answers have 2 scores (firmware_check/README.md): other names no other protocol",
        ),
        (
            (1, 1, 30),
            1,
            HOST,
            "serial answers have 1 score (firmware_check/README.md): iesd-2024, which host names, is",
        ),
        ((1, 12, 30), 5, HOST, "serial answers have 5 scores"),
        ((1, 3, 8, 8), 2, HOST, "serial answers have 2 scores"),
    ],
)
def test_what_answers_have_is_said(shape, scores, target, said):
    proto = model(shape, scores)
    found = serial_answers(onnx_model.classifier_of(proto), target)
    assert found.startswith(said)
    assert bool(found) == bool(said)
    files = generate.generate(proto, target).files
    assert ("ECM_MODEL_LABEL" in files["ecm_model.h"]) == bool(said)


def ask(port, values, scores):
    with serial.Serial(port, 115200, timeout=PATIENCE_S, write_timeout=PATIENCE_S, exclusive=True) as line:
        line.write(protocol.encode_input(values))
        size = 9 + 4 * scores
        return protocol.decode_scored(line.read(size), scores)


@pytest.mark.parametrize("name", ["host", "loongson-2k0500", "nucleo-l432kc"])
def test_answers_with_scores_of_every_board(name, saved, tmp_path):
    target = targets.load(name)
    if missing := emulate.available(target):
        pytest.skip(missing.reason)
    classifier = onnx_model.load_classifier(saved((1, 12, 20), 5))
    sources = make.make_sources(classifier.proto, target, tmp_path)
    image = make.make_image(sources, "serial", tmp_path / "serial", emulated=True)
    segment = np.random.default_rng(2).normal(size=240).astype(np.float32)
    scores = emulate.run_batch(sources.host, segment[None])
    with serve.serve(image.elf, target, samples=240, scores=5) as board:
        answer = ask(str(board.port), segment, 5)
        assert answer.scores == tuple(scores[0].tolist())
        assert answer.label == classifier.decision.labels(scores)[0]
        spoilt = ask(str(board.port), np.where(np.arange(240) == 3, np.nan, segment).astype(np.float32), 5)
        assert (spoilt.status, spoilt.label, spoilt.scores) == (protocol.Status.SAMPLE_NOT_FINITE, 0, (0.0,) * 5)


def test_a_detector_is_measured_in_the_frame_of_its_target(saved, tmp_path):
    path, data = saved((1, 1, nets.T), 2), nets.dataset(tmp_path / "d")
    sources = make.make_sources(onnx_model.load_classifier(path).proto, OTHER, tmp_path)
    image = make.make_image(sources, "serial", tmp_path / "serial")
    with serve.serve(image.elf, OTHER, samples=nets.T, scores=2) as board:
        record = measure(str(board.port), data, tmp_path / "answers.jsonl", model=path, target=OTHER)
    assert (record.verdict, record.labels_differing, record.segments) == ("PASS", [], 120)


def test_an_answer_with_scores_is_found_in_noise():
    answer = protocol.ScoredAnswer(protocol.Status.ANSWERED, 2, 0.25, (0.0, -1.5, 3.0))
    frame = protocol.encode_scored(answer)
    assert protocol.find_answer(b"\x55\xaa\x00\x07U" + frame + b"..", 3) == answer
    assert protocol.find_answer(frame[:-1], 3) is None
    beyond = protocol.encode_scored(protocol.ScoredAnswer(answer.status, 3, 0.25, answer.scores))
    assert protocol.decode_scored(beyond, 3) is None


def test_the_commands_say_it(saved, tmp_path):
    path = saved((1, 12, 20), 5)
    said = "serial answers have 5 scores (firmware_check/README.md)"
    assert said in run_for_output("fit", path, "--target", "host", "--form", "float32")[1]
    assert said in run_for_output("firmware", "build", path, "--target", "host", "-o", tmp_path / "b")[1]
    names = "N,S,V,F,Q"
    code, text = run_for_output("bundle", path, "--target", "host", "-o", tmp_path / "p", "--classes", names)
    assert (code, said in text) == (0, True)
    readme = " ".join((tmp_path / "p" / "README.txt").read_text().split())
    assert "label as uint16, latency in ms as float32, 5 float32 scores" in readme
    assert said in readme
    assert '{"N", "S", "V", "F", "Q"}' in (tmp_path / "p" / "src" / "model.h").read_text()
