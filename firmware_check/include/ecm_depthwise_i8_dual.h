/* Depthwise convolution along time on int8, two channels side by side: for cores with SMLABB
 * and SMLATT (Armv7E-M DSP extension). Sums and results are those of ecm_depthwise_i8, to the bit.
 *
 * Activations are kept as int16 (ECM_STORED), weights are int16 in pairs of channels: one 32-bit load brings a sample
 * or a tap of both. Where rows and taps go by the same step, a sample is loaded once for all rows of a tile. */
#ifndef ECM_DEPTHWISE_I8_DUAL_H
#define ECM_DEPTHWISE_I8_DUAL_H

#include "ecm_base.h"
#include "ecm_depthwise_i8.h"
#include "ecm_dual.h"
#include "ecm_geometry.h"
#include "ecm_quant.h"

/* All of the layer, tile by tile. Outputs and time_step are even, and every channel has one output. */
ECM_INLINE void ecm_depthwise_i8_dual(
    const ecm_stored *x,   /* the first row's first tap, aligned to 4 bytes; read only */
    const int16_t *w,      /* [outputs / 2][taps][2], aligned to 4 bytes */
    const int32_t *b,      /* [outputs] */
    const int32_t *factor, /* [outputs] see ecm_quant, or one value where factor_step is 0 */
    ecm_stored *y,         /* [rows][y_step]; may lie over x where the plan says so */
    const ecm_channels *channels,
    const ecm_tile *tile, /* rows up to ECM_DEPTHWISE_I8_ROWS; taps are a multiple of unroll */
    const ecm_quant *quant)
{
    const int32_t row_step = channels->stride * channels->time_step;
    const int32_t tap_step = channels->dilation * channels->time_step;
    const int32_t slides = row_step == tap_step; /* a row's sample is the next row's of the tap before */
    for (int32_t row = 0; row < channels->rows; row += tile->rows) {
        const int32_t t = ecm_tile_row(row, channels->rows, tile);
        const ecm_stored *xt = x + t * row_step;
        const int16_t *wc = w;
        ecm_stored *yt = y + t * channels->y_step;
        for (int32_t c = 0; c < channels->outputs; c += 2) {
            const ecm_stored *xk = xt + c;
            ECM_KEEP_POINTER(xk);
            int32_t acc[ECM_DEPTHWISE_I8_ROWS][2];
            uint32_t v[ECM_DEPTHWISE_I8_ROWS] = {0};
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                acc[r][0] = b[c];
                acc[r][1] = b[c + 1];
                if (slides && r > 0) {
                    v[r] = ecm_two((const int16_t *)xk + (r - 1) * row_step);
                }
            }
            for (int32_t k = 0; k < channels->taps; k += tile->unroll) {
                ECM_UNROLL
                for (int32_t u = 0; u < tile->unroll; u++) {
                    ECM_KEEP_LOADS();
                    const uint32_t tap = ecm_two(wc + 2 * u);
                    ECM_UNROLL
                    for (int32_t r = 0; r < tile->rows; r++) {
                        if (slides && r + 1 < tile->rows) {
                            v[r] = v[r + 1];
                        } else {
                            v[r] = ecm_two((const int16_t *)xk + r * row_step + u * tap_step);
                        }
                        acc[r][0] = ecm_low(v[r], tap, acc[r][0]);
                        acc[r][1] = ecm_high(v[r], tap, acc[r][1]);
                    }
                }
                wc += 2 * tile->unroll;
                xk += tile->unroll * tap_step;
            }
            ECM_UNROLL
            for (int32_t i = 0; i < 2; i++) {
                const int32_t m = factor[(c + i) * quant->factor_step];
                ECM_UNROLL
                for (int32_t r = 0; r < tile->rows; r++) {
                    ecm_store_i8(yt + r * channels->y_step + c + i, acc[r][i], m, quant);
                }
            }
        }
    }
}

#endif
