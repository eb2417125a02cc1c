/* Segments for a self-test, shaped like ECG and made of integers only: the same bits on every core and in Python
 * (ecm_edge/firmware/known_answer.py is the twin; change both). Not for training: they stand for nobody.
 *
 * 250 Hz, in mV by steps of 2^-20, so that every sample is exact in float32. A beat is a sum of parabolas; the noise is
 * a linear congruential generator's. Every division is of numbers that are not negative, which C and Python round alike.
 * The scores to expect are in the generated ecm_known_answers.h. */
#ifndef ECM_KNOWN_ANSWER_H
#define ECM_KNOWN_ANSWER_H

#include <stdint.h>

/* Which segment: `kind` below. */
enum {
    ECM_NORMAL_RHYTHM = 0, /* P waves, RR of 0.8 s that breathes a little */
    ECM_FIBRILLATION = 1,  /* no P waves, irregular RR, a 6 Hz flutter */
    ECM_FLAT_LINE = 2,     /* zeros: no electrode */
    ECM_NOISE = 3,         /* the normal rhythm under noise and wander */
    ECM_KNOWN_ANSWER_SEGMENTS = 4
};

/* The waves of a beat: height in 2^-10 mV, centre after R and half width in samples. P is the first. */
static const int16_t ecm_waves[5][3] = {{140, -42, 13}, {-90, -7, 5}, {1200, 0, 6}, {-260, 7, 6}, {300, 72, 30}};

/* 0 .. 65,535 */
static inline int32_t ecm_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (int32_t)(*state >> 16);
}

/* Height of a beat in 2^-20 mV, `after` samples after its R (before it, where negative). wave: 0, or 1 without P. */
static inline int32_t ecm_beat(int32_t after, int32_t wave)
{
    int32_t height = 0;
    for (; wave < 5; wave++) {
        const int32_t offset = after - ecm_waves[wave][1];
        const int32_t square = ecm_waves[wave][2] * ecm_waves[wave][2];
        if (offset * offset < square) {
            height += ecm_waves[wave][0] * (((square - offset * offset) << 10) / square);
        }
    }
    return height;
}

/* A triangle between -height and height; time: >= 0; 4 * height * period < 2^31. */
static inline int32_t ecm_triangle(int32_t time, int32_t period, int32_t height)
{
    const int32_t phase = time % period;
    const int32_t rise = phase < period - phase ? phase : period - phase;
    return 4 * height * rise / period - height;
}

/* Fills a segment. kind: 0 .. ECM_KNOWN_ANSWER_SEGMENTS - 1; samples: room for `count`, at least 1, written only. */
static inline void ecm_known_answer(int32_t kind, float *samples, int32_t count)
{
    uint32_t random = 2024u + (uint32_t)kind;
    int32_t last = -100, next = 60; /* where the R waves around `time` lie */
    for (int32_t time = 0; time < count; time++) {
        const int32_t wave = kind == ECM_FIBRILLATION;
        int32_t height = kind == ECM_FLAT_LINE ? 0 : ecm_beat(time - last, wave) + ecm_beat(time - next, wave);
        if (kind == ECM_FIBRILLATION) {
            height += ecm_triangle(time, 41, 60) * 1024;
        } else if (kind == ECM_NOISE) {
            height += (ecm_random(&random) % 512 - 256 + ecm_triangle(time, 700, 400)) * 1024;
        }
        samples[time] = (float)height * (1.0f / 1048576.0f);
        if (time == next) {
            last = next;
            next += kind == ECM_FIBRILLATION ? 110 + ecm_random(&random) % 120 : 200 + ecm_triangle(time, 1000, 8);
        }
    }
}

#endif
