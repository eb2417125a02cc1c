"""A generated folder without the generator: scores = weights · samples, in C and as ONNX, and fake boards in Python."""

import os
import struct
import threading
import tty
from contextlib import contextmanager

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ecm_edge import targets
from ecm_edge.firmware import build, emulate, known_answer

T = 1250
WEIGHTS = np.float32([1 - 2 * (t // 50 % 2) for t in range(T)])  # of the second score; the first is 0.125

_HEADER = """#ifndef TOY_H
#define TOY_H
extern const char toy_version[];
void toy_run(const float *samples, float *scores);
#endif
"""
_ADAPTOR = f"""#ifndef ECM_MODEL_H
#define ECM_MODEL_H
#include "toy.h"
#define ECM_MODEL_RUN toy_run
#define ECM_MODEL_VERSION toy_version
#define ECM_MODEL_SAMPLES {T}
#define ECM_MODEL_SCORES 2
#define ECM_MODEL_ARENA_BYTES 4
#endif
"""
_SOURCE = """#include "toy.h"

const char toy_version[] = "toy";
static const float toy_0_weights[] = {{{weights}}};
static float toy_arena[1];

void toy_layer_0_gemm(const float *samples);

__attribute__((noinline)) void toy_layer_0_gemm(const float *samples)
{{
    toy_arena[0] = 0.0f;
    for (int t = 0; t < {count}; t++) {{
        toy_arena[0] = __builtin_fmaf(toy_0_weights[t], samples[t], toy_arena[0]);
    }}
}}

void toy_run(const float *samples, float *scores)
{{
    toy_layer_0_gemm(samples);
    scores[0] = 0.125f;
    scores[1] = toy_arena[0];
}}
"""


def generated(folder, *, answers=True):
    """The folder as the generator leaves it; with `answers=False` its known answers are wrong."""
    folder.mkdir()
    (folder / "toy.h").write_text(_HEADER)
    (folder / "ecm_model.h").write_text(_ADAPTOR)
    weights = ", ".join(f"{float(w).hex()}f" for w in WEIGHTS)
    (folder / "toy.c").write_text(_SOURCE.format(weights=weights, count=T))
    add_known_answers(folder, wrong_by=0 if answers else 1)
    return folder


def add_known_answers(folder, wrong_by=0):
    """The header of the self-test, with the scores that the host gives."""
    image = build.build(folder, targets.load("host"), "batch", folder.parent / f"{folder.name}-batch", emulated=True)
    scores = emulate.run_batch(image, known_answer.segments(T))
    (folder / known_answer.FILE).write_text(known_answer.header_text(scores + np.float32(wrong_by)))


def model(path):
    """The same net as an ONNX file."""
    weights = np.stack([np.zeros(T, np.float32), WEIGHTS], axis=1)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["samples"], ["flat"]), helper.make_node("Gemm", ["flat", "w", "b"], ["scores"])],
        "toy",
        [value("samples", TensorProto.FLOAT, (1, 1, T))],
        [value("scores", TensorProto.FLOAT, (1, 2))],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.float32([0.125, 0]), "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def label(samples):
    """What a board says of a segment (T,)."""
    return int(np.dot(WEIGHTS.astype(np.float64), samples.astype(np.float64)) >= 0.125)


@contextmanager
def fake_board(behave):
    """The path of a serial device behind which every whole frame is answered by `behave(number of the frame, samples)`.

    It gives bytes to send, or None for a board that does not take another byte from then on.
    """
    master, slave = os.openpty()
    tty.setraw(slave)
    thread = threading.Thread(target=_answer, args=(master, behave), daemon=True)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        os.close(slave)
        thread.join(5)
        os.close(master)


def _answer(master, behave):
    received, frames = b"", 0
    try:
        while True:
            received += os.read(master, 4096)
            if len(received) >= 4 + 4 * T:
                sent = behave(frames, np.frombuffer(received[4 : 4 + 4 * T], "<f4"))
                received, frames = received[4 + 4 * T :], frames + 1
                if sent is None:
                    return
                os.write(master, sent)
    except OSError:
        return


def answer(samples, latency_ms=0.5, status=0):
    """The answer to a segment, as the protocol's text has it."""
    return b"\x55\xaa" + bytes([status, label(samples)]) + struct.pack("<f", latency_ms)
