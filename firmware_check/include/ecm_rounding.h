/* Functions of float32 that give whole numbers, signs and remainders: exact for every input, unless another bound is
 * stated. */
#ifndef ECM_ROUNDING_H
#define ECM_ROUNDING_H

#include "ecm_base.h"
#include "ecm_math.h"

/* The largest whole number that is not above x; a NaN stays one. */
ECM_INLINE float ecm_floorf(float x)
{
    float near = ecm_rint_even(x);
    return near > x ? near - 1.0f : near;
}

/* The smallest whole number that is not below x; -0 for -1 < x < 0. */
ECM_INLINE float ecm_ceilf(float x) { return -ecm_floorf(-x); }

/* x without what lies behind the point. */
ECM_INLINE float ecm_truncf(float x) { return __builtin_copysignf(ecm_floorf(__builtin_fabsf(x)), x); }

/* 1, -1, or x itself where it is a zero or a NaN. */
ECM_INLINE float ecm_signf(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }

/* The remainder of x / y with the sign of x, as C's fmodf: by up to 277 doublings and halvings, each of them exact.
 * NaN for y = 0 and for an infinite x. */
ECM_INLINE float ecm_fmodf(float x, float y)
{
    float rest = __builtin_fabsf(x);
    float divisor = __builtin_fabsf(y);
    float multiple = divisor;
    if (!(divisor > 0.0f) || !(rest < ECM_INFINITY)) {
        return ECM_NAN;
    }
    while (multiple <= rest - multiple) {
        multiple += multiple;
    }
    while (multiple >= divisor && rest >= divisor) {
        rest = rest >= multiple ? rest - multiple : rest;
        multiple *= 0.5f;
    }
    return __builtin_copysignf(rest, x);
}

/* The remainder with the sign of y, as Python's %: rounded once where x and y have different signs. */
ECM_INLINE float ecm_modulof(float x, float y)
{
    float rest = ecm_fmodf(x, y);
    return rest != 0.0f && (rest < 0.0f) != (y < 0.0f) ? rest + y : rest;
}

#endif
