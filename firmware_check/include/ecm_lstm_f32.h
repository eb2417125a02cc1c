/* LSTM of ONNX in float32: one direction of one sequence.
 *
 *   i, o, f = f(W x + R h + b + P c),  c~ = g(W x + R h + b),  c = f c + i c~,  h = o h(c)
 *
 * f is the sigmoid, g and h are tanh where the sequence names no others. */
#ifndef ECM_LSTM_F32_H
#define ECM_LSTM_F32_H

#include "ecm_gates.h"

/* All of the sequence. No two arrays overlap; pointers are aligned to 4 bytes. */
ECM_INLINE void ecm_lstm_f32(
    const float *x, /* the first step's values, [inputs] side by side; read only */
    const float *w, /* [hidden][inputs + hidden][4]: weights of x, then of h, for the gates i, o, f, c */
    const float *b, /* [hidden][4], both biases added */
    const float *p, /* [hidden][3] peepholes of i, o, f; any pointer without peepholes */
    float *h,       /* [2][hidden]: begins in the first row, ends in row steps % 2; the layer's scratch memory */
    float *c,       /* [hidden]: the cell's state, before and after; scratch memory too */
    float *y,       /* h after the first step, [hidden] side by side; any pointer where y_step is 0 */
    const ecm_sequence *sequence)
{
    for (int32_t t = 0; t < sequence->steps; t++) {
        const float *before = h + (t & 1) * sequence->hidden;
        float *after = h + (1 - (t & 1)) * sequence->hidden;
        const float *wj = w;
        for (int32_t j = 0; j < sequence->hidden; j++) {
            float a[4];
            for (int32_t g = 0; g < 4; g++) {
                a[g] = b[j * 4 + g];
            }
            ecm_gate_sums(x + t * sequence->x_step, wj, sequence->inputs, 4, 4, a);
            ecm_gate_sums(before, wj + sequence->inputs * 4, sequence->hidden, 4, 4, a);
            wj += (sequence->inputs + sequence->hidden) * 4;
            if (sequence->peepholes) {
                a[0] = ecm_fmaf(p[j * 3], c[j], a[0]);
                a[2] = ecm_fmaf(p[j * 3 + 2], c[j], a[2]);
            }
            const float i = ecm_gate(a[0], &sequence->f, ECM_GATE_SIGMOID, sequence->clip);
            const float f = ecm_gate(a[2], &sequence->f, ECM_GATE_SIGMOID, sequence->clip);
            const float cell = ecm_fmaf(f, c[j], i * ecm_gate(a[3], &sequence->g, ECM_GATE_TANH, sequence->clip));
            if (sequence->peepholes) {
                a[1] = ecm_fmaf(p[j * 3 + 1], cell, a[1]);
            }
            c[j] = cell;
            after[j] = ecm_gate(a[1], &sequence->f, ECM_GATE_SIGMOID, sequence->clip) *
                       ecm_gate(cell, &sequence->h, ECM_GATE_TANH, ECM_INFINITY);
        }
        for (int32_t j = 0; sequence->y_step != 0 && j < sequence->hidden; j++) {
            y[t * sequence->y_step + j] = after[j];
        }
    }
}

#endif
