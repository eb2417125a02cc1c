/* Trigonometric and hyperbolic functions of float32 and their inverses, without libc or double. Each states its largest
 * error in ULP of the exact result, for every input. It gives a NaN for a NaN and outside of its domain; odd functions
 * give -0 for -0. As in ecm_math.h, every core gives the same bits, and polynomials are minimax fits.
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

/* within 2.7 ULP; NaN for infinities */
ECM_INLINE float ecm_cosf(float x)
{
    float size = __builtin_fabsf(x);
    return size < ECM_INFINITY ? ecm_sine_of_size(size, 1) : ECM_NAN;
}

/* within 2.7 ULP; NaN for infinities */
ECM_INLINE float ecm_sinf(float x)
{
    float size = __builtin_fabsf(x);
    return size == 0.0f ? x : size < ECM_INFINITY ? ecm_sine_of_size(size, x < 0.0f ? 2 : 0) : ECM_NAN;
}

/* x + x u p: what odd functions are near 0 */
ECM_INLINE float ecm_odd(float x, float u, float p) { return ecm_fmaf(x * u, p, x); }

/* within 4.1 ULP; NaN for infinities */
ECM_INLINE float ecm_tanf(float x)
{
    float size = __builtin_fabsf(x);
    if (!(size < ECM_INFINITY)) {
        return ECM_NAN;
    }
    uint32_t quadrant;
    float r = size < 100000.0f ? ecm_reduced_near(size, &quadrant) : ecm_reduced_far(size, &quadrant);
    float u = r * r;
    float p = ecm_fmaf(ecm_fmaf(9.39423963e-3f, u, 3.1052439e-3f), u, 2.44391207e-2f);
    p = ecm_fmaf(ecm_fmaf(ecm_fmaf(p, u, 5.34088127e-2f), u, 1.33388281e-1f), u, 3.33331555e-1f);
    float y = ecm_odd(r, u, p);
    y = quadrant & 1u ? -1.0f / y : y;
    return size == 0.0f ? x : x < 0.0f ? -y : y;
}

/* within 2.2 ULP; pi/2 for infinity */
ECM_INLINE float ecm_atanf(float x)
{
    float size = __builtin_fabsf(x);
    int32_t part = size > 2.41421366f ? 2 : size > 0.414213568f ? 1 : 0; /* tan 3/8 pi, tan 1/8 pi */
    float t = part == 2 ? -1.0f / size : part == 1 ? (size - 1.0f) / (size + 1.0f) : size;
    float u = t * t;
    float p = ecm_fmaf(ecm_fmaf(-6.07827008e-2f, u, 1.05938323e-1f), u, -1.42435357e-1f);
    p = ecm_fmaf(ecm_fmaf(p, u, 1.99984714e-1f), u, -3.33333164e-1f);
    float high = part == 2 ? 1.57079637f : part == 1 ? 0.785398185f : 0.0f;
    float low = part == 2 ? -4.37113883e-8f : part == 1 ? -2.18556941e-8f : 0.0f;
    float y = part ? high + (low + ecm_odd(t, u, p)) : ecm_odd(t, u, p);
    return __builtin_copysignf(y, x);
}

/* asin(x) of x in 0 ... 1/2 */
ECM_INLINE float ecm_asin_near(float x)
{
    float u = x * x;
    float p = ecm_fmaf(ecm_fmaf(4.21763882e-2f, u, 2.41739713e-2f), u, 4.54714149e-2f);
    return ecm_odd(x, u, ecm_fmaf(ecm_fmaf(p, u, 7.49529004e-2f), u, 1.66667521e-1f));
}

/* within 2.5 ULP; NaN where |x| > 1 */
ECM_INLINE float ecm_asinf(float x)
{
    float size = __builtin_fabsf(x);
    if (!(size <= 1.0f)) {
        return ECM_NAN;
    }
    float y = ecm_asin_near(size <= 0.5f ? size : ecm_sqrtf(0.5f * (1.0f - size)));
    y = size <= 0.5f ? y : 1.57079637f - ecm_fmaf(2.0f, y, 4.37113883e-8f);
    return __builtin_copysignf(y, x);
}

/* within 1.3 ULP; NaN where |x| > 1 */
ECM_INLINE float ecm_acosf(float x)
{
    float size = __builtin_fabsf(x);
    if (!(size <= 1.0f)) {
        return ECM_NAN;
    }
    float y = ecm_asin_near(size <= 0.5f ? size : ecm_sqrtf(0.5f * (1.0f - size)));
    if (size <= 0.5f) {
        return 1.57079637f - (__builtin_copysignf(y, x) + 4.37113883e-8f);
    }
    return x > 0.0f ? 2.0f * y : 3.14159274f - ecm_fmaf(2.0f, y, 8.74227766e-8f);
}

/* exp(size / 2) and half its square, for a size from 88 on, where exp(size) may be infinite and half of it not */
ECM_INLINE float ecm_half_exp_of_large(float size)
{
    float root = ecm_expf(0.5f * size);
    return 0.5f * root * root;
}

/* within 2.9 ULP; infinite from 89.416 on */
ECM_INLINE float ecm_sinhf(float x)
{
    float size = __builtin_fabsf(x);
    float u = size * size;
    float p = ecm_fmaf(ecm_fmaf(2.81694452e-6f, u, 1.98361609e-4f), u, 8.3333496e-3f);
    float near = ecm_odd(size, u, ecm_fmaf(p, u, 1.66666672e-1f));
    float t = ecm_expm1f(ecm_at_most(size, 88.0f));
    float far = 0.5f * (t + t / (t + 1.0f));
    float y = size <= 1.0f ? near : size > 88.0f ? ecm_half_exp_of_large(size) : far;
    return x == x ? __builtin_copysignf(y, x) : x;
}

/* within 2.9 ULP; infinite from 89.416 on */
ECM_INLINE float ecm_coshf(float x)
{
    float size = __builtin_fabsf(x);
    float e = ecm_expf(ecm_at_most(size, 88.0f));
    return size > 88.0f ? ecm_half_exp_of_large(size) : ecm_fmaf(0.5f, e, 0.5f / e);
}

/* within 4 ULP */
ECM_INLINE float ecm_asinhf(float x)
{
    float size = __builtin_fabsf(x);
    float u = size * size;
    float p = ecm_fmaf(ecm_fmaf(-1.32379057e-2f, u, 2.81693321e-2f), u, -4.4384554e-2f);
    float near = ecm_odd(size, u, ecm_fmaf(ecm_fmaf(p, u, 7.49865249e-2f), u, -1.66666433e-1f));
    float large = ecm_logf(size) + ECM_LN_2;
    float y = size <= 0.5f ? near : size > 4096.0f ? large : ecm_logf(size + ecm_sqrtf(u + 1.0f));
    return x == x ? __builtin_copysignf(y, x) : x;
}

/* within 2.4 ULP; NaN below 1 */
ECM_INLINE float ecm_acoshf(float x)
{
    if (!(x >= 1.0f)) {
        return ECM_NAN;
    }
    float z = x - 1.0f;
    if (z <= 0.5f) {
        float p = ecm_fmaf(ecm_fmaf(-4.13667964e-4f, z, 1.76056509e-3f), z, -5.54806273e-3f);
        float s = ecm_sqrtf(z + z);
        return ecm_odd(s, z, ecm_fmaf(ecm_fmaf(p, z, 1.87466294e-2f), z, -8.33332166e-2f));
    }
    return x > 4096.0f ? ecm_logf(x) + ECM_LN_2 : ecm_logf(x + ecm_sqrtf(z * (x + 1.0f)));
}

/* within 1.5 ULP; infinite for -1 and 1, NaN beyond */
ECM_INLINE float ecm_atanhf(float x)
{
    float size = __builtin_fabsf(x);
    float u = size * size;
    float p = ecm_fmaf(ecm_fmaf(1.76680803e-1f, u, 5.13653196e-2f), u, 1.18235514e-1f);
    p = ecm_fmaf(ecm_fmaf(ecm_fmaf(p, u, 1.42227829e-1f), u, 2.00025171e-1f), u, 3.33333015e-1f);
    float y = size <= 0.5f ? ecm_odd(size, u, p) : 0.5f * ecm_logf((1.0f + size) / (1.0f - size));
    return size <= 1.0f ? __builtin_copysignf(y, x) : ECM_NAN;
}

#endif
