/* What LSTM, GRU and RNN share, in float32: the struct that describes a sequence, the sums of the gates, and their
 * activations.
 *
 * A gate's sum is one chain of fused multiply-adds from its bias on: over x, then over h, then the peephole. A sample
 * that is not finite makes states that are not: no memory is reached through them. */
#ifndef ECM_GATES_H
#define ECM_GATES_H

#include "ecm_base.h"
#include "ecm_math.h"

enum { ECM_GATES = 4 }; /* most gates of a unit */

/* Activations of the standard. The usual one is that of the gate where the model names no other. */
enum ecm_gate_kind {
    ECM_GATE_USUAL,
    ECM_GATE_AFFINE,      /* alpha a + beta */
    ECM_GATE_ELU,         /* alpha (exp(a) - 1) where a < 0 */
    ECM_GATE_HARDSIGMOID, /* alpha a + beta held between 0 and 1 */
    ECM_GATE_LEAKYRELU,   /* alpha a where a < 0 */
    ECM_GATE_RELU,
    ECM_GATE_SCALEDTANH, /* alpha tanh(beta a) */
    ECM_GATE_SIGMOID,
    ECM_GATE_SOFTPLUS,
    ECM_GATE_SOFTSIGN, /* a / (1 + |a|) */
    ECM_GATE_TANH,
    ECM_GATE_THRESHOLDEDRELU /* 0 where a is not above alpha */
};

typedef struct {
    enum ecm_gate_kind kind;
    float alpha; /* finite */
    float beta;  /* finite */
} ecm_gate_function;

/* One direction of one sequence; static const at the call. Distances are in values. */
typedef struct {
    int32_t steps;     /* T, >= 0 */
    int32_t inputs;    /* values of a step of x, >= 1 */
    int32_t hidden;    /* units, >= 1 */
    int32_t x_step;    /* of x from one step to the next; negative in reverse */
    int32_t y_step;    /* of y from one step to the next; negative in reverse, 0 where y is not wanted */
    int32_t peepholes; /* of an LSTM: 1 where it has them, else 0 */
    int32_t linear;    /* of a GRU: 1 where r multiplies R h + b', 0 where it multiplies h */
    float clip;        /* > 0; what an activation is given is held within -clip ... clip; ECM_INFINITY holds nothing */
    ecm_gate_function f; /* of the gates i, o, f; z, r; of an RNN */
    ecm_gate_function g; /* of what is new */
    ecm_gate_function h; /* of an LSTM's output */
} ecm_sequence;

/* sums[g] += sum over i < count of v[i] * w[i * stride + g], each as one chain in the order of i */
ECM_INLINE void ecm_gate_sums(
    const float *v, /* [count] */
    const float *w, /* [count][stride], of which the first `gates` columns are read */
    int32_t count,
    int32_t stride,
    int32_t gates, /* 1 ... ECM_GATES, a literal */
    float *sums)   /* [gates] */
{
    ECM_UNROLL_4
    for (int32_t i = 0; i < count; i++) {
        const float value = v[i];
        ECM_UNROLL
        for (int32_t g = 0; g < gates; g++) {
            sums[g] = ecm_fmaf(value, w[i * stride + g], sums[g]);
        }
    }
}

/* a held within -clip ... clip; a NaN stays one */
ECM_INLINE float ecm_gate_clipped(float a, float clip)
{
    return clip < ECM_INFINITY ? ecm_at_most(ecm_at_least(a, -clip), clip) : a;
}

/* An activation of a, which is held within -clip ... clip first. */
ECM_INLINE float ecm_gate(
    float a, /* any value */
    const ecm_gate_function *function,
    enum ecm_gate_kind usual, /* taken where the function names none; ECM_GATE_SIGMOID or ECM_GATE_TANH */
    float clip)               /* > 0, as in ecm_sequence */
{
    const float alpha = function->alpha;
    const float beta = function->beta;
    a = ecm_gate_clipped(a, clip);
    switch (function->kind == ECM_GATE_USUAL ? usual : function->kind) {
    case ECM_GATE_AFFINE:
        return ecm_fmaf(alpha, a, beta);
    case ECM_GATE_ELU:
        return ecm_eluf(a, alpha);
    case ECM_GATE_HARDSIGMOID:
        return ecm_at_most(ecm_at_least(ecm_fmaf(alpha, a, beta), 0.0f), 1.0f);
    case ECM_GATE_LEAKYRELU:
        return a < 0.0f ? alpha * a : a;
    case ECM_GATE_RELU:
        return ecm_at_least(a, 0.0f);
    case ECM_GATE_SCALEDTANH:
        return alpha * ecm_tanhf(beta * a);
    case ECM_GATE_SOFTPLUS:
        return ecm_softplusf(a);
    case ECM_GATE_SOFTSIGN:
        return a / (1.0f + __builtin_fabsf(a));
    case ECM_GATE_TANH:
        return ecm_tanhf(a);
    case ECM_GATE_THRESHOLDEDRELU:
        return a > alpha ? a : 0.0f;
    default:
        return ecm_sigmoidf(a);
    }
}

#endif
