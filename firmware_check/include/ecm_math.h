/* Elementary functions of float32, defined for every input, without libc, tables or double.
 *
 * Only IEEE 754 +, -, *, /, square root, fmaf, comparisons and integer operations are used, in one order: every core
 * that rounds to nearest, ties to even, and keeps subnormals gives the same bits; which NaN comes out is the core's.
 *
 * Accuracy is in ULP of the exact result: the distance between the float32 values around it, 2^-149 among subnormals;
 * the largest error of any input is stated. tests/firmware_math.py lists the bounds, tests/test_firmware_math.py holds
 * them on some four million inputs, benchmarks/test_math.py on all 2^32.
 * A NaN gives a NaN everywhere. Where x is -inf, functions of the form x * g(x) with g -> 0 give NaN, as the product
 * of ONNX's two operators does.
 *
 * Method: exp(x) = 2^k exp(r) with k = round(x / ln 2), rounded by adding a number of 2^23 and more, whose low bits,
 * moved into the exponent's place, are 2^k as well. Polynomials and quotients of polynomials are minimax fits of the
 * relative error (Lawson's weights), rounded to float32. Clamps that need not keep a NaN are written
 * !(x >= low) ? low : x, which is one instruction (fmax.s) on LoongArch64.
 */
#ifndef ECM_MATH_H
#define ECM_MATH_H

#include "ecm_base.h"

#define ECM_LOG2_E 1.44269502f
#define ECM_LN_2 0.693147182f         /* float32(ln 2) */
#define ECM_LN_2_REST -1.90465421e-9f /* ln 2 - float32(ln 2) */
#define ECM_INFINITY __builtin_inff()
#define ECM_NAN __builtin_nanf("")

ECM_INLINE uint32_t ecm_bits(float x)
{
    union {
        float f;
        uint32_t u;
    } v;
    v.f = x;
    return v.u;
}

ECM_INLINE float ecm_float(uint32_t bits)
{
    union {
        uint32_t u;
        float f;
    } v;
    v.u = bits;
    return v.f;
}

/* x held at or above `low`, at or below `high`; a NaN stays one. */
ECM_INLINE float ecm_at_least(float x, float low) { return x < low ? low : x; }
ECM_INLINE float ecm_at_most(float x, float high) { return x > high ? high : x; }

/* The same, but a NaN becomes the limit: an instruction cheaper. */
ECM_INLINE float ecm_number_at_least(float x, float low) { return !(x >= low) ? low : x; }
ECM_INLINE float ecm_number_at_most(float x, float high) { return !(x <= high) ? high : x; }

/* The one rounding rule: the nearest integer, a tie goes to the even one, the sign of x is kept. Exact for every x. */
ECM_INLINE float ecm_rint_even(float x)
{
#if defined(__loongarch__) && defined(__loongarch_hard_float)
    return __builtin_rintf(x); /* one instruction, the same values */
#else
    float size = __builtin_fabsf(x);
    float rounded = (size + 8388608.0f) - 8388608.0f;
    return size < 8388608.0f ? __builtin_copysignf(rounded, x) : x;
#endif
}

/* Correctly rounded; NaN below zero, -0 for -0. One instruction on all three cores (with -fno-math-errno). */
ECM_INLINE float ecm_sqrtf(float x) { return __builtin_sqrtf(x); }

/* 1 / x, correctly rounded; infinities of x's sign for zeros. */
ECM_INLINE float ecm_reciprocalf(float x) { return 1.0f / x; }

/* exp(r) for |r| <= 0.347, relative error 1.98e-9 before rounding. */
ECM_INLINE float ecm_exp_poly6(float r)
{
    float p = ecm_fmaf(1.38436072e-3f, r, 8.37419555e-3f);
    p = ecm_fmaf(p, r, 4.16680053e-2f);
    p = ecm_fmaf(p, r, 1.66664302e-1f);
    p = ecm_fmaf(p, r, 4.9999994e-1f);
    p = ecm_fmaf(p, r, 1.0f);
    return ecm_fmaf(p, r, 1.0f);
}

/* p * 2^(n - 254), n in 2 ... 506, rounded once where the result is subnormal. */
ECM_INLINE float ecm_scale_by_two(float p, uint32_t n)
{
    uint32_t half = n >> 1;
    return p * ecm_float(half << 23) * ecm_float((n - half) << 23);
}

/* exp(x): within 1.07 ULP, subnormal results included; +inf above 88.7228, 0 below -103.98. */
ECM_INLINE float ecm_expf(float x)
{
    float v = ecm_at_most(ecm_at_least(x, -104.0f), 89.0f);
    float z = ecm_fmaf(v, ECM_LOG2_E, 12583166.0f); /* 1.5 * 2^23 + 254 */
    float k = z - 12583166.0f;
    float r = ecm_fmaf(k, -ECM_LN_2_REST, ecm_fmaf(k, -ECM_LN_2, v));
    return ecm_scale_by_two(ecm_exp_poly6(r), ecm_bits(z) - 0x4b400000u);
}

/* 1 + exp(-x) for sigmoids: 12 instructions and two clamps, no branch. +inf below -88.376, where exp(-x) passes
 * 2^127.5, and for a NaN. The degree is 5 (relative error 9.2e-8) and ln 2 is taken as one float32. */
ECM_INLINE float ecm_one_plus_exp_minus(float x)
{
    float v = ecm_number_at_most(ecm_number_at_least(x, -89.0f), 64.0f);
    float z = ecm_fmaf(v, -ECM_LOG2_E, 12583039.0f); /* 1.5 * 2^23 + 127: the low 8 bits are 2^k's exponent */
    float k = z - 12583039.0f;
    float r = ecm_fmaf(k, ECM_LN_2, v); /* exp(-v) = 2^k exp(-r) */
    float p = ecm_fmaf(-8.29027221e-3f, r, 4.18981612e-2f);
    p = ecm_fmaf(p, r, -1.66676387e-1f);
    p = ecm_fmaf(p, r, 4.99991477e-1f);
    p = ecm_fmaf(p, r, -9.99999702e-1f);
    p = ecm_fmaf(p, r, 1.0f);
    return ecm_fmaf(p, ecm_float(ecm_bits(z) << 23), 1.0f);
}

/* 1 / (1 + exp(-x)): within 2.3 ULP from -16 on, within 5.5 below, 0 below -88.376 (exactly: less than 4.3e-39). */
ECM_INLINE float ecm_sigmoidf(float x)
{
    float v = ecm_number_at_most(ecm_number_at_least(x, -89.0f), 64.0f);
    float z = ecm_fmaf(v, -ECM_LOG2_E, 12583039.0f);
    float r = -ecm_fmaf(z - 12583039.0f, ECM_LN_2, v);
    float y = 1.0f / ecm_fmaf(ecm_exp_poly6(r), ecm_float(ecm_bits(z) << 23), 1.0f);
    return x == x ? y : x;
}

/* x / (1 + exp(-x)), that is x * sigmoid(x): within 3.4 ULP from -16 on, 4.8 from -40 on, 6.7 below, -0 below -88.376
 * (exactly: less than 3.8e-37); NaN for -inf. 15 instructions on LoongArch64. */
ECM_INLINE float ecm_siluf(float x) { return x / ecm_one_plus_exp_minus(x); }

/* x * sigmoid(alpha x): as SiLU, and |alpha x| ULP more where alpha x < 0, from the rounding of alpha x. */
ECM_INLINE float ecm_swishf(float x, float alpha) { return x / ecm_one_plus_exp_minus(alpha * x); }

/* tanh(x): within 3.1 ULP, at most 1 in size. As x (1/8 + P(x^2) / Q(x^2)): less rounding than x P / Q,
 * since P is small where Horner's sums are long. */
ECM_INLINE float ecm_tanhf(float x)
{
    float v = ecm_at_most(ecm_at_least(x, -9.02f), 9.02f);
    float u = v * v;
    float p = ecm_fmaf(-1.20844945e-7f, u, -2.95305526e-5f);
    float q = ecm_fmaf(1.12059399e-6f, u, 4.73971129e-4f);
    p = ecm_fmaf(p, u, 3.75573058e-4f);
    q = ecm_fmaf(q, u, 3.73493545e-2f);
    p = ecm_fmaf(p, u, 1.08861387e-1f);
    q = ecm_fmaf(q, u, 6.74382985e-1f);
    p = ecm_fmaf(p, u, 1.26321292f);
    q = ecm_fmaf(q, u, 1.44367194f);
    return ecm_fmaf(v, p / q, 0.125f * v);
}

/* erf(x): within 2.8 ULP, at most 1 in size. In the same way, as x (1/4 + P(x^2) / Q(x^2)). */
ECM_INLINE float ecm_erff(float x)
{
    float v = ecm_at_most(ecm_at_least(x, -3.85f), 3.85f);
    float u = v * v;
    float p = ecm_fmaf(-1.17015779e-5f, u, -1.08090842e-6f);
    float q = ecm_fmaf(5.9834063e-5f, u, 1.76959019e-3f);
    p = ecm_fmaf(p, u, -3.44465734e-5f);
    q = ecm_fmaf(q, u, 2.2839956e-2f);
    p = ecm_fmaf(p, u, 3.73807289e-2f);
    q = ecm_fmaf(q, u, 1.7476367e-1f);
    p = ecm_fmaf(p, u, 9.72219929e-2f);
    q = ecm_fmaf(q, u, 7.72182167e-1f);
    p = ecm_fmaf(p, u, 1.35693753f);
    q = ecm_fmaf(q, u, 1.54481983f);
    return ecm_fmaf(v, p / q, 0.25f * v);
}

/* x/2 (1 + erf(x / sqrt 2)): within 5 ULP from -1 on; everywhere within 2.3 * 2^-24 |x|, 1 + erf cancels below -1;
 * 0 below -5.45; NaN for -inf. */
ECM_INLINE float ecm_geluf(float x)
{
    float half = 0.5f * x;
    return ecm_fmaf(half, ecm_erff(0.707106781f * x), half);
}

/* x/2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), as x * sigmoid(2 ...): within 3.2 ULP from -1 on, 20 from -4 on,
 * 200 from -9.9 on; everywhere within 2.3 * 2^-24 |x|; -0 below -10.07; NaN for -inf. */
ECM_INLINE float ecm_gelu_tanhf(float x)
{
    return x / ecm_one_plus_exp_minus(x * ecm_fmaf(7.13548163e-2f, x * x, 1.59576912f));
}

/* exp(r) - 1 for |r| <= 0.347. */
ECM_INLINE float ecm_expm1_poly(float r)
{
    float p = ecm_fmaf(1.38825167e-3f, r, 8.36654752e-3f);
    p = ecm_fmaf(p, r, 4.16672006e-2f);
    p = ecm_fmaf(p, r, 1.66665435e-1f);
    p = ecm_fmaf(p, r, 4.9999997e-1f);
    return ecm_fmaf(r * r, p, r);
}

/* exp(x) - 1: within 1.7 ULP; -1 below -17.4; -0 gives +0. */
ECM_INLINE float ecm_expm1f(float x)
{
    float v = ecm_at_most(ecm_at_least(x, -40.0f), 89.0f);
    float z = ecm_fmaf(v, ECM_LOG2_E, 12583038.0f); /* 2^(k - 1), so that k = 128 is a number too */
    float k = z - 12583038.0f;
    float r = ecm_fmaf(k, -ECM_LN_2_REST, ecm_fmaf(k, -ECM_LN_2, v));
    float scale = ecm_float(ecm_bits(z) << 23);
    float half = ecm_fmaf(scale, ecm_expm1_poly(r), scale - 0.5f);
    return half + half;
}

/* Elu: x, or alpha (exp(x) - 1) where x < 0: the bound of exp(x) - 1 and half an ULP more. */
ECM_INLINE float ecm_eluf(float x, float alpha) { return x < 0.0f ? alpha * ecm_expm1f(x) : x; }

/* log(1 + exp(x)), as max(x, 0) + log(1 + e) with e = exp(-|x|): within 4 ULP, 0 below -87.69 (exactly: less than
 * 8.4e-39). */
ECM_INLINE float ecm_softplusf(float x)
{
    float v = ecm_number_at_most(__builtin_fabsf(x), 88.0f); /* 2^k of k = -127 is 0 */
    float z = ecm_fmaf(v, -ECM_LOG2_E, 12583039.0f);
    float k = z - 12583039.0f;
    float r = -ecm_fmaf(k, ECM_LN_2_REST, ecm_fmaf(k, ECM_LN_2, v));
    float e = ecm_exp_poly6(r) * ecm_float(ecm_bits(z) << 23);
    float p = ecm_fmaf(ecm_fmaf(1.24638416e-1f, e, 8.69515002e-1f), e, 1.0f);
    float q = ecm_fmaf(ecm_fmaf(ecm_fmaf(3.13522704e-2f, e, 4.76089418e-1f), e, 1.36951363f), e, 1.0f);
    return ecm_fmaf(e, p / q, ecm_at_least(x, 0.0f));
}

/* alpha x + beta held between 0 and 1, rounded after each operation as the reference does: 0 ULP from it. */
ECM_INLINE float ecm_hardsigmoidf(float x, float alpha, float beta)
{
    return ecm_at_most(ecm_at_least(alpha * x + beta, 0.0f), 1.0f);
}

/* x times (x / 6 + 1/2 held between 0 and 1), in the same way. */
ECM_INLINE float ecm_hardswishf(float x) { return x * ecm_hardsigmoidf(x, 0.166666672f, 0.5f); }

/* A positive finite x as 2^k m with m in 0.7071 ... 1.4142: returns m, k as a float32 in *exponent. */
ECM_INLINE float ecm_split_power(float x, float *exponent)
{
    /* a subnormal is made normal first; 128 more in the exponent */
    uint32_t small = x < 0x1p-126f;
    uint32_t i = ecm_bits(small ? x * 0x1p+23f : x) - 0x3f3504f3u + 0x40000000u;
    *exponent = (float)((int32_t)(i >> 23) - 128 - (int32_t)(small * 23u));
    return ecm_float((i & 0x007fffffu) + 0x3f3504f3u);
}

/* log(x): within 1 ULP; -inf for zeros, NaN below. */
ECM_INLINE float ecm_logf(float x)
{
    float k;
    float f = ecm_split_power(x, &k) - 1.0f;
    float p = ecm_fmaf(ecm_fmaf(-1.0712599e-1f, f, -5.2439636e-1f), f, -0.5f);
    float q = ecm_fmaf(ecm_fmaf(ecm_fmaf(1.14198282e-1f, f, 8.57893229e-1f), f, 1.71545935f), f, 1.0f);
    float y = ecm_fmaf(k, ECM_LN_2, ecm_fmaf(f * f, p / q, ecm_fmaf(k, ECM_LN_2_REST, f)));
    if (x > 0.0f && x < ECM_INFINITY) {
        return y;
    }
    return x == 0.0f ? -ECM_INFINITY : x < 0.0f ? ECM_NAN : x;
}

/* |y|: 0 for no integer, 1 for an odd one, 2 for an even one. */
ECM_INLINE int32_t ecm_parity(float size)
{
    if (size >= 16777216.0f) {
        return 2;
    }
    int32_t whole = (int32_t)size;
    return (float)whole != size ? 0 : 2 - (whole & 1);
}

/* log2(x) of a positive finite x as the sum of the result, rounded, and *rest: relative error 2^-29. */
ECM_INLINE float ecm_log2_two_floats(float x, float *rest)
{
    float k;
    float f = ecm_split_power(x, &k) - 1.0f;
    float d = 2.0f + f;
    float s = f / d; /* log m = 2 artanh(f / (2 + f)) */
    float s_rest = (ecm_fmaf(-s, d, f) - s * (f - (d - 2.0f))) / d;
    float u = s * s;
    float c = ecm_fmaf(ecm_fmaf(ecm_fmaf(3.36630404e-1f, u, 4.11899626e-1f), u, 5.77079773e-1f), u, 9.61796701e-1f);
    float p = 2.88539004f * s; /* 2 / ln 2 = 2.88539004 + 3.85e-8 */
    float p_rest = ecm_fmaf(2.88539004f, s, -p) + ecm_fmaf(3.85187988e-8f, s, 2.88539004f * s_rest);
    float high = k + p;
    float low = (k - high + p) + ecm_fmaf(u * s, c, p_rest);
    float sum = high + low;
    *rest = high - sum + low;
    return sum;
}

/* size ^ y for a positive finite size and a finite y. */
ECM_INLINE float ecm_pow_of_positive(float size, float y)
{
    float rest;
    float log2 = ecm_log2_two_floats(size, &rest);
    float t = y * log2;
    if (t > 129.0f) {
        return ECM_INFINITY;
    }
    if (t < -151.0f) {
        return 0.0f;
    }
    float z = t + 12583166.0f; /* 1.5 * 2^23 + 254 */
    float r = (t - (z - 12583166.0f)) + ecm_fmaf(y, log2, -t) + y * rest;
    return ecm_scale_by_two(ecm_exp_poly6(r * ECM_LN_2), ecm_bits(z) - 0x4b400000u);
}

/* x ^ y within 6 ULP (y = 2: 1.2), with C's special cases: 1 for y = 0 and for x = 1 whatever the other is, NaN for a
 * negative x and a y that is no integer. */
ECM_INLINE float ecm_powf(float x, float y)
{
    float size = __builtin_fabsf(x);
    float exponent = __builtin_fabsf(y);
    if (x == 1.0f || y == 0.0f) {
        return 1.0f;
    }
    if (x != x || y != y) {
        return x + y;
    }
    if (exponent == ECM_INFINITY) {
        return size == 1.0f ? 1.0f : (size > 1.0f) == (y > 0.0f) ? ECM_INFINITY : 0.0f;
    }
    int32_t parity = ecm_parity(exponent);
    float power;
    if (size == 0.0f || size == ECM_INFINITY) {
        power = (size == 0.0f) == (y < 0.0f) ? ECM_INFINITY : 0.0f;
    } else if (x < 0.0f && parity == 0) {
        return ECM_NAN;
    } else {
        power = ecm_pow_of_positive(size, y);
    }
    return parity == 1 ? __builtin_copysignf(power, x) : power;
}

#endif
