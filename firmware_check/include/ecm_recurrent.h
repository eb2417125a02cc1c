/* Recurrences in float32: LSTM and GRU of ONNX with their default activations, one direction of one sequence.
 *
 *   LSTM  i, o, f = sigmoid(W x + R h + b + P c),  c~ = tanh(W x + R h + b),  c = f c + i c~,  h = o tanh(c)
 *   GRU   z, r    = sigmoid(W x + R h + b),        h~ = tanh(W x + R (r h) + b), or with `linear`
 *         h~ = tanh(W x + b + r (R h + b')),       h  = (1 - z) h~ + z h
 *
 * A gate's sum is one chain of fused multiply-adds from its bias on: over x, then over h, then the peephole.
 * ECM_INFINITY as `clip` holds nothing. A sample that is not finite makes states that are not: no memory is reached
 * through them. */
#ifndef ECM_RECURRENT_H
#define ECM_RECURRENT_H

#include "ecm_base.h"
#include "ecm_math.h"

enum { ECM_GATES = 4 };

/* sums[g] += sum over i < count of v[i] * w[i * stride + g], each as one chain in the order of i */
ECM_INLINE void ecm_gate_sums(
    const float *v, /* [count] */
    const float *w, /* [count][stride], of which the first `gates` columns are read */
    int32_t count, int32_t stride,
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

/* Everything but the pointers is a literal at the call. No two arrays overlap. */
ECM_INLINE void ecm_lstm_f32(
    const float *x, /* the first step's values, [inputs] side by side */
    int32_t x_step, /* values from one step to the next; negative in reverse */
    const float *w, /* [hidden][inputs + hidden][4]: weights of x, then of h, for the gates i, o, f, c */
    const float *b, /* [hidden][4], both biases added */
    const float *p, /* [hidden][3] peepholes of i, o, f; not read without `peepholes` */
    float *h,       /* [2][hidden]: begins in the first row, ends in row steps % 2 */
    float *c,       /* [hidden]: the cell's state, before and after */
    float *y,       /* h after the first step, [hidden] side by side; not written where y_step is 0 */
    int32_t y_step, /* values from one step to the next; negative in reverse */
    int32_t steps,  /* >= 0 */
    int32_t inputs, int32_t hidden, /* >= 1 */
    int32_t peepholes,              /* 0 or 1 */
    float clip)                     /* > 0 */
{
    for (int32_t t = 0; t < steps; t++) {
        const float *before = h + (t & 1) * hidden;
        float *after = h + (1 - (t & 1)) * hidden;
        const float *wj = w;
        for (int32_t j = 0; j < hidden; j++) {
            float a[4];
            for (int32_t g = 0; g < 4; g++) {
                a[g] = b[j * 4 + g];
            }
            ecm_gate_sums(x + t * x_step, wj, inputs, 4, 4, a);
            ecm_gate_sums(before, wj + inputs * 4, hidden, 4, 4, a);
            wj += (inputs + hidden) * 4;
            if (peepholes) {
                a[0] = ecm_fmaf(p[j * 3], c[j], a[0]);
                a[2] = ecm_fmaf(p[j * 3 + 2], c[j], a[2]);
            }
            const float i = ecm_sigmoidf(ecm_gate_clipped(a[0], clip));
            const float f = ecm_sigmoidf(ecm_gate_clipped(a[2], clip));
            const float cell = ecm_fmaf(f, c[j], i * ecm_tanhf(ecm_gate_clipped(a[3], clip)));
            if (peepholes) {
                a[1] = ecm_fmaf(p[j * 3 + 1], cell, a[1]);
            }
            c[j] = cell;
            after[j] = ecm_sigmoidf(ecm_gate_clipped(a[1], clip)) * ecm_tanhf(cell);
        }
        for (int32_t j = 0; y_step != 0 && j < hidden; j++) {
            y[t * y_step + j] = after[j];
        }
    }
}

/* (1 - z) n + z h */
ECM_INLINE float ecm_gru_between(float z, float n, float h) { return ecm_fmaf(z, h, ecm_fmaf(-z, n, n)); }

/* Everything but the pointers is a literal at the call. No two arrays overlap. */
ECM_INLINE void ecm_gru_f32(
    const float *x, int32_t x_step, /* as for ecm_lstm_f32 */
    const float *w, /* [hidden][inputs + hidden][3]: weights of x, then of h, for the gates z, r, h */
    const float *b, /* [hidden][4]: z, r, and h's two biases; without `linear` their sum and 0 */
    float *h,       /* [2][hidden]: begins in the first row, ends in row steps % 2 */
    float *work,    /* [3][hidden]; not touched with `linear` */
    float *y, int32_t y_step, int32_t steps, int32_t inputs, int32_t hidden, /* as for ecm_lstm_f32 */
    int32_t linear, /* 1: r multiplies R h + b', 0: it multiplies h */
    float clip)     /* > 0 */
{
    const int32_t unit = (inputs + hidden) * 3;
    for (int32_t t = 0; t < steps; t++) {
        const float *before = h + (t & 1) * hidden;
        float *after = h + (1 - (t & 1)) * hidden;
        const float *wj = w;
        for (int32_t j = 0; j < hidden; j++) {
            float a[3];
            for (int32_t g = 0; g < 3; g++) {
                a[g] = b[j * 4 + g];
            }
            ecm_gate_sums(x + t * x_step, wj, inputs, 3, 3, a);
            const float new_of_x = a[2];
            a[2] = b[j * 4 + 3];
            if (linear) {
                ecm_gate_sums(before, wj + inputs * 3, hidden, 3, 3, a);
            } else {
                ecm_gate_sums(before, wj + inputs * 3, hidden, 3, 2, a);
            }
            wj += unit;
            const float z = ecm_sigmoidf(ecm_gate_clipped(a[0], clip));
            const float r = ecm_sigmoidf(ecm_gate_clipped(a[1], clip));
            if (linear) {
                const float n = ecm_tanhf(ecm_gate_clipped(ecm_fmaf(r, a[2], new_of_x), clip));
                after[j] = ecm_gru_between(z, n, before[j]);
            } else {
                work[j] = r * before[j];
                work[hidden + j] = z;
                work[2 * hidden + j] = new_of_x;
            }
        }
        for (int32_t j = 0; !linear && j < hidden; j++) {
            float n = work[2 * hidden + j];
            ecm_gate_sums(work, w + j * unit + inputs * 3 + 2, hidden, 3, 1, &n);
            after[j] = ecm_gru_between(work[hidden + j], ecm_tanhf(ecm_gate_clipped(n, clip)), before[j]);
        }
        for (int32_t j = 0; y_step != 0 && j < hidden; j++) {
            y[t * y_step + j] = after[j];
        }
    }
}

#endif
