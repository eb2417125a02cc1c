/* Convolution along time, fully connected layers included (one row, one segment), in float32.
 *
 *   y[t][o] = act(b[o] + sum over s < segments, i < segment of x[t * x_step + s * segment_step + i] * w[s][i][o])
 *             + a[t][o], where there is such a tensor to add
 *
 * A window of K taps over C channels is one segment of K * C values without dilation, and K segments of C values with
 * it. Every sum is one chain of fused multiply-adds that starts at the bias and runs in the order of s, then i: the
 * tile's size changes how many chains advance together, never an answer.
 */
#ifndef ECM_CONV_F32_H
#define ECM_CONV_F32_H

#include "ecm_activation.h"
#include "ecm_base.h"

enum { ECM_TILE = 16 }; /* most rows or outputs of one tile */

/* All of the layer, tile by tile; pointers are aligned to 4 bytes, y may lie over x where the plan says so, never over
 * what is added. Everything but the pointers is a literal at the call. */
ECM_INLINE void ecm_conv_f32_add(
    const float *added, /* [rows][added_step]; any pointer where added_step is 0 */
    int32_t added_step, /* values from one row to the next, >= outputs; 0 for nothing to add */
    const float *x,       /* the first row's window */
    const float *w,       /* [block][segments * segment][tile_outputs]: one block is what a tile needs, in its order */
    const float *b,       /* [block][tile_outputs] */
    float *y,             /* [rows][y_step], `outputs` of each row are written */
    int32_t rows,         /* >= tile_rows; the last tile is moved back to end at the last row */
    int32_t x_step,       /* values from one row's window to the next */
    int32_t segments,     /* >= 1 */
    int32_t segment,      /* >= 1, a multiple of unroll */
    int32_t segment_step, /* values from one segment to the next */
    int32_t outputs,      /* >= tile_outputs; the last block is moved back to end at the last output */
    int32_t y_step,       /* values from one row to the next, >= outputs */
    int32_t tile_rows,    /* 1 ... ECM_TILE */
    int32_t tile_outputs, /* 1 ... ECM_TILE */
    int32_t unroll, int32_t backward, enum ecm_activation activation, float low, float high)
{
    for (int32_t row = 0; row < rows; row += tile_rows) {
        const int32_t t = ecm_tile_row(row, rows, tile_rows, backward);
        const float *wb = w;
        const float *bb = b;
        for (int32_t output = 0; output < outputs; output += tile_outputs) {
            const int32_t o = output < outputs - tile_outputs ? output : outputs - tile_outputs;
            float acc[ECM_TILE][ECM_TILE];
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                ECM_UNROLL
                for (int32_t c = 0; c < tile_outputs; c++) {
                    acc[r][c] = bb[c];
                }
            }
            const float *xs = x + t * x_step;
            for (int32_t s = 0; s < segments; s++) {
                const float *xi = xs;
                for (int32_t i = 0; i < segment; i += unroll) {
                    ECM_UNROLL
                    for (int32_t u = 0; u < unroll; u++) {
                        ECM_KEEP_LOADS();
                        ECM_UNROLL
                        for (int32_t r = 0; r < tile_rows; r++) {
                            const float v = xi[r * x_step + u];
                            ECM_UNROLL
                            for (int32_t c = 0; c < tile_outputs; c++) {
                                acc[r][c] = ecm_fmaf(v, wb[u * tile_outputs + c], acc[r][c]);
                            }
                        }
                    }
                    wb += unroll * tile_outputs;
                    xi += unroll;
                }
                xs += segment_step;
            }
            float *yb = y + t * y_step + o;
            const float *ab = added + (added_step ? t * added_step + o : 0);
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                ECM_UNROLL
                for (int32_t c = 0; c < tile_outputs; c++) {
                    const float v = ecm_activate_f32(acc[r][c], activation, low, high);
                    yb[r * y_step + c] = added_step ? v + ab[r * added_step + c] : v;
                }
            }
            bb += tile_outputs;
        }
    }
}

/* The same without anything to add. */
ECM_INLINE void ecm_conv_f32(
    const float *x, const float *w, const float *b, float *y, int32_t rows, int32_t x_step, int32_t segments,
    int32_t segment, int32_t segment_step, int32_t outputs, int32_t y_step, int32_t tile_rows, int32_t tile_outputs,
    int32_t unroll, int32_t backward, enum ecm_activation activation, float low, float high)
{
    ecm_conv_f32_add(
        b, 0, x, w, b, y, rows, x_step, segments, segment, segment_step, outputs, y_step, tile_rows, tile_outputs, unroll,
        backward, activation, low, high);
}

#endif
