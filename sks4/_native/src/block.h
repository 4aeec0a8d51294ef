/* The element-wise parts of a block, over contiguous rows of H features.
 *
 *     ACTIVATE    out = m gelu(x)                          x, other: (rows, H)
 *     GATE        out = other + m a sigmoid(b)             x: (rows, 2 H), a beside b
 *     NORMALIZE   out = (x - mean) rstd weight + bias      x: (rows, H)
 *
 * m, the dropout, is one factor for each feature of a sequence. Backward, `other` is the gradient
 * of `out`, and `out` becomes that of `x`.
 */

#ifndef SKS4_BLOCK_H
#define SKS4_BLOCK_H

#include <stdint.h>

enum { ACTIVATE, GATE, NORMALIZE, ACTIVATE_BACK, GATE_BACK, NORMALIZE_BACK, N_BLOCK_PASSES };

struct block_job {
    int64_t rows, length, H;    /* a sequence has `length` rows */
    int64_t rows_of_item;
    double epsilon;             /* added to the variance */
    const void *x, *other;
    const void *factors;        /* (rows / length, H), or NULL for ones */
    const void *weight, *bias;  /* (H,) */
    void *out;
    void *mean, *rstd;          /* (rows,), outputs of NORMALIZE */
    void *g_weight, *g_bias;    /* (H,), outputs of NORMALIZE_BACK */
    void *partial;              /* (items, 2, H), their sums over the rows of each item */
};

typedef int (*block_pass)(const struct block_job *, int64_t item); /* always 0 */

/* The code for one instruction set and type. */
struct block_kernel {
    block_pass passes[N_BLOCK_PASSES];
    void (*reduce)(const struct block_job *, int64_t items);
};

#endif
