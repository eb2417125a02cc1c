/* What LSTM and GRU share, in float32: what the kernels are told of a sequence, and the sums of the gates.
 *
 * A gate's sum is one chain of fused multiply-adds from its bias on: over x, then over h, then the peephole. A sample
 * that is not finite makes states that are not: no memory is reached through them. */
#ifndef ECM_GATES_H
#define ECM_GATES_H

#include "ecm_base.h"
#include "ecm_math.h"

enum { ECM_GATES = 4 }; /* most gates of a unit */

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

#endif
