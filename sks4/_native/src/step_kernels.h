/* Both types for one instruction set, whose source defines VECTOR_BYTES. */

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "step.h"

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

#define AT(type, address) ((type *)(intptr_t)(address))

#define DOUBLES ((int)(VECTOR_BYTES / sizeof(double)))
typedef double doubles __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef double loose_doubles __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
typedef int64_t longs __attribute__((vector_size(VECTOR_BYTES), may_alias));

enum { COUNTED = 8 }; /* features that compete in a summary, as `Summary.GROUP` */

/* Where `mask` holds, `yes`, else `no`. */
#define CHOOSE_DOUBLES(mask, yes, no) ((doubles)(((mask) & (longs)(yes)) | (~(mask) & (longs)(no))))

#define REAL float
#define INTEGER int32_t
#define IS_SINGLE 1
#define NAME(x) x##_single
#include "elementary.h"
#include "step_kernel.h"
#include "output_kernel.h"
#include "draw_kernel.h"
#undef LANES
#undef GROUP
#undef SQRT
#undef REAL
#undef INTEGER
#undef IS_SINGLE
#undef NAME

#define REAL double
#define INTEGER int64_t
#define IS_SINGLE 0
#define NAME(x) x##_double
#include "elementary.h"
#include "step_kernel.h"
#include "output_kernel.h"
#include "draw_kernel.h"
#undef LANES
#undef GROUP
#undef SQRT
#undef REAL
#undef INTEGER
#undef IS_SINGLE
#undef NAME
