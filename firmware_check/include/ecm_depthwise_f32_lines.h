/* Depthwise convolution in float32 for one line of a picture's output, with every sample of a line of taps loaded once,
 * for all rows that have it in their windows. Lines and samples come in order, and so do the taps of each row: the bits
 * are those of ecm_depthwise_f32. It is fast where rows and the taps of one line together fit the registers. */
#ifndef ECM_DEPTHWISE_F32_LINES_H
#define ECM_DEPTHWISE_F32_LINES_H

#include "ecm_activation.h"
#include "ecm_base.h"
#include "ecm_depthwise_f32.h"
#include "ecm_depthwise_f32_once.h"
#include "ecm_geometry.h"

/* All of the line, tile by tile. Pointers are aligned to 4 bytes. */
ECM_INLINE void ecm_depthwise_f32_lines(
    const float *x,               /* the first row's first tap; read only */
    const float *w,               /* [outputs][repeats + 1][taps] */
    const float *b,               /* [outputs] */
    float *y,                     /* [rows][y_step]; may lie over x where the plan says so */
    const ecm_channels *channels, /* taps of a line up to ECM_DEPTHWISE_TAPS */
    const ecm_tile *tile,         /* rows up to ECM_DEPTHWISE_ROWS, one output; unroll is not used */
    const ecm_activation *activation)
{
    for (int32_t row = 0; row < channels->rows; row += tile->rows) {
        const int32_t t = ecm_tile_row(row, channels->rows, tile);
        const float *xt = x + t * channels->stride * channels->time_step;
        const float *wc = w;
        float *yt = y + t * channels->y_step;
        for (int32_t c = 0; c < channels->outputs; c++) {
            const float *xc = xt + (channels->multiplier == 1 ? c : c / channels->multiplier);
            float acc[ECM_DEPTHWISE_ROWS];
            float tap[ECM_DEPTHWISE_TAPS];
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                acc[r] = b[c];
            }
            ECM_UNROLL
            for (int32_t line = 0; line <= channels->repeats; line++) {
                ECM_KEEP_POINTER(xc);
                ECM_UNROLL
                for (int32_t k = 0; k < channels->taps; k++) {
                    tap[k] = wc[k];
                }
                ECM_UNROLL
                for (int32_t s = 0;
                     s <= (tile->rows - 1) * channels->stride + (channels->taps - 1) * channels->dilation; s++) {
                    ECM_KEEP_LOADS();
                    const float v = xc[s * channels->time_step];
                    ECM_UNROLL
                    for (int32_t r = 0; r < tile->rows; r++) {
                        const int32_t k = (s - r * channels->stride) / channels->dilation;
                        if (s >= r * channels->stride && k < channels->taps &&
                            r * channels->stride + k * channels->dilation == s) {
                            acc[r] = ecm_fmaf(v, tap[k], acc[r]);
                        }
                    }
                }
                wc += channels->taps;
                xc += channels->repeat_step;
            }
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                yt[r * channels->y_step + c] =
                    ecm_activate_f32(acc[r], activation->kind, activation->low, activation->high);
            }
        }
    }
}

#endif
