/* Answers segments as they come, without any frame: for tests and counts, where the line loses nothing.
 *
 * First of all the four bytes "ECM1": what is sent to an emulated UART before the program has switched it on is lost.
 * Then, for ever: ECM_MODEL_SAMPLES float32 little-endian in; ECM_MODEL_SCORES float32 little-endian out. With -DECM_TRACE,
 * before the scores and for each layer: int32 layer, int32 bytes, and so many bytes of its output. With -DECM_BYTES it
 * calls the model's entry for bytes: samples and scores are of the types that this one has.
 * Ends with 0 when the line closes between two segments, 1 within one or while writing, 2 if it cannot be opened. */

#include <stdint.h>

#include "ecm_model.h"
#include "ecm_port.h"

#ifdef ECM_BYTES
#define RUN ECM_MODEL_RUN_BYTES
static ECM_MODEL_BYTE_SAMPLE samples[ECM_MODEL_SAMPLES];
static ECM_MODEL_BYTE_SCORE scores[ECM_MODEL_SCORES];
#else
#define RUN ECM_MODEL_RUN
static float samples[ECM_MODEL_SAMPLES];
static float scores[ECM_MODEL_SCORES];
#endif

#define SEGMENT_BYTES ((int32_t)sizeof samples)
#define SCORE_BYTES ((int32_t)sizeof scores)

static void write_all(const void *bytes, int32_t count)
{
    if (ecm_port_write((const uint8_t *)bytes, count) != count) {
        ecm_port_exit(1);
    }
}

#ifdef ECM_TRACE
void ecm_trace(int layer, const void *data, int bytes);

/* layer: its index, from 0; data: `bytes` bytes of its output, as they lie in the arena. */
void ecm_trace(int layer, const void *data, int bytes)
{
    const int32_t head[2] = {(int32_t)layer, (int32_t)bytes};
    write_all(head, (int32_t)sizeof head);
    write_all(data, (int32_t)bytes);
}
#endif

/* Fills `samples`; does not return if the line closes. */
static void read_segment(void)
{
    int32_t filled = 0;
    while (filled < SEGMENT_BYTES) {
        const int32_t count = ecm_port_read((uint8_t *)samples + filled, SEGMENT_BYTES - filled, ECM_PORT_FOREVER);
        if (count <= 0) {
            ecm_port_exit(filled == 0 ? 0 : 1);
        }
        filled += count;
    }
}

int main(int argc, char **argv)
{
    if (ecm_port_open(argc, argv) != 0) {
        ecm_port_exit(2);
    }
    write_all("ECM1", 4);
    for (;;) {
        read_segment();
        RUN(samples, scores);
        write_all(scores, SCORE_BYTES);
    }
}
