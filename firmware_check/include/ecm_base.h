/* What every generated file and kernel builds on. C99, no libc.
 *
 * Dimension letters: T time steps, C channels of one step, O output channels, K kernel taps, n products of one sum.
 * Activations are time-major: step t, channel c lies at [t * C + c], so that the window of a convolution without
 * dilation is one run of K * C values. Of a picture each row lies so, and the rows lie one behind the other, with their
 * padding between them where a convolution wants some.
 *
 * Floating point: every multiply-add is an explicit fmaf, and nothing else may be contracted or reordered
 * (-ffp-contract=off, no -ffast-math): the answers are the same to the bit on every core and with every compiler.
 */
#ifndef ECM_BASE_H
#define ECM_BASE_H

#include <stdint.h>

#if defined(__clang__)
#define ECM_UNROLL _Pragma("clang loop unroll(full)")
#define ECM_UNROLL_4 _Pragma("clang loop unroll_count(4)")
#elif defined(__GNUC__)
#define ECM_UNROLL _Pragma("GCC unroll 80")
#define ECM_UNROLL_4 _Pragma("GCC unroll 4")
#else
#define ECM_UNROLL
#define ECM_UNROLL_4
#endif

/* GCC 12 takes a function for one without effects, and drops its calls, where strength reduction has made
 * `arena - 4 * arena + 4 * i` of an address; seen at -O1 and above. `noipa` keeps it from concluding anything. */
#if defined(__clang__)
#define ECM_NOINLINE __attribute__((noinline, unused))
#elif defined(__GNUC__)
#define ECM_NOINLINE __attribute__((noipa, unused))
#else
#define ECM_NOINLINE
#endif

#if defined(__GNUC__) /* clang says so too */
/* Loads stay where they are written: in straight code the compiler would move all of them to the front, and spill. */
#define ECM_KEEP_LOADS() __asm__ volatile("" ::: "memory")
/* A pointer of which the compiler knows nothing more: what is read through it has a short offset from it, and is not
 * reached from the start of an arena. */
#define ECM_KEEP_POINTER(p) __asm__("" : "+r"(p))
/* A sum is done here: the compiler would finish it where it is used, behind branches, and keep all that it is made of. */
#define ECM_KEEP_SUM(sum) __asm__ volatile("" : "+r"(sum))
#define ECM_INLINE static inline __attribute__((always_inline, unused))
#define ECM_ALIGNED __attribute__((aligned(8)))
#define ecm_fmaf __builtin_fmaf
#else
#include <math.h>
#define ECM_KEEP_LOADS() ((void)0)
#define ECM_KEEP_POINTER(p) ((void)0)
#define ECM_KEEP_SUM(sum) ((void)0)
#define ECM_INLINE static inline
#define ECM_ALIGNED
#define ecm_fmaf fmaf
#endif

#endif
