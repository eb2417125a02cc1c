/* Activations that cost a few instructions and are applied before a value is stored.
 * Costlier ones (ecm_math.h) are layers of their own. A NaN gives what the comparison gives: 0 for ReLU. */
#ifndef ECM_ACTIVATION_H
#define ECM_ACTIVATION_H

#include "ecm_base.h"

enum ecm_activation_kind {
    ECM_NONE,
    ECM_RELU, /* max(v, 0) */
    ECM_CLIP, /* v held within low ... high */
    ECM_LEAKY /* v, or low * v where v < 0 */
};

/* What a kernel applies to every value before it is stored; static const at the call, so that the choice costs nothing. */
typedef struct {
    enum ecm_activation_kind kind;
    float low;  /* finite; of ECM_CLIP and ECM_LEAKY */
    float high; /* finite, >= low; of ECM_CLIP */
} ecm_activation;

ECM_INLINE float ecm_relu_f32(float v)
{
#if defined(__ARM_ARCH_7EM__)
    union {
        float f;
        int32_t i;
    } u = {v}; /* a float compare costs four instructions there, this one */
    u.i &= ~(u.i >> 31);
    return u.f;
#else
    return v > 0.0f ? v : 0.0f;
#endif
}

/* The arguments behind the value are as in ecm_activation, and literals. */
ECM_INLINE float ecm_activate_f32(float v, enum ecm_activation_kind kind, float low, float high)
{
    if (kind == ECM_RELU) {
        return ecm_relu_f32(v);
    }
    if (kind == ECM_CLIP) {
        v = v > low ? v : low;
        return v < high ? v : high;
    }
    if (kind == ECM_LEAKY) {
        return v < 0.0f ? low * v : v;
    }
    return v;
}

#endif
