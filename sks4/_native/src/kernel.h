/* The recurrence for one type; included by kernels.h after elementary.h, with
 *
 *     AHEAD        samples for which the coupling r x is computed ahead
 *
 * A vector holds one number for each feature of a group. States are kept relative to their value
 * X at the start of a block: x = X + v. With the change k = (A_bar - I) X and the output c X
 * computed in double, v <- v + (k + e v - q (r v) + b u) rounds relative to the small v, and X + v
 * is summed in double, so that nothing is lost over thousands of blocks.
 *
 * The adjoint x' <- A_bar^T x' + c gy, gu = b x' + d gy is the same recurrence of the transposed
 * system, run from the last sample to the first.
 */

#define WIDE_LANES ((int)(VECTOR_BYTES / sizeof(double)))
#define PIECES (LANES / WIDE_LANES) /* vectors of double for a vector of REAL */
#define ROUNDS (sizeof(REAL) < sizeof(double))

#define wide NAME(wide)
#define narrow NAME(narrow)
typedef double wide __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef REAL narrow __attribute__((vector_size(WIDE_LANES * sizeof(REAL)), may_alias));

/* A group of systems, in one direction, and where it stands. */
#define group NAME(group)
struct group {
    int64_t M;
    vec *parameters;       /* (M, N_PARAMETERS) */
    double *exact;         /* (M, N_WIDE, LANES) */
    vec response[MAX_RANK][AHEAD]; /* r A_bar^i b */
    vec d;
    double *X;             /* (M, 2, LANES): state at the start of the block */
    vec *state;            /* (M, N_STATE) */
    vec base_y, base_s[MAX_RANK];       /* c X and r X */
    vec drift[MAX_RANK][AHEAD];         /* what k adds to r v after i samples */
    vec ahead[MAX_RANK][AHEAD];         /* r A_bar^i v */
};

/* The tiles of a block. */
#define tiles NAME(tiles)
struct tiles {
    vec u[BLOCK], y[BLOCK];
    vec gy[BLOCK], gu[BLOCK]; /* in the order of the adjoint */
    vec coupling[MAX_RANK][BLOCK + 1]; /* r x before each sample, and after the last */
    vec *x;                /* (M, BLOCK + 1, 2): states before each sample, and after the last */
    vec *gradients;        /* (M, N_GRADIENTS): of one block */
    double *sums;          /* (M, N_GRADIENTS, LANES): of all blocks */
    double *sum_d;         /* (LANES,) */
};

/* -- memory */

#define take NAME(take)
static void *take(char **at, size_t bytes) {
    char *start = *at;
    if (start) *at += (bytes + VECTOR_BYTES - 1) / VECTOR_BYTES * VECTOR_BYTES;
    return start;
}

/* Lay a group out from `at`; with NULL pointers if `at` is NULL. Return the bytes needed. */
#define group_bytes NAME(group_bytes)
static size_t group_bytes(int64_t M, int R) {
    size_t numbers = (size_t)M * LANES;
    return numbers * (N_PARAMETERS(R) + N_STATE) * sizeof(REAL) +
           numbers * (N_WIDE(R) + 2) * sizeof(double);
}

#define lay_out_group NAME(lay_out_group)
static void lay_out_group(struct group *g, int64_t M, int R, char **at) {
    size_t numbers = (size_t)M * LANES;
    g->M = M;
    g->parameters = take(at, numbers * N_PARAMETERS(R) * sizeof(REAL));
    g->state = take(at, numbers * N_STATE * sizeof(REAL));
    g->exact = take(at, numbers * N_WIDE(R) * sizeof(double));
    g->X = take(at, numbers * 2 * sizeof(double));
}

/* -- parameters of a group */

/* Fill `exact` from the systems h <= . < h + lanes; the other lanes are zero. */
#define load_exact NAME(load_exact)
static void load_exact(struct group *g, const struct job *job, int64_t h, int lanes, int R,
                       int adjoint) {
    const struct systems *s = &job->systems;
    const int64_t M = g->M;
    const double sign = adjoint ? -1 : 1;
    const double *b = adjoint ? s->c : s->b, *c = adjoint ? s->b : s->c;
    const double *q = adjoint ? s->r : s->q, *r = adjoint ? s->q : s->r;
    memset(g->exact, 0, (size_t)M * N_WIDE(R) * LANES * sizeof(double));
    memset(&g->d, 0, sizeof g->d);
    for (int l = 0; l < lanes; l++) {
        const int64_t f = h + l;
        ((REAL *)&g->d)[l] = (REAL)s->d[f];
        for (int64_t m = 0; m < M; m++) {
            double *at = g->exact + m * N_WIDE(R) * LANES + l;
            at[E_RE * LANES] = s->e_re[f * M + m];
            at[E_IM * LANES] = sign * s->e_im[f * M + m];
            for (int part = 0; part < 2; part++) {
                const int64_t n = part * M + m;
                at[(B_RE + part) * LANES] = b[f * 2 * M + n];
                at[(C_RE + part) * LANES] = c[f * 2 * M + n];
                for (int j = 0; j < R; j++) {
                    at[(Q(j) + part) * LANES] = q[(f * R + j) * 2 * M + n];
                    at[(R_WIDE(R, j) + part) * LANES] = r[(f * R + j) * 2 * M + n];
                }
            }
        }
    }
}

#define round_to NAME(round_to)
static inline void round_to(vec *out, int piece, wide x) {
    ((narrow *)out)[piece] = __builtin_convertvector(x, narrow);
}

#define widen NAME(widen)
static inline wide widen(const vec *x, int piece) {
    return __builtin_convertvector(((const narrow *)x)[piece], wide);
}

/* A vector of doubles of a mode: number `i` of record `m`. */
#define EXACT(g, R, m, i, piece) ((wide *)((g)->exact + ((m) * N_WIDE(R) + (i)) * LANES))[piece]
#define BASE(g, m, part, piece) ((wide *)((g)->X + ((m) * 2 + (part)) * LANES))[piece]

/* Form r_j A_bar^i and r_j A_bar^i b for i < AHEAD; `X` is used as memory. */
#define look_ahead NAME(look_ahead)
static void look_ahead(struct group *g, int R, int j, int piece) {
    for (int64_t m = 0; m < g->M; m++)
        for (int part = 0; part < 2; part++)
            BASE(g, m, part, piece) = EXACT(g, R, m, R_WIDE(R, j) + part, piece);
    for (int i = 0; i < AHEAD; i++) {
        wide response = {0}, coupling[MAX_RANK] = {{0}};
        for (int64_t m = 0; m < g->M; m++) {
            const wide re = BASE(g, m, 0, piece), im = BASE(g, m, 1, piece);
            vec *record = g->parameters + m * N_PARAMETERS(R);
            round_to(record + AHEAD_OF(R, j, i), piece, re);
            round_to(record + AHEAD_OF(R, j, i) + 1, piece, im);
            response += re * EXACT(g, R, m, B_RE, piece) + im * EXACT(g, R, m, B_IM, piece);
            for (int k = 0; k < R; k++)
                coupling[k] +=
                    re * EXACT(g, R, m, Q(k), piece) + im * EXACT(g, R, m, Q(k) + 1, piece);
        }
        round_to(&g->response[j][i], piece, response);
        for (int64_t m = 0; m < g->M; m++) {
            const wide e_re = EXACT(g, R, m, E_RE, piece), e_im = EXACT(g, R, m, E_IM, piece);
            const wide re = BASE(g, m, 0, piece), im = BASE(g, m, 1, piece);
            wide next_re = re + e_re * re + e_im * im, next_im = im - e_im * re + e_re * im;
            for (int k = 0; k < R; k++) {
                next_re -= coupling[k] * EXACT(g, R, m, R_WIDE(R, k), piece);
                next_im -= coupling[k] * EXACT(g, R, m, R_WIDE(R, k) + 1, piece);
            }
            BASE(g, m, 0, piece) = next_re;
            BASE(g, m, 1, piece) = next_im;
        }
    }
}

/* (1 + e)^AHEAD - 1 without cancellation; AHEAD is a power of two. */
#define grown NAME(grown)
static inline void grown(const double *e, double *out) {
    out[0] = e[0], out[1] = e[1];
    for (int n = 1; n < AHEAD; n *= 2) {
        const double re = 2 * out[0] + out[0] * out[0] - out[1] * out[1];
        out[1] = 2 * out[1] + 2 * out[0] * out[1];
        out[0] = re;
    }
}

/* Form what a strip loses by the rounding of e, which turns slowly decaying modes too fast or too
 * slowly. With the rounded e~ and a~ = 1 + e~, a strip makes a~^n v + e X (a~^n - 1) / e~ in the
 * place of a^n v + (a^n - 1) X. The factor of v becomes a parameter, that of X is kept in double.
 * The low rank, which couples modes within the strip, is left out of this correction. */
#define form_loss NAME(form_loss)
static void form_loss(struct group *g, int R) {
    for (int64_t m = 0; m < g->M; m++)
        for (int l = 0; l < LANES; l++) {
            double *at = g->exact + m * N_WIDE(R) * LANES + l;
            REAL *factor = (REAL *)(g->parameters + m * N_PARAMETERS(R) + LOST_RE) + l;
            const double e[2] = {at[E_RE * LANES], at[E_IM * LANES]};
            const double rounded[2] = {(REAL)e[0], (REAL)e[1]};
            double exact[2], lossy[2], ratio[2] = {1, 0}; /* e / e~ */
            grown(e, exact);
            grown(rounded, lossy);
            const double norm = rounded[0] * rounded[0] + rounded[1] * rounded[1];
            if (norm > 0) {
                ratio[0] = (e[0] * rounded[0] + e[1] * rounded[1]) / norm;
                ratio[1] = (e[1] * rounded[0] - e[0] * rounded[1]) / norm;
            }
            factor[0] = (REAL)(exact[0] - lossy[0]);
            factor[LANES] = (REAL)(exact[1] - lossy[1]);
            at[LOST_RE * LANES] = exact[0] - (lossy[0] * ratio[0] - lossy[1] * ratio[1]);
            at[LOST_IM * LANES] = exact[1] - (lossy[0] * ratio[1] + lossy[1] * ratio[0]);
        }
}

#define prepare_group NAME(prepare_group)
static void prepare_group(struct group *g, const struct job *job, int64_t h, int lanes, int R,
                          int adjoint) {
    load_exact(g, job, h, lanes, R, adjoint);
    for (int64_t m = 0; m < g->M; m++)
        for (int i = 0; i < LOW_RANK + 2 * R; i++)
            for (int piece = 0; piece < PIECES; piece++)
                round_to(g->parameters + m * N_PARAMETERS(R) + i, piece, EXACT(g, R, m, i, piece));
    for (int j = 0; j < R; j++)
        for (int piece = 0; piece < PIECES; piece++) look_ahead(g, R, j, piece);
    if (ROUNDS) form_loss(g, R);
}

/* -- blocks */

/* Start a block: k, c X and r X in double, and v = 0. */
#define enter_block NAME(enter_block)
INLINE void enter_block(struct group *g, const int R) {
    for (int piece = 0; piece < PIECES; piece++) {
        wide y = {0}, s[MAX_RANK] = {{0}};
        for (int64_t m = 0; m < g->M; m++) {
            const wide re = BASE(g, m, 0, piece), im = BASE(g, m, 1, piece);
            y += EXACT(g, R, m, C_RE, piece) * re + EXACT(g, R, m, C_IM, piece) * im;
            for (int j = 0; j < R; j++)
                s[j] += EXACT(g, R, m, R_WIDE(R, j), piece) * re +
                        EXACT(g, R, m, R_WIDE(R, j) + 1, piece) * im;
        }
        round_to(&g->base_y, piece, y);
        for (int j = 0; j < R; j++) round_to(&g->base_s[j], piece, s[j]);
        for (int64_t m = 0; m < g->M; m++) {
            const wide re = BASE(g, m, 0, piece), im = BASE(g, m, 1, piece);
            const wide e_re = EXACT(g, R, m, E_RE, piece), e_im = EXACT(g, R, m, E_IM, piece);
            wide k_re = e_re * re - e_im * im, k_im = e_im * re + e_re * im;
            for (int j = 0; j < R; j++) {
                k_re -= EXACT(g, R, m, Q(j), piece) * s[j];
                k_im -= EXACT(g, R, m, Q(j) + 1, piece) * s[j];
            }
            vec *state = g->state + m * N_STATE;
            ((narrow *)(state + V_RE))[piece] = (narrow){0};
            ((narrow *)(state + V_IM))[piece] = (narrow){0};
            round_to(state + K_RE, piece, k_re);
            round_to(state + K_IM, piece, k_im);
            round_to(state + X_RE, piece, re);
            round_to(state + X_IM, piece, im);
            if (ROUNDS) {
                const wide l_re = EXACT(g, R, m, LOST_RE, piece);
                const wide l_im = EXACT(g, R, m, LOST_IM, piece);
                round_to(state + LOST_X_RE, piece, l_re * re - l_im * im);
                round_to(state + LOST_X_IM, piece, l_im * re + l_re * im);
            }
        }
    }
    for (int j = 0; j < R; j++) {
        vec drift[AHEAD] = {{0}};
        for (int64_t m = 0; m < g->M; m++) {
            const vec *record = g->parameters + m * N_PARAMETERS(R) + AHEAD_OF(R, j, 0);
            const vec *state = g->state + m * N_STATE;
            for (int i = 1; i < AHEAD; i++)
                drift[i] += record[2 * i - 2] * state[K_RE] + record[2 * i - 1] * state[K_IM];
        }
        g->drift[j][0] = g->ahead[j][0] = (vec){0};
        for (int i = 1; i < AHEAD; i++) {
            g->drift[j][i] = g->drift[j][i - 1] + drift[i];
            g->ahead[j][i] = (vec){0};
        }
    }
}

/* End a block: X <- X + v. */
#define leave_block NAME(leave_block)
INLINE void leave_block(struct group *g) {
    for (int64_t m = 0; m < g->M; m++)
        for (int part = 0; part < 2; part++)
            for (int piece = 0; piece < PIECES; piece++)
                BASE(g, m, part, piece) += widen(g->state + m * N_STATE + V_RE + part, piece);
}

/* Move by P samples from t on, of the T in the block: in -> out.
 *
 * The coupling r v of all P samples comes from products of v with r A_bar^i, so that one pass over
 * the modes serves P samples. */
#define strip NAME(strip)
INLINE void strip(struct group *restrict g, struct tiles *restrict z, const vec *in, vec *out,
                  const int R, const int P, const int WHAT, int64_t t, int64_t T) {
    vec u[AHEAD], y[AHEAD], s[MAX_RANK][AHEAD], ahead[MAX_RANK][AHEAD];
    vec other[AHEAD], w[MAX_RANK][AHEAD], x_s[MAX_RANK][AHEAD];
    UNROLL for (int i = 0; i < P; i++) {
        u[i] = in[t + i];
        y[i] = g->base_y + g->d * u[i];
    }
    UNROLL for (int j = 0; j < R; j++)
        UNROLL for (int i = 0; i < P; i++) {
            vec sum = g->ahead[j][i] + g->drift[j][i];
            UNROLL for (int n = 0; n < i; n++) sum += g->response[j][i - 1 - n] * u[n];
            s[j][i] = sum;
            ahead[j][i] = (vec){0};
            if (WHAT == STATES) z->coupling[j][t + i] = sum + g->base_s[j];
            if (WHAT == GRADIENTS) {
                w[j][i] = sum + g->base_s[j];
                x_s[j][i] = z->coupling[j][T - t - i];
            }
        }
    if (WHAT == GRADIENTS)
        UNROLL for (int i = 0; i < P; i++) other[i] = z->u[T - 1 - t - i];
    for (int64_t m = 0; m < g->M; m++) {
        const vec *p = g->parameters + m * N_PARAMETERS(R);
        vec *restrict state = g->state + m * N_STATE;
        vec *restrict x = NULL, *restrict sums = NULL;
        if (WHAT != OUTPUT) x = z->x + 2 * (m * (BLOCK + 1) + (WHAT == GRADIENTS ? T - t : t + 1));
        if (WHAT == GRADIENTS) sums = z->gradients + m * N_GRADIENTS(R);
        vec re = state[V_RE], im = state[V_IM];
        vec lost_re = {0}, lost_im = {0};
        if (ROUNDS && P > 1) {
            lost_re = state[LOST_X_RE] + p[LOST_RE] * re - p[LOST_IM] * im;
            lost_im = state[LOST_X_IM] + p[LOST_RE] * im + p[LOST_IM] * re;
        }
        vec whole_re = re + state[X_RE], whole_im = im + state[X_IM];
        vec sum[G_LOW_RANK + 4 * MAX_RANK];
        if (WHAT == GRADIENTS)
            UNROLL for (int i = 0; i < N_GRADIENTS(R); i++) sum[i] = sums[i];
        UNROLL for (int i = 0; i < P; i++) {
            if (WHAT == GRADIENTS) { /* from sample to sample */
                const vec x_re = x[-2 * i], x_im = x[-2 * i + 1];
                sum[G_E_RE] += whole_re * x_re;
                sum[G_E_RE] += whole_im * x_im;
                sum[G_E_IM] += whole_im * x_re;
                sum[G_E_IM] -= whole_re * x_im;
                sum[G_C_RE] += u[i] * x_re;
                sum[G_C_IM] += u[i] * x_im;
                UNROLL for (int j = 0; j < R; j++) {
                    sum[G_Q(j)] -= x_s[j][i] * whole_re;
                    sum[G_Q(j) + 1] -= x_s[j][i] * whole_im;
                    sum[G_R(j)] -= w[j][i] * x_re;
                    sum[G_R(j) + 1] -= w[j][i] * x_im;
                }
            }
            vec to_re = state[K_RE] + p[B_RE] * u[i], to_im = state[K_IM] + p[B_IM] * u[i];
            UNROLL for (int j = 0; j < R; j++) {
                to_re -= p[Q(j)] * s[j][i];
                to_im -= p[Q(j) + 1] * s[j][i];
            }
            to_re += p[E_RE] * re;
            to_im += p[E_RE] * im;
            to_re -= p[E_IM] * im;
            to_im += p[E_IM] * re;
            re += to_re;
            im += to_im;
            if (WHAT != STATES) {
                y[i] += p[C_RE] * re;
                y[i] += p[C_IM] * im;
            }
            if (WHAT != OUTPUT) {
                whole_re = re + state[X_RE];
                whole_im = im + state[X_IM];
            }
            if (WHAT == STATES) {
                x[2 * i] = whole_re;
                x[2 * i + 1] = whole_im;
            }
            if (WHAT == GRADIENTS) {
                sum[G_B_RE] += other[i] * whole_re;
                sum[G_B_IM] += other[i] * whole_im;
            }
        }
        if (ROUNDS && P > 1) {
            re += lost_re;
            im += lost_im;
        }
        UNROLL for (int j = 0; j < R; j++)
            UNROLL for (int i = 0; i < P; i++) {
                ahead[j][i] += p[AHEAD_OF(R, j, i)] * re;
                ahead[j][i] += p[AHEAD_OF(R, j, i) + 1] * im;
            }
        state[V_RE] = re;
        state[V_IM] = im;
        if (WHAT == GRADIENTS)
            UNROLL for (int i = 0; i < N_GRADIENTS(R); i++) sums[i] = sum[i];
    }
    UNROLL for (int j = 0; j < R; j++)
        UNROLL for (int i = 0; i < P; i++) g->ahead[j][i] = ahead[j][i];
    if (WHAT != STATES)
        UNROLL for (int i = 0; i < P; i++) out[t + i] = y[i];
}

/* Run samples t <= . < T of a block, from its start. */
#define run_block NAME(run_block)
INLINE void run_block(struct group *g, struct tiles *z, const vec *in, vec *out, const int R,
                      const int WHAT, int64_t t, int64_t T) {
    enter_block(g, R);
    if (WHAT == STATES)
        for (int64_t m = 0; m < g->M; m++)
            for (int part = 0; part < 2; part++)
                z->x[2 * m * (BLOCK + 1) + part] = g->state[m * N_STATE + X_RE + part];
    for (; t + AHEAD <= T; t += AHEAD) strip(g, z, in, out, R, AHEAD, WHAT, t, T);
    for (; t < T; t++) strip(g, z, in, out, R, 1, WHAT, t, T);
    if (WHAT == STATES)
        for (int j = 0; j < R; j++) z->coupling[j][T] = g->ahead[j][0] + g->base_s[j];
    if (WHAT != STATES) leave_block(g);
}

/* -- signals and states */

/* Where sample t of a sequence stands, counted in the direction of the recurrence. */
#define sample NAME(sample)
static inline REAL *sample(const struct signal *s, const struct job *job, int64_t sequence,
                           int64_t n, int64_t t, int64_t h) {
    const int64_t time = job->reverse ? n - 1 - t : t;
    return (REAL *)s->data + sequence * s->batch_stride + time * s->time_stride +
           h * s->feature_stride;
}

#define load_sample NAME(load_sample)
static inline vec load_sample(const REAL *at, int64_t stride, int lanes) {
    vec x = {0};
    if (stride == 1 && lanes == LANES)
        memcpy(&x, at, sizeof x);
    else
        for (int l = 0; l < lanes; l++) ((REAL *)&x)[l] = at[l * stride];
    return x;
}

#define store_sample NAME(store_sample)
static inline void store_sample(REAL *at, int64_t stride, int lanes, vec x) {
    if (stride == 1 && lanes == LANES)
        memcpy(at, &x, sizeof x);
    else
        for (int l = 0; l < lanes; l++) at[l * stride] = ((REAL *)&x)[l];
}

/* Copy a state (H, N) of a sequence into X. */
#define load_state NAME(load_state)
static void load_state(struct group *g, const REAL *state, int64_t h, int lanes) {
    memset(g->X, 0, (size_t)g->M * 2 * LANES * sizeof(double));
    if (!state) return;
    for (int l = 0; l < lanes; l++)
        for (int part = 0; part < 2; part++)
            for (int64_t m = 0; m < g->M; m++)
                g->X[(m * 2 + part) * LANES + l] = state[((h + l) * 2 + part) * g->M + m];
}

#define store_state NAME(store_state)
static void store_state(const struct group *g, REAL *state, int64_t h, int lanes) {
    for (int l = 0; l < lanes; l++)
        for (int part = 0; part < 2; part++)
            for (int64_t m = 0; m < g->M; m++)
                state[((h + l) * 2 + part) * g->M + m] =
                    (REAL)g->X[(m * 2 + part) * LANES + l];
}

/* Copy X to or from what is kept of a block, (N, H). */
#define keep_state NAME(keep_state)
static void keep_state(const struct group *g, REAL *kept, int64_t H, int lanes) {
    for (int64_t m = 0; m < g->M; m++)
        for (int part = 0; part < 2; part++)
            for (int l = 0; l < lanes; l++)
                kept[(part * g->M + m) * H + l] = (REAL)g->X[(m * 2 + part) * LANES + l];
}

#define recall_state NAME(recall_state)
static void recall_state(struct group *g, const REAL *kept, int64_t H, int lanes) {
    for (int64_t m = 0; m < g->M; m++)
        for (int part = 0; part < 2; part++)
            for (int l = 0; l < lanes; l++)
                g->X[(m * 2 + part) * LANES + l] = kept[(part * g->M + m) * H + l];
}

#define own_length NAME(own_length)
static inline int64_t own_length(const struct job *job, int64_t sequence) {
    return job->lengths ? job->lengths[sequence] : job->length;
}

#define clear_behind NAME(clear_behind)
static void clear_behind(const struct job *job, const struct signal *s, int64_t sequence,
                         int64_t n, int64_t h, int lanes) {
    for (int64_t t = n; t < job->length; t++) {
        REAL *at = (REAL *)s->data + sequence * s->batch_stride + t * s->time_stride +
                   h * s->feature_stride;
        store_sample(at, s->feature_stride, lanes, (vec){0});
    }
}

#define kept_block NAME(kept_block)
static inline REAL *kept_block(const struct job *job, int64_t sequence, int64_t t, int64_t h) {
    const int64_t blocks = (job->length + BLOCK - 1) / BLOCK;
    return (REAL *)job->kept + (sequence * blocks + t / BLOCK) * 2 * job->M * job->H + h;
}

/* -- forward */

#define forward_sequence NAME(forward_sequence)
INLINE void forward_sequence(const struct job *job, struct group *g, struct tiles *z, const int R,
                             int64_t i, int64_t h, int lanes) {
    const int64_t n = own_length(job, i), size = 2 * job->M * job->H;
    load_state(g, job->state ? (const REAL *)job->state + i * size : NULL, h, lanes);
    for (int64_t t = 0; t < n; t += BLOCK) {
        const int64_t T = n - t < BLOCK ? n - t : BLOCK;
        if (job->kept) keep_state(g, kept_block(job, i, t, h), job->H, lanes);
        for (int64_t k = 0; k < T; k++)
            z->u[k] = load_sample(sample(&job->u, job, i, n, t + k, h), job->u.feature_stride, lanes);
        run_block(g, z, z->u, z->y, R, OUTPUT, 0, T);
        for (int64_t k = 0; k < T; k++)
            store_sample(sample(&job->y, job, i, n, t + k, h), job->y.feature_stride, lanes, z->y[k]);
    }
    clear_behind(job, &job->y, i, n, h, lanes);
    if (job->last) store_state(g, (REAL *)job->last + i * size, h, lanes);
}

/* The features and sequences of an item. */
#define item_range NAME(item_range)
static void item_range(const struct job *job, int64_t item, int64_t *h, int *lanes, int64_t *first,
                       int64_t *last) {
    const int64_t at = item % job->groups, split = item / job->groups;
    *h = at * LANES;
    *lanes = (int)(job->H - *h < LANES ? job->H - *h : LANES);
    *first = job->batch * split / job->splits;
    *last = job->batch * (split + 1) / job->splits;
}

#define forward_of_rank NAME(forward_of_rank)
INLINE void forward_of_rank(const struct job *job, struct group *g, struct tiles *z, const int R,
                            int64_t h, int lanes, int64_t first, int64_t last) {
    prepare_group(g, job, h, lanes, R, 0);
    for (int64_t i = first; i < last; i++) forward_sequence(job, g, z, R, i, h, lanes);
}

#define forward NAME(forward)
static int forward(const struct job *job, int64_t item) {
    const size_t of_group = group_bytes(job->M, (int)job->rank) + 8 * VECTOR_BYTES;
    char *memory = allocate(sizeof(struct tiles) + sizeof(struct group) + of_group);
    if (!memory) return -1;
    char *at = memory;
    struct tiles *z = take(&at, sizeof *z);
    struct group *g = take(&at, sizeof *g);
    lay_out_group(g, job->M, (int)job->rank, &at);
    int64_t h, first, last;
    int lanes;
    item_range(job, item, &h, &lanes, &first, &last);
    z->x = NULL;
    z->gradients = NULL;
    if (job->rank == 0) forward_of_rank(job, g, z, 0, h, lanes, first, last);
    if (job->rank == 1) forward_of_rank(job, g, z, 1, h, lanes, first, last);
    if (job->rank == 2) forward_of_rank(job, g, z, 2, h, lanes, first, last);
    release(memory);
    return 0;
}

/* -- backward */

#define SUM(z, R, m, i, piece) ((wide *)((z)->sums + ((m) * N_GRADIENTS(R) + (i)) * LANES))[piece]

/* The last sample of a sequence, where the adjoint state is c gy and what comes from behind; the
 * state after it is in the tiles. */
#define start_adjoint NAME(start_adjoint)
INLINE void start_adjoint(struct group *back, struct tiles *z, const int R, int64_t T) {
    for (int piece = 0; piece < PIECES; piece++) {
        const wide gy = widen(&z->gy[0], piece), u = widen(&z->u[T - 1], piece);
        wide gu = widen(&back->d, piece) * gy;
        for (int64_t m = 0; m < back->M; m++)
            for (int part = 0; part < 2; part++) {
                BASE(back, m, part, piece) += EXACT(back, R, m, B_RE + part, piece) * gy;
                const wide x = BASE(back, m, part, piece);
                gu += EXACT(back, R, m, C_RE + part, piece) * x;
                SUM(z, R, m, G_B_RE + part, piece) += u * x;
                SUM(z, R, m, G_C_RE + part, piece) +=
                    gy * widen(z->x + 2 * (m * (BLOCK + 1) + T) + part, piece);
            }
        round_to(&z->gu[0], piece, gu);
    }
}

/* The step from the initial state, in X of `g`, to the first sample, whose adjoint state is in X
 * of `back`, which becomes the gradient of the initial state. */
#define finish_adjoint NAME(finish_adjoint)
INLINE void finish_adjoint(struct group *g, struct group *back, struct tiles *z, const int R) {
    for (int piece = 0; piece < PIECES; piece++) {
        wide s[MAX_RANK] = {{0}}, w[MAX_RANK] = {{0}};
        for (int64_t m = 0; m < g->M; m++)
            for (int part = 0; part < 2; part++)
                for (int j = 0; j < R; j++) {
                    s[j] += EXACT(g, R, m, R_WIDE(R, j) + part, piece) * BASE(g, m, part, piece);
                    w[j] += EXACT(back, R, m, R_WIDE(R, j) + part, piece) * BASE(back, m, part, piece);
                }
        for (int64_t m = 0; m < g->M; m++) {
            const wide x_re = BASE(g, m, 0, piece), x_im = BASE(g, m, 1, piece);
            const wide re = BASE(back, m, 0, piece), im = BASE(back, m, 1, piece);
            const wide e_re = EXACT(back, R, m, E_RE, piece), e_im = EXACT(back, R, m, E_IM, piece);
            wide next_re = re + e_re * re - e_im * im, next_im = im + e_im * re + e_re * im;
            SUM(z, R, m, G_E_RE, piece) += re * x_re + im * x_im;
            SUM(z, R, m, G_E_IM, piece) += im * x_re - re * x_im;
            for (int j = 0; j < R; j++) {
                next_re -= EXACT(back, R, m, Q(j), piece) * w[j];
                next_im -= EXACT(back, R, m, Q(j) + 1, piece) * w[j];
                SUM(z, R, m, G_Q(j), piece) -= s[j] * re;
                SUM(z, R, m, G_Q(j) + 1, piece) -= s[j] * im;
                SUM(z, R, m, G_R(j), piece) -= w[j] * x_re;
                SUM(z, R, m, G_R(j) + 1, piece) -= w[j] * x_im;
            }
            BASE(back, m, 0, piece) = next_re;
            BASE(back, m, 1, piece) = next_im;
        }
    }
}

#define add_gradients NAME(add_gradients)
INLINE void add_gradients(struct group *g, struct tiles *z, const int R, int64_t T) {
    for (int64_t i = 0; i < g->M * N_GRADIENTS(R); i++)
        for (int piece = 0; piece < PIECES; piece++)
            ((wide *)(z->sums + i * LANES))[piece] += widen(z->gradients + i, piece);
    vec d = {0};
    for (int64_t k = 0; k < T; k++) d += z->u[k] * z->gy[T - 1 - k];
    for (int piece = 0; piece < PIECES; piece++) ((wide *)z->sum_d)[piece] += widen(&d, piece);
}

#define backward_sequence NAME(backward_sequence)
INLINE void backward_sequence(const struct job *job, struct group *g, struct group *back,
                              struct tiles *z, const int R, int64_t i, int64_t h, int lanes) {
    const int64_t n = own_length(job, i), size = 2 * job->M * job->H;
    load_state(back, job->g_last ? (const REAL *)job->g_last + i * size : NULL, h, lanes);
    for (int64_t t = (n - 1) / BLOCK * BLOCK; t >= 0; t -= BLOCK) {
        const int64_t T = n - t < BLOCK ? n - t : BLOCK, start = t + T == n;
        recall_state(g, kept_block(job, i, t, h), job->H, lanes);
        for (int64_t k = 0; k < T; k++) {
            z->u[k] = load_sample(sample(&job->u, job, i, n, t + k, h), job->u.feature_stride, lanes);
            z->gy[T - 1 - k] =
                load_sample(sample(&job->gy, job, i, n, t + k, h), job->gy.feature_stride, lanes);
        }
        run_block(g, z, z->u, NULL, R, STATES, 0, T);
        if (start) start_adjoint(back, z, R, T);
        memset(z->gradients, 0, (size_t)g->M * N_GRADIENTS(R) * sizeof(vec));
        if (T > start) run_block(back, z, z->gy, z->gu, R, GRADIENTS, start, T);
        add_gradients(g, z, R, T);
        for (int64_t k = 0; k < T; k++)
            store_sample(sample(&job->gu, job, i, n, t + k, h), job->gu.feature_stride, lanes,
                         z->gu[T - 1 - k]);
    }
    finish_adjoint(g, back, z, R);
    clear_behind(job, &job->gu, i, n, h, lanes);
    if (job->g_state) store_state(back, (REAL *)job->g_state + i * size, h, lanes);
}

#define backward_of_rank NAME(backward_of_rank)
INLINE void backward_of_rank(const struct job *job, struct group *g, struct group *back,
                             struct tiles *z, const int R, int64_t h, int lanes, int64_t first,
                             int64_t last) {
    prepare_group(g, job, h, lanes, R, 0);
    prepare_group(back, job, h, lanes, R, 1);
    memset(z->sums, 0, (size_t)(job->M * N_GRADIENTS(R) + 1) * LANES * sizeof(double));
    for (int64_t i = first; i < last; i++) backward_sequence(job, g, back, z, R, i, h, lanes);
}

#define backward NAME(backward)
static int backward(const struct job *job, int64_t item) {
    const int R = (int)job->rank;
    const size_t of_group = group_bytes(job->M, R) + 8 * VECTOR_BYTES;
    const size_t states = (size_t)job->M * (BLOCK + 1) * 2 * sizeof(vec);
    const size_t gradients = (size_t)job->M * N_GRADIENTS(R) * sizeof(vec);
    char *memory =
        allocate(sizeof(struct tiles) + 2 * sizeof(struct group) + 2 * of_group + states + gradients);
    if (!memory) return -1;
    char *at = memory;
    struct tiles *z = take(&at, sizeof *z);
    struct group *g = take(&at, sizeof *g), *back = take(&at, sizeof *back);
    lay_out_group(g, job->M, R, &at);
    lay_out_group(back, job->M, R, &at);
    z->x = take(&at, states);
    z->gradients = take(&at, gradients);
    const int64_t numbers = job->M * N_GRADIENTS(R) * LANES;
    z->sums = job->partial + item * (numbers + LANES);
    z->sum_d = z->sums + numbers;
    int64_t h, first, last;
    int lanes;
    item_range(job, item, &h, &lanes, &first, &last);
    if (R == 0) backward_of_rank(job, g, back, z, 0, h, lanes, first, last);
    if (R == 1) backward_of_rank(job, g, back, z, 1, h, lanes, first, last);
    if (R == 2) backward_of_rank(job, g, back, z, 2, h, lanes, first, last);
    release(memory);
    return 0;
}

/* Sum the gradients of the splits, in order, into those of the systems. */
#define reduce NAME(reduce)
static void reduce(const struct job *job) {
    const int R = (int)job->rank;
    const int64_t M = job->M, numbers = (M * N_GRADIENTS(R) + 1) * LANES;
    const struct systems *s = &job->g_systems;
    for (int64_t f = 0; f < job->H; f++) {
        const int64_t at = f / LANES;
        const int l = (int)(f % LANES);
#define TOTAL(i) total(job->partial + at * numbers + (i) * LANES + l, numbers * job->groups, job->splits)
        s->d[f] = TOTAL(M * N_GRADIENTS(R));
        for (int64_t m = 0; m < M; m++) {
            const int64_t first = m * N_GRADIENTS(R);
            s->e_re[f * M + m] = TOTAL(first + G_E_RE);
            s->e_im[f * M + m] = TOTAL(first + G_E_IM);
            for (int part = 0; part < 2; part++) {
                const int64_t n = part * M + m;
                s->b[f * 2 * M + n] = TOTAL(first + G_B_RE + part);
                s->c[f * 2 * M + n] = TOTAL(first + G_C_RE + part);
                for (int j = 0; j < R; j++) {
                    s->q[(f * R + j) * 2 * M + n] = TOTAL(first + G_Q(j) + part);
                    s->r[(f * R + j) * 2 * M + n] = TOTAL(first + G_R(j) + part);
                }
            }
        }
#undef TOTAL
    }
}

static const struct kernel NAME(kernel) = {LANES, forward, backward, reduce};
