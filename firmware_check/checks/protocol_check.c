/* Feeds the protocol's state machine what a test says, for tests/test_firmware_protocol.py.
 *
 * argv[1]: samples of a frame. Standard input, for ever: 'B' and a byte to feed; 'G', a gap; 'R', start again.
 * Standard output: for each frame 'F' and its samples; for each 'R' an 'R'. The samples lie in memory of exactly their
 * size, so that the address sanitizer sees every byte beyond them. */

#include <stdio.h>
#include <stdlib.h>

#include "ecm_protocol.h"

int main(int argc, char **argv)
{
    const int32_t count = argc > 1 ? (int32_t)atoi(argv[1]) : 0;
    float *samples = count > 0 ? malloc((size_t)count * sizeof(float)) : NULL;
    ecm_protocol protocol;
    int step;
    if (samples == NULL) {
        return 2;
    }
    ecm_protocol_open(&protocol, samples, count);
    while ((step = getchar()) != EOF) {
        int32_t full = 0;
        if (step == 'B') {
            full = ecm_protocol_feed(&protocol, (uint8_t)getchar());
        } else if (step == 'G') {
            full = ecm_protocol_gap(&protocol);
        } else {
            ecm_protocol_open(&protocol, samples, count);
            putchar('R');
        }
        if (full) {
            putchar('F');
            fwrite(samples, sizeof(float), (size_t)count, stdout);
        }
    }
    free(samples);
    return 0;
}
