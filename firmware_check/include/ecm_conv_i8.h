/* Convolution along time on int8, fully connected layers included: exact int32 sums, then one rounding.
 *
 *   acc     = b[o] + sum over s < segments, i < segment of x[t * x_step + s * segment_step + i] * w[s][i][o]
 *   y[t][o] = saturate(round(acc * factor[o]) + zero_point)
 *
 * The zero point of x is in the bias: b[o] = bias[o] - x_zero_point * sum of w[..][o]; margins hold the zero point. */
#ifndef ECM_CONV_I8_H
#define ECM_CONV_I8_H

#include "ecm_base.h"
#include "ecm_quant.h"

enum { ECM_TILE_I8 = 16 };

/* Plain: one multiply and one add for each product. Everything but the pointers is a literal at the call. */
ECM_INLINE void ecm_conv_i8(
    const ecm_stored *x, /* the first row's window */
    const int8_t *w,     /* [block][segments * segment][tile_outputs] */
    const int32_t *b,    /* [outputs] */
    const float *factor, /* [outputs] x_scale * w_scale / y_scale, or one value where factor_step is 0 */
    int32_t factor_step, /* 1 or 0 */
    ecm_stored *y,       /* [rows][y_step]; may lie over x where the plan says so */
    int32_t rows,        /* >= tile_rows; the last tile is moved back to end at the last row */
    int32_t x_step, int32_t segments, int32_t segment, int32_t segment_step,
    int32_t outputs,     /* >= tile_outputs; the last block is moved back to end at the last output */
    int32_t y_step, int32_t tile_rows, int32_t tile_outputs, int32_t unroll, int32_t backward, int32_t zero_point, int32_t minimum,
    int32_t maximum)
{
    for (int32_t row = 0; row < rows; row += tile_rows) {
        const int32_t t = ecm_tile_row(row, rows, tile_rows, backward);
        const int8_t *wb = w;
        for (int32_t output = 0; output < outputs; output += tile_outputs) {
            const int32_t o = output < outputs - tile_outputs ? output : outputs - tile_outputs;
            int32_t acc[ECM_TILE_I8][ECM_TILE_I8];
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                ECM_UNROLL
                for (int32_t c = 0; c < tile_outputs; c++) {
                    acc[r][c] = b[o + c];
                }
            }
            const ecm_stored *xs = x + t * x_step;
            for (int32_t s = 0; s < segments; s++) {
                const ecm_stored *xi = xs;
                for (int32_t i = 0; i < segment; i += unroll) {
                    ECM_UNROLL
                    for (int32_t u = 0; u < unroll; u++) {
                        ECM_UNROLL
                        for (int32_t r = 0; r < tile_rows; r++) {
                            const int32_t v = xi[r * x_step + u];
                            ECM_UNROLL
                            for (int32_t c = 0; c < tile_outputs; c++) {
                                acc[r][c] += v * wb[u * tile_outputs + c];
                            }
                        }
                    }
                    wb += unroll * tile_outputs;
                    xi += unroll;
                }
                xs += segment_step;
            }
            ecm_stored *yb = y + t * y_step + o;
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                ECM_UNROLL
                for (int32_t c = 0; c < tile_outputs; c++) {
                    const float m = factor[(o + c) * factor_step];
                    yb[r * y_step + c] = (ecm_stored)ecm_requantize(acc[r][c], m, zero_point, minimum, maximum);
                }
            }
        }
    }
}

/* Weights of two outputs side by side in one 64-bit word, w[2 c] + 2^32 w[2 c + 1]: one multiplication by x then gives
 * both products, and one addition adds them to two sums at once. The low sum's borrow is taken back at the end. */
ECM_INLINE void ecm_pair_weights(
    const int8_t *w, /* [count][2] */
    int64_t *pairs,  /* [count] */
    int32_t count)
{
    ECM_UNROLL_4
    for (int32_t i = 0; i < count; i++) {
        pairs[i] = (int64_t)((uint64_t)(int64_t)w[2 * i] + ((uint64_t)(int64_t)w[2 * i + 1] << 32));
    }
}

/* The same layer with paired weights, for cores with a 64-bit multiplier: two products an instruction. Arguments as for
 * ecm_conv_i8, but for `pairs`, [block][segments * segment][tile_outputs / 2] of ecm_pair_weights; tile_outputs is
 * even. Sums stay within int32 (the generator has checked), so that they can be
 * told apart. */
ECM_INLINE void ecm_conv_i8_paired(
    const ecm_stored *x, const int64_t *pairs, const int32_t *b, const float *factor, int32_t factor_step, ecm_stored *y,
    int32_t rows, int32_t x_step, int32_t segments, int32_t segment, int32_t segment_step, int32_t outputs,
    int32_t y_step, int32_t tile_rows, int32_t tile_outputs, int32_t unroll, int32_t backward, int32_t zero_point, int32_t minimum,
    int32_t maximum)
{
    const int32_t half = tile_outputs / 2;
    for (int32_t row = 0; row < rows; row += tile_rows) {
        const int32_t t = ecm_tile_row(row, rows, tile_rows, backward);
        const int64_t *wb = pairs;
        for (int32_t output = 0; output < outputs; output += tile_outputs) {
            const int32_t o = output < outputs - tile_outputs ? output : outputs - tile_outputs;
            uint64_t acc[ECM_TILE_I8][ECM_TILE_I8 / 2];
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                ECM_UNROLL
                for (int32_t c = 0; c < half; c++) {
                    acc[r][c] = 0;
                }
            }
            const ecm_stored *xs = x + t * x_step;
            for (int32_t s = 0; s < segments; s++) {
                const ecm_stored *xi = xs;
                for (int32_t i = 0; i < segment; i += unroll) {
                    ECM_UNROLL
                    for (int32_t u = 0; u < unroll; u++) {
                        ECM_UNROLL
                        for (int32_t r = 0; r < tile_rows; r++) {
                            const uint64_t v = (uint64_t)(int64_t)xi[r * x_step + u];
                            ECM_UNROLL
                            for (int32_t c = 0; c < half; c++) {
                                acc[r][c] += v * (uint64_t)wb[u * half + c];
                            }
                        }
                    }
                    wb += unroll * half;
                    xi += unroll;
                }
                xs += segment_step;
            }
            ecm_stored *yb = y + t * y_step + o;
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                ECM_UNROLL
                for (int32_t c = 0; c < half; c++) {
                    const int32_t low = (int32_t)(uint32_t)acc[r][c];
                    const int32_t high = (int32_t)(uint32_t)((acc[r][c] - (uint64_t)(int64_t)low) >> 32);
                    const int32_t at = o + 2 * c;
                    yb[r * y_step + 2 * c] = (ecm_stored)ecm_requantize(
                        low + b[at], factor[at * factor_step], zero_point, minimum, maximum);
                    yb[r * y_step + 2 * c + 1] = (ecm_stored)ecm_requantize(
                        high + b[at + 1], factor[(at + 1) * factor_step], zero_point, minimum, maximum);
                }
            }
        }
    }
}

#endif
