"""A generated folder written by hand: a strided convolution and a linear layer that a model of one's own would have."""

import numpy as np
import pytest

from ecm_edge.firmware import emulate
from ecm_edge.firmware.build import build

T, OUTPUTS, TAPS = 64, 30, 6
LINEAR_WEIGHTS, FILTER = (0.75, -0.5), (0.1, -0.2, 0.3, 0.25, -0.5, 0.0625)

HEADER = """\
#ifndef MODEL_H
#define MODEL_H
void model_run(const float *samples, float *scores);
extern const char model_version[];
#endif
"""
ADAPTOR = """\
#include "model.h"
#define ECM_MODEL_RUN model_run
#define ECM_MODEL_VERSION model_version
#define ECM_MODEL_SAMPLES 64
#define ECM_MODEL_SCORES 2
#define ECM_MODEL_ARENA_BYTES 120
"""
SOURCE = """\
#include "model.h"
#ifdef ECM_TRACE
void ecm_trace(int layer, const void *data, int bytes);
#define TRACE(layer, data, bytes) ecm_trace(layer, data, bytes)
#else
#define TRACE(layer, data, bytes) ((void)0)
#endif
const char model_version[] = "by hand";
static const float model_0_weights[6] = {0.1f, -0.2f, 0.3f, 0.25f, -0.5f, 0.0625f};
static float model_arena[30];

__attribute__((noinline)) static void model_layer_0_conv(const float *x, float *y)
{
    for (int t = 0; t < 30; ++t) {
        float sum = 0.0f;
        for (int k = 0; k < 6; ++k)
            sum = __builtin_fmaf(model_0_weights[k], x[2 * t + k], sum);
        y[t] = sum > 0.0f ? sum : 0.0f;
    }
}

__attribute__((noinline)) static void model_layer_1_gemm(const float *x, float *y)
{
    float sum[2] = {0.0f, 0.0f};
    for (int t = 0; t < 30; ++t) {
        sum[0] = __builtin_fmaf(0.75f, x[t], sum[0]);
        sum[1] = __builtin_fmaf(-0.5f, x[t], sum[1]);
    }
    y[0] = sum[0];
    y[1] = sum[1];
}

void model_run(const float *samples, float *scores)
{
    model_layer_0_conv(samples, model_arena);
    TRACE(0, model_arena, 120);
    model_layer_1_gemm(model_arena, scores);
    TRACE(1, scores, 8);
}
"""


def write(folder, source=SOURCE, adaptor=ADAPTOR):
    """The folder, whole or with a text that a test has changed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("model.h", HEADER), ("ecm_model.h", adaptor), ("model.c", source)):
        (folder / name).write_text(text)
    return folder


def image(at, target, *, source=SOURCE, **options):
    """A batch image of it for the emulator; `at` is the test's own folder."""
    return build(write(at / "generated", source), target, "batch", at / "out", **{"emulated": True, **options})


def segments(count, seed=1):
    """Random segments (count, T)."""
    return np.random.default_rng(seed).standard_normal((count, T)).astype(np.float32)


def scores(samples):
    """What the model gives: samples (N, T) to scores (N, 2), and the convolution's output (N, 30), in float64."""
    windows = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), TAPS, axis=1)[:, ::2]
    hidden = np.maximum(windows[:, :OUTPUTS] @ np.float32(FILTER).astype(np.float64), 0)
    return np.stack([weight * hidden.sum(1) for weight in LINEAR_WEIGHTS], 1), hidden


def needs(target):
    """Skip a test whose emulator is not here."""
    missing = emulate.available(target)
    if missing is not None:
        pytest.skip(missing.reason)
