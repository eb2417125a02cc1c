/* The contest's serial protocol, board's side, as a state machine that is fed bytes: no clock, no line, no model.
 *
 *     host to board   AA 55, count of samples as uint16, so many float32     all little-endian
 *     board to host   55 AA, status, label 0 or 1, latency in ms as float32
 *
 * `status` is 00 in every answer that holds: ECM_ANSWERED. Other values are ours, and come with label 0.
 *
 * There is no checksum, so a frame is known by its head and its length alone, and the line may lose bytes, add some or
 * break off. What holds:
 *  1. The head is all four bytes: AA 55 and the one count that the model takes. Anything else, another count included,
 *     is noise and is stepped over byte by byte: its length is not believed, nothing of it is stored.
 *  2. A frame that breaks off is dropped when the line has been quiet for ECM_FRAME_GAP_MS: call ecm_protocol_gap.
 *  3. A frame that breaks off and is followed at once by a whole one: the new frame is answered. Its head lies within
 *     what looks like the samples of the old one. Samples may happen to contain those bytes too, so a full frame with a
 *     head in it is in doubt: if more bytes come, the head was one and what follows it is kept; if the line stays
 *     quiet, as it does when the host waits for its answer, the bytes were samples. A frame without one is never late.
 *  4. Surplus bytes after a frame are noise, as by 1.
 * What cannot be noticed: bytes that changed to others, and as many added as lost. */
#ifndef ECM_PROTOCOL_H
#define ECM_PROTOCOL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The longest silence within a frame. A byte takes 87 us, a host's scheduler or USB some tens of milliseconds. */
#define ECM_FRAME_GAP_MS 500

#define ECM_HEAD_BYTES 4
#define ECM_ANSWER_BYTES 8

/* The third byte of an answer. */
enum {
    ECM_ANSWERED = 0,
    ECM_SAMPLE_NOT_FINITE = 1, /* a sample is NaN or infinite: no inference, label 0, latency 0 */
    ECM_SCORE_NOT_FINITE = 2   /* a score is: finite samples too large for the model; label 0 */
};

/* samples: the caller's, 4-byte aligned, `bytes` long; its content counts when ecm_protocol_feed or _gap returned 1.
 * bytes: 4 * count of samples, >= 4. filled: 0 .. bytes. head: the last four bytes, the newest lowest. wanted: the head
 * of a frame, in that order. */
typedef struct {
    uint8_t *samples;
    int32_t bytes;
    int32_t filled;
    uint32_t head;
    uint32_t wanted;
    enum { ECM_HUNTING, ECM_FILLING, ECM_DOUBTING } state;
} ecm_protocol;

/* count: samples of a frame, 1 .. 65,535; samples: room for them, which stays the caller's. With more samples the
 * caller sets `wanted` afterwards, as programs/serial.c does. */
void ecm_protocol_open(ecm_protocol *protocol, float *samples, int32_t count);

/* Takes one byte. Returns 1 if `samples` now holds a frame, which stays until the next call; else 0. */
int32_t ecm_protocol_feed(ecm_protocol *protocol, uint8_t byte);

/* Takes the news that the line was quiet for ECM_FRAME_GAP_MS. Returns as ecm_protocol_feed. */
int32_t ecm_protocol_gap(ecm_protocol *protocol);

/* Whether a frame has begun, so that ecm_protocol_gap has to be called when the line falls quiet. */
int32_t ecm_protocol_within_frame(const ecm_protocol *protocol);

/* Whether all `count` (>= 0) float32 at `values` are finite; looks at their bits. */
int32_t ecm_protocol_finite(const float *values, int32_t count);

/* Writes an answer. status: as above; label: 0 or 1; latency_ms: >= 0; answer: room for ECM_ANSWER_BYTES. */
void ecm_protocol_answer(uint8_t *answer, uint8_t status, uint8_t label, float latency_ms);

#ifdef __cplusplus
}
#endif

#endif
