/* Depthwise convolution along time in float32: every channel by itself.
 *
 *   y[t][o] = act(b[o] + sum over k < taps of x[(t * stride + k * dilation) * time_step + o / multiplier] * w[o][k])
 *
 * One chain of fused multiply-adds an output, from the bias on, in the order of k. */
#ifndef ECM_DEPTHWISE_F32_H
#define ECM_DEPTHWISE_F32_H

#include "ecm_activation.h"
#include "ecm_base.h"
#include "ecm_geometry.h"

enum { ECM_DEPTHWISE_ROWS = 16 }; /* most rows of one tile */

/* All of the layer, tile by tile. Pointers are aligned to 4 bytes. */
ECM_INLINE void ecm_depthwise_f32(
    const float *x, /* the first row's first tap; read only */
    const float *w, /* [outputs][taps] */
    const float *b, /* [outputs] */
    float *y,       /* [rows][y_step]; may lie over x where the plan says so */
    const ecm_channels *channels,
    const ecm_tile *tile, /* rows up to ECM_DEPTHWISE_ROWS, one output; taps are a multiple of unroll */
    const ecm_activation *activation)
{
    const int32_t row_step = channels->stride * channels->time_step;
    const int32_t tap_step = channels->dilation * channels->time_step;
    for (int32_t row = 0; row < channels->rows; row += tile->rows) {
        const int32_t t = ecm_tile_row(row, channels->rows, tile);
        const float *xt = x + t * row_step;
        const float *wc = w;
        float *yt = y + t * channels->y_step;
        for (int32_t c = 0; c < channels->outputs; c++) {
            const float *xk = xt + (channels->multiplier == 1 ? c : c / channels->multiplier);
            float acc[ECM_DEPTHWISE_ROWS];
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                acc[r] = b[c];
            }
            for (int32_t k = 0; k < channels->taps; k += tile->unroll) {
                ECM_UNROLL
                for (int32_t u = 0; u < tile->unroll; u++) {
                    ECM_UNROLL
                    for (int32_t r = 0; r < tile->rows; r++) {
                        acc[r] = ecm_fmaf(xk[r * row_step + u * tap_step], wc[u], acc[r]);
                    }
                }
                wc += tile->unroll;
                xk += tile->unroll * tap_step;
            }
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                yt[r * channels->y_step + c] =
                    ecm_activate_f32(acc[r], activation->kind, activation->low, activation->high);
            }
        }
    }
}

#endif
