/* The one rounding rule in C: to nearest, ties to even, then saturation (Python: ecm_edge/forms/reference/rounding.py).
 *
 * Portable: adding and taking away 1.5 * 2^23 rounds a float32 of less than 2^22 to an integer, ties to even, on any
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

/* What 8-bit outputs stand for; static const at the call. */
typedef struct {
    int32_t factor_step; /* 1: a factor for each output; 0: one for all */
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

/* An accumulator in the output's scale: saturate(round((float)acc * factor) + zero_point); for a ReLU `minimum` is the
 * zero point. */
ECM_INLINE int32_t ecm_requantize(int32_t acc, float factor, int32_t zero_point, int32_t minimum, int32_t maximum)
{
    return ecm_round((float)acc * factor, zero_point, minimum, maximum);
}

/* What every int8 kernel ends with: a sum with its bias becomes the stored value. */
ECM_INLINE void ecm_store_i8(
    ecm_stored *y, /* where it is stored */
    int32_t acc,   /* the exact sum */
    float factor,  /* x_scale * w_scale / y_scale of its output, > 0 */
    const ecm_quant *quant)
{
    *y = (ecm_stored)ecm_requantize(acc, factor, quant->zero_point, quant->minimum, quant->maximum);
}

/* DequantizeLinear */
ECM_INLINE float ecm_dequantize(int32_t q, float scale, int32_t zero_point) { return (float)(q - zero_point) * scale; }

#endif
