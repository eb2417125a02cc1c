/* Convolution along time or one line of a picture on int8, with two or three sums in one 64-bit word: for cores with a
 * 64-bit multiplier and no SIMD. Sums and results are those of ecm_conv_i8, to the bit.
 *
 * Weights of several outputs lie side by side in a word, w[0] + 2^b w[1] + 2^2b w[2] with b = 64 / lanes: one
 * multiplication by a sample gives all their products, and one addition adds them to as many sums at once. */
#ifndef ECM_CONV_I8_PACKED_H
#define ECM_CONV_I8_PACKED_H

#include "ecm_base.h"
#include "ecm_conv_i8.h"
#include "ecm_geometry.h"
#include "ecm_quant.h"

enum { ECM_TILE_PACKED = 24 }; /* most outputs of one tile */

ECM_INLINE void ecm_pack_weights(
    const int8_t *w, /* [count][lanes]; weight 0 where there is no output */
    uint64_t *words, /* [count], aligned to 8 bytes; the layer's scratch memory */
    int32_t count,   /* >= 1 */
    int32_t lanes)   /* 2 or 3 */
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

/* All of the layer, tile by tile. Every sum without its bias has to fit its lane, 32 bits of two or 21 of three: the
 * generator has checked that. The outputs of a tile may be more than the layer has. */
ECM_INLINE void ecm_conv_i8_packed(
    const ecm_stored *x,   /* the first row's window; read only */
    const uint64_t *words, /* [block][products][tile.outputs / lanes], of ecm_pack_weights */
    const int32_t *b,      /* [outputs] */
    const int32_t *factor, /* [outputs] see ecm_quant, or one value where factor_step is 0 */
    ecm_stored *y,         /* [rows][y_step]; may lie over x where the plan says so */
    int32_t lanes,         /* sums in a word, 2 or 3 */
    const ecm_windows *windows,
    const ecm_tile *tile, /* rows up to ECM_TILE_I8; outputs a multiple of lanes up to ECM_TILE_PACKED */
    const ecm_quant *quant)
{
    const int32_t vectors = tile->outputs / lanes;
    for (int32_t row = 0; row < windows->rows; row += tile->rows) {
        const int32_t t = ecm_tile_row(row, windows->rows, tile);
        const uint64_t *wb = words;
        for (int32_t o = 0; o < windows->outputs; o += tile->outputs) {
            uint64_t acc[ECM_TILE_I8][ECM_TILE_I8];
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                ECM_UNROLL
                for (int32_t v = 0; v < vectors; v++) {
                    acc[r][v] = 0;
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
                                const uint64_t value = (uint64_t)(int64_t)xi[r * windows->x_step + u];
                                ECM_UNROLL
                                for (int32_t v = 0; v < vectors; v++) {
                                    acc[r][v] += value * wb[u * vectors + v];
                                }
                            }
                        }
                        wb += tile->unroll * vectors;
                        xi += tile->unroll;
                    }
                    xs += windows->segment_step;
                }
                xq += windows->repeat_step;
            }
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                ECM_UNROLL
                for (int32_t v = 0; v < vectors; v++) {
                    ECM_KEEP_SUM(acc[r][v]);
                }
            }
            ecm_stored *yb = y + t * windows->y_step + o;
            ECM_UNROLL
            for (int32_t v = 0; v < vectors; v++) {
                ECM_UNROLL
                for (int32_t lane = 0; lane < lanes; lane++) {
                    const int32_t c = v * lanes + lane;
                    if (o + c < windows->outputs) {
                        const int32_t m = factor[(o + c) * quant->factor_step];
                        const int32_t bias = b[o + c];
                        ECM_UNROLL
                        for (int32_t r = 0; r < tile->rows; r++) {
                            const int32_t sum = ecm_low_lane(acc[r][v], lanes);
                            acc[r][v] = (uint64_t)((int64_t)(acc[r][v] - (uint64_t)(int64_t)sum) >> (64 / lanes));
                            ecm_store_i8(yb + r * windows->y_step + c, sum + bias, m, quant);
                        }
                    }
                }
            }
        }
    }
}

#endif
