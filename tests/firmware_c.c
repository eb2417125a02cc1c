/* The program around generated models: reads requests from stdin, runs them, writes scores and traces to stdout.
 *
 * request: int32 model, int32 segments, int32 fill, segments * samples float32
 * answer:  for each segment, for each traced tensor int32 number, int32 bytes, the bytes; then int32 -1, int32 bytes,
 *          the scores
 *
 * A translation unit of models defines PART before it includes this file.
 * Samples and scores are allocated to the byte, so that AddressSanitizer sees any access beyond them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

struct model {
    void (*run)(const float *samples, float *scores);
    void (*kill)(int fill);
    int32_t samples;
    int32_t scores;
};

/* Bytes of the arena that a layer may touch; `kept` says that they hold something when it begins. */
struct span {
    int32_t at;
    int32_t size;
    int32_t kept;
};

extern int32_t filling; /* the byte that dead memory is filled with */

static inline void kill_all(void *arena, int32_t size, int fill)
{
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(arena, (size_t)size);
#endif
    memset(arena, fill, (size_t)size);
}

/* Fill everything that holds nothing, and poison what the layer has no business with; `alive` is sorted by place. */
static inline void kill(void *arena, int32_t size, const struct span *alive, int32_t count)
{
    unsigned char *bytes = arena;
    int32_t done = 0;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(bytes, (size_t)size);
#endif
    for (int32_t i = 0; i < count; i++) {
        if (alive[i].kept) {
            if (alive[i].at > done) {
                memset(bytes + done, filling, (size_t)(alive[i].at - done));
            }
            done = alive[i].at + alive[i].size > done ? alive[i].at + alive[i].size : done;
        }
    }
    memset(bytes + done, filling, (size_t)(size - done));
#if defined(__SANITIZE_ADDRESS__)
    done = 0;
    for (int32_t i = 0; i <= count; i++) {
        const int32_t at = i < count ? alive[i].at : size;
        if (at > done) {
            __asan_poison_memory_region(bytes + done, (size_t)(at - done));
        }
        done = i < count && at + alive[i].size > done ? at + alive[i].size : done;
    }
#endif
}

#if !defined(PART) /* what there is once in a program */

int32_t filling;

static inline void put(int32_t number, const void *data, int32_t bytes)
{
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(data, (size_t)bytes);
#endif
    fwrite(&number, 4, 1, stdout);
    fwrite(&bytes, 4, 1, stdout);
    fwrite(data, 1, (size_t)bytes, stdout);
}

void ecm_trace(int layer, const void *data, int bytes);
void ecm_trace(int layer, const void *data, int bytes) { put(layer, data, bytes); }

extern const struct model models[];

static inline int answer(const struct model *model, int32_t segments)
{
    const size_t given = (size_t)model->samples * sizeof(float);
    const size_t wanted = (size_t)model->scores * sizeof(float);
    for (int32_t i = 0; i < segments; i++) {
        float *samples = malloc(given);
        float *scores = malloc(wanted);
        if (!samples || !scores || fread(samples, 1, given, stdin) != given) {
            return 1;
        }
        memset(scores, filling, wanted);
        model->run(samples, scores);
        put(-1, scores, (int32_t)wanted);
        free(samples);
        free(scores);
    }
    return 0;
}

int main(void)
{
    int32_t request[3];
    while (fread(request, sizeof request, 1, stdin) == 1) {
        filling = request[2];
        models[request[0]].kill(filling);
        if (answer(&models[request[0]], request[1])) {
            return 1;
        }
    }
    return 0;
}

#endif
