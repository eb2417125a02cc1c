/* See ecm_protocol.h, whose numbers of rules are those below. */

#include "ecm_protocol.h"

void ecm_protocol_open(ecm_protocol *protocol, float *samples, int32_t count)
{
    protocol->samples = (uint8_t *)samples;
    protocol->bytes = count * 4;
    protocol->filled = 0;
    protocol->head = 0u;
    protocol->wanted = 0xAA550000u | ((uint32_t)count & 255u) << 8 | (uint32_t)count >> 8;
    protocol->state = ECM_HUNTING;
}

/* Rule 1. Returns 1 if the last four bytes are a head. */
static int32_t head_seen(ecm_protocol *protocol, uint8_t byte)
{
    protocol->head = protocol->head << 8 | byte;
    return protocol->head == protocol->wanted;
}

/* Where the first head within the full samples begins, or the beginning of one that their end cuts off; -1: nowhere. */
static int32_t head_within(const ecm_protocol *protocol)
{
    for (int32_t start = 0; start < protocol->bytes; start++) {
        int32_t same = 0;
        while (same < ECM_HEAD_BYTES && start + same < protocol->bytes &&
               protocol->samples[start + same] == (uint8_t)(protocol->wanted >> (24 - 8 * same))) {
            same++;
        }
        if (same == ECM_HEAD_BYTES || (same > 0 && start + same == protocol->bytes)) {
            return start;
        }
    }
    return -1;
}

/* Hunts or fills. Returns 1 if the samples are full. */
static int32_t take(ecm_protocol *protocol, uint8_t byte)
{
    if (protocol->state == ECM_FILLING) {
        protocol->samples[protocol->filled++] = byte;
        return protocol->filled == protocol->bytes;
    }
    if (head_seen(protocol, byte)) {
        protocol->state = ECM_FILLING;
        protocol->filled = 0;
    }
    return 0;
}

static void hunt(ecm_protocol *protocol)
{
    protocol->state = ECM_HUNTING;
    protocol->head = 0u;
}

/* Rule 3, more bytes came: takes the bytes from the inner head on once more. They move to lower addresses, since the
 * head is not stored, and are fewer than a frame, so they cannot fill it. */
static void drop_first_frame(ecm_protocol *protocol)
{
    const int32_t start = head_within(protocol);
    hunt(protocol);
    for (int32_t next = start; next >= 0 && next < protocol->bytes; next++) {
        (void)take(protocol, protocol->samples[next]);
    }
}

int32_t ecm_protocol_feed(ecm_protocol *protocol, uint8_t byte)
{
    if (protocol->state == ECM_DOUBTING) {
        drop_first_frame(protocol);
    }
    if (!take(protocol, byte)) {
        return 0;
    }
    if (head_within(protocol) >= 0) {
        protocol->state = ECM_DOUBTING;
        return 0;
    }
    hunt(protocol);
    return 1;
}

int32_t ecm_protocol_gap(ecm_protocol *protocol)
{
    const int32_t full = protocol->state == ECM_DOUBTING; /* rule 3, no more bytes came; else rule 2 */
    hunt(protocol);
    return full;
}

int32_t ecm_protocol_within_frame(const ecm_protocol *protocol) { return protocol->state != ECM_HUNTING; }

int32_t ecm_protocol_finite(const float *values, int32_t count)
{
    const uint8_t *bytes = (const uint8_t *)values;
    for (int32_t i = 0; i < count; i++) {
        if ((bytes[4 * i + 3] & 0x7Fu) == 0x7Fu && (bytes[4 * i + 2] & 0x80u) != 0u) { /* the exponent is all ones */
            return 0;
        }
    }
    return 1;
}

void ecm_protocol_answer(uint8_t *answer, uint8_t status, uint8_t label, float latency_ms)
{
    const uint8_t *latency = (const uint8_t *)&latency_ms;
    answer[0] = 0x55u;
    answer[1] = 0xAAu;
    answer[2] = status;
    answer[3] = label;
    for (int32_t i = 0; i < 4; i++) {
        answer[4 + i] = latency[i];
    }
}
