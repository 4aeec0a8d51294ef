/* What happens for one sample: projection, blocks, filter bank, pooling and head, in one call.
 *
 * A plan holds sizes and addresses, as numbers of 64 bits, so that it is an array to its caller,
 * who owns all memory. All arrays are contiguous and of the plan's type unless noted otherwise,
 * and start at multiples of GROUP_BYTES.
 * A number with the suffix _p is rounded up so that rows fill whole groups of GROUP_BYTES.
 */

#ifndef SKS4_STEP_H
#define SKS4_STEP_H

#include <stdint.h>

enum { GROUP_BYTES = 64 }; /* features side by side, whatever the processor's vectors are */
enum { NO_NORM, LAYER_NORM, AFFINE_NORM };
enum { RECENT = 16 }; /* steps after which a summary counts, so that its memory is read rarely */
enum { NO_POOL, MEAN_POOL, LAST_POOL, MAX_POOL, SUMMARY_POOL };

/* Systems, whose features are cut into groups. A group's parameters are D and then, for each of
 * M modes, e, b and c by parts, the rounding error of e if the plan is single and the rank is 0,
 * and q and r for each of the rank. Its state is r x for each of the rank and then, for each mode,
 * x by parts, and if the plan is single the rounding error of x by parts. */
struct step_systems {
    int64_t n_groups, M, rank;
    int64_t parameters; /* (n_groups, ...) */
    int64_t state;      /* (n_groups, batch, ...) */
};

struct step_norm {
    int64_t kind;
    int64_t weight, bias; /* (H_p) */
    int64_t eps;          /* one double */
};

struct step_block {
    struct step_systems systems;
    struct step_norm norm;
    int64_t weight, bias; /* of the gate: (H, 2 H_p), (2 H_p) */
};

struct step_plan {
    int64_t is_double, batch;
    int64_t symbols, n_inputs; /* whether the input is an index; numbers of a patch */
    int64_t H, H_p, n_blocks, prenorm, every_block;
    int64_t weight, bias; /* of the projection: (n_inputs, H_p), (H_p) */
    int64_t blocks;       /* n_blocks step_block */
    struct step_norm norm;
    int64_t n_filters, F_p; /* of the bank; 0 if there is none */
    int64_t mix, steady;    /* (n_inputs, F_p), and as the state of one stream */
    struct step_systems bank;
    int64_t n_features, features; /* (batch, n_features): result of the step */
    int64_t pool, pooled;         /* kind; (batch, n_pooled), double for mean and summary */
    int64_t n_limits, start, unit; /* of the summary; (n_limits, n_features), (n_features) double */
    int64_t rate;                  /* one double */
    int64_t recent, n_recent;      /* features not yet in the summary, (RECENT, batch, n_features) */
    int64_t n_read, read;          /* numbers that the head reads; (batch, n_read) */
    int64_t n_outputs, head_weight, head_bias, outputs; /* (n_outputs, n_read), ..., (batch, ...) */
    int64_t n_steps; /* patches taken so far */
    int64_t work; /* memory for batch * (5 H_p + 2 F_p) numbers */
};

enum { CATEGORICAL_DRAW, GAUSSIAN_DRAW, MIXTURE_DRAW };

/* Sequences that are drawn value by value, each drawn value being the next input. */
struct draw_plan {
    int64_t steps;         /* struct step_plan without pooling */
    int64_t kind, size;    /* distribution; number of symbols or of channels */
    int64_t n_components;  /* of a mixture */
    int64_t top_k;         /* most probable symbols to draw from; 0 for all */
    int64_t temperature;   /* one double */
    int64_t n_outputs_p;   /* of the head */
    int64_t weight, bias;  /* (n_features, n_outputs_p), (n_outputs_p) */
    int64_t outputs;       /* (batch, n_outputs_p) */
    int64_t starts;        /* of the means of a mixture, (n_components) */
    int64_t input;         /* (batch) symbols, or (batch, n_inputs), zero beyond the channels */
    int64_t work;          /* n_outputs_p numbers, and then as many doubles */
    int64_t is_ready;      /* whether the outputs are those after the last step */
};

/* The code for one instruction set and type. */
struct step_kernel {
    /* Take n_steps patches; `stride` numbers are between those of one stream and of the next. */
    void (*step)(struct step_plan *, const void *input, int64_t n_steps, int64_t stride);
    /* Read r x from the states, which have been changed from outside. */
    void (*refresh)(struct step_plan *);
    /* Count the recent features in the summary. */
    void (*flush)(struct step_plan *);
    /* Write the outputs for what has been pooled. */
    void (*read_outputs)(struct step_plan *);
    /* Draw n values of each stream. The noise is double, of a Gaussian the plan's type, (n, batch)
     * or (n, batch, size); of a mixture there is a second one. `drawn` (n, batch) holds symbols of
     * 64 bits, or (n, batch, size) values. */
    void (*draw)(struct draw_plan *, const void *noise, const void *second, void *drawn, int64_t n);
};

struct step_kernels {
    struct step_kernel single, twice;
};

/* The code for the instruction set of that name. */
const struct step_kernels *step_kernels(const char *name);

#endif
