/* Sine and cosine of float32, within 2.7 ULP of the exact result for every finite input, without libc or double; NaN for
 * infinities and NaNs. As in ecm_math.h, every core gives the same bits.
 *
 * |x| = k pi/2 + r with |r| <= pi/4 and a little more. Up to 100,000 the three parts of pi/2 are taken off by fused
 * multiply-adds, of which the first is exact. Beyond, x times 2/pi is made in whole numbers, of which only the lowest
 * two bits before the point and those behind it are kept (Payne and Hanek's reduction). */
#ifndef ECM_TRIGONOMETRY_H
#define ECM_TRIGONOMETRY_H

#include "ecm_base.h"
#include "ecm_math.h"

/* r of x in 0 ... 100,000; k modulo 4 in *quadrant */
ECM_INLINE float ecm_reduced_near(float x, uint32_t *quadrant)
{
    float k = ecm_rint_even(x * 0.636619772f);
    *quadrant = (uint32_t)(int32_t)k & 3u;
    float r = ecm_fmaf(-k, 1.57079637f, x);
    r = ecm_fmaf(-k, -4.37113883e-8f, r);
    return ecm_fmaf(-k, -1.71512451e-15f, r);
}

/* The same of a finite x from 65,536 on. */
ECM_INLINE float ecm_reduced_far(float x, uint32_t *quadrant)
{
    /* 2/pi: bit b of the second word and those behind it, counted from 1, weighs 2^-b */
    static const uint32_t words[8] = {0x00000000u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                                      0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};
    uint64_t mantissa = (ecm_bits(x) & 0x007fffffu) | 0x00800000u;
    uint32_t skipped = (ecm_bits(x) >> 23) - 120u; /* 23 ... 134 bits that give nothing but multiples of 4 */
    const uint32_t *word = words + skipped / 32u;
    uint32_t shift = skipped % 32u;
    uint32_t digits[3];
    ECM_UNROLL
    for (int32_t i = 0; i < 3; i++) {
        digits[i] = (uint32_t)((((uint64_t)word[i] << 32 | word[i + 1]) << shift) >> 32);
    }
    uint64_t turn = (mantissa * digits[0] << 32) + mantissa * digits[1] + (mantissa * digits[2] >> 32);
    uint64_t k = (turn + ((uint64_t)1 << 61)) >> 62; /* x 2/pi modulo 4 is turn / 2^62 */
    *quadrant = (uint32_t)k & 3u;
    uint64_t rest = turn - (k << 62);
    uint32_t below = rest >> 63 != 0;
    rest = below ? 0u - rest : rest;
    float size = ecm_fmaf((float)(uint32_t)(rest >> 32), 0x1p+32f, (float)(uint32_t)rest);
    float r = ecm_fmaf(size, 0x1.921fb6p-62f, size * -0x1.777a5cp-87f); /* pi/2 / 2^62 */
    return below ? -r : r;
}

/* sin(x + k pi/2) of |x|, k in 0 ... 3 */
ECM_INLINE float ecm_sine_of_size(float x, uint32_t k)
{
    uint32_t quadrant;
    float r = x < 100000.0f ? ecm_reduced_near(x, &quadrant) : ecm_reduced_far(x, &quadrant);
    float u = r * r;
    float y;
    quadrant = (quadrant + k) & 3u;
    if (quadrant & 1u) {
        float p = ecm_fmaf(ecm_fmaf(2.44331571e-5f, u, -1.38873163e-3f), u, 4.16666457e-2f);
        y = ecm_fmaf(ecm_fmaf(p, u, -0.5f), u, 1.0f);
    } else {
        float p = ecm_fmaf(ecm_fmaf(-1.95152959e-4f, u, 8.33216087e-3f), u, -1.66666546e-1f);
        y = ecm_fmaf(p * u, r, r);
    }
    return quadrant & 2u ? -y : y;
}

ECM_INLINE float ecm_cosf(float x)
{
    float size = __builtin_fabsf(x);
    return size < ECM_INFINITY ? ecm_sine_of_size(size, 1) : ECM_NAN;
}

/* -0 for -0 */
ECM_INLINE float ecm_sinf(float x)
{
    float size = __builtin_fabsf(x);
    return size == 0.0f ? x : size < ECM_INFINITY ? ecm_sine_of_size(size, x < 0.0f ? 2 : 0) : ECM_NAN;
}

#endif
