/* Answers segments over a serial line, in the contest's protocol: ecm_protocol.h.
 *
 * At start it answers the segments of ecm_known_answer.h and compares the scores, bit by bit, with those in the
 * generated ecm_known_answers.h. If one differs it says so and ends with 3, or halts where there is no system to end
 * to, and never answers a frame. Other ends: 0 when the line closes, 2 if it cannot be opened.
 *
 * The label is AF, 1, where the second score is not below the first: a tie counts as AF. Latency is that of the
 * inference alone, by the monotonic clock.
 *
 * A model that does not fit that protocol, or is made for a board that does not name it, has ECM_MODEL_LABEL. Its
 * answers are frames of the same kind with the scores in them, and it takes the values of its input in the same frame,
 * their count modulo 65,536:
 *
 *     board to host   55 AA, status, label as uint16, latency in ms as float32, every score as float32 */

#include <stdint.h>

#include "ecm_known_answer.h"
#include "ecm_known_answers.h"
#include "ecm_model.h"
#include "ecm_port.h"
#include "ecm_protocol.h"

#define CHUNK_BYTES 256
#define SCORES_AT 9 /* where they begin in an answer that has them */

static float samples[ECM_MODEL_SAMPLES]; /* bytes arrive where the model reads them */
static float scores[ECM_MODEL_SCORES];
static ecm_protocol protocol;

/* Whether the scores are, bit by bit, the expected ones. */
static int32_t scores_are(const float *expected)
{
    const uint8_t *ours = (const uint8_t *)scores;
    const uint8_t *theirs = (const uint8_t *)expected;
    for (uint32_t i = 0; i < sizeof scores; i++) {
        if (ours[i] != theirs[i]) {
            return 0;
        }
    }
    return 1;
}

static int32_t self_test(void)
{
    for (int32_t kind = 0; kind < ECM_KNOWN_ANSWER_SEGMENTS; kind++) {
        ecm_known_answer(kind, samples, ECM_MODEL_SAMPLES);
        ECM_MODEL_RUN(samples, scores);
        if (!scores_are(ecm_known_answers[kind])) {
            return 0;
        }
    }
    return 1;
}

#ifdef ECM_MODEL_LABEL
static uint8_t scored[SCORES_AT + sizeof scores];

/* Runs the model on `samples` and sends the answer with its scores; does not return if the line closes. */
static void answer(void)
{
    uint8_t status = ECM_SAMPLE_NOT_FINITE;
    int32_t label = 0;
    float latency_ms = 0.0f;
    for (int32_t i = 0; i < ECM_MODEL_SCORES; i++) {
        scores[i] = 0.0f;
    }
    if (ecm_protocol_finite(samples, ECM_MODEL_SAMPLES)) {
        ecm_port_clock_start();
        ECM_MODEL_RUN(samples, scores);
        latency_ms = ecm_port_clock_ms();
        status = ecm_protocol_finite(scores, ECM_MODEL_SCORES) ? ECM_ANSWERED : ECM_SCORE_NOT_FINITE;
        label = status == ECM_ANSWERED ? ECM_MODEL_LABEL(scores) : 0;
    }
    ecm_protocol_answer(scored, status, 0u, latency_ms); /* its label has one byte, and its latency lies behind it */
    for (int32_t i = SCORES_AT - 1; i > 4; i--) {
        scored[i] = scored[i - 1];
    }
    scored[3] = (uint8_t)(label & 255);
    scored[4] = (uint8_t)(label >> 8);
    for (uint32_t i = 0; i < sizeof scores; i++) {
        scored[SCORES_AT + i] = ((const uint8_t *)scores)[i];
    }
    if (ecm_port_write(scored, (int32_t)sizeof scored) < 0) {
        ecm_port_exit(0);
    }
}
#else
/* Runs the model on `samples` and sends the answer; does not return if the line closes. */
static void answer(void)
{
    uint8_t bytes[ECM_ANSWER_BYTES];
    uint8_t status = ECM_SAMPLE_NOT_FINITE, label = 0;
    float latency_ms = 0.0f;
    if (ecm_protocol_finite(samples, ECM_MODEL_SAMPLES)) {
        ecm_port_clock_start();
        ECM_MODEL_RUN(samples, scores);
        latency_ms = ecm_port_clock_ms();
        status = ecm_protocol_finite(scores, ECM_MODEL_SCORES) ? ECM_ANSWERED : ECM_SCORE_NOT_FINITE;
        label = status == ECM_ANSWERED && scores[1] >= scores[0];
    }
    ecm_protocol_answer(bytes, status, label, latency_ms);
    if (ecm_port_write(bytes, ECM_ANSWER_BYTES) < 0) {
        ecm_port_exit(0);
    }
}
#endif

static void serve(void)
{
    static uint8_t bytes[CHUNK_BYTES];
    for (;;) {
        const int32_t timeout_ms = ecm_protocol_within_frame(&protocol) ? ECM_FRAME_GAP_MS : ECM_PORT_FOREVER;
        const int32_t count = ecm_port_read(bytes, CHUNK_BYTES, timeout_ms);
        if (count < 0) {
            ecm_port_exit(0);
        }
        if (count == 0 && ecm_protocol_gap(&protocol)) {
            answer();
        }
        for (int32_t i = 0; i < count; i++) {
            if (ecm_protocol_feed(&protocol, bytes[i])) {
                answer();
            }
        }
    }
}

int main(int argc, char **argv)
{
    static const char failed[] = "self-test failed\n";
    if (ecm_port_open(argc, argv) != 0) {
        ecm_port_exit(2);
    }
    if (!self_test()) {
        ecm_port_note(failed, (int32_t)sizeof failed - 1);
        ecm_port_exit(3);
    }
    ecm_protocol_open(&protocol, samples, ECM_MODEL_SAMPLES);
#if ECM_MODEL_SAMPLES > 65535 /* the head has the count modulo 65,536 */
    protocol.wanted = 0xAA550000u | (ECM_MODEL_SAMPLES & 255u) << 8 | (ECM_MODEL_SAMPLES >> 8 & 255u);
#endif
    serve();
    return 0;
}
