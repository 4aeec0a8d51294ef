/* Both types for one instruction set, whose source defines VECTOR_BYTES. */

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "step.h"

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

#define AT(type, address) ((type *)(intptr_t)(address))

typedef float floats __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef int32_t ints __attribute__((vector_size(VECTOR_BYTES), may_alias));

#define DOUBLES ((int)(VECTOR_BYTES / sizeof(double)))
typedef double doubles __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef double loose_doubles __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
typedef int64_t longs __attribute__((vector_size(VECTOR_BYTES), may_alias));

enum { COUNTED = 8 }; /* features that compete in a summary, as `Summary.GROUP` */

/* Where `mask` holds, `yes`, else `no`. */
#define CHOOSE_DOUBLES(mask, yes, no) ((doubles)(((mask) & (longs)(yes)) | (~(mask) & (longs)(no))))
#define CHOOSE(mask, yes, no) ((floats)(((mask) & (ints)(yes)) | (~(mask) & (ints)(no))))

/* e^x to rounding; 0 or infinity beyond the range. */
INLINE floats exp_floats(floats x) {
    const floats zero = {0};
    const floats low = zero - 87.3f, high = zero + 88.7f;
    floats z = CHOOSE(x < low, low, x); /* NaN stays */
    z = CHOOSE(z > high, high, z);
    /* x = n log 2 + r with |r| <= log 2 / 2; adding 1.5 * 2^23 rounds to an integer */
    const floats shift = zero + 12582912.0f;
    const floats n = (z * 1.44269504f + shift) - shift;
    const floats r = (z - n * 0.693359375f) + n * 2.12194440e-4f; /* log 2 in two parts */
    floats sum = zero + 1.0f / 5040; /* Taylor's series */
    sum = sum * r + 1.0f / 720;
    sum = sum * r + 1.0f / 120;
    sum = sum * r + 1.0f / 24;
    sum = sum * r + 1.0f / 6;
    sum = sum * r + 0.5f;
    sum = sum * r + 1.0f;
    sum = sum * r + 1.0f;
    const ints power = (__builtin_convertvector(n, ints) + 126) << 23; /* half of 2^n */
    const floats y = sum * (floats)power * 2.0f;
    return CHOOSE(x != x, x, y);
}

/* log x of a positive normal number, to rounding. */
INLINE floats log_floats(floats x) {
    const floats zero = {0};
    const ints bits = (ints)x - 0x3f3504f3; /* of sqrt(1/2) */
    const ints exponent = bits >> 23;
    const floats m = (floats)((ints)x - (exponent << 23)); /* in [sqrt(1/2), sqrt(2)) */
    const floats s = (m - 1.0f) / (m + 1.0f), z = s * s;
    floats sum = zero + 2.0f / 9; /* 2 artanh s */
    sum = sum * z + 2.0f / 7;
    sum = sum * z + 2.0f / 5;
    sum = sum * z + 2.0f / 3;
    const floats n = __builtin_convertvector(exponent, floats);
    return (n * 0.693359375f) + (s * 2.0f + (sum * z * s - n * 2.12194440e-4f));
}

/* Polynomials fitted at Chebyshev's points, errors below 3e-9: erf(x) / x in x^2 for |x| < 1, and
 * -log(1 - erf x) in x from 1 to 4.2, from where erf x rounds to 1. */
static const float erf_small[] = {
    1.128379166e+00f, -3.761262690e-01f, 1.128359746e-01f, -2.685432880e-02f,
    5.189311943e-03f, -8.018854996e-04f, 7.882497119e-05f,
};
static const float erf_large[] = {
    -2.534073656e-04f, 1.129963819e+00f, 6.322860117e-01f, 1.096470750e-01f,
    -2.617481314e-02f, 4.672751573e-03f, -5.782396054e-04f, 4.385324276e-05f,
    -1.525575129e-06f,
};

INLINE floats erf_floats(floats x) {
    const floats zero = {0};
    const floats size = CHOOSE(x < zero, -x, x), z = x * x;
    floats small = zero + erf_small[6], large = zero + erf_large[8];
    UNROLL for (int i = 5; i >= 0; i--) small = small * z + erf_small[i];
    const floats limit = zero + 4.2f;
    const floats at = CHOOSE(size > limit, limit, size);
    UNROLL for (int i = 7; i >= 0; i--) large = large * at + erf_large[i];
    const floats tail = 1.0f - exp_floats(-large);
    return CHOOSE(size < zero + 1.0f, small * x, CHOOSE(x < zero, -tail, tail));
}

#define REAL float
#define IS_SINGLE 1
#define NAME(x) x##_single
#include "step_kernel.h"
#include "output_kernel.h"
#include "draw_kernel.h"
#undef LANES
#undef GROUP
#undef SQRT
#undef REAL
#undef IS_SINGLE
#undef NAME

#define REAL double
#define IS_SINGLE 0
#define NAME(x) x##_double
#include "step_kernel.h"
#include "output_kernel.h"
#include "draw_kernel.h"
#undef LANES
#undef GROUP
#undef SQRT
#undef REAL
#undef IS_SINGLE
#undef NAME
