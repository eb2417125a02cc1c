/* The one rounding rule in C: to nearest, ties to even, then saturation (Python: ecm_edge/reference/rounding.py).
 *
 * Adding and taking away 1.5 * 2^23 rounds a float32 of less than 2^22 to an integer, ties to even, on any core whose
 * float32 arithmetic is IEEE 754 in its default mode; values are held within the integers' range before, which
 * commutes with rounding since the limits are integers. A NaN, which the reference refuses, is stored as `low`. */
#ifndef ECM_QUANT_H
#define ECM_QUANT_H

#include "ecm_base.h"

/* round(v) held within low ... high, which are integers of less than 2^22 */
ECM_INLINE int32_t ecm_round_f32(float v, float low, float high)
{
    union { float f; int32_t i; } u;
    v = v > low ? v : low;
    v = v < high ? v : high;
    u.f = v + 12582912.0f;
    return u.i - 0x4b400000;
}

/* QuantizeLinear: saturate(round(v / scale) + zero_point) within minimum ... maximum */
ECM_INLINE int32_t ecm_quantize(float v, float scale, int32_t zero_point, int32_t minimum, int32_t maximum)
{
    return ecm_round_f32(v / scale, (float)(minimum - zero_point), (float)(maximum - zero_point)) + zero_point;
}

/* An accumulator in the output's scale: saturate(round((float)acc * factor) + zero_point); for a ReLU `minimum` is the
 * zero point. */
ECM_INLINE int32_t ecm_requantize(int32_t acc, float factor, int32_t zero_point, int32_t minimum, int32_t maximum)
{
    return ecm_round_f32((float)acc * factor, (float)(minimum - zero_point), (float)(maximum - zero_point)) + zero_point;
}

/* DequantizeLinear */
ECM_INLINE float ecm_dequantize(int32_t q, float scale, int32_t zero_point)
{
    return (float)(q - zero_point) * scale;
}

#endif
