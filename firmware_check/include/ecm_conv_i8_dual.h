/* Convolution along time on int8, two products an instruction: for cores with SMLAD (Armv7E-M DSP extension).
 *
 * Activations are kept as int16 (ECM_STORED), weights are int16 in the order [block][pair][output][2], so that one
 * 32-bit load brings two samples or two weights. Sums and results are those of ecm_conv_i8, to the bit. */
#ifndef ECM_CONV_I8_DUAL_H
#define ECM_CONV_I8_DUAL_H

#include "ecm_base.h"
#include "ecm_conv_i8.h"
#include "ecm_quant.h"

/* acc + low(a) * low(b) + high(a) * high(b), halves signed */
ECM_INLINE int32_t ecm_dual(uint32_t a, uint32_t b, int32_t acc)
{
#if defined(__ARM_FEATURE_DSP)
    __asm__("smlad %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
#else
    return acc + (int16_t)(uint16_t)a * (int16_t)(uint16_t)b + (int16_t)(uint16_t)(a >> 16) * (int16_t)(uint16_t)(b >> 16);
#endif
}

/* Two int16 side by side, the first in the low half; p is aligned to 4 bytes. */
ECM_INLINE uint32_t ecm_two(const int16_t *p)
{
#if defined(__ARM_FEATURE_DSP)
    return *(const uint32_t *)(const void *)p;
#else
    return (uint32_t)(uint16_t)p[0] | (uint32_t)(uint16_t)p[1] << 16;
#endif
}

/* Everything but the pointers is a literal at the call. */
ECM_INLINE void ecm_conv_i8_dual(
    const ecm_stored *x, /* the first row's window, aligned to 4 bytes */
    const int16_t *w,    /* [block][segments * segment / 2][tile_outputs][2] */
    const int32_t *b,    /* [outputs] */
    const float *factor, /* [outputs], or one value where factor_step is 0 */
    int32_t factor_step, /* 1 or 0 */
    ecm_stored *y,       /* [rows][y_step]; may lie over x where the plan says so */
    int32_t rows,        /* >= tile_rows; the last tile is moved back to end at the last row */
    int32_t x_step,      /* even, as are segment and segment_step */
    int32_t segments, int32_t segment, int32_t segment_step,
    int32_t outputs,     /* >= tile_outputs; the last block is moved back to end at the last output */
    int32_t y_step, int32_t tile_rows, int32_t tile_outputs,
    int32_t unroll,      /* pairs; segment / 2 is a multiple of it */
    int32_t backward, int32_t zero_point, int32_t minimum, int32_t maximum)
{
    for (int32_t row = 0; row < rows; row += tile_rows) {
        const int32_t t = ecm_tile_row(row, rows, tile_rows, backward);
        const int16_t *wb = w;
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
                for (int32_t i = 0; i < segment; i += 2 * unroll) {
                    ECM_UNROLL
                    for (int32_t u = 0; u < unroll; u++) {
                        ECM_UNROLL
                        for (int32_t r = 0; r < tile_rows; r++) {
                            const uint32_t v = ecm_two((const int16_t *)xi + r * x_step + 2 * u);
                            ECM_UNROLL
                            for (int32_t c = 0; c < tile_outputs; c++) {
                                acc[r][c] = ecm_dual(v, ecm_two(wb + 2 * (u * tile_outputs + c)), acc[r][c]);
                            }
                        }
                    }
                    wb += 2 * unroll * tile_outputs;
                    xi += 2 * unroll;
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

#endif
