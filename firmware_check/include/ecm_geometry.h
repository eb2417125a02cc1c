/* The structs that describe a layer to its kernel. They are `static const` at the call, so that the compiler knows
 * every member and makes one specialised loop of the kernel.
 *
 * Distances are in elements of the array that they go through. All memory is the caller's: a kernel reads its input and
 * its constants, writes its output and the scratch memory that it is given, and keeps no pointer. */
#ifndef ECM_GEOMETRY_H
#define ECM_GEOMETRY_H

#include "ecm_base.h"

/* The windows of a convolution along time, of one line of a picture, or of a fully connected layer (one row, one
 * segment).
 *
 * Row t is made of x[t * x_step + q * repeat_step + s * segment_step + i] for q <= repeats, s < segments, i < segment:
 * a window of K taps over C channels is one segment of K * C elements without dilation, and K segments of C elements
 * with it. In a picture each row of a kernel is a segment; with dilation or groups each tap is one, and the taps of a
 * row come again for the next. */
typedef struct {
    int32_t rows;         /* T of the output, >= 1 */
    int32_t x_step;       /* from one row's window to the next, >= 0 */
    int32_t segments;     /* runs of elements side by side, >= 1 */
    int32_t segment;      /* elements of each run, >= 1 */
    int32_t segment_step; /* from one run to the next; any value where there is one */
    int32_t outputs;      /* O, >= 1: as many of each row of y are written */
    int32_t y_step;       /* from one row of y to the next, >= outputs */
    int32_t repeats;      /* how often all segments come again, >= 0; not named at a call where they do not */
    int32_t repeat_step;  /* from one time to the next; any value where repeats is 0 */
} ecm_windows;

/* The windows of a depthwise convolution along time or of one line of a picture: output o of row t is made of
 * x[q * repeat_step + (t * stride + k * dilation) * time_step + o / multiplier] for q <= repeats, k < taps. */
typedef struct {
    int32_t rows;        /* T of the output, >= 1 */
    int32_t stride;      /* time steps from one row's window to the next, >= 1 */
    int32_t taps;        /* K, >= 1; those of one line */
    int32_t dilation;    /* time steps from one tap to the next, >= 1 */
    int32_t time_step;   /* elements of x from one time step to the next, >= channels */
    int32_t outputs;     /* channels times multiplier */
    int32_t multiplier;  /* outputs of a channel, >= 1 */
    int32_t y_step;      /* elements from one row of y to the next, >= outputs */
    int32_t repeats;     /* how often all taps come again, in another line, >= 0; not named along time */
    int32_t repeat_step; /* elements of x from one time to the next; any value where repeats is 0 */
} ecm_channels;

/* What is computed together. It changes how many sums advance side by side, never an answer. A last tile that does not
 * fill up is moved back to end at the last row or output. */
typedef struct {
    int32_t rows;     /* 1 ... the kernel's limit, <= the layer's rows */
    int32_t outputs;  /* 1 ... the kernel's limit */
    int32_t unroll;   /* products of a sum in one turn of the loop; the length of a segment is a multiple of it */
    int32_t backward; /* 1: from the last row back, for a y that lies above its x; else 0 */
} ecm_tile;

/* The first row of the tile whose turn it is. Backward the last tile comes first, so that an output that lies above its
 * input overwrites nothing that is still to be read. */
ECM_INLINE int32_t ecm_tile_row(
    int32_t done, /* rows of the tiles before it, 0 ... rows - 1 */
    int32_t rows, /* of the layer, >= tile.rows */
    const ecm_tile *tile)
{
    const int32_t t = done < rows - tile->rows ? done : rows - tile->rows;
    return tile->backward ? rows - tile->rows - t : t;
}

#endif
