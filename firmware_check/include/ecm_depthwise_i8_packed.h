/* Depthwise convolution on int8 over a picture, with two sums in one 64-bit word: for cores with a 64-bit multiplier
 * and no SIMD. Sums and results are those of ecm_depthwise_i8, to the bit, and so is their bound: each sum with its
 * bias fits its half of a word.
 *
 * A word holds the samples of two rows of a tile, half a tile apart: one multiplication by a tap gives both products,
 * and one addition adds them to both sums. Lines of the output may be computed together, so that each word is made once
 * for all of them. */
#ifndef ECM_DEPTHWISE_I8_PACKED_H
#define ECM_DEPTHWISE_I8_PACKED_H

#include "ecm_base.h"
#include "ecm_depthwise_i8.h"
#include "ecm_depthwise_i8_lines.h"
#include "ecm_geometry.h"
#include "ecm_quant.h"

enum {
    ECM_DEPTHWISE_LINES = 4,    /* most lines of the output that are computed together */
    ECM_DEPTHWISE_REPEATS = 31, /* most of the layer's repeats */
};

/* Some lines of the output, tile by tile. */
ECM_INLINE void ecm_depthwise_i8_packed(
    const ecm_stored *x,          /* the first row's first tap; read only */
    const int8_t *w,              /* [outputs][repeats + 1][taps] */
    const int32_t *b,             /* [outputs] */
    const int32_t *factor,        /* [outputs] see ecm_quant, or one value where factor_step is 0 */
    ecm_stored *y,                /* lines of [rows][y_step]; may lie over x where the plan says so */
    int32_t lines,                /* 1 ... ECM_DEPTHWISE_LINES; 1 without repeats */
    int32_t x_line,               /* elements of x from one line to the next; of several, a multiple of repeat_step */
    int32_t y_line,               /* elements of y from one line to the next; any value where there is one */
    const ecm_channels *channels, /* taps up to ECM_DEPTHWISE_I8_TAPS, repeats up to ECM_DEPTHWISE_REPEATS */
    const ecm_tile *tile,         /* rows up to ECM_DEPTHWISE_I8_ROWS, one output; unroll is not used */
    const ecm_quant *quant)
{
    const int32_t half = (tile->rows + 1) / 2;
    /* lines of x from the windows of one line of the output to those of the next */
    const int32_t down = lines > 1 ? x_line / channels->repeat_step : 0;
    const int32_t reach = (channels->taps - 1) * channels->dilation; /* from a window's first sample to its last */
    for (int32_t row = 0; row < channels->rows; row += tile->rows) {
        const int32_t t = ecm_tile_row(row, channels->rows, tile);
        const ecm_stored *xt = x + t * channels->stride * channels->time_step;
        const int8_t *wc = w;
        ecm_stored *yt = y + t * channels->y_step;
        for (int32_t c = 0; c < channels->outputs; c++) {
            const ecm_stored *xc = xt + (channels->multiplier == 1 ? c : c / channels->multiplier);
            ECM_KEEP_POINTER(xc);
            const int32_t m = factor[c * quant->factor_step];
            const uint64_t bias = (uint64_t)(int64_t)b[c] * 0x100000001u;
            uint64_t acc[ECM_DEPTHWISE_LINES][ECM_DEPTHWISE_I8_ROWS];
            uint64_t tap[ECM_DEPTHWISE_REPEATS + 1][ECM_DEPTHWISE_I8_TAPS];
            ECM_UNROLL
            for (int32_t line = 0; line < lines; line++) {
                ECM_UNROLL
                for (int32_t r = 0; r < half; r++) {
                    acc[line][r] = bias;
                }
            }
            ECM_UNROLL
            for (int32_t p = 0; p <= (lines - 1) * down + channels->repeats; p++) {
                if (p <= channels->repeats) {
                    ECM_UNROLL
                    for (int32_t k = 0; k < channels->taps; k++) {
                        tap[p][k] = (uint64_t)(int64_t)wc[k];
                    }
                    wc += channels->taps;
                }
                ECM_UNROLL
                for (int32_t s = 0; s <= (half - 1) * channels->stride + reach; s++) {
                    ECM_KEEP_LOADS();
                    uint64_t v = (uint64_t)(int64_t)xc[s * channels->time_step];
                    if (s <= (tile->rows - half - 1) * channels->stride + reach) {
                        const int64_t second = xc[(s + half * channels->stride) * channels->time_step];
                        v += (uint64_t)second << 32;
                    }
                    ECM_UNROLL
                    for (int32_t line = 0; line < lines; line++) {
                        const int32_t q = p - line * down;
                        ECM_UNROLL
                        for (int32_t r = 0; r < half; r++) {
                            const int32_t k = (s - r * channels->stride) / channels->dilation;
                            if (q >= 0 && q <= channels->repeats && s >= r * channels->stride && k < channels->taps &&
                                r * channels->stride + k * channels->dilation == s) {
                                acc[line][r] += v * tap[q][k];
                            }
                        }
                    }
                }
                xc += channels->repeat_step;
            }
            ECM_UNROLL
            for (int32_t line = 0; line < lines; line++) {
                ECM_UNROLL
                for (int32_t r = 0; r < half; r++) {
                    ECM_KEEP_SUM(acc[line][r]);
                }
            }
            ECM_UNROLL
            for (int32_t line = 0; line < lines; line++) {
                ECM_UNROLL
                for (int32_t r = 0; r < half; r++) {
                    const int32_t sum = (int32_t)(uint32_t)acc[line][r];
                    ecm_stored *yr = yt + line * y_line + r * channels->y_step + c;
                    ecm_store_i8(yr, sum, m, quant);
                    if (r + half < tile->rows) {
                        const int32_t next = (int32_t)((int64_t)(acc[line][r] - (uint64_t)(int64_t)sum) >> 32);
                        ecm_store_i8(yr + half * channels->y_step, next, m, quant);
                    }
                }
            }
        }
    }
}

#endif
