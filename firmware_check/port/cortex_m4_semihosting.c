/* Port for tests and counts of a Cortex-M in an emulator: the line is the emulator's own standard input and output,
 * reached by semihosting (Arm's Semihosting for AArch32 and AArch64, section 6), which moves a segment in one call where a UART
 * moves a byte. Needs `-semihosting-config enable=on,target=native`; on a board without a debugger it faults. */

#include <stdint.h>

#include "ecm_port.h"
#include "no_libc.h"

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_CLOCK = 0x10, SYS_EXIT_EXTENDED = 0x20 };
enum { MODE_READ = 0, MODE_WRITE = 4, APPLICATION_EXIT = 0x20026 };
#define MS_PER_TICK 10.0f

static int32_t line_in = -1;
static int32_t line_out = -1;
static int32_t started;

static int32_t host_call(int32_t operation, const void *arguments)
{
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static int32_t open_console(int32_t mode)
{
    static const char name[] = ":tt";
    const uint32_t arguments[3] = {(uint32_t)(uintptr_t)name, (uint32_t)mode, sizeof name - 1};
    return host_call(SYS_OPEN, arguments);
}

int32_t ecm_port_open(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    line_in = open_console(MODE_READ);
    line_out = open_console(MODE_WRITE);
    return line_in >= 0 && line_out >= 0 ? 0 : -1;
}

/* Waits for ever, whatever the time-out: the batch program gives none. */
int32_t ecm_port_read(uint8_t *bytes, int32_t capacity, int32_t timeout_ms)
{
    const uint32_t arguments[3] = {(uint32_t)line_in, (uint32_t)(uintptr_t)bytes, (uint32_t)capacity};
    const int32_t missing = host_call(SYS_READ, arguments);
    (void)timeout_ms;
    return missing >= 0 && missing < capacity ? capacity - missing : -1;
}

int32_t ecm_port_write(const uint8_t *bytes, int32_t count)
{
    const uint32_t arguments[3] = {(uint32_t)line_out, (uint32_t)(uintptr_t)bytes, (uint32_t)count};
    return host_call(SYS_WRITE, arguments) == 0 ? count : -1;
}

void ecm_port_clock_start(void) { started = host_call(SYS_CLOCK, 0); }

float ecm_port_clock_ms(void) { return (float)(host_call(SYS_CLOCK, 0) - started) * MS_PER_TICK; }

void ecm_port_note(const char *text, int32_t count)
{
    (void)text;
    (void)count;
}

void ecm_port_exit(int32_t code)
{
    const uint32_t arguments[2] = {APPLICATION_EXIT, (uint32_t)code};
    for (;;) {
        host_call(SYS_EXIT_EXTENDED, arguments);
    }
}
