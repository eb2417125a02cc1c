/* The two rounding rules in C, to nearest and then saturation (Python: ecm_edge/forms/reference/rounding.py): of floats
 * with ties to even, of integers in another scale with ties up.
 *
 * Floats, portable: adding and taking away 1.5 * 2^23 rounds a float32 of less than 2^22 to an integer, ties to even, on any
 * core whose float32 arithmetic is IEEE 754 in its default mode; values are held within the integers' range before,
 * which commutes with rounding since the limits are integers. A Cortex-M4 has an instruction for it.
 * A NaN, which the reference refuses, is stored as some value within the limits. */
#ifndef ECM_QUANT_H
#define ECM_QUANT_H

#include "ecm_base.h"

/* How an 8-bit activation is kept: int8_t, or int16_t for kernels that read two samples with one 32-bit load. Generated
 * code says which before it includes anything. */
#ifndef ECM_STORED
#define ECM_STORED int8_t
#endif
typedef ECM_STORED ecm_stored;

/* What 8-bit outputs stand for; static const at the call. The factors beside it are round(x_scale * w_scale / y_scale *
 * 2^shift), 0 ... 2^31 - 1. */
typedef struct {
    int32_t factor_step; /* 1: a factor for each output; 0: one for all */
    int32_t shift;       /* 1 ... 62 */
    int32_t zero_point;  /* of the output, -128 ... 127 */
    int32_t minimum;     /* -128 ... 127; for a ReLU the zero point */
    int32_t maximum;     /* minimum ... 127 */
} ecm_quant;

/* saturate(round(v) + zero_point) within minimum ... maximum; all three within -32768 ... 32767 */
ECM_INLINE int32_t ecm_round(float v, int32_t zero_point, int32_t minimum, int32_t maximum)
{
#if defined(__ARM_ARCH_7EM__)
    float rounded; /* the bits of an int32 */
    union {
        float f;
        int32_t i;
    } u;
    __asm__("vcvtr.s32.f32 %0, %1" : "=t"(rounded) : "t"(v)); /* to nearest even as FPSCR is reset, saturating */
    u.f = rounded;
    int32_t q;
    __asm__("qadd %0, %1, %2" : "=r"(q) : "r"(u.i), "r"(zero_point));
    if (minimum == -128 && maximum == 127) {
        __asm__("ssat %0, #8, %1" : "=r"(q) : "r"(q));
        return q;
    }
    q = q < minimum ? minimum : q;
    return q > maximum ? maximum : q;
#else
    const float low = (float)(minimum - zero_point);
    const float high = (float)(maximum - zero_point);
    union {
        float f;
        int32_t i;
    } u;
    v = v > low ? v : low;
    v = v < high ? v : high;
    u.f = v + 12582912.0f;
    return u.i - (0x4b400000 - zero_point);
#endif
}

/* QuantizeLinear: saturate(round(v / scale) + zero_point) within minimum ... maximum */
ECM_INLINE int32_t ecm_quantize(float v, float scale, int32_t zero_point, int32_t minimum, int32_t maximum)
{
    return ecm_round(v / scale, zero_point, minimum, maximum);
}

enum {
    ECM_SHIFT_HIGH = 46, /* most bits with which the high word of a product leaves room for a zero point */
    ECM_SHIFT_TERM = 22, /* the same of a sum of two terms, and a zero point of 8 bits */
};

/* The high word of a product of 32 by 32 bits, rounded down. */
ECM_INLINE int32_t ecm_high_word(int32_t a, int32_t b)
{
#if defined(__ARM_ARCH_6M__) /* which multiplies to 32 bits, and calls a function for 64 */
    const uint32_t a_low = (uint32_t)a & 0xffffu, b_low = (uint32_t)b & 0xffffu;
    const int32_t a_high = a >> 16, b_high = b >> 16;
    const int32_t middle = a_high * (int32_t)b_low + (int32_t)((a_low * b_low) >> 16);
    const int32_t other = (int32_t)a_low * b_high + (int32_t)((uint32_t)middle & 0xffffu);
    return a_high * b_high + (middle >> 16) + (other >> 16);
#else
    return (int32_t)(((int64_t)a * b) >> 32);
#endif
}

/* A sum in the output's scale: saturate(floor(acc * factor / 2^shift + 1 / 2) + zero_point) within minimum ... maximum;
 * for a ReLU `minimum` is the zero point. */
ECM_INLINE int32_t ecm_requantize(
    int32_t acc,        /* any */
    int32_t factor,     /* 0 ... 2^31 - 1 */
    int32_t shift,      /* 1 ... 62; constant at the call */
    int32_t zero_point, /* -32768 ... 32767, as are the other two */
    int32_t minimum,
    int32_t maximum)
{
#if UINTPTR_MAX == 0xffffffff
    if (shift > 32 && shift <= ECM_SHIFT_HIGH) { /* the low word changes nothing, since a half has none */
        const int32_t rest = shift - 32;
        const int32_t half = zero_point * (1 << rest) + (1 << (rest - 1));
        int32_t q = (ecm_high_word(acc, factor) + half) >> rest;
        q = q < minimum ? minimum : q;
        return q > maximum ? maximum : q;
    }
#endif
    const int64_t product = (int64_t)acc * factor, half = (int64_t)1 << (shift - 1);
    int64_t q = shift <= ECM_SHIFT_HIGH ? (product + (half + zero_point * ((int64_t)1 << shift))) >> shift
                                        : ((product + half) >> shift) + zero_point;
#if defined(__loongarch__)
    if (q > maximum) { /* a branch, seldom taken: the smaller of two takes this core four instructions */
        q = maximum;
        ECM_KEEP_SUM(q);
    }
    if (minimum == zero_point) { /* a ReLU, whose sums are negative as often as not */
        return (int32_t)(q < minimum ? minimum : q);
    }
    if (q < minimum) {
        q = minimum;
        ECM_KEEP_SUM(q);
    }
    return (int32_t)q;
#else
    q = q < minimum ? minimum : q;
    return (int32_t)(q > maximum ? maximum : q);
#endif
}

/* A sum of two terms in the output's scale: saturate(floor(total / 2^shift + 1 / 2) + zero_point) within minimum ...
 * maximum. */
ECM_INLINE int32_t ecm_shifted(
    int32_t total,      /* less than 2^30 in size */
    int32_t shift,      /* 1 ... 30; constant at the call */
    int32_t zero_point, /* as the other two of ecm_requantize */
    int32_t minimum,
    int32_t maximum)
{
    int32_t q;
    if (shift <= ECM_SHIFT_TERM && zero_point >= -128 && zero_point < 128) {
        q = (total + (zero_point * (1 << shift) + (1 << (shift - 1)))) >> shift;
    } else {
        q = ((total + (1 << (shift - 1))) >> shift) + zero_point;
    }
    q = q < minimum ? minimum : q;
    return q > maximum ? maximum : q;
}

/* What every int8 kernel ends with: a sum with its bias becomes the stored value. */
ECM_INLINE void ecm_store_i8(
    ecm_stored *y,  /* where it is stored */
    int32_t acc,    /* the exact sum */
    int32_t factor, /* of its output */
    const ecm_quant *quant)
{
    *y = (ecm_stored)ecm_requantize(acc, factor, quant->shift, quant->zero_point, quant->minimum, quant->maximum);
}

/* DequantizeLinear */
ECM_INLINE float ecm_dequantize(int32_t q, float scale, int32_t zero_point) { return (float)(q - zero_point) * scale; }

#endif
