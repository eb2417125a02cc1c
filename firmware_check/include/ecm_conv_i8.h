/* Convolution along time or one line of a picture on int8, fully connected layers included: exact int32 sums, then one
 * rounding.
 *
 *   acc     = b[o] + sum over q <= repeats, s < segments, i < segment
 *                    of x[t * x_step + q * repeat_step + s * segment_step + i] * w[q][s][i][o]
 *   y[t][o] = saturate(round(acc * factor[o] / 2^shift) + zero_point)
 *
 * The zero point of x is in the bias: b[o] = bias[o] - x_zero_point * sum of w[..][o]; margins hold the zero point.
 * No part of a sum leaves int32, whatever the samples: the generator has checked that the sizes of the bias and of all
 * products of an output together stay below 2^31.
 * One multiply and one add for each product. */
#ifndef ECM_CONV_I8_H
#define ECM_CONV_I8_H

#include "ecm_base.h"
#include "ecm_geometry.h"
#include "ecm_quant.h"

enum { ECM_TILE_I8 = 16 }; /* most rows, or outputs or words, of one tile */

/* All of the layer, tile by tile; outputs >= tile.outputs. */
ECM_INLINE void ecm_conv_i8(
    const ecm_stored *x,   /* the first row's window; read only */
    const int8_t *w,       /* [block][products][tile.outputs] */
    const int32_t *b,      /* [outputs] */
    const int32_t *factor, /* [outputs] see ecm_quant, or one value where factor_step is 0 */
    ecm_stored *y,         /* [rows][y_step]; may lie over x where the plan says so */
    const ecm_windows *windows,
    const ecm_tile *tile, /* rows and outputs up to ECM_TILE_I8 */
    const ecm_quant *quant)
{
    for (int32_t row = 0; row < windows->rows; row += tile->rows) {
        const int32_t t = ecm_tile_row(row, windows->rows, tile);
        const int8_t *wb = w;
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
                    for (int32_t i = 0; i < windows->segment; i += tile->unroll) {
                        ECM_UNROLL
                        for (int32_t u = 0; u < tile->unroll; u++) {
                            ECM_UNROLL
                            for (int32_t r = 0; r < tile->rows; r++) {
                                const int32_t v = xi[r * windows->x_step + u];
                                ECM_UNROLL
                                for (int32_t c = 0; c < tile->outputs; c++) {
                                    acc[r][c] += v * wb[u * tile->outputs + c];
                                }
                            }
                        }
                        wb += tile->unroll * tile->outputs;
                        xi += tile->unroll;
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
