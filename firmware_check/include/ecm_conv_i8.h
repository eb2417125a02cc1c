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

enum { ECM_TILE_I8 = 16 }; /* most rows, or outputs or words, of one tile */

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

/* Weights of several outputs side by side in one 64-bit word, w[0] + 2^b w[1] + 2^2b w[2] with b = 64 / lanes: one
 * multiplication by a sample then gives all their products, and one addition adds them to as many sums at once. */
ECM_INLINE void ecm_pack_weights(
    const int8_t *w,  /* [count][lanes] */
    uint64_t *words,  /* [count] */
    int32_t count,
    int32_t lanes)    /* 2 or 3 */
{
    ECM_UNROLL_4
    for (int32_t i = 0; i < count; i++) {
        uint64_t word = (uint64_t)(int64_t)w[0] + ((uint64_t)(int64_t)w[1] << (64 / lanes));
        if (lanes == 3) {
            word += (uint64_t)(int64_t)w[2] << 42;
        }
        words[i] = word;
        w += lanes;
    }
}

/* The lowest sum of a word; what it borrowed from the next one is given back by taking it off. */
ECM_INLINE int32_t ecm_low_lane(uint64_t word, int32_t lanes)
{
    return lanes == 2 ? (int32_t)(uint32_t)word : (int32_t)((int64_t)(word << 43) >> 43);
}

/* The same layer with packed weights, for cores with a 64-bit multiplier. Arguments as for ecm_conv_i8, but for `words`,
 * [block][segments * segment][vectors] of ecm_pack_weights with weight 0 where there is no output. Every sum without its
 * bias has to fit its lane, 32 bits of two or 21 of three: the generator has checked that. */
ECM_INLINE void ecm_conv_i8_packed(
    const ecm_stored *x, const uint64_t *words, const int32_t *b, const float *factor, int32_t factor_step,
    ecm_stored *y, int32_t rows, int32_t x_step, int32_t segments, int32_t segment, int32_t segment_step,
    int32_t outputs, int32_t y_step, int32_t tile_rows,
    int32_t vectors, /* words of a tile's weights, vectors * lanes <= 24 */
    int32_t lanes,   /* 2 or 3 */
    int32_t unroll, int32_t backward, int32_t zero_point, int32_t minimum, int32_t maximum)
{
    const int32_t tile_outputs = vectors * lanes;
    for (int32_t row = 0; row < rows; row += tile_rows) {
        const int32_t t = ecm_tile_row(row, rows, tile_rows, backward);
        const uint64_t *wb = words;
        for (int32_t o = 0; o < outputs; o += tile_outputs) {
            uint64_t acc[ECM_TILE_I8][ECM_TILE_I8];
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                ECM_UNROLL
                for (int32_t v = 0; v < vectors; v++) {
                    acc[r][v] = 0;
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
                            const uint64_t value = (uint64_t)(int64_t)xi[r * x_step + u];
                            ECM_UNROLL
                            for (int32_t v = 0; v < vectors; v++) {
                                acc[r][v] += value * wb[u * vectors + v];
                            }
                        }
                    }
                    wb += unroll * vectors;
                    xi += unroll;
                }
                xs += segment_step;
            }
            ecm_stored *yb = y + t * y_step + o;
            ECM_UNROLL
            for (int32_t v = 0; v < vectors; v++) {
                ECM_UNROLL
                for (int32_t lane = 0; lane < lanes; lane++) {
                    const int32_t c = v * lanes + lane;
                    if (o + c < outputs) {
                        const float m = factor[(o + c) * factor_step];
                        const int32_t bias = b[o + c];
                        ECM_UNROLL
                        for (int32_t r = 0; r < tile_rows; r++) {
                            const int32_t sum = ecm_low_lane(acc[r][v], lanes);
                            acc[r][v] = (uint64_t)((int64_t)(acc[r][v] - (uint64_t)(int64_t)sum) >> (64 / lanes));
                            yb[r * y_step + c] =
                                (ecm_stored)ecm_requantize(sum + bias, m, zero_point, minimum, maximum);
                        }
                    }
                }
            }
        }
    }
}

#endif
