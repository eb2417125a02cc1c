/* Convolution along time or one line of a picture in float32 with vectors of eight outputs: for cores with AVX2 and
 * FMA, and for any other in plain loops. Every sum is the same chain as in ecm_conv_f32.h, so the answers are the same
 * to the bit. */
#ifndef ECM_CONV_F32_WIDE_H
#define ECM_CONV_F32_WIDE_H

#include "ecm_activation.h"
#include "ecm_base.h"
#include "ecm_geometry.h"

enum { ECM_LANES = 8, ECM_WIDE_ROWS = 12, ECM_WIDE_VECTORS = 3 }; /* values of a vector; most rows, vectors of a tile */

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

typedef __m256 ecm_lanes;

ECM_INLINE ecm_lanes ecm_lanes_load(const float *p) { return _mm256_loadu_ps(p); }

ECM_INLINE ecm_lanes ecm_lanes_fma(float a, ecm_lanes b, ecm_lanes c)
{
    return _mm256_fmadd_ps(_mm256_set1_ps(a), b, c);
}

ECM_INLINE ecm_lanes ecm_lanes_activate(ecm_lanes v, const ecm_activation *activation)
{
    if (activation->kind == ECM_RELU) {
        return _mm256_max_ps(v, _mm256_setzero_ps());
    }
    if (activation->kind == ECM_CLIP) {
        return _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(activation->low)), _mm256_set1_ps(activation->high));
    }
    if (activation->kind == ECM_LEAKY) {
        const ecm_lanes negative = _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_LT_OQ);
        return _mm256_blendv_ps(v, _mm256_mul_ps(_mm256_set1_ps(activation->low), v), negative);
    }
    return v;
}

/* the first `count` lanes, 1 ... ECM_LANES */
ECM_INLINE void ecm_lanes_store(float *p, ecm_lanes v, int32_t count)
{
    if (count == ECM_LANES) {
        _mm256_storeu_ps(p, v);
    } else {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane), v);
    }
}

#else

typedef struct {
    float lane[8];
} ecm_lanes;

ECM_INLINE ecm_lanes ecm_lanes_load(const float *p)
{
    ecm_lanes v;
    for (int32_t i = 0; i < ECM_LANES; i++) {
        v.lane[i] = p[i];
    }
    return v;
}

ECM_INLINE ecm_lanes ecm_lanes_fma(float a, ecm_lanes b, ecm_lanes c)
{
    for (int32_t i = 0; i < ECM_LANES; i++) {
        c.lane[i] = ecm_fmaf(a, b.lane[i], c.lane[i]);
    }
    return c;
}

ECM_INLINE ecm_lanes ecm_lanes_activate(ecm_lanes v, const ecm_activation *activation)
{
    for (int32_t i = 0; i < ECM_LANES; i++) {
        v.lane[i] = ecm_activate_f32(v.lane[i], activation->kind, activation->low, activation->high);
    }
    return v;
}

ECM_INLINE void ecm_lanes_store(float *p, ecm_lanes v, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        p[i] = v.lane[i];
    }
}

#endif

/* All of the layer, tile by tile. The outputs of a tile are 1 ... ECM_WIDE_VECTORS vectors of ECM_LANES, and may be more
 * than the layer has. Pointers are aligned to 4 bytes. */
ECM_INLINE void ecm_conv_f32_wide(
    const float *x, /* the first row's window; read only */
    const float *w, /* [block][products][tile.outputs], 0 where there is no output */
    const float *b, /* [block][tile.outputs], as w */
    float *y,       /* [rows][y_step]; may lie over x where the plan says so */
    const ecm_windows *windows,
    const ecm_tile *tile, /* rows up to ECM_WIDE_ROWS; unroll is not used */
    const ecm_activation *activation)
{
    const int32_t vectors = tile->outputs / ECM_LANES;
    for (int32_t row = 0; row < windows->rows; row += tile->rows) {
        const int32_t t = ecm_tile_row(row, windows->rows, tile);
        const float *wb = w;
        const float *bb = b;
        for (int32_t o = 0; o < windows->outputs; o += tile->outputs) {
            ecm_lanes acc[ECM_WIDE_ROWS][ECM_WIDE_VECTORS];
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                ECM_UNROLL
                for (int32_t v = 0; v < vectors; v++) {
                    acc[r][v] = ecm_lanes_load(bb + v * ECM_LANES);
                }
            }
            const float *xq = x + t * windows->x_step;
            for (int32_t q = 0; q <= windows->repeats; q++) {
                const float *xs = xq;
                for (int32_t s = 0; s < windows->segments; s++) {
                    for (int32_t i = 0; i < windows->segment; i++) {
                        ecm_lanes weights[ECM_WIDE_VECTORS];
                        ECM_UNROLL
                        for (int32_t v = 0; v < vectors; v++) {
                            weights[v] = ecm_lanes_load(wb + v * ECM_LANES);
                        }
                        ECM_UNROLL
                        for (int32_t r = 0; r < tile->rows; r++) {
                            ECM_UNROLL
                            for (int32_t v = 0; v < vectors; v++) {
                                acc[r][v] = ecm_lanes_fma(xs[r * windows->x_step + i], weights[v], acc[r][v]);
                            }
                        }
                        wb += tile->outputs;
                    }
                    xs += windows->segment_step;
                }
                xq += windows->repeat_step;
            }
            ECM_UNROLL
            for (int32_t r = 0; r < tile->rows; r++) {
                ECM_UNROLL
                for (int32_t v = 0; v < vectors; v++) {
                    const int32_t left = windows->outputs - o - v * ECM_LANES;
                    if (left > 0) {
                        ecm_lanes_store(
                            y + (t + r) * windows->y_step + o + v * ECM_LANES,
                            ecm_lanes_activate(acc[r][v], activation), left < ECM_LANES ? left : ECM_LANES);
                    }
                }
            }
            bb += tile->outputs;
        }
    }
}

#endif
