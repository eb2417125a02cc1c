/* Port for LoongArch64 Linux without a C library: static, a few kilobytes, raw system calls.
 *
 * The 2K0500 runs a 5.10 kernel of the "old world", whose user-space ABI differs from mainline's (5.19 on, the "new
 * world") in the size of a signal set (128 against 64 signals), in what hangs on it (rt_sig*, ucontext, the set of
 * pselect6 and ppoll) and in fstat, newfstatat, getrlimit and setrlimit, which only the old one has. Programs linked
 * to a libc of one world do not start on the other. This port uses none of that: the calls below have the generic
 * numbers, arguments and structures in both, and ppoll is given no signal set, in which case the kernel does not look
 * at the set's size. So one image runs on both kinds of kernel and under qemu-loongarch64. */

#include <stddef.h>
#include <stdint.h>

#include "ecm_port.h"
#include "no_libc.h"

/* include/uapi/asm-generic/unistd.h */
enum {
    SYS_IOCTL = 29,
    SYS_OPENAT = 56,
    SYS_READ = 63,
    SYS_WRITE = 64,
    SYS_PPOLL = 73,
    SYS_EXIT = 93,
    SYS_CLOCK_GETTIME = 113
};

/* include/uapi/asm-generic/{fcntl,errno-base,poll,ioctls,termbits}.h and linux/time.h */
enum { AT_CWD = -100, O_READ_WRITE = 02, O_NO_TERMINAL = 0400, E_INTERRUPTED = 4, E_NO_TERMINAL = 25 };
enum { POLL_IN = 1, CLOCK_MONOTONIC_ID = 1, TTY_GET = 0x5401, TTY_SET = 0x5402 };
enum { BAUD_115200 = 010002, BITS_8 = 060, RECEIVE = 0200, LOCAL = 04000, C_TIME = 5, C_MIN = 6 };

struct kernel_termios {
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t line, cc[19];
};
struct kernel_timespec {
    int64_t seconds, nanoseconds;
};
struct kernel_pollfd {
    int32_t fd;
    int16_t events, revents;
};

static int32_t line_in;      /* 0, standard input */
static int32_t line_out = 1; /* standard output */
static struct kernel_timespec started;

static long system_call(long number, long a, long b, long c, long d, long e)
{
    register long a7 __asm__("$a7") = number;
    register long a0 __asm__("$a0") = a;
    register long a1 __asm__("$a1") = b;
    register long a2 __asm__("$a2") = c;
    register long a3 __asm__("$a3") = d;
    register long a4 __asm__("$a4") = e;
    __asm__ volatile("syscall 0"
                     : "+r"(a0)
                     : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4)
                     : "$t0", "$t1", "$t2", "$t3", "$t4", "$t5", "$t6", "$t7", "$t8", "memory");
    return a0;
}

/* Raw 115200 8N1: no echo, no translation, no flow control, the modem's wires ignored. A file that is no terminal is
 * left as it is. */
static int32_t make_raw(int32_t line)
{
    struct kernel_termios settings;
    const long got = system_call(SYS_IOCTL, line, TTY_GET, (long)&settings, 0, 0);
    if (got != 0) {
        return got == -E_NO_TERMINAL ? 0 : -1;
    }
    settings.iflag = 0;
    settings.oflag = 0;
    settings.lflag = 0;
    settings.cflag = BAUD_115200 | BITS_8 | RECEIVE | LOCAL;
    settings.cc[C_TIME] = 0;
    settings.cc[C_MIN] = 1;
    return system_call(SYS_IOCTL, line, TTY_SET, (long)&settings, 0, 0) == 0 ? 0 : -1;
}

int32_t ecm_port_open(int argc, char **argv)
{
    if (argc > 1) {
        line_in = (int32_t)system_call(SYS_OPENAT, AT_CWD, (long)argv[1], O_READ_WRITE | O_NO_TERMINAL, 0, 0);
        line_out = line_in;
        if (line_in < 0 || make_raw(line_in) != 0) {
            return -1;
        }
    }
    return 0;
}

int32_t ecm_port_read(uint8_t *bytes, int32_t capacity, int32_t timeout_ms)
{
    struct kernel_pollfd wait = {line_in, POLL_IN, 0};
    struct kernel_timespec limit = {timeout_ms / 1000, (int64_t)(timeout_ms % 1000) * 1000000};
    long count;
    if (timeout_ms >= 0) {
        do { /* Linux leaves in `limit` what remains of it */
            count = system_call(SYS_PPOLL, (long)&wait, 1, (long)&limit, 0, 0);
        } while (count == -E_INTERRUPTED);
        if (count <= 0) {
            return (int32_t)(count < 0 ? -1 : 0);
        }
    }
    do {
        count = system_call(SYS_READ, line_in, (long)bytes, capacity, 0, 0);
    } while (count == -E_INTERRUPTED);
    return (int32_t)(count > 0 ? count : -1);
}

int32_t ecm_port_write(const uint8_t *bytes, int32_t count)
{
    int32_t done = 0;
    while (done < count) {
        const long written = system_call(SYS_WRITE, line_out, (long)(bytes + done), count - done, 0, 0);
        if (written > 0) {
            done += (int32_t)written;
        } else if (written != -E_INTERRUPTED) {
            return -1;
        }
    }
    return count;
}

void ecm_port_clock_start(void) { system_call(SYS_CLOCK_GETTIME, CLOCK_MONOTONIC_ID, (long)&started, 0, 0, 0); }

float ecm_port_clock_ms(void)
{
    struct kernel_timespec now;
    system_call(SYS_CLOCK_GETTIME, CLOCK_MONOTONIC_ID, (long)&now, 0, 0, 0);
    const int64_t seconds = now.seconds - started.seconds;
    return (float)(seconds * 1000000000 + (now.nanoseconds - started.nanoseconds)) * 1e-6f;
}

void ecm_port_note(const char *text, int32_t count) { system_call(SYS_WRITE, 2, (long)text, count, 0, 0); }

void ecm_port_exit(int32_t code)
{
    for (;;) {
        system_call(SYS_EXIT, code, 0, 0, 0, 0);
    }
}

int main(int argc, char **argv);
void ecm_start(const long *stack);

/* The kernel enters at _start with argc, argv and the rest on the stack, which it aligned to 16 bytes. There is no
 * caller to return to. */
__asm__(".text\n"
        ".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    move $ra, $zero\n"
        "    move $fp, $zero\n"
        "    move $a0, $sp\n"
        "    bl ecm_start\n"
        ".size _start, .-_start\n");

void ecm_start(const long *stack) { ecm_port_exit(main((int)stack[0], (char **)(stack + 1))); }
