/* The element-wise parts of a block for one type; included by kernels.h after kernel.h, whose
 * vectors it works on. */

#define MANTISSA (sizeof(REAL) == sizeof(float) ? 23 : 52)

#define loose NAME(loose)
typedef REAL loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
#define whole NAME(whole)
typedef INTEGER whole __attribute__((vector_size(VECTOR_BYTES), may_alias));

/* -- functions */

#define either NAME(either)
static inline vec either(whole where, vec a, vec b) {
    return (vec)((where & (whole)a) | (~where & (whole)b));
}

#define polynomial NAME(polynomial)
INLINE vec polynomial(const REAL *coefficients, const int degree, vec x) {
    vec sum = coefficients[degree] - (vec){0};
    UNROLL for (int i = degree - 1; i >= 0; i--) sum = sum * x + coefficients[i];
    return sum;
}

/* exp(x) for x <= 0: 2^n exp(r) with |r| <= log(2) / 2, by its series. */
#define exp_below NAME(exp_below)
INLINE vec exp_below(vec x) {
    static const REAL series[] = {1., 1., 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040,
                                  1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800,
                                  1. / 479001600, 1. / 6227020800};
    const int is_single = sizeof(REAL) == sizeof(float), degree = is_single ? 7 : 13;
    const REAL lowest = is_single ? -87 : -708; /* the result is a normal number */
    /* log(2) in two parts, the first with few digits, so that n times it is exact */
    const REAL high = is_single ? 0.693359375 : 6.93147180369123816490e-01;
    const REAL low = is_single ? -2.12194440054690583e-4 : 1.90821492927058770002e-10;
    /* in the sum with this, n stands in the lowest bits */
    const REAL shift = is_single ? 12582912. : 6755399441055744.;
    x = either(x < lowest, lowest - (vec){0}, x);
    const vec shifted = x * (REAL)1.4426950408889634 + shift, n = shifted - shift;
    const vec r = (x - n * high) - n * low;
    return (vec)((whole)polynomial(series, degree, r) + ((whole)shifted << MANTISSA));
}

/* The normal distribution function P and density p at x.
 *
 * exp(t^2) erfc(t) (1 + 2 t) is smooth in (t - K) / (t + K) for t >= 0 (Shepherd and Laframboise
 * 1981); the coefficients are those of its Chebyshev series, as powers. */
#define normal NAME(normal)
INLINE void normal(vec x, vec *P, vec *p) {
    static const double single_series[] = {
        1.276978391, -0.09276308205, -0.1660310957, 0.1640358396, -0.05421195849, -0.007942721699,
        0.008689159658, 0.001043144582, -0.001395706946, -0.0001836544373, 0.0001608035817};
    static const double double_series[] = {
        1.25300805826972955, -0.13562110612457575, -0.0475622943534203791, 0.129645158702283467,
        -0.119273663416760023, 0.0683080273563839702, -0.0237705148915300752,
        0.00252939166720517231, 0.0018886900977441495, -0.000779831279729015847,
        -0.000105158312978131282, 0.00012509531076254534, 4.94412434222365985e-6,
        -0.0000200899978332842766, -7.18788383440426665e-7, 3.4542947702777379e-6,
        3.36697908064075958e-7, -5.96398362552274053e-7, -1.20541422864893789e-7,
        8.76588141173055843e-8, 2.78438812655022206e-8, -7.64196289258997485e-9,
        -3.18135414349692733e-9};
    const int is_single = sizeof(REAL) == sizeof(float), degree = is_single ? 10 : 22;
    const double *series = is_single ? single_series : double_series;
    const REAL K = is_single ? 2 : 3;
    const REAL far = 1e18; /* finite, where infinity would give no number */
    const vec size = either(x < 0, -x, x);
    const vec t = either(size < far, size, far - (vec){0}) * (REAL)0.70710678118654752;
    const vec s = (t - K) / (t + K), exponential = exp_below(-(x * x) / 2);
    vec sum = (REAL)series[degree] - (vec){0};
    UNROLL for (int i = degree - 1; i >= 0; i--) sum = sum * s + (REAL)series[i];
    const vec tail = sum / (2 + 4 * t) * exponential; /* beyond |x|, on one side */
    *P = either(x < 0, tail, 1 - tail);
    *p = exponential * (REAL)0.39894228040143268;
}

#define sigmoid NAME(sigmoid)
INLINE vec sigmoid(vec x) {
    const vec e = exp_below(either(x < 0, x, -x));
    return either(x < 0, e, 1 - (vec){0}) / (1 + e);
}

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
