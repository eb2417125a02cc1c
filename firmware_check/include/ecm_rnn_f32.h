/* RNN of ONNX in float32: one direction of one sequence.
 *
 *   h = f(W x + R h + b)
 *
 * f is tanh where the sequence names no other. */
#ifndef ECM_RNN_F32_H
#define ECM_RNN_F32_H

#include "ecm_gates.h"

/* All of the sequence. No two arrays overlap; pointers are aligned to 4 bytes. */
ECM_INLINE void ecm_rnn_f32(
    const float *x, /* the first step's values, [inputs] side by side; read only */
    const float *w, /* [hidden][inputs + hidden]: weights of x, then of h */
    const float *b, /* [hidden][4], of which the first is both biases added */
    float *h,       /* [2][hidden]: begins in the first row, ends in row steps % 2; the layer's scratch memory */
    float *y,       /* h after the first step, [hidden] side by side; any pointer where y_step is 0 */
    const ecm_sequence *sequence)
{
    for (int32_t t = 0; t < sequence->steps; t++) {
        const float *before = h + (t & 1) * sequence->hidden;
        float *after = h + (1 - (t & 1)) * sequence->hidden;
        const float *wj = w;
        for (int32_t j = 0; j < sequence->hidden; j++) {
            float a = b[j * 4];
            ecm_gate_sums(x + t * sequence->x_step, wj, sequence->inputs, 1, 1, &a);
            ecm_gate_sums(before, wj + sequence->inputs, sequence->hidden, 1, 1, &a);
            wj += sequence->inputs + sequence->hidden;
            after[j] = ecm_gate(a, &sequence->f, ECM_GATE_TANH, sequence->clip);
        }
        for (int32_t j = 0; sequence->y_step != 0 && j < sequence->hidden; j++) {
            y[t * sequence->y_step + j] = after[j];
        }
    }
}

#endif
