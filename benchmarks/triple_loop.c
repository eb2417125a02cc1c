/* The demo net as one would write it first: three loops a layer, channels first, for `-O3` to do its best with. */
#include <stddef.h>

static void convolve(
    const float *x,
    size_t channels,
    size_t steps,
    const float *w,
    const float *b,
    size_t outputs,
    size_t taps,
    float *y)
{
    const size_t rows = (steps - taps) / 2 + 1;
    for (size_t o = 0; o < outputs; o++) {
        for (size_t t = 0; t < rows; t++) {
            float sum = b[o];
            for (size_t c = 0; c < channels; c++) {
                for (size_t k = 0; k < taps; k++) {
                    sum += x[c * steps + 2 * t + k] * w[(o * channels + c) * taps + k];
                }
            }
            y[o * rows + t] = sum > 0.0f ? sum : 0.0f;
        }
    }
}

static void connect(const float *x, size_t inputs, const float *w, const float *b, size_t outputs, float *y)
{
    for (size_t o = 0; o < outputs; o++) {
        float sum = b[o];
        for (size_t i = 0; i < inputs; i++) {
            sum += x[i] * w[o * inputs + i];
        }
        y[o] = sum;
    }
}

/* weights: w0, b0, w1, b1, … w6, b6 as ONNX lays them out */
void triple_loop_run(const float *samples, const float *const *weights, float *scores)
{
    static float a[3 * 623], b[5 * 310];
    convolve(samples, 1, 1250, weights[0], weights[1], 3, 6, a);
    convolve(a, 3, 623, weights[2], weights[3], 5, 5, b);
    convolve(b, 5, 310, weights[4], weights[5], 10, 4, a);
    convolve(a, 10, 154, weights[6], weights[7], 20, 4, b);
    convolve(b, 20, 76, weights[8], weights[9], 20, 4, a);
    connect(a, 740, weights[10], weights[11], 10, b);
    connect(b, 10, weights[12], weights[13], 2, scores);
}
