/* The recurrence of a batch of state space systems over a batch of sequences.
 *
 * One system for each of H features, in real form, with M = N/2 conjugate pairs and low rank R:
 *
 *     s = r x,   x <- x + e x - q s + b u,   y = c x + d u
 *
 * where e is the diagonal of A_bar less the identity, complex. All parameters are double; signals
 * and states are float or double.
 */

#ifndef SKS4_RECURRENCE_H
#define SKS4_RECURRENCE_H

#include <stdint.h>

#include "block.h"

enum { BLOCK = 128 }; /* samples between the states that are kept for the backward pass */
enum { MAX_RANK = 2 };

/* The parameters, or their gradients; all contiguous. */
struct systems {
    double *e_re, *e_im; /* (H, M) */
    double *q, *r;       /* (H, R, 2 M) */
    double *b, *c;       /* (H, 2 M) */
    double *d;           /* (H,) */
};

/* A signal (batch, length, H) of any strides, in elements. */
struct signal {
    void *data;
    int64_t batch_stride, time_stride, feature_stride;
};

struct job {
    int64_t batch, length, H, M, rank;
    int64_t reverse;         /* whether time runs from the end of each sequence to its start */
    const int64_t *lengths;  /* (batch,), or NULL */
    struct systems systems;
    struct signal u, y;      /* y is an output of the forward pass */
    const void *state;       /* (batch, H, N), or NULL */
    void *last;              /* (batch, H, N), output of the forward pass */
    void *kept;              /* (batch, blocks, N, H): states before each block, or NULL */
    /* only for the backward pass */
    struct signal gy, gu;
    const void *g_last;      /* (batch, H, N), or NULL */
    void *g_state;           /* (batch, H, N), output, or NULL */
    struct systems g_systems; /* outputs */
    double *partial;         /* gradients of each item, reduced at the end */
    /* how the work is cut: one item for a group of features and a range of sequences */
    int64_t groups, splits;
};

/* The code for one instruction set and type. */
struct kernel {
    int64_t lanes;                                     /* features of a group */
    int (*forward)(const struct job *, int64_t item);  /* 0, or -1 without memory */
    int (*backward)(const struct job *, int64_t item);
    void (*reduce)(const struct job *);
};

struct instruction_set {
    const char *name;
    struct kernel single, twice;
    struct block_kernel block_single, block_twice;
};

/* Instruction sets that this binary contains, the best first; see dispatch.c. */
int instruction_sets(const struct instruction_set *const **sets);

#endif
