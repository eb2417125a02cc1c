/* Integers of 4 bits, two a byte. */
#ifndef ECM_NIBBLE_H
#define ECM_NIBBLE_H

#include "ecm_base.h"

/* The one at a place, 0 ... 15: the lower half of a byte comes first. */
ECM_INLINE int32_t ecm_nibble(
    const uint8_t *nibbles, /* two a byte */
    int32_t place)          /* >= 0 */
{
    return (nibbles[place >> 1] >> ((place & 1) * 4)) & 15;
}

#endif
