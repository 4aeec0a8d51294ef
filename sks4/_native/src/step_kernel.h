/* Steps for one type; included by step_kernels.h after elementary.h, with IS_SINGLE.
 *
 * The state of a slow mode moves by less than it rounds to. So in single precision each number of
 * a state has a second one, the part that rounding has lost (Kahan's summation), and where there
 * is no low rank the diagonal is in two parts as well: else slowly decaying modes turn too fast or
 * too slowly. */

#define SQRT(x) (IS_SINGLE ? sqrtf((float)(x)) : sqrt(x))
#define GROUP ((int)(GROUP_BYTES / sizeof(REAL)))
#define N_STATE (IS_SINGLE ? 4 : 2)
#define N_PARAMETERS(R) (6 + 4 * (R) + ((R) == 0 && IS_SINGLE ? 2 : 0))

/* -- products with matrices */

/* out = bias + in W for S rows and V vectors of outputs; W has rows of n_out numbers. */
#define dense_tile NAME(dense_tile)
INLINE void dense_tile(const REAL *restrict W, const REAL *restrict bias, const REAL *restrict in,
                       int64_t in_stride, REAL *restrict out, int64_t n_in, int64_t n_out,
                       const int S, const int V) {
    vec sum[16];
    UNROLL for (int s = 0; s < S; s++)
        UNROLL for (int v = 0; v < V; v++)
            sum[s * V + v] = bias ? ((const vec *)bias)[v] : (vec){0};
    for (int64_t i = 0; i < n_in; i++) {
        const vec *row = (const vec *)(W + i * n_out);
        UNROLL for (int s = 0; s < S; s++) {
            const REAL x = in[s * in_stride + i];
            UNROLL for (int v = 0; v < V; v++) sum[s * V + v] += row[v] * x;
        }
    }
    UNROLL for (int s = 0; s < S; s++)
        UNROLL for (int v = 0; v < V; v++) ((vec *)(out + s * n_out))[v] = sum[s * V + v];
}

#define dense_rows NAME(dense_rows)
INLINE void dense_rows(const REAL *W, const REAL *bias, const REAL *in, int64_t in_stride,
                       REAL *out, int64_t n_in, int64_t n_out, const int S) {
    int64_t o = 0;
#define TILES(V)                                                                            \
    for (; o + (V) * LANES <= n_out; o += (V) * LANES)                                      \
        dense_tile(W + o, bias ? bias + o : NULL, in, in_stride, out + o, n_in, n_out, S, V)
    if (S == 1) TILES(8);
    TILES(4);
    TILES(1);
#undef TILES
}

#define dense NAME(dense)
static void dense(const REAL *W, const REAL *bias, const REAL *in, int64_t in_stride, REAL *out,
                  int64_t n_in, int64_t n_out, int64_t batch) {
    int64_t s = 0;
    for (; s + 4 <= batch; s += 4)
        dense_rows(W, bias, in + s * in_stride, in_stride, out + s * n_out, n_in, n_out, 4);
    for (; s < batch; s++)
        dense_rows(W, bias, in + s * in_stride, in_stride, out + s * n_out, n_in, n_out, 1);
}

#define dot NAME(dot)
static REAL dot(const REAL *a, const REAL *b, int64_t n) {
    vec sums[4] = {{0}};
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        UNROLL for (int k = 0; k < 4; k++)
            sums[k] += *(const loose *)(a + i + k * LANES) * *(const loose *)(b + i + k * LANES);
    const vec sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    REAL total = 0;
    for (int l = 0; l < LANES; l++) total += sum[l];
    for (; i < n; i++) total += a[i] * b[i];
    return total;
}

/* -- systems */

#define group_parameters NAME(group_parameters)
INLINE int64_t group_parameters(const struct step_systems *s) {
    return (1 + s->M * N_PARAMETERS(s->rank)) * GROUP;
}

#define group_state NAME(group_state)
INLINE int64_t group_state(const struct step_systems *s) {
    return (s->rank + s->M * N_STATE) * GROUP;
}

/* Add change to the state of a part, x by 2 groups before what it has lost. */
#define moved NAME(moved)
INLINE vec moved(REAL *state, vec change) {
    vec *x = (vec *)state;
    if (!IS_SINGLE) return *x += change;
    vec *lost = (vec *)(state + 2 * GROUP);
    change += *lost;
    const vec before = *x, after = before + change;
    *lost = change - (after - before);
    return *x = after;
}

/* Move one vector of features by one sample, u -> y. */
#define move NAME(move)
INLINE void move(const REAL *restrict p, REAL *restrict state, const REAL *u_at, REAL *y_at,
                 int64_t M, const int R) {
    const vec u = *(const vec *)u_at;
    vec y[2] = {*(const vec *)p * u, {0}};
    vec s[2], next[2][2] = {{{0}}};
    UNROLL for (int j = 0; j < R; j++) s[j] = *(vec *)(state + j * GROUP);
    REAL *x = state + R * GROUP;
    p += GROUP;
#define P(i) (*(const vec *)(p + (i) * GROUP))
    for (int64_t m = 0; m < M; m++, p += N_PARAMETERS(R) * GROUP, x += N_STATE * GROUP) {
        const vec re = *(vec *)x, im = *(vec *)(x + GROUP);
        vec d_re = P(0) * re - P(1) * im, d_im = P(0) * im + P(1) * re;
        if (R == 0 && IS_SINGLE) {
            d_re += P(6) * re - P(7) * im;
            d_im += P(6) * im + P(7) * re;
        }
        d_re += P(2) * u;
        d_im += P(3) * u;
        UNROLL for (int j = 0; j < R; j++) {
            d_re -= P(6 + 4 * j) * s[j];
            d_im -= P(7 + 4 * j) * s[j];
        }
        const vec new_re = moved(x, d_re), new_im = moved(x + GROUP, d_im);
        y[0] += P(4) * new_re;
        y[1] += P(5) * new_im;
        UNROLL for (int j = 0; j < R; j++) {
            next[j][0] += P(8 + 4 * j) * new_re;
            next[j][1] += P(9 + 4 * j) * new_im;
        }
    }
#undef P
    UNROLL for (int j = 0; j < R; j++) *(vec *)(state + j * GROUP) = next[j][0] + next[j][1];
    *(vec *)y_at = y[0] + y[1];
}

#define move_systems NAME(move_systems)
INLINE void move_systems(const struct step_systems *s, const REAL *u, REAL *y, int64_t batch,
                         const int R) {
    const int64_t width = s->n_groups * GROUP, step = group_state(s);
    for (int64_t g = 0; g < s->n_groups; g++) {
        const REAL *p = AT(REAL, s->parameters) + g * group_parameters(s);
        REAL *state = AT(REAL, s->state) + g * batch * step;
        for (int64_t b = 0; b < batch; b++)
            for (int l = 0; l < GROUP; l += LANES)
                move(p + l, state + b * step + l, u + b * width + g * GROUP + l,
                     y + b * width + g * GROUP + l, s->M, R);
    }
}

/* Move all systems by one sample u (batch, n_groups * GROUP). */
#define systems_step NAME(systems_step)
static void systems_step(const struct step_systems *s, const REAL *u, REAL *y, int64_t batch) {
    if (s->rank == 0) move_systems(s, u, y, batch, 0);
    if (s->rank == 1) move_systems(s, u, y, batch, 1);
    if (s->rank == 2) move_systems(s, u, y, batch, 2);
}

/* Read r x anew, by the sums of `move`, so that it has the same bits. */
#define refresh_systems NAME(refresh_systems)
static void refresh_systems(const struct step_systems *s, int64_t batch) {
    const int64_t size = group_state(s), n = N_PARAMETERS(s->rank);
    for (int64_t g = 0; g < s->n_groups; g++)
        for (int64_t i = 0; i < batch * s->rank * GROUP; i += LANES) {
            const int64_t b = i / (s->rank * GROUP), j = i / GROUP % s->rank, l = i % GROUP;
            const REAL *r = AT(REAL, s->parameters) + g * group_parameters(s) + l;
            REAL *state = AT(REAL, s->state) + (g * batch + b) * size + l;
            const REAL *x = state + s->rank * GROUP;
            vec re = {0}, im = {0};
            for (int64_t m = 0; m < s->M; m++) {
                const REAL *at = r + (1 + m * n + 8 + 4 * j) * GROUP;
                re += *(const vec *)at * *(const vec *)(x + m * N_STATE * GROUP);
                im += *(const vec *)(at + GROUP) * *(const vec *)(x + (m * N_STATE + 1) * GROUP);
            }
            *(vec *)(state + j * GROUP) = re + im;
        }
}

#define refresh_plan NAME(refresh_plan)
static void refresh_plan(struct step_plan *p) {
    const struct step_block *blocks = AT(struct step_block, p->blocks);
    for (int64_t i = 0; i < p->n_blocks; i++) refresh_systems(&blocks[i].systems, p->batch);
    if (p->n_filters) refresh_systems(&p->bank, p->batch);
}

/* -- blocks */

/* Normalize the first H of H_p features of each stream. */
#define normalize NAME(normalize)
static void normalize(const struct step_norm *norm, const struct step_plan *p, const REAL *x,
                      REAL *out) {
    const REAL *weight = AT(REAL, norm->weight), *bias = AT(REAL, norm->bias);
    const int64_t H = p->H, H_p = p->H_p;
    for (int64_t b = 0; b < p->batch; b++, x += H_p, out += H_p) {
        REAL mean = 0, scale = 1;
        if (norm->kind == LAYER_NORM) {
            vec sum = {0}, squares = {0};
            for (int64_t h = 0; h < H_p; h += LANES) sum += *(const vec *)(x + h);
            for (int l = 0; l < LANES; l++) mean += sum[l]; /* those beyond H are zero */
            mean /= (REAL)H;
            int64_t h = 0;
            for (; h + LANES <= H; h += LANES) {
                const vec d = *(const vec *)(x + h) - mean;
                squares += d * d;
            }
            for (int l = 0; h + l < H; l++) squares[l] += (x[h + l] - mean) * (x[h + l] - mean);
            double variance = 0;
            for (int l = 0; l < LANES; l++) variance += squares[l];
            scale = (REAL)(1 / sqrt(variance / (double)H + *AT(double, norm->eps)));
        }
        for (int64_t h = 0; h < H_p; h += LANES)
            *(vec *)(out + h) = (*(const vec *)(x + h) - mean) * scale * *(const vec *)(weight + h) +
                                *(const vec *)(bias + h);
    }
}

/* Change x (batch, H_p) to the output of a block; `work` has room for four such arrays. */
#define block_step NAME(block_step)
static void block_step(const struct step_block *block, const struct step_plan *p, REAL *x,
                       REAL *work) {
    const int64_t n = p->batch * p->H_p, H_p = p->H_p;
    const int has_norm = block->norm.kind != NO_NORM;
    REAL *w = work + n, *gated = work + 2 * n;
    const REAL *u = x;
    if (has_norm && p->prenorm) normalize(&block->norm, p, u = x, work), u = work;
    systems_step(&block->systems, u, w, p->batch);
    for (int64_t i = 0; i < n; i += LANES) {
        vec *at = (vec *)(w + i), P, p;
        normal(*at, &P, &p);
        *at *= P;
    }
    dense(AT(REAL, block->weight), AT(REAL, block->bias), w, H_p, gated, p->H, 2 * H_p, p->batch);
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t h = 0; h < H_p; h += LANES) {
            const REAL *at = gated + b * 2 * H_p + h;
            *(vec *)(x + b * H_p + h) += *(const vec *)at * sigmoid(*(const vec *)(at + H_p));
        }
    if (has_norm && !p->prenorm) normalize(&block->norm, p, x, x);
}

/* Copy H of H_p features into the features of each stream. */
#define place NAME(place)
static void place(const struct step_plan *p, const REAL *x, int64_t width, int64_t width_p,
                  int64_t offset) {
    for (int64_t b = 0; b < p->batch; b++)
        memcpy(AT(REAL, p->features) + b * p->n_features + offset, x + b * width_p,
               (size_t)width * sizeof(REAL));
}

/* Fill the states of the bank with those of a constant input. */
#define start_bank NAME(start_bank)
static void start_bank(const struct step_plan *p, const REAL *mixed) {
    const struct step_systems *s = &p->bank;
    const int64_t size = group_state(s);
    for (int64_t g = 0; g < s->n_groups; g++)
        for (int64_t b = 0; b < p->batch; b++) {
            const REAL *steady = AT(REAL, p->steady) + g * size;
            const REAL *u = mixed + b * p->F_p + g * GROUP;
            REAL *state = AT(REAL, s->state) + (g * p->batch + b) * size;
            for (int64_t i = 0; i < size; i++) state[i] = steady[i] * u[i % GROUP];
        }
}

/* Fill the features from the patch of each stream. */
#define patch_step NAME(patch_step)
static void patch_step(const struct step_plan *p, const void *input, int64_t stride,
                       int is_first) {
    REAL *x = AT(REAL, p->work), *work = x + p->batch * p->H_p;
    const int64_t H = p->H, H_p = p->H_p;
    if (p->symbols) {
        for (int64_t b = 0; b < p->batch; b++)
            memcpy(x + b * H_p, AT(REAL, p->weight) + ((const int64_t *)input)[b * stride] * H_p,
                   (size_t)H_p * sizeof(REAL));
    } else if (p->n_blocks || !p->every_block) {
        dense(AT(REAL, p->weight), AT(REAL, p->bias), input, stride, x, p->n_inputs, H_p, p->batch);
    }
    const struct step_block *blocks = AT(struct step_block, p->blocks);
    for (int64_t i = 0; i < p->n_blocks; i++) {
        block_step(blocks + i, p, x, work);
        if (p->every_block && i + 1 < p->n_blocks) place(p, x, H, H_p, i * H);
    }
    if (p->norm.kind != NO_NORM && (p->n_blocks || !p->every_block)) normalize(&p->norm, p, x, x);
    if (!p->every_block || p->n_blocks)
        place(p, x, H, H_p, p->every_block ? (p->n_blocks - 1) * H : 0);
    if (p->n_filters) {
        REAL *mixed = work + 4 * p->batch * H_p, *y = mixed + p->batch * p->F_p;
        dense(AT(REAL, p->mix), NULL, input, stride, mixed, p->n_inputs, p->F_p, p->batch);
        if (is_first) start_bank(p, mixed);
        systems_step(&p->bank, mixed, y, p->batch);
        place(p, y, p->n_filters, p->F_p, p->n_features - p->n_filters);
    }
}
