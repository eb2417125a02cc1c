/* float16 weights, as the bits that IEEE 754 gives them, to float32: exact for every finite value. */
#ifndef ECM_HALF_H
#define ECM_HALF_H

#include "ecm_activation.h"
#include "ecm_base.h"

ECM_INLINE float ecm_half(uint16_t bits)
{
    union { uint32_t u; float f; } v;
    v.u = ((uint32_t)(int32_t)(int16_t)bits << 13) & 0x8fffe000u; /* sign, exponent and fraction where float32 has them */
    return v.f * 0x1p+112f;                                       /* the exponents' difference, subnormals included */
}

ECM_INLINE void ecm_halves(
    const uint16_t *bits, /* [count] */
    float *values,        /* [count] */
    int32_t count)
{
    ECM_UNROLL_4
    for (int32_t i = 0; i < count; i++) {
        values[i] = ecm_half(bits[i]);
    }
}

/* A fully connected layer whose weights are converted where they are used, once each:
 *
 *   y[o] = act(b[o] + sum over i < count of x[i] * w[i][o]), one chain of fused multiply-adds in the order of i
 *
 * Everything but the pointers is a literal at the call. */
ECM_INLINE void ecm_dense_half(
    const float *x,       /* [count] */
    const uint16_t *w,    /* [block][count][tile_outputs] */
    const float *b,       /* [block][tile_outputs] */
    float *y,             /* [outputs]; may lie over x where the plan says so */
    int32_t count,        /* >= 1 */
    int32_t outputs,      /* >= tile_outputs; the last block is moved back to end at the last output */
    int32_t tile_outputs, /* 1 ... 16 */
    enum ecm_activation activation, float low, float high)
{
    for (int32_t output = 0; output < outputs; output += tile_outputs) {
        const int32_t o = output < outputs - tile_outputs ? output : outputs - tile_outputs;
        float acc[16];
        ECM_UNROLL
        for (int32_t c = 0; c < tile_outputs; c++) {
            acc[c] = b[c];
        }
        for (int32_t i = 0; i < count; i++) {
            ECM_UNROLL
            for (int32_t c = 0; c < tile_outputs; c++) {
                acc[c] = ecm_fmaf(x[i], ecm_half(w[c]), acc[c]);
            }
            w += tile_outputs;
        }
        ECM_UNROLL
        for (int32_t c = 0; c < tile_outputs; c++) {
            y[o + c] = ecm_activate_f32(acc[c], activation, low, high);
        }
        b += tile_outputs;
    }
}

#endif
