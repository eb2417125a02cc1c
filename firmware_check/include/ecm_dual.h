/* Two int16 in one 32-bit word, and what the DSP extension of Armv7E-M does with them; the same in C elsewhere. */
#ifndef ECM_DUAL_H
#define ECM_DUAL_H

#include "ecm_base.h"

#if defined(__arm__) && !defined(__ARM_FEATURE_DSP)
#error "[firmware.kernels] int8 = dual is for cores with the DSP extension: name it in -mcpu (+dsp), or say plain"
#endif

/* Two int16 side by side, the first in the low half; p is aligned to 4 bytes. */
ECM_INLINE uint32_t ecm_two(const int16_t *p)
{
#if defined(__ARM_FEATURE_DSP)
    return *(const uint32_t *)(const void *)p;
#else
    return (uint32_t)(uint16_t)p[0] | (uint32_t)(uint16_t)p[1] << 16;
#endif
}

/* acc + low(a) * low(b), halves signed */
ECM_INLINE int32_t ecm_low(uint32_t a, uint32_t b, int32_t acc)
{
#if defined(__ARM_FEATURE_DSP)
    __asm__("smlabb %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
#else
    return acc + (int16_t)(uint16_t)a * (int16_t)(uint16_t)b;
#endif
}

/* acc + high(a) * high(b) */
ECM_INLINE int32_t ecm_high(uint32_t a, uint32_t b, int32_t acc)
{
#if defined(__ARM_FEATURE_DSP)
    __asm__("smlatt %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
#else
    return acc + (int16_t)(uint16_t)(a >> 16) * (int16_t)(uint16_t)(b >> 16);
#endif
}

/* acc + low(a) * low(b) + high(a) * high(b) */
ECM_INLINE int32_t ecm_dual(uint32_t a, uint32_t b, int32_t acc)
{
#if defined(__ARM_FEATURE_DSP)
    __asm__("smlad %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
#else
    return ecm_high(a, b, ecm_low(a, b, acc));
#endif
}

#endif
