/* Depthwise convolution along time in float32: every channel by itself.
 *
 *   y[t][c] = act(b[c] + sum over k < taps of x[t * x_step + k * tap_step + c / multiplier] * w[c][k])
 *
 * One chain of fused multiply-adds an output, from the bias on, in the order of k. */
#ifndef ECM_DEPTHWISE_F32_H
#define ECM_DEPTHWISE_F32_H

#include "ecm_activation.h"
#include "ecm_base.h"

enum { ECM_DEPTHWISE_ROWS = 16, ECM_DEPTHWISE_TAPS = 16 };

/* The same with every sample of a tile's windows loaded once, for all rows that have it in theirs: as samples come in
 * the order of time, so do the taps of each row. Rows and taps together have to fit the registers.
 * Everything but the pointers is a literal at the call. */
ECM_INLINE void ecm_depthwise_f32_once(
    const float *x, /* the first row's first tap */
    const float *w, /* [outputs][taps] */
    const float *b, /* [outputs] */
    float *y,       /* [rows][y_step]; may lie over x where the plan says so */
    int32_t rows,   /* >= tile_rows; the last tile is moved back to end at the last row */
    int32_t stride, int32_t taps, /* 1 ... ECM_DEPTHWISE_TAPS */
    int32_t dilation, int32_t x_step, /* values from one time step to the next */
    int32_t outputs,                  /* channels times multiplier */
    int32_t multiplier,               /* outputs a channel, >= 1 */
    int32_t y_step,                   /* values from one row to the next, >= outputs */
    int32_t tile_rows,                /* 1 ... ECM_DEPTHWISE_ROWS */
    int32_t backward, enum ecm_activation activation, float low, float high)
{
    for (int32_t row = 0; row < rows; row += tile_rows) {
        const int32_t t = ecm_tile_row(row, rows, tile_rows, backward);
        const float *xt = x + t * stride * x_step;
        const float *wc = w;
        float *yt = y + t * y_step;
        for (int32_t c = 0; c < outputs; c++) {
            const float *xc = xt + (multiplier == 1 ? c : c / multiplier);
            float acc[ECM_DEPTHWISE_ROWS];
            float tap[ECM_DEPTHWISE_TAPS];
            ECM_UNROLL
            for (int32_t k = 0; k < taps; k++) {
                tap[k] = wc[k];
            }
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                acc[r] = b[c];
            }
            ECM_UNROLL
            for (int32_t s = 0; s <= (tile_rows - 1) * stride + (taps - 1) * dilation; s++) {
                ECM_KEEP_LOADS();
                const float v = xc[s * x_step];
                ECM_UNROLL
                for (int32_t r = 0; r < tile_rows; r++) {
                    const int32_t k = (s - r * stride) / dilation;
                    if (s >= r * stride && k < taps && r * stride + k * dilation == s) {
                        acc[r] = ecm_fmaf(v, tap[k], acc[r]);
                    }
                }
            }
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                yt[r * y_step + c] = ecm_activate_f32(acc[r], activation, low, high);
            }
            wc += taps;
        }
    }
}

/* Everything but the pointers is a literal at the call. */
ECM_INLINE void ecm_depthwise_f32(
    const float *x,     /* the first row's first tap */
    const float *w,     /* [outputs][taps] */
    const float *b,     /* [outputs] */
    float *y,           /* [rows][y_step]; may lie over x where the plan says so */
    int32_t rows,       /* >= tile_rows; the last tile is moved back to end at the last row */
    int32_t x_step,     /* values from one row's window to the next */
    int32_t taps,       /* >= 1, a multiple of unroll */
    int32_t tap_step,   /* values from one tap to the next */
    int32_t outputs,    /* channels times multiplier */
    int32_t multiplier, /* outputs a channel, >= 1 */
    int32_t y_step,     /* values from one row to the next, >= outputs */
    int32_t tile_rows,  /* 1 ... ECM_DEPTHWISE_ROWS */
    int32_t unroll, int32_t backward, enum ecm_activation activation, float low, float high)
{
    for (int32_t row = 0; row < rows; row += tile_rows) {
        const int32_t t = ecm_tile_row(row, rows, tile_rows, backward);
        const float *xt = x + t * x_step;
        const float *wc = w;
        float *yt = y + t * y_step;
        for (int32_t c = 0; c < outputs; c++) {
            const float *xk = xt + (multiplier == 1 ? c : c / multiplier);
            float acc[ECM_DEPTHWISE_ROWS];
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                acc[r] = b[c];
            }
            for (int32_t k = 0; k < taps; k += unroll) {
                ECM_UNROLL
                for (int32_t u = 0; u < unroll; u++) {
                    ECM_UNROLL
                    for (int32_t r = 0; r < tile_rows; r++) {
                        acc[r] = ecm_fmaf(xk[r * x_step + u * tap_step], wc[u], acc[r]);
                    }
                }
                wc += unroll;
                xk += unroll * tap_step;
            }
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                yt[r * y_step + c] = ecm_activate_f32(acc[r], activation, low, high);
            }
        }
    }
}

#endif
