/* Depthwise convolution along time on int8: exact int32 sums, then one rounding.
 *
 *   acc     = b[o] + sum over k < taps of x[(t * stride + k * dilation) * time_step + o / multiplier] * w[o][k]
 *   y[t][o] = saturate(round(acc * factor[o] / 2^shift) + zero_point)
 *
 * The zero point of x is in the bias and no part of a sum leaves int32, as for ecm_conv_i8. */
#ifndef ECM_DEPTHWISE_I8_H
#define ECM_DEPTHWISE_I8_H

#include "ecm_base.h"
#include "ecm_geometry.h"
#include "ecm_quant.h"

enum { ECM_DEPTHWISE_I8_ROWS = 16 }; /* most rows of one tile */

/* All of the layer, tile by tile. */
ECM_INLINE void ecm_depthwise_i8(
    const ecm_stored *x,   /* the first row's first tap; read only */
    const int8_t *w,       /* [outputs][taps] */
    const int32_t *b,      /* [outputs] */
    const int32_t *factor, /* [outputs] see ecm_quant, or one value where factor_step is 0 */
    ecm_stored *y,         /* [rows][y_step]; may lie over x where the plan says so */
    const ecm_channels *channels,
    const ecm_tile *tile, /* rows up to ECM_DEPTHWISE_I8_ROWS, one output; taps are a multiple of unroll */
    const ecm_quant *quant)
{
    const int32_t row_step = channels->stride * channels->time_step;
    const int32_t tap_step = channels->dilation * channels->time_step;
    for (int32_t row = 0; row < channels->rows; row += tile->rows) {
        const int32_t t = ecm_tile_row(row, channels->rows, tile);
        const ecm_stored *xt = x + t * row_step;
        const int8_t *wc = w;
        ecm_stored *yt = y + t * channels->y_step;
        for (int32_t c = 0; c < channels->outputs; c++) {
            const ecm_stored *xk = xt + (channels->multiplier == 1 ? c : c / channels->multiplier);
            const int32_t m = factor[c * quant->factor_step];
            int32_t acc[ECM_DEPTHWISE_I8_ROWS];
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                acc[r] = b[c];
            }
            for (int32_t k = 0; k < channels->taps; k += tile->unroll) {
                ECM_UNROLL
                for (int32_t u = 0; u < tile->unroll; u++) {
                    ECM_UNROLL
                    for (int32_t r = 0; r < tile->rows; r++) {
                        acc[r] += xk[r * row_step + u * tap_step] * wc[u];
                    }
                }
                wc += tile->unroll;
                xk += tile->unroll * tap_step;
            }
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                ecm_store_i8(yt + r * channels->y_step + c, acc[r], m, quant);
            }
        }
    }
}

#endif
