/* Drives ecm_math.h for tests/test_firmware_math.py and benchmarks/test_math.py.
 *
 * For each function: apply_NAME(x[n], y[n], n) and worst_NAME(first, last, stride, relative_to_x, &where), the largest
 * error among the inputs whose bits are first, first + stride ... <= last, against float64: in ULP of the result, or in
 * 2^-24 |x| + 2^-149. all_hashes says what every function gives, to compare cores: with -DECM_HASHES=stride this is a
 * program for Linux on another core, without libc, that writes them. */
#ifndef ECM_HASHES
#include <math.h>
#endif

#include "ecm_math.h"
#include "ecm_rounding.h"
#include "ecm_trigonometry.h"

static float eluf(float x) { return ecm_eluf(x, 0.5f); }
static float swishf(float x) { return ecm_swishf(x, 1.702f); }
static float hardsigmoidf(float x) { return ecm_hardsigmoidf(x, 0.2f, 0.5f); }
static float remainder_of_tenth(float x) { return ecm_fmodf(x, 0.1f); }
static float square(float x) { return ecm_powf(x, 2.0f); }
static float cube_root_down(float x) { return ecm_powf(x, -0.333333343f); }
static float power_of_two(float x) { return ecm_powf(1.9f, x); }

#define FUNCTIONS(F)                                                        \
    F(expf, ecm_expf, exp(x))                                               \
    F(sigmoidf, ecm_sigmoidf, 1 / (1 + exp(-x)))                            \
    F(siluf, ecm_siluf, x / (1 + exp(-x)))                                  \
    F(swishf, swishf, x / (1 + exp(-(double)1.702f * x)))                   \
    F(tanhf, ecm_tanhf, tanh(x))                                            \
    F(erff, ecm_erff, erf(x))                                               \
    F(geluf, ecm_geluf, x / 2 * erfc(-x * 0.707106781186547524400844))      \
    F(gelu_tanhf, ecm_gelu_tanhf, gelu_tanh(x))                             \
    F(logf, ecm_logf, log(x))                                               \
    F(expm1f, ecm_expm1f, expm1(x))                                         \
    F(eluf, eluf, x < 0 ? 0.5 * expm1(x) : x)                               \
    F(softplusf, ecm_softplusf, x > 0 ? x + log1p(exp(-x)) : log1p(exp(x))) \
    F(sqrtf, ecm_sqrtf, sqrt(x))                                            \
    F(reciprocalf, ecm_reciprocalf, 1 / x)                                  \
    F(rint_even, ecm_rint_even, nearbyint(x))                               \
    F(hardsigmoidf, hardsigmoidf, fmin(fmax((double)0.2f * x + 0.5, 0), 1)) \
    F(hardswishf, ecm_hardswishf, x *fmin(fmax(x / 6 + 0.5, 0), 1))         \
    F(square, square, pow(x, 2))                                            \
    F(cube_root_down, cube_root_down, pow(x, (double)-0.333333343f))        \
    F(power_of_two, power_of_two, pow((double)1.9f, x))                     \
    F(floorf, ecm_floorf, floor(x))                                         \
    F(ceilf, ecm_ceilf, ceil(x))                                            \
    F(truncf, ecm_truncf, trunc(x))                                         \
    F(remainder_of_tenth, remainder_of_tenth, fmod(x, (double)0.1f))        \
    F(sinf, ecm_sinf, sin(x))                                               \
    F(cosf, ecm_cosf, cos(x))                                               \
    F(tanf, ecm_tanf, tan(x))                                               \
    F(asinf, ecm_asinf, asin(x))                                            \
    F(acosf, ecm_acosf, acos(x))                                            \
    F(atanf, ecm_atanf, atan(x))                                            \
    F(sinhf, ecm_sinhf, sinh(x))                                            \
    F(coshf, ecm_coshf, cosh(x))                                            \
    F(asinhf, ecm_asinhf, asinh(x))                                         \
    F(acoshf, ecm_acoshf, acosh(x))                                         \
    F(atanhf, ecm_atanhf, atanh(x))

#ifndef ECM_HASHES
static double gelu_tanh(double x)
{
    return x / (1 + exp(-2 * 0.797884560802865355879892 * (x + 0.044715 * x * x * x)));
}

/* The distance between the float32 values around `value`, which is within their range. */
static double ulp(double value)
{
    int exponent;
    frexp(value, &exponent);
    return ldexp(1, exponent < -125 ? -149 : exponent - 24);
}

/* Error of y in ULP of `exact`, or in 2^-24 |x| + 2^-149; infinities count as 2^128; a NaN on one side is infinite. */
static double error_of(float x, float y, double exact, int relative_to_x)
{
    if (isnan(exact) || isnan(y)) {
        return isnan(exact) && isnan(y) ? 0 : INFINITY;
    }
    double limit = 0x1p+128;
    double found = isinf(y) ? copysign(limit, y) : y;
    exact = fabs(exact) > limit ? copysign(limit, exact) : exact;
    double unit = relative_to_x ? fabs((double)x) * 0x1p-24 + 0x1p-149 : ulp(fmin(fabs(exact), 0x1.fffffep+127));
    return fabs(found - exact) / unit;
}

float power(float x, float y) { return ecm_powf(x, y); }

double power_error(float x, float y) { return error_of(x, ecm_powf(x, y), pow(x, y), 0); }

#define DRIVE(name, function, exact)                                                                        \
    void apply_##name(const float *x, float *y, int32_t n)                                                  \
    {                                                                                                       \
        for (int32_t i = 0; i < n; i++) {                                                                   \
            y[i] = function(x[i]);                                                                          \
        }                                                                                                   \
    }                                                                                                       \
    double worst_##name(uint32_t first, uint32_t last, uint32_t stride, int relative_to_x, uint32_t *where) \
    {                                                                                                       \
        double worst = -1;                                                                                  \
        for (uint64_t bits = first; bits <= last; bits += stride) {                                         \
            float given = ecm_float((uint32_t)bits);                                                        \
            double x = given;                                                                               \
            double error = error_of(given, function(given), exact, relative_to_x);                          \
            if (error > worst) {                                                                            \
                worst = error;                                                                              \
                *where = (uint32_t)bits;                                                                    \
            }                                                                                               \
        }                                                                                                   \
        return worst;                                                                                       \
    }

FUNCTIONS(DRIVE)
#endif

#define HASH(name, function, exact)                                           \
    static uint32_t hash_##name(uint32_t stride)                              \
    {                                                                         \
        uint32_t hash = 2166136261u;                                          \
        for (uint64_t bits = 0; bits <= 0xffffffffu; bits += stride) {        \
            float y = function(ecm_float((uint32_t)bits));                    \
            hash = (hash ^ (y == y ? ecm_bits(y) : 0x7fc00000u)) * 16777619u; \
        }                                                                     \
        return hash;                                                          \
    }

FUNCTIONS(HASH)

/* hashes[35], of the results for every `stride`th input; all NaNs count as the same one. Returns how many there are. */
int32_t all_hashes(uint32_t stride, uint32_t *hashes)
{
    int32_t count = 0;
#define STORE(name, function, exact) hashes[count++] = hash_##name(stride);
    FUNCTIONS(STORE)
    return count;
}

#ifdef ECM_HASHES
/* Linux's call `number`. */
static long call(long number, long first, const void *second, long third)
{
#if defined(__loongarch__)
    register long a7 __asm__("$a7") = number;
    register long a0 __asm__("$a0") = first;
    register const void *a1 __asm__("$a1") = second;
    register long a2 __asm__("$a2") = third;
    __asm__ volatile("syscall 0"
                     : "+r"(a0)
                     : "r"(a7), "r"(a1), "r"(a2)
                     : "memory", "$t0", "$t1", "$t2", "$t3", "$t4", "$t5", "$t6", "$t7", "$t8");
    return a0;
#else
    register long r7 __asm__("r7") = number;
    register long r0 __asm__("r0") = first;
    register const void *r1 __asm__("r1") = second;
    register long r2 __asm__("r2") = third;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
    return r0;
#endif
}

#if defined(__loongarch__)
enum { WRITE = 64, EXIT = 93 };
#else
enum { WRITE = 4, EXIT = 1 };
#endif

void _start(void)
{
    uint32_t hashes[64];
    int32_t count = all_hashes(ECM_HASHES, hashes);
    call(WRITE, 1, hashes, 4L * count);
    call(EXIT, 0, hashes, 0);
}
#endif
