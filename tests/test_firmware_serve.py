"""The serial program, on this host and under the emulators, asked by a host that knows the protocol's text only."""

import os
import select
import struct
import subprocess
import sys
import termios
import time

import numpy as np
import onnx
import pytest
import serial

from ecm_edge import targets
from ecm_edge.base.errors import FirmwareError
from ecm_edge.evaluate import measure
from ecm_edge.evaluate.score import score_model
from ecm_edge.firmware import build, emulate, generate, serve
from tests import firmware_toy as toy

GAP_S = 0.75  # longer than the 0.5 s after which a board drops what it has of a frame
PATIENCE_S = 20  # for an answer of a board that works; on a busy machine the slowest takes a few seconds
TARGETS = ["host", "loongson-2k0500", "nucleo-l432kc", "nrf52840", "nucleo-g071rb"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A function from a target's name to its serial image of the toy; skips where its emulator is missing."""
    folder = tmp_path_factory.mktemp("firmware")
    made = {}

    def image(name, *, answers=True):
        target = targets.load(name)
        missing = emulate.available(target)
        if missing:
            pytest.skip(missing.reason)
        if answers not in made:
            made[answers] = toy.generated(folder / f"toy{answers}", answers=answers)
        out = folder / f"{name}-{answers}"
        return build.build(made[answers], target, "serial", out, emulated=True).elf

    return image


@pytest.fixture(params=TARGETS)
def port(request, images):
    """A serial device with the running program behind it."""
    with serve.serve(images(request.param), targets.load(request.param)) as board:
        yield str(board.port)


def frame(samples):
    return b"\xaa\x55" + struct.pack("<H", len(samples)) + np.asarray(samples, "<f4").tobytes()


def _is_raw(descriptor):
    return not termios.tcgetattr(descriptor)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)


def opened(port):
    return serial.Serial(str(port), 115200, timeout=PATIENCE_S, write_timeout=PATIENCE_S, exclusive=True)


def answer(line):
    """(status, label, latency in ms), or None if no eight bytes come in time."""
    got = line.read(8)
    if not got:
        return None
    assert len(got) == 8
    assert got.startswith(b"\x55\xaa")
    return struct.unpack("<BBf", got[2:])


@pytest.fixture
def line(port):
    with opened(port) as line:
        yield line


@pytest.fixture(scope="module")
def ecg(dataset):
    """Segments whose labels are both there, as the contest's host would send them."""
    chosen = dataset.samples[::40]
    assert {toy.label(samples) for samples in chosen} == {0, 1}
    return chosen


def test_every_segment_is_answered(line, ecg):
    for samples in ecg:
        line.write(frame(samples))
        status, label, latency_ms = answer(line)
        assert (status, label) == (0, toy.label(samples))
        assert 0 < latency_ms < 1000


def test_a_tie_of_the_scores_is_af(line):
    samples = np.zeros(toy.T)
    samples[0] = 0.125 / float(toy.WEIGHTS[0])
    assert np.float32(samples[0]) * toy.WEIGHTS[0] == np.float32(0.125)
    for scale, expected in ((1, 1), (0.999, 0)):
        line.write(frame(samples * scale))
        assert answer(line)[:2] == (0, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_refused(line, ecg, value):
    spoilt = ecg[0].copy()
    spoilt[-1] = value
    line.write(frame(spoilt))
    assert answer(line) == (1, 0, 0)
    line.write(frame(ecg[0]))
    assert answer(line)[:2] == (0, toy.label(ecg[0]))


def test_finite_samples_too_large_for_the_model_are_refused(line):
    line.write(frame(np.full(toy.T, 3e38) * np.sign(toy.WEIGHTS)))
    assert answer(line)[:2] == (2, 0)


def test_noise_cut_and_oversized_frames_are_survived(line, ecg):
    good, expected = frame(ecg[1]), (0, toy.label(ecg[1]))
    noise = np.random.default_rng(6).bytes(1500)
    oversized = frame(np.arange(2000))
    for spoilt in (noise, b"\xaa" * 7, good[:2], oversized, frame(ecg[0][:40])):
        line.write(spoilt + good)
        assert answer(line)[:2] == expected
    line.write(good[:3000] + good)  # cut off, and at once the next
    assert answer(line)[:2] == expected
    line.write(good[:3000])
    time.sleep(GAP_S)
    line.write(good)
    assert answer(line)[:2] == expected
    line.timeout = 0.1
    assert answer(line) is None


def test_samples_that_hold_a_head_are_answered(line, ecg):
    samples = ecg[0].copy()
    samples[100:101] = np.frombuffer(b"\xaa\x55\xe2\x04", "<f4")
    line.write(frame(samples))
    assert answer(line)[:2] == (0, toy.label(samples))


@pytest.mark.parametrize("name", ["loongson-2k0500", "nucleo-l432kc"])
def test_measure_gives_the_score_of_the_model(images, dataset, tmp_path, name):
    target, model = targets.load(name), toy.model(tmp_path / "toy.onnx")
    few = dataset.header.subjects[: 12 if name == "loongson-2k0500" else 2]
    link = tmp_path / "board"
    with serve.serve(images(name), target, link=link) as board:
        record = measure.measure(
            str(link), dataset, tmp_path / "answers.jsonl", subjects=few, model=model, target=target
        )
        assert record.emulator == board.emulated.emulator
        assert record.image_sha256 == board.emulated.image_sha256
    assert record.scores.confusion == score_model(model, dataset, subjects=few, target=target).scores.confusion
    assert record.labels_differing == []
    assert record.latency_ms.evidence == "emulated"
    assert record.board_score is None


@pytest.mark.parametrize("name", TARGETS)
def test_a_failed_self_test_serves_nothing(images, name):
    with (
        pytest.raises(FirmwareError, match="self-test failed"),
        serve.serve(images(name, answers=False), targets.load(name)),
    ):
        pass


def test_nothing_stays_behind(images, tmp_path):
    link = tmp_path / "board"
    with serve.serve(images("host"), targets.load("host"), link=link) as board:
        assert serve.is_pseudo_terminal(str(link))
        assert serve.emulated_behind(str(link)) == board.emulated
        with pytest.raises(ChildProcessError), serve.serve(images("host"), targets.load("host")):
            raise ChildProcessError
    assert board.process.poll() is not None
    assert list(tmp_path.iterdir()) == []
    assert serve.emulated_behind(str(link)) is None


@pytest.mark.parametrize("name", ["host", "loongson-2k0500"])
def test_an_image_without_the_right_to_be_executed_is_served(images, ecg, tmp_path, name):
    """As git leaves it, which does not keep that right for the images in data/reference."""
    image = tmp_path / "image.elf"
    image.write_bytes(images(name).read_bytes())
    assert not os.access(image, os.X_OK)
    with serve.serve(image, targets.load(name)) as board, opened(board.port) as line:
        line.write(frame(ecg[0]))
        assert answer(line)[:2] == (0, toy.label(ecg[0]))
        assert board.emulated.image == str(image)
    assert not os.access(image, os.X_OK)


SLOW = f"""#!{sys.executable}
# A board that answers its first frame after several of them were sent, and none at once.
import os, struct, time
received, pause_s = b"", 2.5
while True:
    while len(received) < {4 + 4 * toy.T}:
        received += os.read(0, 4096) or os._exit(0)
    samples, received = received[4:{4 + 4 * toy.T}], received[{4 + 4 * toy.T}:]
    time.sleep(pause_s)
    finite = b"\\x00\\x00\\xc0\\x7f" not in samples
    os.write(1, b"\\x55\\xaa" + struct.pack("<BBf", not finite, finite, 0.5 * finite))
    pause_s = 0.3
"""


def test_a_late_refusal_is_not_taken_for_the_answer_to_the_next_segment(tmp_path):
    image = tmp_path / "image"
    image.write_text(SLOW)
    with serve.serve(image, targets.load("host")) as board, opened(board.port) as line:
        line.write(frame(np.ones(toy.T)))
        assert answer(line) == (0, 1, 0.5)


def test_an_image_that_ends_is_noticed(images):
    with serve.serve(images("host"), targets.load("host")) as board:
        board.process.kill()
        with pytest.raises(FirmwareError, match="runs until it is ended"):
            board.wait()


def test_an_image_that_is_not_there(tmp_path):
    with pytest.raises(FirmwareError, match="none at"), serve.serve(tmp_path / "none", targets.load("host")):
        pass


def test_an_emulator_that_is_not_there(images, monkeypatch):
    image = images("host")
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(FirmwareError, match="apt-get install qemu-user"),
        serve.serve(image, targets.load("loongson-2k0500")),
    ):
        pass


@pytest.mark.parametrize("name", ["host", "loongson-2k0500"])
def test_a_serial_device_by_its_name(images, ecg, name):
    """As on the board: the program opens the device itself and makes it raw; here with echo and translation on."""
    master, slave = os.openpty()
    emulator = targets.load(name).firmware.emulator
    command = [*(emulator.command if emulator else []), str(images(name)), os.ttyname(slave)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        samples = ecg[0].copy()
        samples[:4] = np.frombuffer(b"\x03\x0d\x0a\x04\x11\x13\x1a\x1c\x7f\x15\x16\x17\x00\x00\x00\x00", "<f4")
        deadline = time.monotonic() + PATIENCE_S
        while not _is_raw(slave):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.write(master, frame(samples))
        received = b""
        while len(received) < 8:
            assert select.select([master], [], [], PATIENCE_S)[0]
            received += os.read(master, 8)
        assert received[:4] == bytes([0x55, 0xAA, 0, toy.label(samples)])
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("name", ["loongson-2k0500", "nucleo-l432kc"])
def test_a_host_that_knows_the_protocol_alone_finds_the_score_of_the_onnx_file(dataset, tmp_path, name):
    """From the ONNX file through generated C, the image and the line: the confusion matrix of `ecm-edge score`."""
    target, model = targets.load(name), toy.model(tmp_path / "toy.onnx")
    missing = emulate.available(target)
    if missing:
        pytest.skip(missing.reason)
    generate.write(generate.generate(onnx.load(model), target), tmp_path / "c")
    toy.add_known_answers(tmp_path / "c")
    image = build.build(tmp_path / "c", target, "serial", tmp_path / "image", emulated=True)
    few = dataset.header.subjects[:2]
    counts = {"tp": 0, "fp": 0, "tn": 0, "fn": 0}
    with serve.serve(image.elf, target) as board, opened(board.port) as line:
        for row in dataset.rows_of(few):
            line.write(frame(dataset.samples[row]))
            status, label, _ = answer(line)
            assert status == 0
            counts[("t" if label == dataset.labels[row] else "f") + ("p" if label else "n")] += 1
    assert score_model(model, dataset, subjects=few).scores.confusion.model_dump() == counts


def test_noise_under_sanitizers(ecg, tmp_path):
    """Hours of noise in short: random bytes, heads, cuts; then a frame is answered, and the sanitizers said nothing."""
    host, rng = targets.load("host"), np.random.default_rng(7)
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1"]
    image = build.build(toy.generated(tmp_path / "toy"), host, "serial", tmp_path, emulated=True, extra_flags=flags).elf
    with serve.serve(image, host) as board, opened(board.port) as line:
        for _ in range(100):
            head = b"\xaa\x55" + struct.pack("<H", int(rng.choice([1250, 1249, 0, 65535])))
            line.write(rng.bytes(int(rng.integers(0, 4000))) + head + rng.bytes(int(rng.integers(0, 6000))))
            line.read(line.in_waiting)
        time.sleep(GAP_S)
        line.reset_input_buffer()
        line.write(frame(ecg[0]))
        assert answer(line)[:2] == (0, toy.label(ecg[0]))
        assert board.errors.read_bytes() == b""
