/* Convolution along time in float32 with vectors of eight outputs: for cores with AVX2 and FMA, and for any other in
 * plain loops. Every sum is the same chain as in ecm_conv_f32.h, so the answers are the same to the bit. */
#ifndef ECM_CONV_F32_WIDE_H
#define ECM_CONV_F32_WIDE_H

#include "ecm_activation.h"
#include "ecm_base.h"

enum { ECM_LANES = 8, ECM_WIDE_ROWS = 12, ECM_WIDE_VECTORS = 3 };

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

typedef __m256 ecm_lanes;

ECM_INLINE ecm_lanes ecm_lanes_load(const float *p) { return _mm256_loadu_ps(p); }

ECM_INLINE ecm_lanes ecm_lanes_fma(float a, ecm_lanes b, ecm_lanes c) { return _mm256_fmadd_ps(_mm256_set1_ps(a), b, c); }

ECM_INLINE ecm_lanes ecm_lanes_activate(ecm_lanes v, enum ecm_activation activation, float low, float high)
{
    if (activation == ECM_RELU) {
        return _mm256_max_ps(v, _mm256_setzero_ps());
    }
    if (activation == ECM_CLIP) {
        return _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(low)), _mm256_set1_ps(high));
    }
    if (activation == ECM_LEAKY) {
        const ecm_lanes negative = _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_LT_OQ);
        return _mm256_blendv_ps(v, _mm256_mul_ps(_mm256_set1_ps(low), v), negative);
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

typedef struct { float lane[8]; } ecm_lanes;

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

ECM_INLINE ecm_lanes ecm_lanes_activate(ecm_lanes v, enum ecm_activation activation, float low, float high)
{
    for (int32_t i = 0; i < ECM_LANES; i++) {
        v.lane[i] = ecm_activate_f32(v.lane[i], activation, low, high);
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

/* Everything but the pointers is a literal at the call. */
ECM_INLINE void ecm_conv_f32_wide(
    const float *x,       /* the first row's window */
    const float *w,       /* [block][segments * segment][vectors][ECM_LANES], 0 where there is no output */
    const float *b,       /* [block][vectors][ECM_LANES] */
    float *y,             /* [rows][y_step], `outputs` of each row are written; may lie over x where the plan says so */
    int32_t rows,         /* >= tile_rows; the last tile is moved back to end at the last row */
    int32_t x_step,       /* values from one row's window to the next */
    int32_t segments,     /* >= 1 */
    int32_t segment,      /* >= 1 */
    int32_t segment_step, /* values from one segment to the next */
    int32_t outputs,      /* >= 1 */
    int32_t y_step,       /* values from one row to the next, >= outputs */
    int32_t tile_rows,    /* 1 ... ECM_WIDE_ROWS */
    int32_t vectors,      /* 1 ... ECM_WIDE_VECTORS */
    int32_t backward, enum ecm_activation activation, float low, float high)
{
    for (int32_t row = 0; row < rows; row += tile_rows) {
        const int32_t t = ecm_tile_row(row, rows, tile_rows, backward);
        const float *wb = w;
        const float *bb = b;
        for (int32_t o = 0; o < outputs; o += vectors * ECM_LANES) {
            ecm_lanes acc[ECM_WIDE_ROWS][ECM_WIDE_VECTORS];
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                ECM_UNROLL
                for (int32_t v = 0; v < vectors; v++) {
                    acc[r][v] = ecm_lanes_load(bb + v * ECM_LANES);
                }
            }
            const float *xs = x + t * x_step;
            for (int32_t s = 0; s < segments; s++) {
                for (int32_t i = 0; i < segment; i++) {
                    ecm_lanes weights[ECM_WIDE_VECTORS];
                    ECM_UNROLL
                    for (int32_t v = 0; v < vectors; v++) {
                        weights[v] = ecm_lanes_load(wb + v * ECM_LANES);
                    }
                    ECM_UNROLL
                    for (int32_t r = 0; r < tile_rows; r++) {
                        ECM_UNROLL
                        for (int32_t v = 0; v < vectors; v++) {
                            acc[r][v] = ecm_lanes_fma(xs[r * x_step + i], weights[v], acc[r][v]);
                        }
                    }
                    wb += vectors * ECM_LANES;
                }
                xs += segment_step;
            }
            ECM_UNROLL
            for (int32_t r = 0; r < tile_rows; r++) {
                ECM_UNROLL
                for (int32_t v = 0; v < vectors; v++) {
                    const int32_t left = outputs - o - v * ECM_LANES;
                    if (left > 0) {
                        ecm_lanes_store(y + (t + r) * y_step + o + v * ECM_LANES,
                                        ecm_lanes_activate(acc[r][v], activation, low, high),
                                        left < ECM_LANES ? left : ECM_LANES);
                    }
                }
            }
            bb += vectors * ECM_LANES;
        }
    }
}

#endif
