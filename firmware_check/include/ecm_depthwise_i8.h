/* Depthwise convolution along time on int8: exact int32 sums, then one rounding.
 *
 *   acc     = b[c] + sum over k < taps of x[t * x_step + k * tap_step + c / multiplier] * w[c][k]
 *   y[t][c] = saturate(round(acc * factor[c]) + zero_point)
 *
 * The zero point of x is in the bias, as for ecm_conv_i8. */
#ifndef ECM_DEPTHWISE_I8_H
#define ECM_DEPTHWISE_I8_H

#include "ecm_base.h"
#include "ecm_quant.h"

enum { ECM_DEPTHWISE_I8_ROWS = 16 };

/* Everything but the pointers is a literal at the call. */
ECM_INLINE void ecm_depthwise_i8(
    const ecm_stored *x, /* the first row's first tap */
    const int8_t *w,     /* [outputs][taps] */
    const int32_t *b,    /* [outputs] */
    const float *factor, /* [outputs], or one value where factor_step is 0 */
    int32_t factor_step, /* 1 or 0 */
    ecm_stored *y,       /* [rows][y_step]; may lie over x where the plan says so */
    int32_t rows,        /* >= tile_rows; the last tile is moved back to end at the last row */
    int32_t x_step,      /* values from one row's window to the next */
    int32_t taps,        /* >= 1, a multiple of unroll */
    int32_t tap_step,    /* values from one tap to the next */
    int32_t outputs,     /* channels times multiplier */
    int32_t multiplier,  /* outputs a channel, >= 1 */
    int32_t y_step,      /* values from one row to the next, >= outputs */
    int32_t tile_rows,   /* 1 ... ECM_DEPTHWISE_I8_ROWS */
    int32_t unroll, int32_t backward, int32_t zero_point, int32_t minimum, int32_t maximum)
{
    for (int32_t row = 0; row < rows; row += tile_rows) {
        const int32_t t = ecm_tile_row(row, rows, tile_rows, backward);
        const ecm_stored *xt = x + t * x_step;
        const int8_t *wc = w;
        ecm_stored *yt = y + t * y_step;
        for (int32_t c = 0; c < outputs; c++) {
            const ecm_stored *xk = xt + (multiplier == 1 ? c : c / multiplier);
            const float m = factor[c * factor_step];
            int32_t acc[ECM_DEPTHWISE_I8_ROWS];
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                acc[r] = b[c];
            }
            for (int32_t k = 0; k < taps; k += unroll) {
                ECM_UNROLL
                for (int32_t u = 0; u < unroll; u++) {
                    ECM_UNROLL
                    for (int32_t r = 0; r < tile_rows; r++) {
                        acc[r] += xk[r * x_step + u * tap_step] * wc[u];
                    }
                }
                wc += unroll;
                xk += unroll * tap_step;
            }
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                yt[r * y_step + c] = (ecm_stored)ecm_requantize(acc[r], m, zero_point, minimum, maximum);
            }
        }
    }
}

#endif
