/* What is remembered of the features over time, the steps, and the outputs that are read from it;
 * included by step_kernels.h after step_kernel.h. Summaries are those of sks4/nn/_summary.py. */

/* -- pooling */

/* What a summary counts of one feature and one limit; see `_Counts` in `Summary`. */
#define count_one NAME(count_one)
static void count_one(const double *z, double start, double *at, int64_t all, int64_t before,
                      int64_t n_steps) {
    double above = at[0], pairs = at[all], moments = at[2 * all], last = at[3 * all];
    double run = at[4 * all], longest = at[5 * all];
    for (int64_t t = 0; t < n_steps; t++) {
        double on = z[t * COUNTED] - start;
        on = on < 0 ? 0 : on; /* NaN stays */
        on = on > 1 ? 1 : on;
        above += on;
        moments += on * ((double)(before + t) + 0.5);
        pairs += on * last;
        run = on + on * run;
        longest = run > longest ? run : longest;
        last = on;
    }
    at[0] = above, at[all] = pairs, at[2 * all] = moments, at[3 * all] = last;
    at[4 * all] = run, at[5 * all] = longest;
}

/* The same of one vector of features. */
#define count_vector NAME(count_vector)
INLINE void count_vector(const double *z, const double *start, double *at, int64_t all,
                         int64_t before, int64_t n_steps) {
#define PART(k) (*(loose_doubles *)(at + (k) * all))
    const doubles zero = {0}, one = zero + 1, limit = *(const loose_doubles *)start;
    doubles above = PART(0), pairs = PART(1), moments = PART(2), last = PART(3), run = PART(4),
            longest = PART(5);
    for (int64_t t = 0; t < n_steps; t++) {
        doubles on = *(const loose_doubles *)(z + t * COUNTED) - limit;
        on = (doubles)(~(on < zero) & (longs)on);
        on = CHOOSE_DOUBLES(on > one, one, on);
        above += on;
        moments += on * ((double)(before + t) + 0.5);
        pairs += on * last;
        run = on + on * run;
        longest = CHOOSE_DOUBLES(run > longest, run, longest);
        last = on;
    }
    PART(0) = above, PART(1) = pairs, PART(2) = moments, PART(3) = last;
    PART(4) = run, PART(5) = longest;
#undef PART
}

/* Count of all steps at which each of n features is the largest, of the sign, of their group; `z`
 * has rows of steps, zero beyond the last one. */
#define count_wins NAME(count_wins)
static void count_wins(const double *restrict z, int n, double sign, double *restrict wins) {
    double largest[RECENT], strength[RECENT];
    for (int t = 0; t < RECENT; t++) largest[t] = sign * z[t];
    for (int i = 1; i < n; i++)
        for (int t = 0; t < RECENT; t++) {
            const double x = sign * z[i * RECENT + t];
            largest[t] = x > largest[t] ? x : largest[t];
        }
    for (int t = 0; t < RECENT; t++) {
        const double size = fabs(largest[t]);
        strength[t] = size < 1 ? size : 1;
    }
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int t = 0; t < RECENT; t++)
            sum += sign * z[i * RECENT + t] == largest[t] ? strength[t] : 0;
        wins[i] += sum;
    }
}

/* Count n features, which compete, of a stream; `x` has rows `stride` apart. */
#define count_group NAME(count_group)
static void count_group(const struct step_plan *p, const REAL *x, int64_t stride, int64_t f, int n,
                        double *at) {
    const int64_t F = p->n_features, all = p->n_limits * F, n_steps = p->n_recent;
    const int64_t before = p->n_steps - n_steps;
    const double *unit = AT(double, p->unit) + f, *start = AT(double, p->start) + f;
    double z[RECENT * COUNTED], by_feature[COUNTED * RECENT] = {0};
    for (int64_t t = 0; t < n_steps; t++)
        for (int i = 0; i < n; i++)
            z[t * COUNTED + i] = by_feature[i * RECENT + t] = x[t * stride + f + i] / unit[i];
    for (int64_t l = 0; l < p->n_limits; l++) {
        const int64_t offset = l * F;
        if (n < COUNTED)
            for (int i = 0; i < n; i++)
                count_one(z + i, start[offset + i], at + offset + f + i, all, before, n_steps);
        else
            for (int i = 0; i < COUNTED; i += DOUBLES)
                count_vector(z + i, start + offset + i, at + offset + f + i, all, before, n_steps);
    }
    count_wins(by_feature, n, 1, at + 6 * all + f);
    count_wins(by_feature, n, -1, at + 6 * all + F + f);
}

/* Count the recent features. */
#define flush_summary NAME(flush_summary)
static void flush_summary(struct step_plan *p) {
    const int64_t F = p->n_features, size = (6 * p->n_limits + 2) * F;
    for (int64_t b = 0; b < p->batch && p->n_recent; b++)
        for (int64_t f = 0; f < F; f += COUNTED)
            count_group(p, AT(REAL, p->recent) + b * F, p->batch * F, f,
                        F - f < COUNTED ? (int)(F - f) : COUNTED, AT(double, p->pooled) + b * size);
    p->n_recent = 0;
}

/* Count the features of a step; there are `p->n_steps` with it. */
#define pool_step NAME(pool_step)
static void pool_step(struct step_plan *p) {
    const int64_t n = p->batch * p->n_features, is_first = p->n_steps == 1;
    const REAL *x = AT(REAL, p->features);
    REAL *at = AT(REAL, p->pooled);
    if (p->pool == MEAN_POOL)
        for (int64_t i = 0; i < n; i++) AT(double, p->pooled)[i] += x[i];
    if (p->pool == LAST_POOL) memcpy(at, x, (size_t)n * sizeof(REAL));
    if (p->pool == MAX_POOL) /* NaN stays */
        for (int64_t i = 0; i < n; i++)
            at[i] = !is_first && !(x[i] > at[i] || x[i] != x[i]) ? at[i] : x[i];
    if (p->pool == SUMMARY_POOL) {
        memcpy(AT(REAL, p->recent) + p->n_recent++ * n, x, (size_t)n * sizeof(REAL));
        if (p->n_recent == RECENT) flush_summary(p);
    }
}

#define take_steps NAME(take_steps)
static void take_steps(struct step_plan *p, const void *input, int64_t n_steps, int64_t stride) {
    const int64_t size = p->symbols ? 1 : p->n_inputs;
    const int64_t bytes = size * (int64_t)(p->symbols ? sizeof(int64_t) : sizeof(REAL));
    for (int64_t t = 0; t < n_steps; t++) {
        patch_step(p, (const char *)input + t * bytes, stride, p->n_steps == 0);
        p->n_steps++;
        pool_step(p);
    }
}

/* -- outputs */

/* sqrt(share + 1e-4), as `_root` in `Summary`. */
#define roots NAME(roots)
static void roots(const double *share, int64_t n, double factor, REAL *out) {
    for (int64_t i = 0; i < n; i++) {
        const double x = share[i] * factor;
        out[i] = SQRT((REAL)((x < 0 ? 0 : x) + 1e-4));
    }
}

/* Describe the counts of a stream, as `Summary._describe` does. */
#define describe NAME(describe)
static void describe(const struct step_plan *p, const double *at, int64_t n_steps, REAL *out) {
    const int64_t F = p->n_features, all = p->n_limits * F;
    const double n = (double)n_steps, part = 1 / n, again = part / *AT(double, p->rate);
    const double *pairs = at + all, *moments = at + 2 * all, *longest = at + 5 * all;
    roots(at, all, part, out);
    REAL *run = out + all, *anew = out + 2 * all, *when = out + 3 * all + 2 * F;
    for (int64_t i = 0; i < all; i++) run[i] = (REAL)(longest[i] * part + 0.01);
    int64_t i = 0;
    for (; i + LANES <= all; i += LANES)
        *(loose *)(run + i) = log_of((vec) * (const loose *)(run + i));
    for (; i < all; i++) run[i] = (REAL)log((double)run[i]);
    for (i = 0; i < all; i++) {
        const double x = (at[i] - pairs[i]) * again;
        anew[i] = SQRT((REAL)((x < 0 ? 0 : x) + 1e-4));
        when[i] = (REAL)(moments[i] * part / n - at[i] * part / 2);
    }
    roots(at + 6 * all, 2 * F, part, out + 3 * all);
}

#define read_outputs NAME(read_outputs)
static void read_outputs(struct step_plan *p) {
    flush_summary(p);
    const int64_t n = p->n_read, n_steps = p->n_steps;
    for (int64_t b = 0; b < p->batch; b++) {
        REAL *x = AT(REAL, p->read) + b * n;
        if (p->pool == SUMMARY_POOL) {
            const int64_t size = 6 * p->n_limits * p->n_features + 2 * p->n_features;
            describe(p, AT(double, p->pooled) + b * size, n_steps, x);
        } else if (p->pool == MEAN_POOL) {
            const double *sum = AT(double, p->pooled) + b * n;
            for (int64_t i = 0; i < n; i++) x[i] = (REAL)(sum[i] / (double)n_steps);
        } else {
            memcpy(x, AT(REAL, p->pool == NO_POOL ? p->features : p->pooled) + b * n,
                   (size_t)n * sizeof(REAL));
        }
        REAL *out = AT(REAL, p->outputs) + b * p->n_outputs;
        for (int64_t k = 0; k < p->n_outputs; k++)
            out[k] = AT(REAL, p->head_bias)[k] + dot(AT(REAL, p->head_weight) + k * n, x, n);
    }
}
