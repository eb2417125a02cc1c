"""Emulate: the same scores to the bit on every target, and an error in time whatever the program does."""

import subprocess

import numpy as np
import pytest

from ecm_edge import targets
from ecm_edge.base.errors import FirmwareError
from ecm_edge.firmware import emulate
from ecm_edge.targets.firmware import Emulator
from tests import firmware_hand as hand

ALL = [targets.load(name) for name in targets.names()]
HOST = targets.load("host")


@pytest.mark.parametrize("target", ALL, ids=lambda target: target.name)
def test_scores_are_those_of_the_model_and_the_same_to_the_bit_as_on_the_host(tmp_path, target):
    hand.needs(target)
    samples = hand.segments(20)
    found = emulate.run_batch(hand.image(tmp_path / "it", target), samples)
    assert np.array_equal(found, emulate.run_batch(hand.image(tmp_path / "host", HOST), samples))
    np.testing.assert_allclose(found, hand.scores(samples)[0], atol=1e-4)


@pytest.mark.parametrize("target", ALL, ids=lambda target: target.name)
def test_a_trace_has_every_layers_bytes(tmp_path, target):
    hand.needs(target)
    samples = hand.segments(3)
    scores, traces = emulate.run_trace(hand.image(tmp_path, target, trace=True), samples)
    assert [[(layer, len(output)) for layer, output in trace] for trace in traces] == [[(0, 120), (1, 8)]] * 3
    hidden = np.stack([np.frombuffer(trace[0][1], "<f4") for trace in traces])
    np.testing.assert_allclose(hidden, hand.scores(samples)[1], atol=1e-5)
    assert np.array_equal(np.stack([np.frombuffer(trace[1][1], "<f4") for trace in traces]), scores)


def test_no_segments_give_no_scores(tmp_path):
    assert emulate.run_batch(hand.image(tmp_path, HOST), hand.segments(0)).shape == (0, 2)


def test_nan_and_infinity_come_through(tmp_path):
    samples = np.full((2, hand.T), [[np.nan], [np.inf]], np.float32)
    assert emulate.run_batch(hand.image(tmp_path, HOST), samples).shape == (2, 2)


def test_segments_of_another_length(tmp_path):
    with pytest.raises(FirmwareError, match=r"segments are \(N, 64\); found \(1, 63\)"):
        emulate.run_batch(hand.image(tmp_path, HOST), np.zeros((1, 63), np.float32))


def test_a_trace_build_is_not_a_batch_build(tmp_path):
    with pytest.raises(FirmwareError, match="a trace build"):
        emulate.run_batch(hand.image(tmp_path, HOST, trace=True), hand.segments(1))


def stuck(tmp_path, body):
    """An image whose model does `body` and nothing else."""
    source = hand.SOURCE.replace("    model_layer_0_conv(samples", f"    {body}\n    model_layer_0_conv(samples")
    return hand.image(tmp_path, HOST, source=source)


def test_a_program_that_dies_is_named_with_its_end(tmp_path):
    image = stuck(tmp_path, "__builtin_trap();")
    with pytest.raises(FirmwareError, match=r"batch.elf ended · exit code -\d+"):
        emulate.run_batch(image, hand.segments(2))


def test_a_program_that_hangs_is_ended(tmp_path):
    image = stuck(tmp_path, "for (volatile int i = 0; i == 0;) {}")
    with pytest.raises(FirmwareError, match="did not answer within"):
        emulate.run_batch(image, hand.segments(1), timeout_s=0.2)
    ps = subprocess.run(["/bin/sh", "-c", "cat /proc/[0-9]*/cmdline"], capture_output=True, check=False)
    assert str(image.elf).encode() not in ps.stdout


def test_what_is_no_batch_program(tmp_path):
    image = hand.image(tmp_path, HOST)
    image.elf.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(FirmwareError, match="begins with ECM1; found b'hell'"):
        emulate.run_batch(image, hand.segments(1))


def test_what_cannot_be_started(tmp_path):
    image = hand.image(tmp_path, HOST)
    image.elf.chmod(0o644)
    with pytest.raises(FirmwareError, match="must start"):
        emulate.run_batch(image, hand.segments(1))


def test_a_missing_emulator_is_named_with_its_package(tmp_path):
    emulator = Emulator(command=["qemu-nowhere"], package="qemu-user")
    target = HOST.model_copy(update={"firmware": HOST.firmware.model_copy(update={"emulator": emulator})})
    assert emulate.available(target) == emulate.Unavailable("qemu-nowhere is not installed: apt-get install qemu-user")
    with pytest.raises(FirmwareError, match="apt-get install qemu-user"):
        emulate.run_batch(hand.image(tmp_path, target), hand.segments(1))


def test_an_image_above_its_memory_does_not_run(tmp_path):
    source = hand.SOURCE.replace("model_arena[30]", "model_arena[30000]")
    image = hand.image(tmp_path, targets.load("nucleo-l432kc"), source=source)
    with pytest.raises(FirmwareError, match=r"one above RAM by \d+ bytes"):
        emulate.command(image)
