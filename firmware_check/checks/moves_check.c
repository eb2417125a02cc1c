/* Holds the port's own memory functions against plain loops, at every distance from alignment, overlaps included. */
#define memcpy ecm_memcpy
#define memmove ecm_memmove
#define memset ecm_memset
#define memcmp ecm_memcmp
#include "no_libc.h"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#include <stdio.h>

enum { SIZE = 160, WORDS = SIZE / 8 };

static union {
    uint64_t aligned[WORDS];
    unsigned char bytes[SIZE];
} tried, wanted, before;

static int differ(void)
{
    for (int i = 0; i < SIZE; i++) {
        if (tried.bytes[i] != wanted.bytes[i]) {
            return 1;
        }
    }
    return 0;
}

static int check(int to, int from, int count)
{
    for (int i = 0; i < SIZE; i++) {
        tried.bytes[i] = wanted.bytes[i] = before.bytes[i] = (unsigned char)(i * 37 + 1);
    }
    for (int i = 0; i < count; i++) {
        wanted.bytes[to + i] = before.bytes[from + i];
    }
    if (ecm_memmove(tried.bytes + to, tried.bytes + from, (size_t)count) != tried.bytes + to || differ()) {
        return 1;
    }
    (void)ecm_memcpy(tried.bytes + to, before.bytes + from, (size_t)count);
    if (differ() || ecm_memcmp(tried.bytes + to, before.bytes + from, (size_t)count) != 0) {
        return 1;
    }
    for (int i = 0; i < count; i++) {
        wanted.bytes[to + i] = (unsigned char)(200 + count);
    }
    (void)ecm_memset(tried.bytes + to, 200 + count, (size_t)count);
    return differ();
}

int main(void)
{
    for (int from = 0; from < 20; from++) {
        for (int to = 0; to < 40; to++) {
            for (int count = 0; count < 100; count++) {
                if (check(to, from, count)) {
                    printf("%d bytes from %d to %d\n", count, from, to);
                    return 1;
                }
            }
        }
    }
    return 0;
}
