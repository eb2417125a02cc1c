/* Convolution along time or one line of a picture, fully connected layers included, in float32.
 *
 *   y[t][o] = act(b[o] + sum over q <= repeats, s < segments, i < segment
 *                        of x[t * x_step + q * repeat_step + s * segment_step + i] * w[q][s][i][o])
 *             + a[t][o], where there is such a tensor to add
 *
 * Every sum is one chain of fused multiply-adds that starts at the bias and runs in the order of q, then s, then i. */
#ifndef ECM_CONV_F32_H
#define ECM_CONV_F32_H

#include "ecm_activation.h"
#include "ecm_base.h"
#include "ecm_geometry.h"

enum { ECM_TILE = 16 }; /* most rows or outputs of one tile */

/* All of the layer, tile by tile; outputs >= tile.outputs. Pointers are aligned to 4 bytes. */
ECM_INLINE void ecm_conv_f32_add(
    const float *x,     /* the first row's window; read only */
    const float *w,     /* [block][products][tile.outputs]: one block is what a tile needs, in its order */
    const float *b,     /* [block][tile.outputs] */
    float *y,           /* [rows][y_step]; may lie over x where the plan says so */
    const float *added, /* [rows][added_step], apart from y; any pointer where added_step is 0 */
    int32_t added_step, /* values from one row to the next, >= outputs; 0 for nothing to add */
    const ecm_windows *windows,
    const ecm_tile *tile, /* rows and outputs up to ECM_TILE */
    const ecm_activation *activation)
{
    for (int32_t row = 0; row < windows->rows; row += tile->rows) {
        const int32_t t = ecm_tile_row(row, windows->rows, tile);
        const float *wb = w;
        const float *bb = b;
        for (int32_t output = 0; output < windows->outputs; output += tile->outputs) {
            const int32_t o = output < windows->outputs - tile->outputs ? output : windows->outputs - tile->outputs;
            float acc[ECM_TILE][ECM_TILE];
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                ECM_UNROLL
                for (int32_t c = 0; c < tile->outputs; c++) {
                    acc[r][c] = bb[c];
                }
            }
            const float *xq = x + t * windows->x_step;
            for (int32_t q = 0; q <= windows->repeats; q++) {
                const float *xs = xq;
                for (int32_t s = 0; s < windows->segments; s++) {
                    const float *xi = xs;
                    for (int32_t i = 0; i < windows->segment; i += tile->unroll) {
                        ECM_UNROLL
                        for (int32_t u = 0; u < tile->unroll; u++) {
                            ECM_KEEP_LOADS();
                            ECM_UNROLL
                            for (int32_t r = 0; r < tile->rows; r++) {
                                const float v = xi[r * windows->x_step + u];
                                ECM_UNROLL
                                for (int32_t c = 0; c < tile->outputs; c++) {
                                    acc[r][c] = ecm_fmaf(v, wb[u * tile->outputs + c], acc[r][c]);
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
            float *yb = y + t * windows->y_step + o;
            const float *ab = added + (added_step ? t * added_step + o : 0);
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                ECM_UNROLL
                for (int32_t c = 0; c < tile->outputs; c++) {
                    const float v = ecm_activate_f32(acc[r][c], activation->kind, activation->low, activation->high);
                    yb[r * windows->y_step + c] = added_step ? v + ab[r * added_step + c] : v;
                }
            }
            bb += tile->outputs;
        }
    }
}

/* The same without anything to add. */
ECM_INLINE void ecm_conv_f32(
    const float *x,
    const float *w,
    const float *b,
    float *y,
    const ecm_windows *windows,
    const ecm_tile *tile,
    const ecm_activation *activation)
{
    ecm_conv_f32_add(x, w, b, y, b, 0, windows, tile, activation);
}

#endif
