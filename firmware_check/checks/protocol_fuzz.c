/* The protocol's state machine under a fuzzer: tests/fuzz/frames.py builds and runs it.
 *
 * An input: the count of samples of a frame in its first byte; then each byte is fed, but FF FE is a gap and FF FD
 * sends a head. The samples lie in memory of exactly their size, so that the address sanitizer sees every byte beyond.
 * Aborts where a rule of ecm_protocol.h does not hold:
 *   - the state is one of the three, and what is filled lies within the frame;
 *   - after a gap a whole frame without a head in it is taken at its last byte. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecm_protocol.h"

static uint64_t frames_sent;

static void check(const ecm_protocol *protocol)
{
    if (protocol->state != ECM_HUNTING && protocol->state != ECM_FILLING && protocol->state != ECM_DOUBTING) {
        abort();
    }
    if (protocol->filled < 0 || protocol->filled > protocol->bytes) {
        abort();
    }
    if ((protocol->state != ECM_HUNTING) != ecm_protocol_within_frame(protocol)) {
        abort();
    }
}

static int32_t send_head(ecm_protocol *protocol, int32_t count)
{
    const uint8_t head[ECM_HEAD_BYTES] = {0xAAu, 0x55u, (uint8_t)count, (uint8_t)(count >> 8)};
    int32_t full = 0;
    for (int32_t i = 0; i < ECM_HEAD_BYTES; i++) {
        full |= ecm_protocol_feed(protocol, head[i]);
        check(protocol);
    }
    frames_sent++;
    return full;
}

/* Whatever came before, a whole frame after a gap is taken, with the samples that were sent. */
static void expect_a_frame(ecm_protocol *protocol, const float *samples, int32_t count)
{
    (void)ecm_protocol_gap(protocol);
    check(protocol);
    if (ecm_protocol_within_frame(protocol)) {
        abort();
    }
    (void)send_head(protocol, count);
    for (int32_t i = 0; i < 4 * count; i++) {
        if (ecm_protocol_feed(protocol, (uint8_t)(i % 80)) != (i == 4 * count - 1)) {
            abort();
        }
    }
    for (int32_t i = 0; i < 4 * count; i++) {
        if (((const uint8_t *)samples)[i] != (uint8_t)(i % 80)) {
            abort();
        }
    }
    (void)ecm_protocol_finite(samples, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ecm_protocol protocol;
    float *samples;
    int32_t count;
    if (size < 1) {
        return 0;
    }
    count = 1 + data[0] % 33;
    samples = malloc((size_t)count * sizeof(float));
    if (samples == NULL) {
        return 0;
    }
    ecm_protocol_open(&protocol, samples, count);
    for (size_t i = 1; i < size; i++) {
        int32_t full;
        if (data[i] == 0xFFu && i + 1 < size && data[i + 1] >= 0xFDu && data[i + 1] <= 0xFEu) {
            i++;
            full = data[i] == 0xFEu ? ecm_protocol_gap(&protocol) : send_head(&protocol, count);
        } else {
            full = ecm_protocol_feed(&protocol, data[i]);
        }
        check(&protocol);
        if (full) {
            (void)ecm_protocol_finite(samples, count);
        }
    }
    expect_a_frame(&protocol, samples, count);
    free(samples);
    return 0;
}

#ifdef ECM_FUZZ_MAIN
/* Without libFuzzer: so many inputs of a fixed generator. argv: the first seed, and how many inputs. */
static uint64_t state;

static uint32_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

int main(int argc, char **argv)
{
    static const uint8_t alphabet[] = {0xAAu, 0x55u, 0x02u, 0x00u, 0xFFu, 0xFDu, 0xFEu, 0x01u};
    static uint8_t input[512];
    const uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 0u;
    const uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000u;
    for (uint64_t i = 0; i < count; i++) {
        state = 0x9E3779B97F4A7C15u * (first + i + 1u);
        const size_t size = 1u + draw() % sizeof input;
        for (size_t k = 0; k < size; k++) {
            input[k] = draw() % 4u ? alphabet[draw() % sizeof alphabet] : (uint8_t)draw();
        }
        input[0] = (uint8_t)draw();
        (void)LLVMFuzzerTestOneInput(input, size);
    }
    printf("%llu\n", (unsigned long long)frames_sent);
    return 0;
}
#else
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void say(void) { fprintf(stderr, "frames sent: %llu\n", (unsigned long long)frames_sent); }

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    (void)atexit(say);
    return 0;
}
#endif
