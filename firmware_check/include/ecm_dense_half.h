/* A fully connected layer with float16 weights, in float32. */
#ifndef ECM_DENSE_HALF_H
#define ECM_DENSE_HALF_H

#include "ecm_activation.h"
#include "ecm_base.h"
#include "ecm_conv_f32.h"
#include "ecm_half.h"

/* A fully connected layer whose weights are converted where they are used, once each:
 *
 *   y[o] = act(b[o] + sum over i < count of x[i] * w[i][o]), one chain of fused multiply-adds in the order of i
 *
 * All of the layer; outputs >= tile_outputs. */
ECM_INLINE void ecm_dense_half(
    const float *x,       /* [count]; read only */
    const uint16_t *w,    /* [block][count][tile_outputs] */
    const float *b,       /* [block][tile_outputs] */
    float *y,             /* [outputs]; may lie over x where the plan says so */
    int32_t count,        /* >= 1 */
    int32_t outputs,      /* >= tile_outputs; the last block is moved back to end at the last output */
    int32_t tile_outputs, /* 1 ... ECM_TILE */
    const ecm_activation *activation)
{
    for (int32_t output = 0; output < outputs; output += tile_outputs) {
        const int32_t o = output < outputs - tile_outputs ? output : outputs - tile_outputs;
        float acc[ECM_TILE];
        ECM_UNROLL
        for (int32_t c = 0; c < tile_outputs; c++) {
            acc[c] = b[c];
        }
        for (int32_t i = 0; i < count; i++) {
            ECM_UNROLL
            for (int32_t c = 0; c < tile_outputs; c++) {
                acc[c] = ecm_fmaf(x[i], ecm_half(w[c]), acc[c]);
            }
            w += tile_outputs;
        }
        ECM_UNROLL
        for (int32_t c = 0; c < tile_outputs; c++) {
            y[o + c] = ecm_activate_f32(acc[c], activation->kind, activation->low, activation->high);
        }
        b += tile_outputs;
    }
}

#endif
