/* The board: a byte stream, a stopwatch and an end. Everything else of a program is the same C on every board.
 *
 * One of port/<board>.c implements this; `main` calls ecm_port_open first and nothing may be called before it. One
 * caller at a time: no function here is re-entrant. None allocates, and none keeps a pointer that it was given. */
#ifndef ECM_PORT_H
#define ECM_PORT_H

#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the protocols are little-endian and samples are used where they arrive: a big-endian board has to swap them"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* As `timeout_ms`: wait until something happens. */
#define ECM_PORT_FOREVER (-1)

/* Sets up clocks and the line: 115200 baud, 8 data bits, no parity, 1 stop bit, no flow control, every byte as it is.
 * argc, argv: those of main. On an operating system argv[1], if there, names the serial device, and standard input and
 *   output are the line without it; bare metal ignores both, so its start-up may call main with anything.
 * Returns 0, or -1 where the line cannot be opened. */
int32_t ecm_port_open(int argc, char **argv);

/* Reads what has come, waiting for the first byte.
 * bytes: room for `capacity` of them, owned by the caller; capacity: 1 .. INT32_MAX.
 * timeout_ms: 0 .. 40,000 (the longest that every board can tell), or ECM_PORT_FOREVER.
 * Returns how many were read, 1 .. capacity; 0 if none came in time; -1 if the line is closed or broken for good.
 * What a board's receiver lost or garbled is not reported: the protocol finds its way back by itself. */
int32_t ecm_port_read(uint8_t *bytes, int32_t capacity, int32_t timeout_ms);

/* Writes all of the `count` (>= 0) bytes, waiting as long as it takes. Returns count, or -1 if the line is closed. */
int32_t ecm_port_write(const uint8_t *bytes, int32_t count);

/* Starts the stopwatch again from 0. It counts a monotonic clock. */
void ecm_port_clock_start(void);

/* Milliseconds since ecm_port_clock_start, >= 0; right up to 40 s, to a microsecond or better at up to 10 ms. */
float ecm_port_clock_ms(void);

/* Says one line to people: standard error, or the serial line itself where there is nothing else.
 * text: `count` bytes, the line's end included. */
void ecm_port_note(const char *text, int32_t count);

/* Ends the program; does not return. An operating system gets the code, 0 .. 125; bare metal halts and sleeps. */
#if defined(__GNUC__)
__attribute__((noreturn))
#endif
void ecm_port_exit(int32_t code);

#ifdef __cplusplus
}
#endif

#endif
