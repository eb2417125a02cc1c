"""The protocol: the board's state machine under sanitizers, the host's side, and the self-test's segments.

A frame in these tests has few samples and bytes from a small alphabet, so that heads turn up everywhere.
"""

import itertools
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm_edge.base.errors import FirmwareError
from ecm_edge.firmware import known_answer, protocol
from ecm_edge.firmware.protocol import Answer, Status

CHECKED = Path(__file__).parents[1] / "firmware_check"
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

SAMPLES = 2
FRAME = 4 * SAMPLES
HEAD = b"\xaa\x55" + struct.pack("<H", SAMPLES)
ALPHABET = b"\xaa\x55\x02\x00"
GAP = None


def compiled(out, *sources, includes=()):
    gcc = shutil.which("gcc") or pytest.skip("gcc is not installed")
    paths = [str(CHECKED / source) for source in sources]
    flags = [*FLAGS, "-I", str(CHECKED / "include"), *includes]
    subprocess.run([gcc, *flags, *paths, "-o", str(out)], check=True)
    return out


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A function from scenarios, lists of bytes and GAPs, to the frames that each of them gave."""
    sources = ("checks/protocol_check.c", "programs/ecm_protocol.c")
    program = compiled(tmp_path_factory.mktemp("c") / "protocol_check", *sources)

    def run(scenarios, samples=SAMPLES):
        events = b"".join(b"R" + b"".join(_event(part) for part in scenario) for scenario in scenarios)
        done = subprocess.run([program, str(samples)], input=events, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return _frames(done.stdout, 4 * samples)

    return run


def _event(part):
    return b"G" if part is GAP else b"".join(b"B%c" % byte for byte in part)


def _frames(output, size):
    found, place = [], 0
    while place < len(output):
        if output[place : place + 1] == b"R":
            found.append([])
            place += 1
        else:
            found[-1].append(output[place + 1 : place + 1 + size])
            place += 1 + size
    return found


def _drawn(rng, length):
    return bytes(rng.choice(list(ALPHABET), length).tolist())


def _plain(rng, length):
    return bytes(rng.integers(1, 0x50, length).tolist())


def test_a_frame_is_taken_at_its_last_byte(machine):
    payload = bytes(range(1, FRAME + 1))
    assert machine([[HEAD + payload], [HEAD + payload[:-1]], [HEAD + payload, HEAD + payload]]) == [
        [payload],
        [],
        [payload, payload],
    ]


def test_a_frame_after_a_gap_is_taken_whatever_came_before(machine):
    rng = np.random.default_rng(1)
    scenarios, payloads = [], []
    for _ in range(3000):
        before = [_drawn(rng, rng.integers(0, 30)) if rng.random() < 0.8 else GAP for _ in range(4)]
        payloads.append(_drawn(rng, FRAME))
        scenarios.append([*before, GAP, HEAD + payloads[-1], GAP])
    for frames, payload in zip(machine(scenarios), payloads, strict=True):
        assert frames[-1] == payload


def test_a_frame_cut_at_any_byte_and_followed_at_once_by_another_gives_the_other(machine):
    rng = np.random.default_rng(2)
    payloads = [(_drawn(rng, FRAME), _drawn(rng, FRAME)) for _ in range(200)]
    cuts = range(FRAME)
    scenarios = [[HEAD + old[:cut] + HEAD + new, GAP] for (old, new), cut in itertools.product(payloads, cuts)]
    expected = [[new] for (_, new), _ in itertools.product(payloads, cuts)]
    assert machine(scenarios) == expected


def test_two_cut_frames_in_a_row_give_the_third(machine):
    rng = np.random.default_rng(3)
    new = _plain(rng, FRAME)
    cuts = list(itertools.product(range(FRAME), range(FRAME)))
    scenarios = [[HEAD + _plain(rng, a) + HEAD + _plain(rng, b) + HEAD + new] for a, b in cuts]
    assert machine(scenarios) == [[new]] * len(cuts)


def test_a_cut_head_and_noise_before_a_frame_are_stepped_over(machine):
    new = bytes(range(1, FRAME + 1))
    noises = [HEAD[:cut] for cut in range(1, 4)] + [b"\xaa\xaa", b"\x55\xaa", b"\xaa\x55\xaa\x55", b"\xaa\x55\x02\x01"]
    assert machine([[noise + HEAD + new] for noise in noises]) == [[new]] * len(noises)


def test_samples_that_look_like_a_head_are_samples_when_the_line_is_quiet(machine):
    payloads = [
        HEAD + b"\x01\x02\x03\x04",
        b"\x01" + HEAD + b"\x02\x03\x04",
        b"\x01" * 4 + HEAD,
        b"\x01" * 6 + HEAD[:2],
    ]
    assert machine([[HEAD + payload, GAP] for payload in payloads]) == [[payload] for payload in payloads]


def test_a_frame_of_another_count_is_noise_however_long(machine):
    rng = np.random.default_rng(4)
    new = _plain(rng, FRAME)
    heads = [b"\xaa\x55" + struct.pack("<H", count) for count in (0, 1, 3, 0x0200, 0xFFFF)]
    scenarios = [[head + _plain(rng, length) + HEAD + new] for head in heads for length in (0, 1, FRAME, 5000)]
    assert machine(scenarios) == [[new]] * len(scenarios)


def test_what_follows_a_frame_is_noise(machine):
    new = bytes(range(1, FRAME + 1))
    assert machine([[HEAD + new + b"\x07" * 100 + HEAD + new]]) == [[new, new]]


def test_the_real_size_with_random_chunks_noise_and_cuts(machine):
    rng = np.random.default_rng(5)
    head, size = b"\xaa\x55" + struct.pack("<H", 1250), 5000
    scenarios, expected = [], []
    for _ in range(20):
        old, new = rng.normal(size=(2, 1250)).astype("<f4")
        cut = int(rng.integers(0, size))
        noise = rng.bytes(int(rng.integers(0, 300)))
        scenarios.append([noise, head, old.tobytes()[:cut], GAP, noise, head + new.tobytes(), GAP])
        expected.append([new.tobytes()])
    assert machine(scenarios, 1250) == expected


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 1), st.floats(0, 1000, width=32), st.sampled_from(Status))
def test_an_answer_is_found_within_noise(noise, label, latency_ms, status):
    answer = Answer(status, label, latency_ms)
    frame = protocol.encode_answer(answer)
    assert protocol.decode_answer(frame) == answer
    clean = noise.replace(b"\x55", b"")
    assert protocol.find_answer(clean + frame + noise) == answer
    assert protocol.find_answer(clean + frame[:-1]) is None


@pytest.mark.parametrize(
    "frame", ["55aa0300 00000000", "55aa0002 00000000", "55aa0000 0000c07f", "55aa0000 000080bf", "55"]
)
def test_what_is_no_answer_is_none(frame):
    assert protocol.decode_answer(bytes.fromhex(frame)) is None


@pytest.mark.parametrize("shape", [(0,), (0x10000,), (1, 1250)])
def test_a_frame_holds_one_segment(shape):
    with pytest.raises(FirmwareError, match="one segment"):
        protocol.encode_segment(np.zeros(shape, np.float32))


def test_the_self_test_has_the_same_segments_in_c_and_python(tmp_path):
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "ecm_known_answer.h"\n'
        "int main(void)\n{\n    static float samples[1250];\n"
        "    for (int kind = 0; kind < ECM_KNOWN_ANSWER_SEGMENTS; kind++) {\n"
        "        ecm_known_answer(kind, samples, 1250);\n"
        "        fwrite(samples, sizeof samples, 1, stdout);\n    }\n    return 0;\n}\n"
    )
    program = compiled(tmp_path / "main", tmp_path / "main.c")
    made = subprocess.run([program], capture_output=True, check=True).stdout
    segments = known_answer.segments(1250)
    assert made == segments.tobytes()
    assert np.ptp(segments, axis=1).tolist() == pytest.approx([1.426, 1.512, 0, 2.355], abs=1e-3)


def test_the_expected_scores_are_written_to_the_bit(tmp_path):
    scores = np.array([[1, -0.0], [2.5, 1e-40], [-3.4e38, 0.1], [1 / 3, -7]], np.float32)
    (tmp_path / known_answer.FILE).write_text(known_answer.header_text(scores))
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "ecm_known_answers.h"\n'
        "int main(void)\n{\n    fwrite(ecm_known_answers, sizeof ecm_known_answers, 1, stdout);\n    return 0;\n}\n"
    )
    program = compiled(tmp_path / "main", tmp_path / "main.c", includes=["-I", str(tmp_path)])
    assert subprocess.run([program], capture_output=True, check=True).stdout == scores.tobytes()


@pytest.mark.parametrize("scores", [np.zeros((3, 2)), np.full((4, 2), np.nan)])
def test_the_self_test_needs_all_scores(scores):
    with pytest.raises(FirmwareError, match="4 segments"):
        known_answer.header_text(scores.astype(np.float32))
