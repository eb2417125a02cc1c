/* Convolution along time or one line of a picture on int8, two products an instruction: for cores with SMLAD (Armv7E-M
 * DSP extension).
 *
 * Activations are kept as int16 (ECM_STORED), weights are int16 in the order [block][pair][output][2], so that one
 * 32-bit load brings two samples or two weights. Sums and results are those of ecm_conv_i8, to the bit. */
#ifndef ECM_CONV_I8_DUAL_H
#define ECM_CONV_I8_DUAL_H

#include "ecm_base.h"
#include "ecm_conv_i8.h"
#include "ecm_dual.h"
#include "ecm_geometry.h"
#include "ecm_quant.h"

/* All of the layer, tile by tile; outputs >= tile.outputs. The length of a segment is even, and so are x_step where there
 * are several rows, segment_step where there are several segments, and repeat_step where they come again. */
ECM_INLINE void ecm_conv_i8_dual(
    const ecm_stored *x,   /* the first row's window, aligned to 4 bytes; read only */
    const int16_t *w,      /* [block][products / 2][tile.outputs][2], aligned to 4 bytes */
    const int32_t *b,      /* [outputs] */
    const int32_t *factor, /* [outputs] see ecm_quant, or one value where factor_step is 0 */
    ecm_stored *y,         /* [rows][y_step]; may lie over x where the plan says so */
    const ecm_windows *windows,
    const ecm_tile *tile, /* rows and outputs up to ECM_TILE_I8; unroll counts pairs, segment / 2 is a multiple of it */
    const ecm_quant *quant)
{
    for (int32_t row = 0; row < windows->rows; row += tile->rows) {
        const int32_t t = ecm_tile_row(row, windows->rows, tile);
        const int16_t *wb = w;
        for (int32_t output = 0; output < windows->outputs; output += tile->outputs) {
            const int32_t o = output < windows->outputs - tile->outputs ? output : windows->outputs - tile->outputs;
            int32_t acc[ECM_TILE_I8][ECM_TILE_I8];
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                ECM_UNROLL
                for (int32_t c = 0; c < tile->outputs; c++) {
                    acc[r][c] = b[o + c];
                }
            }
            const ecm_stored *xq = x + t * windows->x_step;
            for (int32_t q = 0; q <= windows->repeats; q++) {
                const ecm_stored *xs = xq;
                for (int32_t s = 0; s < windows->segments; s++) {
                    const ecm_stored *xi = xs;
                    for (int32_t i = 0; i < windows->segment; i += 2 * tile->unroll) {
                        ECM_UNROLL
                        for (int32_t u = 0; u < tile->unroll; u++) {
                            ECM_UNROLL
                            for (int32_t r = 0; r < tile->rows; r++) {
                                const uint32_t v = ecm_two((const int16_t *)xi + r * windows->x_step + 2 * u);
                                ECM_UNROLL
                                for (int32_t c = 0; c < tile->outputs; c++) {
                                    acc[r][c] = ecm_dual(v, ecm_two(wb + 2 * (u * tile->outputs + c)), acc[r][c]);
                                }
                            }
                        }
                        wb += 2 * tile->unroll * tile->outputs;
                        xi += 2 * tile->unroll;
                    }
                    xs += windows->segment_step;
                }
                xq += windows->repeat_step;
            }
            ecm_stored *yb = y + t * windows->y_step + o;
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                ECM_UNROLL
                for (int32_t c = 0; c < tile->outputs; c++) {
                    const int32_t m = factor[(o + c) * quant->factor_step];
                    ecm_store_i8(yb + r * windows->y_step + c, acc[r][c], m, quant);
                }
            }
        }
    }
}

#endif
