/* The four functions that a C compiler may call of its own accord, for ports without a C library.
 *
 * Included once, by the port. The empty assembly keeps the compiler from recognising a loop and replacing it by a call
 * to the very function that it is in. Whole words are moved where both ends are aligned, so nothing is unaligned. */
#ifndef ECM_NO_LIBC_H
#define ECM_NO_LIBC_H

#include <stddef.h>
#include <stdint.h>

#define ECM_KEEP_LOOP() __asm__ volatile("" ::: "memory")

typedef uintptr_t __attribute__((may_alias)) ecm_word;

void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *left, const void *right, size_t count);

/* Upwards, from the lowest address: also right for overlapping memory where `to` lies below `from`. */
static inline void ecm_copy_up(unsigned char *to, const unsigned char *from, size_t count)
{
    if ((((uintptr_t)to | (uintptr_t)from) & (sizeof(ecm_word) - 1)) == 0) {
        for (; count >= sizeof(ecm_word); count -= sizeof(ecm_word)) {
            *(ecm_word *)(void *)to = *(const ecm_word *)(const void *)from;
            to += sizeof(ecm_word);
            from += sizeof(ecm_word);
            ECM_KEEP_LOOP();
        }
    }
    for (; count > 0; count--) {
        *to++ = *from++;
        ECM_KEEP_LOOP();
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    ecm_copy_up(to, from, count);
    return to;
}

void *memmove(void *to, const void *from, size_t count)
{
    unsigned char *low = to;
    const unsigned char *high = from;
    if ((uintptr_t)to <= (uintptr_t)from) {
        ecm_copy_up(low, high, count);
        return to;
    }
    while (count-- > 0) {
        low[count] = high[count];
        ECM_KEEP_LOOP();
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    unsigned char *next = to;
    const ecm_word word = (ecm_word)-1 / 255 * (unsigned char)value; /* the byte in every place */
    if (((uintptr_t)to & (sizeof(ecm_word) - 1)) == 0) {
        for (; count >= 4 * sizeof(ecm_word); count -= 4 * sizeof(ecm_word)) {
            for (int i = 0; i < 4; i++) {
                ((ecm_word *)(void *)next)[i] = word;
            }
            next += 4 * sizeof(ecm_word);
            ECM_KEEP_LOOP();
        }
    }
    for (; count > 0; count--) {
        *next++ = (unsigned char)value;
        ECM_KEEP_LOOP();
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t count)
{
    const unsigned char *a = left;
    const unsigned char *b = right;
    for (; count > 0; count--, a++, b++) {
        if (*a != *b) {
            return *a < *b ? -1 : 1;
        }
        ECM_KEEP_LOOP();
    }
    return 0;
}

#endif
