/* Small functions of one or two float32 values, and softmax along one axis. */
#ifndef ECM_ELEMENTWISE_H
#define ECM_ELEMENTWISE_H

#include "ecm_base.h"
#include "ecm_math.h"

ECM_INLINE float ecm_absf(float v)
{
    union {
        float f;
        uint32_t u;
    } bits = {v};
    bits.u &= 0x7fffffffu;
    return bits.f;
}

/* the larger of two; of a number and a NaN, the second where the first is a NaN */
ECM_INLINE float ecm_larger_f32(float a, float b) { return a > b ? a : b; }

ECM_INLINE float ecm_smaller_f32(float a, float b) { return a < b ? a : b; }

/* y[i] = exp(x[i] - max) / sum of them; x and y may be the same memory */
ECM_INLINE void ecm_softmax_f32(
    const float *x,
    int32_t x_step, /* values from one entry to the next */
    float *y,
    int32_t y_step,
    int32_t count) /* >= 1 */
{
    float largest = x[0];
    float sum = 0.0f;
    for (int32_t i = 1; i < count; i++) {
        largest = ecm_larger_f32(x[i * x_step], largest);
    }
    for (int32_t i = 0; i < count; i++) {
        const float e = ecm_expf(x[i * x_step] - largest);
        y[i * y_step] = e;
        sum += e;
    }
    for (int32_t i = 0; i < count; i++) {
        y[i * y_step] /= sum;
    }
}

#endif
