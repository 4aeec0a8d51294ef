/* Both types for one instruction set, whose source defines VECTOR_BYTES and AHEAD. */

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "memory.h"
#include "recurrence.h"

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* Numbers of a mode. First its parameters, as the strips read them: */
enum { E_RE, E_IM, B_RE, B_IM, C_RE, C_IM, LOST_RE, LOST_IM, LOW_RANK };
#define N_PARAMETERS(R) (LOW_RANK + 2 * (R) + 2 * (R) * AHEAD)
#define Q(j) (LOW_RANK + 2 * (j))
#define AHEAD_OF(R, j, i) (LOW_RANK + 2 * (R) + 2 * ((j) * AHEAD + (i)))
/* the same in double, r in the place of the products ahead: */
#define N_WIDE(R) (LOW_RANK + 4 * (R))
#define R_WIDE(R, j) (LOW_RANK + 2 * (R) + 2 * (j))
/* its state: */
enum { V_RE, V_IM, K_RE, K_IM, X_RE, X_IM, LOST_X_RE, LOST_X_IM, N_STATE };
/* and its gradients: */
enum { G_E_RE, G_E_IM, G_B_RE, G_B_IM, G_C_RE, G_C_IM, G_LOW_RANK };
#define N_GRADIENTS(R) (G_LOW_RANK + 4 * (R))
#define G_Q(j) (G_LOW_RANK + 4 * (j))
#define G_R(j) (G_LOW_RANK + 4 * (j) + 2)

/* What is computed beside the output. */
enum { OUTPUT, STATES, GRADIENTS };

/* Sum numbers that are a stride apart. */
static double total(const double *at, int64_t stride, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += at[i * stride];
    return sum;
}

#define REAL float
#define INTEGER int32_t
#define NAME(x) x##_single
#include "elementary.h"
#include "kernel.h"
#include "block_kernel.h"
#undef REAL
#undef INTEGER
#undef NAME

#define REAL double
#define INTEGER int64_t
#define NAME(x) x##_double
#include "elementary.h"
#include "kernel.h"
#include "block_kernel.h"
#undef REAL
#undef INTEGER
#undef NAME
