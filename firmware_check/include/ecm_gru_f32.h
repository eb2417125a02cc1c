/* GRU of ONNX in float32: one direction of one sequence.
 *
 *   z, r = f(W x + R h + b),  h~ = g(W x + R (r h) + b), or where linear h~ = g(W x + b + r (R h + b')),
 *   h = (1 - z) h~ + z h
 *
 * f is the sigmoid, g is tanh where the sequence names no others. */
#ifndef ECM_GRU_F32_H
#define ECM_GRU_F32_H

#include "ecm_gates.h"

/* (1 - z) n + z h */
ECM_INLINE float ecm_gru_between(float z, float n, float h) { return ecm_fmaf(z, h, ecm_fmaf(-z, n, n)); }

/* All of the sequence. No two arrays overlap; pointers are aligned to 4 bytes. */
ECM_INLINE void ecm_gru_f32(
    const float *x, /* the first step's values, [inputs] side by side; read only */
    const float *w, /* [hidden][inputs + hidden][3]: weights of x, then of h, for the gates z, r, h */
    const float *b, /* [hidden][4]: z, r, and h's two biases; their sum and 0 where not linear */
    float *h,       /* [2][hidden]: begins in the first row, ends in row steps % 2; the layer's scratch memory */
    float *work,    /* [3][hidden]; not touched where linear; scratch memory too */
    float *y,       /* h after the first step, [hidden] side by side; any pointer where y_step is 0 */
    const ecm_sequence *sequence)
{
    const int32_t unit = (sequence->inputs + sequence->hidden) * 3;
    for (int32_t t = 0; t < sequence->steps; t++) {
        const float *before = h + (t & 1) * sequence->hidden;
        float *after = h + (1 - (t & 1)) * sequence->hidden;
        const float *wj = w;
        for (int32_t j = 0; j < sequence->hidden; j++) {
            float a[3];
            for (int32_t g = 0; g < 3; g++) {
                a[g] = b[j * 4 + g];
            }
            ecm_gate_sums(x + t * sequence->x_step, wj, sequence->inputs, 3, 3, a);
            const float new_of_x = a[2];
            a[2] = b[j * 4 + 3];
            if (sequence->linear) {
                ecm_gate_sums(before, wj + sequence->inputs * 3, sequence->hidden, 3, 3, a);
            } else {
                ecm_gate_sums(before, wj + sequence->inputs * 3, sequence->hidden, 3, 2, a);
            }
            wj += unit;
            const float z = ecm_gate(a[0], &sequence->f, ECM_GATE_SIGMOID, sequence->clip);
            const float r = ecm_gate(a[1], &sequence->f, ECM_GATE_SIGMOID, sequence->clip);
            if (sequence->linear) {
                const float n = ecm_gate(ecm_fmaf(r, a[2], new_of_x), &sequence->g, ECM_GATE_TANH, sequence->clip);
                after[j] = ecm_gru_between(z, n, before[j]);
            } else {
                work[j] = r * before[j];
                work[sequence->hidden + j] = z;
                work[2 * sequence->hidden + j] = new_of_x;
            }
        }
        for (int32_t j = 0; !sequence->linear && j < sequence->hidden; j++) {
            float n = work[2 * sequence->hidden + j];
            ecm_gate_sums(work, w + j * unit + sequence->inputs * 3 + 2, sequence->hidden, 3, 1, &n);
            after[j] = ecm_gru_between(
                work[sequence->hidden + j], ecm_gate(n, &sequence->g, ECM_GATE_TANH, sequence->clip), before[j]);
        }
        for (int32_t j = 0; sequence->y_step != 0 && j < sequence->hidden; j++) {
            y[t * sequence->y_step + j] = after[j];
        }
    }
}

#endif
