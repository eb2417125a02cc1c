/* What every kernel computes, without tiles: to be read first, and what each kernel is held against, bit by bit.
 *
 * Sums are taken in the order in which the kernels take them. Weights lie in the order of a window in memory, all outputs
 * of a product side by side: [products][outputs], or of a depthwise convolution [outputs][repeats + 1][taps].
 * Nothing overlaps. Structs are as in ecm_geometry.h, ecm_activation.h and ecm_quant.h. */
#ifndef PLAIN_H
#define PLAIN_H

#include "ecm_activation.h"
#include "ecm_geometry.h"
#include "ecm_half.h"
#include "ecm_quant.h"

/* Where product i of a row's sum lies, from the first element of its window; as many as `plain_products` */
static inline int32_t plain_place(int32_t i, const ecm_windows *n)
{
    const int32_t s = i / n->segment;
    return s / n->segments * n->repeat_step + s % n->segments * n->segment_step + i % n->segment;
}

static inline int32_t plain_products(const ecm_windows *n) { return (n->repeats + 1) * n->segments * n->segment; }

/* y[t][o] = act(b[o] + sum of x * w) + added[t][o]; nothing is added where added_step is 0 */
static inline void plain_conv_f32(
    const float *x,
    const float *w,
    const float *b,
    float *y,
    const float *added,
    int32_t added_step,
    const ecm_windows *n,
    const ecm_activation *act)
{
    for (int32_t t = 0; t < n->rows; t++) {
        for (int32_t o = 0; o < n->outputs; o++) {
            float acc = b[o];
            for (int32_t i = 0; i < plain_products(n); i++) {
                const float v = x[t * n->x_step + plain_place(i, n)];
                acc = ecm_fmaf(v, w[i * n->outputs + o], acc);
            }
            acc = ecm_activate_f32(acc, act->kind, act->low, act->high);
            y[t * n->y_step + o] = added_step ? acc + added[t * added_step + o] : acc;
        }
    }
}

/* y[t][o] = saturate(round((b[o] + sum of x * w) * factor[o] / 2^shift) + zero_point) */
static inline void plain_conv_i8(
    const ecm_stored *x,
    const int8_t *w,
    const int32_t *b,
    const int32_t *factor,
    ecm_stored *y,
    const ecm_windows *n,
    const ecm_quant *quant)
{
    for (int32_t t = 0; t < n->rows; t++) {
        for (int32_t o = 0; o < n->outputs; o++) {
            int32_t acc = b[o];
            for (int32_t i = 0; i < plain_products(n); i++) {
                const ecm_stored v = x[t * n->x_step + plain_place(i, n)];
                acc += v * w[i * n->outputs + o];
            }
            ecm_store_i8(y + t * n->y_step + o, acc, factor[o * quant->factor_step], quant);
        }
    }
}

/* The sample that tap k, counted through all lines of taps, of output o of row t is multiplied by: its place in x */
static inline int32_t plain_sample(int32_t t, int32_t o, int32_t k, const ecm_channels *n)
{
    const int32_t step = t * n->stride + k % n->taps * n->dilation;
    return k / n->taps * n->repeat_step + step * n->time_step + o / n->multiplier;
}

/* y[t][o] = act(b[o] + sum over k of x * w[o][k]), of one channel of x */
static inline void plain_depthwise_f32(
    const float *x, const float *w, const float *b, float *y, const ecm_channels *n, const ecm_activation *act)
{
    const int32_t taps = (n->repeats + 1) * n->taps;
    for (int32_t t = 0; t < n->rows; t++) {
        for (int32_t o = 0; o < n->outputs; o++) {
            float acc = b[o];
            for (int32_t k = 0; k < taps; k++) {
                acc = ecm_fmaf(x[plain_sample(t, o, k, n)], w[o * taps + k], acc);
            }
            y[t * n->y_step + o] = ecm_activate_f32(acc, act->kind, act->low, act->high);
        }
    }
}

/* y[t][o] = saturate(round((b[o] + sum over k of x * w[o][k]) * factor[o] / 2^shift) + zero_point), of one channel of x */
static inline void plain_depthwise_i8(
    const ecm_stored *x,
    const int8_t *w,
    const int32_t *b,
    const int32_t *factor,
    ecm_stored *y,
    const ecm_channels *n,
    const ecm_quant *quant)
{
    const int32_t taps = (n->repeats + 1) * n->taps;
    for (int32_t t = 0; t < n->rows; t++) {
        for (int32_t o = 0; o < n->outputs; o++) {
            int32_t acc = b[o];
            for (int32_t k = 0; k < taps; k++) {
                acc += x[plain_sample(t, o, k, n)] * w[o * taps + k];
            }
            ecm_store_i8(y + t * n->y_step + o, acc, factor[o * quant->factor_step], quant);
        }
    }
}

/* y[o] = act(b[o] + sum over i < count of x[i] * w[i][o]) by float16 weights */
static inline void plain_dense_half(
    const float *x,
    const uint16_t *w,
    const float *b,
    float *y,
    int32_t count,
    int32_t outputs,
    const ecm_activation *act)
{
    for (int32_t o = 0; o < outputs; o++) {
        float acc = b[o];
        for (int32_t i = 0; i < count; i++) {
            acc = ecm_fmaf(x[i], ecm_half(w[i * outputs + o]), acc);
        }
        y[o] = ecm_activate_f32(acc, act->kind, act->low, act->high);
    }
}

#endif
