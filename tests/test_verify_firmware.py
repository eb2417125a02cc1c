"""From the reference to the board's C: the same bits everywhere, or the first tensor that is not is named."""

from __future__ import annotations

import shutil
import stat

import numpy as np
import pytest

from ecm_edge import targets
from ecm_edge.base import files
from ecm_edge.base.errors import FirmwareError
from ecm_edge.candidate import candidate
from ecm_edge.cli import main
from ecm_edge.evaluate import verify
from ecm_edge.evaluate.verify import c_hops, compiled
from ecm_edge.evaluate.verify.records import TO_C, hops_to, to_target
from ecm_edge.firmware import build, make
from ecm_edge.forms import export, onnx_model, quantize
from ecm_edge.targets.firmware import Emulator

from . import nets
from .firmware_hand import needs

HOST, LOONGSON, CORTEX = (targets.load(name) for name in ("host", "loongson-2k0500", "nucleo-l432kc"))
BOARDS = [LOONGSON, CORTEX]
LOOSE = {"max_abs": 1.0, "label_flips": 40}


def lenient(target, **firmware):
    """The target with thresholds that untrained nets of a few segments meet, and another `[firmware]`."""
    int8 = target.parity.int8.model_copy(update={"f1_drop": 1.0, "fbeta_drop": 1.0})
    float16 = target.parity.float16.model_copy(update=LOOSE)
    parity = target.parity.model_copy(update={"int8": int8, "float16": float16})
    changed = target.firmware.model_copy(update=firmware)
    return target.model_copy(update={"parity": parity, "firmware": changed})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return nets.dataset(tmp_path_factory.mktemp("firmware") / "data")


@pytest.fixture(scope="module")
def sound(data, tmp_path_factory):
    """An untrained candidate in all forms; read-only."""
    folder = nets.make_candidate(tmp_path_factory.mktemp("firmware") / "candidate", data)
    export.export_candidate(folder, data)
    quantize.quantize_candidate(folder, data)
    return folder


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    """A small QDQ file; read-only."""
    path = tmp_path_factory.mktemp("firmware") / "model.onnx"
    onnx_model.save(nets.qdq_net(np.random.default_rng(0)), path)
    return path


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """A small float32 file; read-only."""
    path = tmp_path_factory.mktemp("firmware") / "model.onnx"
    weight = np.random.default_rng(0).normal(size=(nets.T, 4)).astype(np.float32)
    head = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
    nodes = [
        nets.node("Flatten", ["samples"], "flat"),
        nets.node("MatMul", ["flat", "w"], "hidden"),
        nets.node("Relu", ["hidden"], "positive"),
        nets.node("MatMul", ["positive", "h"], "scores"),
    ]
    onnx_model.save(nets.graph(nodes, {"w": weight, "h": head}), path)
    return path


def hop_of(record, name):
    return next(hop for hop in record.hops if hop.name == name)


def broken(hop):
    return [gate.name for gate in hop.gates if gate.verdict == "FAIL"]


@pytest.mark.parametrize("target", BOARDS, ids=lambda target: target.name)
def test_every_form_is_the_same_to_the_bit_on_the_board(sound, data, target, tmp_path):
    needs(target)
    folder = shutil.copytree(sound, tmp_path / "c")
    record = verify.verify_candidate(folder, data, lenient(target), emulated=12)
    assert record.verdict == "PASS"
    for form in target.precision:
        names = [hop.name for hop in record.hops if hop.verdict == "PASS"]
        assert set(hops_to(form, target)) <= set(names)
        here, there = hop_of(record, TO_C[form]), hop_of(record, to_target(form, target.name))
        assert (here.parity.segments, there.parity.segments) == (40, 12)
        assert next(gate for gate in there.gates if gate.name == "score_bytes_differing").value == 0
    layers = hop_of(record, TO_C["int8"]).layers
    assert len(layers) > 5
    assert sum(layer.mismatches for layer in layers) == 0
    assert verify.VerifyRecord.load(folder / candidate.VERIFY) == record


def test_what_was_verified_is_what_is_built_for_the_board(sound, data, tmp_path):
    needs(LOONGSON)
    folder = shutil.copytree(sound, tmp_path / "c")
    record = verify.verify_candidate(folder, data, lenient(LOONGSON), emulated=4)
    noted = {firmware.form: firmware for firmware in record.firmware}
    assert set(noted) == {"float32", "float16", "int8"}
    proto = onnx_model.load_proto(folder / candidate.FORM_FILES["int8"])
    again = make.make_sources(proto, LOONGSON, tmp_path, model=candidate.FORM_FILES["int8"])
    assert noted["int8"].sources == {path.name: files.sha256_file(path) for path in again.folder.iterdir()}
    image = make.make_image(again, "serial", tmp_path / "serial")
    assert noted["int8"].shipped_image == files.sha256_file(image.shipped)
    assert noted["int8"].model_object == files.sha256_file(image.objects[0])
    assert noted["int8"].model_sha256 == files.sha256_file(folder / candidate.FORM_FILES["int8"])
    assert (noted["int8"].evidence, noted["int8"].emulated_segments) == ("emulated", 4)


def test_a_sample_of_the_segments_gives_no_image_to_ship(sound, data, tmp_path):
    folder = shutil.copytree(sound, tmp_path / "c")
    record = verify.verify_candidate(folder, data, lenient(LOONGSON), segments=8, emulated=2)
    assert [firmware.shipped_image for firmware in record.firmware] == [None] * 3


@pytest.mark.parametrize("kind", ["int8", "linear"])
def test_any_file_is_compared_in_its_form(kind, request, data):
    needs(LOONGSON)
    form = {"int8": "int8", "linear": "float32"}[kind]
    record = verify.verify_model(request.getfixturevalue(kind), data, LOONGSON, emulated=8)
    assert [hop_of(record, name).verdict for name in (TO_C[form], to_target(form, LOONGSON.name))] == ["PASS"] * 2


def test_on_this_host_the_first_hop_is_the_last(linear, data):
    record = verify.verify_model(linear, data, HOST)
    assert [hop.name for hop in record.hops][-1] == TO_C["float32"]
    assert record.verdict == "PASS"
    assert hops_to("float32", HOST)[-1] == TO_C["float32"]


def test_a_target_without_firmware_is_not_run(linear, data):
    plain = LOONGSON.model_copy(update={"firmware": None})
    record = verify.verify_model(linear, data, plain)
    assert [(hop.verdict, hop.reason) for hop in record.hops[-2:]] == [
        ("NOT RUN", "loongson-2k0500 has no [firmware]")
    ] * 2
    assert record.verdict == "PASS"
    assert hops_to("float32", plain) == ("pytorch→onnx", "onnx→simplified")


def test_a_missing_emulator_is_not_run(linear, data):
    target = lenient(LOONGSON, emulator=Emulator(command=["qemu-nowhere"], package="qemu-user"))
    record = verify.verify_model(linear, data, target)
    hop = hop_of(record, to_target("float32", target.name))
    assert (hop.verdict, hop.reason) == ("NOT RUN", "qemu-nowhere is not installed: apt-get install qemu-user")
    assert hop_of(record, TO_C["float32"]).verdict == "PASS"
    assert record.firmware[0].emulated_image is None


def test_a_missing_compiler_is_not_run(linear, data):
    needs(LOONGSON)
    record = verify.verify_model(linear, data, lenient(LOONGSON, compiler="no-such-cc"))
    hop = hop_of(record, to_target("float32", LOONGSON.name))
    assert (hop.verdict, hop.reason) == ("NOT RUN", "the compiler no-such-cc must be installed; found none on the path")


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_compiler_that_fails_is_a_failure(linear, data, tmp_path):
    needs(LOONGSON)
    target = lenient(LOONGSON, compiler=program(tmp_path / "cc", "echo 'model.c:1: error: no' >&2; exit 1"))
    record = verify.verify_model(linear, data, target)
    hop = hop_of(record, to_target("float32", target.name))
    assert (record.verdict, hop.verdict) == ("FAIL", "FAIL")
    assert "model.c:1: error: no" in hop.reason
    assert record.first_diverging_hop == hop.name


def test_an_emulator_that_dies_is_a_failure(linear, data, tmp_path):
    emulator = Emulator(command=[program(tmp_path / "qemu", "printf ECM1; sleep 0.1; exit 3")], package="qemu-user")
    record = verify.verify_model(linear, data, lenient(LOONGSON, emulator=emulator))
    hop = hop_of(record, to_target("float32", LOONGSON.name))
    assert (record.verdict, hop.verdict) == ("FAIL", "FAIL")
    assert "an image must answer every segment" in hop.reason


def test_a_corrupted_image_is_a_failure(linear, data, monkeypatch):
    needs(LOONGSON)
    real = make.make_image

    def corrupt(*given, **options):
        image = real(*given, **options)
        content = bytearray(image.elf.read_bytes())
        content[len(content) // 4 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 4)
        image.elf.write_bytes(content)
        return image

    monkeypatch.setattr(make, "make_image", corrupt)
    hop = hop_of(verify.verify_model(linear, data, LOONGSON), to_target("float32", LOONGSON.name))
    assert hop.verdict == "FAIL"


def test_an_image_above_the_boards_memory_is_a_failure(tmp_path, data):
    needs(CORTEX)
    generator = np.random.default_rng(0)
    wide, head = (generator.normal(size=shape).astype(np.float32) for shape in ((nets.T, 450), (450, 2)))
    nodes = [
        nets.node("Flatten", ["samples"], "flat"),
        nets.node("MatMul", ["flat", "w"], "hidden"),
        nets.node("MatMul", ["hidden", "h"], "scores"),
    ]
    onnx_model.save(nets.graph(nodes, {"w": wide, "h": head}), tmp_path / "m.onnx")
    hop = hop_of(verify.verify_model(tmp_path / "m.onnx", data, CORTEX), to_target("float32", CORTEX.name))
    assert hop.verdict == "FAIL"
    assert "an image that runs fits its board; found one above FLASH by" in hop.reason


def with_other_c(monkeypatch, change, *, where):
    """Change the generated C of the builds that `where` says, behind everybody's back."""
    real = build.build

    def built(folder, *given, **options):
        if not where(options):
            return real(folder, *given, **options)
        source = folder / "model.c"
        text = source.read_text()
        assert change(text) != text
        copy = shutil.copytree(folder, given[2] / "changed")
        (copy / "model.c").write_text(change(text))
        return real(copy, *given, **options)

    monkeypatch.setattr(build, "build", built)


def first_number_changed(text):
    """The first number of the first array, changed."""
    head, opening, tail = text.partition(" = {\n")
    number, comma, rest = tail.partition(",")
    return f"{head}{opening}{'0.5f *' if number.strip().endswith('f') else '1 +'} {number.strip()}{comma}{rest}"


def test_c_that_differs_on_the_host_is_found_in_its_tensor(linear, data, monkeypatch):
    with_other_c(monkeypatch, first_number_changed, where=lambda options: not options["emulated"])
    record = verify.verify_model(linear, data, LOONGSON.model_copy(update={"firmware": HOST.firmware}))
    hop = hop_of(record, TO_C["float32"])
    assert (hop.verdict, "max_abs" in broken(hop)) == ("FAIL", True)
    assert hop.first_diverging.tensor in {"hidden", "positive"}
    first = hop.first_diverging.first
    assert 0 < first.differing_bytes <= first.compared_bytes
    assert first.actual != first.expected


def test_int8_c_that_differs_is_found_in_its_tensor_byte_by_byte(int8, data, monkeypatch):
    with_other_c(monkeypatch, first_number_changed, where=lambda options: not options["emulated"])
    hop = hop_of(verify.verify_model(int8, data, LOONGSON), TO_C["int8"])
    assert hop.verdict == "FAIL"
    assert "layer_bytes_differing" in broken(hop)
    assert hop.first_diverging.first.differing_bytes > 0
    assert hop.first_diverging.tensor == next(layer.tensor for layer in hop.layers if layer.mismatches)
    assert len(hop.first_diverging.first.position) >= 2


def test_one_bit_on_the_board_is_found_in_its_tensor(linear, data, monkeypatch, capsys):
    needs(LOONGSON)
    with_other_c(monkeypatch, first_number_changed, where=lambda options: options["emulated"])
    record = verify.verify_model(linear, data, LOONGSON, emulated=8)
    hop = hop_of(record, to_target("float32", LOONGSON.name))
    assert hop_of(record, TO_C["float32"]).verdict == "PASS"
    assert "score_bytes_differing" in broken(hop)
    assert hop.first_diverging.tensor in {"hidden", "positive"}
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(linear), "--data", str(data.folder), "--target", LOONGSON.name, "--emulated", "2"])
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert "bytes differ, first on S" in out
    assert f"{LOONGSON.name}: 2 of the {record.segments} segments, and its figures are of these alone" in out


def test_a_model_that_overflows_never_passes(data, tmp_path):
    weight = np.full((nets.T, 2), 3e38, np.float32)
    nodes = [nets.node("Flatten", ["samples"], "flat"), nets.node("MatMul", ["flat", "w"], "scores")]
    onnx_model.save(nets.graph(nodes, {"w": weight}), tmp_path / "m.onnx")
    record = verify.verify_model(tmp_path / "m.onnx", data, LOONGSON, emulated=2)
    assert record.verdict == "FAIL"
    assert hop_of(record, TO_C["float32"]).verdict == "FAIL"


def test_a_value_that_cannot_be_made_is_the_same_error_for_all_who_ask():
    asked = []

    def produce():
        asked.append(1)
        raise FirmwareError("a", "b", "c")

    once = compiled.Once(produce)
    for _ in range(2):
        with pytest.raises(FirmwareError):
            once()
    assert (asked, once.made) == ([1], None)


def test_the_tools_are_asked_for_before_anything_is_built(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert "must be installed" in c_hops.cannot_build(LOONGSON, HOST)
    assert c_hops.cannot_build(LOONGSON, LOONGSON) == ""  # zig is a package
