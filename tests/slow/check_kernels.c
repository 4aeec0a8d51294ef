/* Checks the compiled kernels without Python, for processors that have to be emulated.
 *
 * The forward pass is compared with a plain loop in double precision, the backward pass with
 * differences of it (parameters) and with the adjoint identity <g, y(v)> = <gu, v> (input), the
 * parts of a block with the functions of the C library. Prints the largest errors; exits with 1 if
 * one of them is too large. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recurrence.h"

enum { BATCH = 2, LENGTH = 300, H = 5, M = 3, N = 2 * M, MOST = 2 * BATCH * LENGTH * H };

static int failures;

static double draw(void) {
    static uint64_t x = 88172645463325252u;
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return (double)(x >> 11) / 9007199254740992. * 2 - 1;
}

static void report(const char *set, const char *what, int bytes, int rank, double error,
                   double limit) {
    printf("%-9s %-10s %d bytes, rank %d: %.1e\n", set, what, bytes, rank, error);
    if (!(error < limit)) failures++, printf("   more than %.1e\n", limit);
}

/* -- the recurrence */

struct numbers {
    double e_re[H * M], e_im[H * M], q[H * MAX_RANK * N], r[H * MAX_RANK * N], b[H * N], c[H * N],
        d[H];
};

static struct systems point(struct numbers *x) {
    return (struct systems){x->e_re, x->e_im, x->q, x->r, x->b, x->c, x->d};
}

static void plain(const struct numbers *p, int R, const double *u, double *y) {
    for (int s = 0; s < BATCH; s++)
        for (int h = 0; h < H; h++) {
            double x[N] = {0}, next[N];
            for (int t = 0; t < LENGTH; t++) {
                const double in = u[(s * LENGTH + t) * H + h];
                double out = p->d[h] * in;
                for (int m = 0; m < M; m++) {
                    const double er = p->e_re[h * M + m], ei = p->e_im[h * M + m];
                    next[m] = x[m] + er * x[m] - ei * x[M + m] + p->b[h * N + m] * in;
                    next[M + m] =
                        x[M + m] + er * x[M + m] + ei * x[m] + p->b[h * N + M + m] * in;
                }
                for (int j = 0; j < R; j++) {
                    double coupling = 0;
                    for (int n = 0; n < N; n++) coupling += p->r[(h * R + j) * N + n] * x[n];
                    for (int n = 0; n < N; n++) next[n] -= p->q[(h * R + j) * N + n] * coupling;
                }
                memcpy(x, next, sizeof x);
                for (int n = 0; n < N; n++) out += p->c[h * N + n] * x[n];
                y[(s * LENGTH + t) * H + h] = out;
            }
        }
}

static void store(void *to, const double *from, int count, int is_double) {
    for (int i = 0; i < count; i++)
        if (is_double)
            ((double *)to)[i] = from[i];
        else
            ((float *)to)[i] = (float)from[i];
}

static double at(const void *x, int i, int is_double) {
    return is_double ? ((const double *)x)[i] : ((const float *)x)[i];
}

static double dot(const double *a, const double *b, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

static void check_recurrence(const struct instruction_set *set, int R, int is_double) {
    enum { SIZE = BATCH * LENGTH * H, BLOCKS = (LENGTH + BLOCK - 1) / BLOCK };
    const struct kernel *kernel = is_double ? &set->twice : &set->single;
    static struct numbers p, g;
    static double u[SIZE], g_y[SIZE], y[SIZE], moved[SIZE];
    static double in[SIZE], out[SIZE], gy[SIZE], gu[SIZE], last[BATCH * H * N], g_state[BATCH * H * N];
    static double kept[BATCH * BLOCKS * N * H];
    static double partial[64 * (M * 14 + 1) * 16] __attribute__((aligned(64)));
    for (int i = 0; i < SIZE; i++) u[i] = draw(), g_y[i] = draw();
    double *all = (double *)&p;
    for (int i = 0; i < (int)(sizeof p / sizeof *all); i++) all[i] = 0.1 * draw();
    for (int i = 0; i < H * M; i++) p.e_re[i] = -0.05 - fabs(p.e_re[i]);
    store(in, u, SIZE, is_double), store(gy, g_y, SIZE, is_double);

    struct job job = {.batch = BATCH, .length = LENGTH, .H = H, .M = M, .rank = R};
    job.systems = point(&p);
    job.g_systems = point(&g);
    job.u = (struct signal){in, LENGTH * H, H, 1};
    job.y = (struct signal){out, LENGTH * H, H, 1};
    job.gy = (struct signal){gy, LENGTH * H, H, 1};
    job.gu = (struct signal){gu, LENGTH * H, H, 1};
    job.last = last, job.kept = kept, job.g_state = g_state, job.partial = partial;
    job.groups = (H + kernel->lanes - 1) / kernel->lanes, job.splits = 1;
    for (int i = 0; i < job.groups; i++)
        if (kernel->forward(&job, i) || kernel->backward(&job, i)) failures++;
    kernel->reduce(&job);

    const double limit = is_double ? 1e-11 : 2e-5;
    plain(&p, R, u, y);
    double error = 0, size = 0;
    for (int i = 0; i < SIZE; i++) {
        error = fmax(error, fabs(at(out, i, is_double) - y[i]));
        size = fmax(size, fabs(y[i]));
    }
    report(set->name, "output", (int)sizeof(float) << is_double, R, error / size, limit);

    double along = 0;
    for (int i = 0; i < SIZE; i++) along += at(gu, i, is_double) * u[i];
    const double loss = dot(g_y, y, SIZE);
    report(set->name, "input", (int)sizeof(float) << is_double, R, fabs(along / loss - 1), 10 * limit);

    error = 0;
    const int used[] = {0, 1, 2, 3, 4, 5, 6};
    double *parts[] = {p.e_re, p.e_im, p.q, p.r, p.b, p.c, p.d};
    double *found[] = {g.e_re, g.e_im, g.q, g.r, g.b, g.c, g.d};
    const int counts[] = {H * M, H * M, H * R * N, H * R * N, H * N, H * N, H};
    for (int k = 0; k < 7; k++)
        for (int i = 0; i < counts[k]; i++) {
            const double step = 1e-6, kept_value = parts[k][i];
            parts[k][i] = kept_value + step;
            plain(&p, R, u, moved);
            double slope = dot(g_y, moved, SIZE);
            parts[k][i] = kept_value - step;
            plain(&p, R, u, moved);
            slope = (slope - dot(g_y, moved, SIZE)) / (2 * step);
            parts[k][i] = kept_value;
            error = fmax(error, fabs(slope - found[k][i]) / (1 + fabs(slope)));
        }
    report(set->name, "gradients", (int)sizeof(float) << is_double, R, error, is_double ? 1e-6 : 2e-4);
}

/* -- the parts of a block */

static void check_block(const struct instruction_set *set, int is_double) {
    enum { ROWS = 7, F = 19 };
    const struct block_kernel *kernel = is_double ? &set->block_twice : &set->block_single;
    static double x[ROWS * 2 * F], r[ROWS * F], in[ROWS * 2 * F], other[ROWS * F], out[ROWS * 2 * F];
    static double ones[F], zeros[F], weight[F], bias[F], mean[ROWS], rstd[ROWS];
    for (int i = 0; i < ROWS * 2 * F; i++) x[i] = 4 * draw();
    for (int i = 0; i < ROWS * F; i++) r[i] = draw();
    for (int i = 0; i < F; i++) ones[i] = 1;
    store(in, x, ROWS * 2 * F, is_double), store(other, r, ROWS * F, is_double);
    store(weight, ones, F, is_double), store(bias, zeros, F, is_double);
    struct block_job job = {.rows = ROWS, .length = ROWS, .H = F, .rows_of_item = ROWS};
    job.x = in, job.other = other, job.out = out, job.weight = weight, job.bias = bias;
    job.mean = mean, job.rstd = rstd;
    double errors[3] = {0};
    kernel->passes[ACTIVATE](&job, 0);
    for (int i = 0; i < ROWS * F; i++)
        errors[0] = fmax(errors[0], fabs(at(out, i, is_double) - x[i] * erfc(-x[i] * sqrt(.5)) / 2));
    kernel->passes[GATE](&job, 0);
    for (int i = 0; i < ROWS; i++)
        for (int h = 0; h < F; h++) {
            const double y = r[i * F + h] + x[i * 2 * F + h] / (1 + exp(-x[i * 2 * F + F + h]));
            errors[1] = fmax(errors[1], fabs(at(out, i * F + h, is_double) - y));
        }
    kernel->passes[NORMALIZE](&job, 0);
    for (int i = 0; i < ROWS; i++) {
        double sum = 0, squares = 0;
        for (int h = 0; h < F; h++) sum += x[i * F + h] / F;
        for (int h = 0; h < F; h++) squares += (x[i * F + h] - sum) * (x[i * F + h] - sum) / F;
        for (int h = 0; h < F; h++) {
            const double y = (x[i * F + h] - sum) / sqrt(squares);
            errors[2] = fmax(errors[2], fabs(at(out, i * F + h, is_double) - y));
        }
    }
    const char *names[] = {"activate", "gate", "normalize"};
    for (int k = 0; k < 3; k++)
        report(set->name, names[k], (int)sizeof(float) << is_double, 0, errors[k],
               is_double ? 1e-13 : 3e-6);
}

int main(void) {
    const struct instruction_set *const *sets;
    const int count = instruction_sets(&sets);
    for (int i = 0; i < count; i++)
        for (int is_double = 0; is_double < 2; is_double++) {
            for (int R = 0; R <= MAX_RANK; R++) check_recurrence(sets[i], R, is_double);
            check_block(sets[i], is_double);
        }
    return failures != 0;
}
