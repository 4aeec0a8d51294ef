/* The element-wise parts of a block for one type; included by kernels.h after kernel.h. */

/* -- rows */

/* Up to a vector of the numbers that are left. */
#define load_some NAME(load_some)
INLINE vec load_some(const REAL *at, int64_t left) {
    vec x = {0};
    if (left >= LANES) return *(const loose *)at;
    for (int64_t l = 0; l < left; l++) x[l] = at[l];
    return x;
}

#define store_some NAME(store_some)
INLINE void store_some(REAL *at, int64_t left, vec x) {
    if (left >= LANES)
        *(loose *)at = x;
    else
        for (int64_t l = 0; l < left; l++) at[l] = x[l];
}

#define load_factors NAME(load_factors)
INLINE vec load_factors(const REAL *factors, int64_t h, int64_t left) {
    const vec ones = 1 - (vec){0};
    if (!factors) return ones;
    return load_some(factors + h, left);
}

#define sum_of NAME(sum_of)
INLINE REAL sum_of(vec x) {
    REAL *at = (REAL *)&x;
    UNROLL for (int n = LANES / 2; n; n /= 2)
        UNROLL for (int i = 0; i < n; i++) at[i] += at[i + n];
    return at[0];
}

/* Row `i` of an item, and what belongs to it. */
#define ROWS(job, item, i)                                                                  \
    for (int64_t i = (item) * (job)->rows_of_item,                                          \
                 behind = i + (job)->rows_of_item < (job)->rows ? i + (job)->rows_of_item   \
                                                                : (job)->rows;              \
         i < behind; i++)
#define PARTS(H, h, left) for (int64_t h = 0, left = (H); left > 0; h += LANES, left -= LANES)
#define FACTORS(job, i) \
    ((job)->factors ? (const REAL *)(job)->factors + (i) / (job)->length * (job)->H : NULL)

/* -- passes */

#define activate NAME(activate)
static int activate(const struct block_job *job, int64_t item) {
    const int64_t H = job->H;
    ROWS(job, item, i) {
        const REAL *x = (const REAL *)job->x + i * H, *factors = FACTORS(job, i);
        REAL *out = (REAL *)job->out + i * H;
        PARTS(H, h, left) {
            const vec at = load_some(x + h, left);
            vec P, p;
            normal(at, &P, &p);
            store_some(out + h, left, at * P * load_factors(factors, h, left));
        }
    }
    return 0;
}

#define activate_back NAME(activate_back)
static int activate_back(const struct block_job *job, int64_t item) {
    const int64_t H = job->H;
    ROWS(job, item, i) {
        const REAL *x = (const REAL *)job->x + i * H, *factors = FACTORS(job, i);
        const REAL *g = (const REAL *)job->other + i * H;
        REAL *out = (REAL *)job->out + i * H;
        PARTS(H, h, left) {
            const vec at = load_some(x + h, left);
            vec P, p;
            normal(at, &P, &p);
            const vec slope = (P + at * p) * load_factors(factors, h, left);
            store_some(out + h, left, load_some(g + h, left) * slope);
        }
    }
    return 0;
}

#define gate_rows NAME(gate_rows)
static int gate_rows(const struct block_job *job, int64_t item) {
    const int64_t H = job->H;
    ROWS(job, item, i) {
        const REAL *x = (const REAL *)job->x + i * 2 * H, *factors = FACTORS(job, i);
        const REAL *residual = (const REAL *)job->other + i * H;
        REAL *out = (REAL *)job->out + i * H;
        PARTS(H, h, left) {
            const vec open = sigmoid(load_some(x + H + h, left)) * load_factors(factors, h, left);
            const vec y = load_some(residual + h, left) + load_some(x + h, left) * open;
            store_some(out + h, left, y);
        }
    }
    return 0;
}

#define gate_back NAME(gate_back)
static int gate_back(const struct block_job *job, int64_t item) {
    const int64_t H = job->H;
    ROWS(job, item, i) {
        const REAL *x = (const REAL *)job->x + i * 2 * H, *factors = FACTORS(job, i);
        const REAL *g = (const REAL *)job->other + i * H;
        REAL *out = (REAL *)job->out + i * 2 * H;
        PARTS(H, h, left) {
            const vec open = sigmoid(load_some(x + H + h, left));
            const vec g_a = load_some(g + h, left) * load_factors(factors, h, left) * open;
            store_some(out + h, left, g_a);
            store_some(out + H + h, left, g_a * load_some(x + h, left) * (1 - open));
        }
    }
    return 0;
}

#define normalize NAME(normalize)
static int normalize(const struct block_job *job, int64_t item) {
    const int64_t H = job->H;
    const REAL *weight = job->weight, *bias = job->bias;
    ROWS(job, item, i) {
        const REAL *x = (const REAL *)job->x + i * H;
        REAL *out = (REAL *)job->out + i * H;
        vec sum = {0}, squares = {0};
        PARTS(H, h, left) sum += load_some(x + h, left);
        const REAL mean = sum_of(sum) / (REAL)H;
        PARTS(H, h, left) {
            vec from = load_some(x + h, left) - mean;
            for (int64_t l = left; l < LANES; l++) from[l] = 0; /* lanes without a feature */
            squares += from * from;
        }
        const REAL variance = sum_of(squares) / (REAL)H;
        const REAL rstd = (REAL)(1 / sqrt(variance + job->epsilon));
        PARTS(H, h, left) {
            const vec from = (load_some(x + h, left) - mean) * rstd;
            store_some(out + h, left, from * load_some(weight + h, left) + load_some(bias + h, left));
        }
        ((REAL *)job->mean)[i] = mean;
        ((REAL *)job->rstd)[i] = rstd;
    }
    return 0;
}

#define normalize_back NAME(normalize_back)
static int normalize_back(const struct block_job *job, int64_t item) {
    const int64_t H = job->H;
    const REAL *weight = job->weight;
    REAL *g_weight = (REAL *)job->partial + item * 2 * H, *g_bias = g_weight + H;
    memset(g_weight, 0, (size_t)(2 * H) * sizeof(REAL));
    ROWS(job, item, i) {
        const REAL *x = (const REAL *)job->x + i * H, *g = (const REAL *)job->other + i * H;
        const REAL mean = ((const REAL *)job->mean)[i], rstd = ((const REAL *)job->rstd)[i];
        REAL *out = (REAL *)job->out + i * H;
        vec sum = {0}, along = {0};
        PARTS(H, h, left) {
            const vec at = (load_some(x + h, left) - mean) * rstd, g_y = load_some(g + h, left);
            const vec g_at = g_y * load_some(weight + h, left);
            sum += g_at;
            along += g_at * at;
            store_some(g_weight + h, left, load_some(g_weight + h, left) + g_y * at);
            store_some(g_bias + h, left, load_some(g_bias + h, left) + g_y);
        }
        const REAL level = sum_of(sum) / (REAL)H, scale = sum_of(along) / (REAL)H;
        PARTS(H, h, left) {
            const vec at = (load_some(x + h, left) - mean) * rstd;
            const vec g_at = load_some(g + h, left) * load_some(weight + h, left);
            store_some(out + h, left, rstd * (g_at - level - at * scale));
        }
    }
    return 0;
}

/* Sum the gradients of the items, in order. */
#define reduce_norm NAME(reduce_norm)
static void reduce_norm(const struct block_job *job, int64_t items) {
    const int64_t H = job->H;
    const REAL *partial = job->partial;
    for (int64_t h = 0; h < 2 * H; h++) {
        double sum = 0;
        for (int64_t item = 0; item < items; item++) sum += partial[item * 2 * H + h];
        ((REAL *)(h < H ? job->g_weight : job->g_bias))[h % H] = (REAL)sum;
    }
}

static const struct block_kernel NAME(block_kernel) = {
    {activate, gate_rows, normalize, activate_back, gate_back, normalize_back}, reduce_norm};
