/* Depthwise convolution on int8 for one line of a picture's output, with every sample of a line of taps loaded once,
 * for all rows that have it in their windows. Sums and results are those of ecm_depthwise_i8, and so is their bound.
 * It is fast where rows and the taps of one line together fit the registers. */
#ifndef ECM_DEPTHWISE_I8_LINES_H
#define ECM_DEPTHWISE_I8_LINES_H

#include "ecm_base.h"
#include "ecm_depthwise_i8.h"
#include "ecm_geometry.h"
#include "ecm_quant.h"

enum { ECM_DEPTHWISE_I8_TAPS = 16 }; /* most taps of a line */

/* All of the line, tile by tile. */
ECM_INLINE void ecm_depthwise_i8_lines(
    const ecm_stored *x,          /* the first row's first tap; read only */
    const int8_t *w,              /* [outputs][repeats + 1][taps] */
    const int32_t *b,             /* [outputs] */
    const int32_t *factor,        /* [outputs] see ecm_quant, or one value where factor_step is 0 */
    ecm_stored *y,                /* [rows][y_step]; may lie over x where the plan says so */
    const ecm_channels *channels, /* taps of a line up to ECM_DEPTHWISE_I8_TAPS */
    const ecm_tile *tile,         /* rows up to ECM_DEPTHWISE_I8_ROWS, one output; unroll is not used */
    const ecm_quant *quant)
{
    for (int32_t row = 0; row < channels->rows; row += tile->rows) {
        const int32_t t = ecm_tile_row(row, channels->rows, tile);
        const ecm_stored *xt = x + t * channels->stride * channels->time_step;
        const int8_t *wc = w;
        ecm_stored *yt = y + t * channels->y_step;
        for (int32_t c = 0; c < channels->outputs; c++) {
            const ecm_stored *xc = xt + (channels->multiplier == 1 ? c : c / channels->multiplier);
            ECM_KEEP_POINTER(xc);
            const int32_t m = factor[c * quant->factor_step];
            int32_t acc[ECM_DEPTHWISE_I8_ROWS];
            int32_t tap[ECM_DEPTHWISE_I8_TAPS];
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                acc[r] = b[c];
            }
            ECM_UNROLL
            for (int32_t line = 0; line <= channels->repeats; line++) {
                ECM_UNROLL
                for (int32_t k = 0; k < channels->taps; k++) {
                    tap[k] = wc[k];
                }
                ECM_UNROLL
                for (int32_t s = 0;
                     s <= (tile->rows - 1) * channels->stride + (channels->taps - 1) * channels->dilation; s++) {
                    ECM_KEEP_LOADS();
                    const int32_t v = xc[s * channels->time_step];
                    ECM_UNROLL
                    for (int32_t r = 0; r < tile->rows; r++) {
                        const int32_t k = (s - r * channels->stride) / channels->dilation;
                        if (s >= r * channels->stride && k < channels->taps &&
                            r * channels->stride + k * channels->dilation == s) {
                            acc[r] += v * tap[k];
                        }
                    }
                }
                wc += channels->taps;
                xc += channels->repeat_step;
            }
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                ecm_store_i8(yt + r * channels->y_step + c, acc[r], m, quant);
            }
        }
    }
}

#endif
