/* Port for any POSIX system with a C library: standard input and output, or a serial device. */

#define _DEFAULT_SOURCE 1 /* CRTSCTS and B115200 are BSD's */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "ecm_port.h"

static int line_in = STDIN_FILENO;
static int line_out = STDOUT_FILENO;
static struct timespec started;

/* Raw 115200 8N1: no echo, no translation, no flow control, the modem's wires ignored. */
static int32_t make_raw(int line)
{
    struct termios settings;
    if (tcgetattr(line, &settings) != 0) {
        return -1;
    }
    settings.c_iflag = 0;
    settings.c_oflag = 0;
    settings.c_lflag = 0;
    settings.c_cflag = CS8 | CREAD | CLOCAL;
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    if (cfsetispeed(&settings, B115200) != 0 || cfsetospeed(&settings, B115200) != 0) {
        return -1;
    }
    return tcsetattr(line, TCSANOW, &settings) == 0 ? 0 : -1;
}

int32_t ecm_port_open(int argc, char **argv)
{
    if (argc > 1) {
        line_in = line_out = open(argv[1], O_RDWR | O_NOCTTY);
        if (line_in < 0 || (isatty(line_in) && make_raw(line_in) != 0)) {
            return -1;
        }
    }
    return 0;
}

int32_t ecm_port_read(uint8_t *bytes, int32_t capacity, int32_t timeout_ms)
{
    struct pollfd wait = {line_in, POLLIN, 0};
    ssize_t count;
    int ready;
    do {
        ready = poll(&wait, 1, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0) {
        return ready;
    }
    do {
        count = read(line_in, bytes, (size_t)capacity);
    } while (count < 0 && errno == EINTR);
    return count > 0 ? (int32_t)count : -1;
}

int32_t ecm_port_write(const uint8_t *bytes, int32_t count)
{
    int32_t done = 0;
    while (done < count) {
        const ssize_t written = write(line_out, bytes + done, (size_t)(count - done));
        if (written > 0) {
            done += (int32_t)written;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return count;
}

void ecm_port_clock_start(void) { clock_gettime(CLOCK_MONOTONIC, &started); }

float ecm_port_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t seconds = (int64_t)now.tv_sec - (int64_t)started.tv_sec;
    return (float)(seconds * 1000000000 + ((int64_t)now.tv_nsec - (int64_t)started.tv_nsec)) * 1e-6f;
}

void ecm_port_note(const char *text, int32_t count)
{
    if (write(STDERR_FILENO, text, (size_t)count) < 0) {
        return; /* nobody is there to be told */
    }
}

void ecm_port_exit(int32_t code) { exit(code); }
