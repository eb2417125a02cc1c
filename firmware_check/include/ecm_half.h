/* float16 weights, as the bits that IEEE 754 gives them, to float32: exact for every finite value. */
#ifndef ECM_HALF_H
#define ECM_HALF_H

#include "ecm_base.h"

ECM_INLINE float ecm_half(uint16_t bits)
{
    union {
        uint32_t u;
        float f;
    } v;
    v.u =
        ((uint32_t)(int32_t)(int16_t)bits << 13) & 0x8fffe000u; /* sign, exponent and fraction where float32 has them */
    return v.f * 0x1p+112f;                                     /* the exponents' difference, subnormals included */
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

#endif
