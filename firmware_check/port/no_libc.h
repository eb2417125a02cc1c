/* The four functions that a C compiler may call of its own accord, for ports without a C library.
 *
 * Included once, by the port. The empty assembly keeps the compiler from recognising a loop and replacing it by a call
 * to the very function that it is in. Words, or halves of them, are moved where both addresses are equally far from
 * being aligned to one, bytes up to there: nothing is unaligned. */
#ifndef ECM_NO_LIBC_H
#define ECM_NO_LIBC_H

#include <stddef.h>
#include <stdint.h>

#define ECM_KEEP_LOOP() __asm__ volatile("" ::: "memory")

typedef uintptr_t __attribute__((may_alias)) ecm_word;
#if UINTPTR_MAX > 0xffffffffu
typedef uint32_t __attribute__((may_alias)) ecm_half_word; /* a float */
#else
typedef uint16_t __attribute__((may_alias)) ecm_half_word;
#endif

void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *left, const void *right, size_t count);

/* Bytes that can be moved at once: a word, half of one, or 1, where both addresses are that far from being aligned. */
static inline size_t ecm_unit(uintptr_t to, uintptr_t from)
{
    if (((to ^ from) & (sizeof(ecm_word) - 1)) == 0) {
        return sizeof(ecm_word);
    }
    return ((to ^ from) & (sizeof(ecm_half_word) - 1)) == 0 ? sizeof(ecm_half_word) : 1;
}

/* Upwards, from the lowest address: also right for overlapping memory where `to` lies below `from`. */
static inline void ecm_copy_up(unsigned char *to, const unsigned char *from, size_t count)
{
    const size_t unit = ecm_unit((uintptr_t)to, (uintptr_t)from);
    for (; count > 0 && ((uintptr_t)to & (unit - 1)) != 0; count--) {
        *to++ = *from++;
        ECM_KEEP_LOOP();
    }
    if (unit == sizeof(ecm_word)) {
        for (; count >= sizeof(ecm_word); count -= sizeof(ecm_word)) {
            *(ecm_word *)(void *)to = *(const ecm_word *)(const void *)from;
            to += sizeof(ecm_word);
            from += sizeof(ecm_word);
            ECM_KEEP_LOOP();
        }
    } else if (unit == sizeof(ecm_half_word)) {
        for (; count >= sizeof(ecm_half_word); count -= sizeof(ecm_half_word)) {
            *(ecm_half_word *)(void *)to = *(const ecm_half_word *)(const void *)from;
            to += sizeof(ecm_half_word);
            from += sizeof(ecm_half_word);
            ECM_KEEP_LOOP();
        }
    }
    for (; count > 0; count--) {
        *to++ = *from++;
        ECM_KEEP_LOOP();
    }
}

/* Downwards, from the highest address: for overlapping memory where `to` lies above `from`. Units that lie alike are at
 * least one unit apart, so that none is overwritten before it was read. */
static inline void ecm_copy_down(unsigned char *to, const unsigned char *from, size_t count)
{
    const size_t unit = ecm_unit((uintptr_t)to, (uintptr_t)from);
    for (; count > 0 && ((uintptr_t)(to + count) & (unit - 1)) != 0; count--) {
        to[count - 1] = from[count - 1];
        ECM_KEEP_LOOP();
    }
    if (unit == sizeof(ecm_word)) {
        for (; count >= sizeof(ecm_word); count -= sizeof(ecm_word)) {
            const size_t at = count - sizeof(ecm_word);
            *(ecm_word *)(void *)(to + at) = *(const ecm_word *)(const void *)(from + at);
            ECM_KEEP_LOOP();
        }
    } else if (unit == sizeof(ecm_half_word)) {
        for (; count >= sizeof(ecm_half_word); count -= sizeof(ecm_half_word)) {
            const size_t at = count - sizeof(ecm_half_word);
            *(ecm_half_word *)(void *)(to + at) = *(const ecm_half_word *)(const void *)(from + at);
            ECM_KEEP_LOOP();
        }
    }
    for (; count > 0; count--) {
        to[count - 1] = from[count - 1];
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
    if ((uintptr_t)to <= (uintptr_t)from) {
        ecm_copy_up(to, from, count);
    } else {
        ecm_copy_down(to, from, count);
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    unsigned char *next = to;
    const ecm_word word = (ecm_word)-1 / 255 * (unsigned char)value; /* the byte in every place */
    for (; count > 0 && ((uintptr_t)next & (sizeof(ecm_word) - 1)) != 0; count--) {
        *next++ = (unsigned char)value;
        ECM_KEEP_LOOP();
    }
    for (; count >= 4 * sizeof(ecm_word); count -= 4 * sizeof(ecm_word)) {
        for (int i = 0; i < 4; i++) {
            ((ecm_word *)(void *)next)[i] = word;
        }
        next += 4 * sizeof(ecm_word);
        ECM_KEEP_LOOP();
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
