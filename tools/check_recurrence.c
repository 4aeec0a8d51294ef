/* Compare the recurrence with single steps in double precision, and its gradients with finite
 * differences, without Python: for processors that are only emulated. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "pool.h"
#include "recurrence.h"

enum { BATCH = 2, LENGTH = 150, H = 21, M = 3, N = 2 * M };

static double uniform(void) {
    static uint64_t seed = 1;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) / 9007199254740992.0 * 2 - 1;
}

static double *draw(int count, double scale) {
    double *x = malloc((size_t)count * sizeof *x);
    for (int i = 0; i < count; i++) x[i] = scale * uniform();
    return x;
}

static struct systems make_systems(int R) {
    struct systems s = {draw(H * M, 0.4),     draw(H * M, 0.4),     draw(H * R * N + 1, 0.1),
                        draw(H * R * N + 1, 0.3), draw(H * N, 1), draw(H * N, 1), draw(H, 1)};
    for (int i = 0; i < H * M; i++) s.e_re[i] -= 0.6;
    return s;
}

/* One step of feature f. */
static double step(const struct systems *s, int R, int f, double *x, double u) {
    double next[N], y = s->d[f] * u;
    for (int m = 0; m < M; m++) {
        const double re = s->e_re[f * M + m], im = s->e_im[f * M + m];
        next[m] = x[m] + re * x[m] - im * x[M + m];
        next[M + m] = x[M + m] + im * x[m] + re * x[M + m];
    }
    for (int j = 0; j < R; j++) {
        double sum = 0;
        for (int n = 0; n < N; n++) sum += s->r[(f * R + j) * N + n] * x[n];
        for (int n = 0; n < N; n++) next[n] -= s->q[(f * R + j) * N + n] * sum;
    }
    for (int n = 0; n < N; n++) {
        x[n] = next[n] + s->b[f * N + n] * u;
        y += s->c[f * N + n] * x[n];
    }
    return y;
}

/* Return the sum of w y over everything, in double, by single steps. */
static double loss(const struct systems *s, int R, const double *u, const double *w, double *y) {
    double total = 0;
    for (int i = 0; i < BATCH; i++)
        for (int f = 0; f < H; f++) {
            double x[N] = {0};
            for (int t = 0; t < LENGTH; t++) {
                const int at = (i * LENGTH + t) * H + f;
                const double out = step(s, R, f, x, u[at]);
                if (y) y[at] = out;
                total += w[at] * out;
            }
        }
    return total;
}

static struct signal packed(void *data) { return (struct signal){data, LENGTH * H, H, 1}; }

static void run(const struct kernel *k, int threads, int R, struct job *job) {
    job->batch = BATCH, job->length = LENGTH, job->H = H, job->M = M, job->rank = R;
    job->groups = (H + k->lanes - 1) / k->lanes;
    job->splits = 2;
    pool_run(threads, job->groups * 2, (task)k->forward, job);
    job->partial = allocate((size_t)(job->groups * 2 * (M * (6 + 4 * R) + 1) * k->lanes) * 8);
    pool_run(threads, job->groups * 2, (task)k->backward, job);
    k->reduce(job);
    release(job->partial);
}

static double worst;

static void compare(const char *set, int R, const char *what, double got, double want) {
    const double error = fabs(got - want) / (1 + fabs(want));
    if (error > worst) worst = error;
    if (!(error < 1e-6)) {
        printf("%s rank %d: %s is %.12g, not %.12g\n", set, R, what, got, want);
        exit(1);
    }
}

static void check(const struct instruction_set *set, int threads, int R) {
    const int size = BATCH * LENGTH * H;
    struct systems s = make_systems(R);
    double *u = draw(size, 1), *w = draw(size, 1), *y = draw(size, 0), *want = draw(size, 0);
    double *gu = draw(size, 0), *last = draw(BATCH * H * N, 0);
    double *kept = draw(BATCH * 3 * N * H, 0);
    struct systems g = make_systems(R);
    struct job job = {.systems = s, .u = packed(u), .y = packed(y), .gy = packed(w),
                      .gu = packed(gu), .kept = kept, .last = last, .g_systems = g};
    run(&set->twice, threads, R, &job);
    loss(&s, R, u, w, want);
    for (int i = 0; i < size; i++) compare(set->name, R, "an output", y[i], want[i]);
    struct { const char *name; double *at, *gradient; int count; } parts[] = {
        {"gradient of e_re", s.e_re, g.e_re, H * M}, {"gradient of e_im", s.e_im, g.e_im, H * M},
        {"gradient of q", s.q, g.q, H * R * N},      {"gradient of r", s.r, g.r, H * R * N},
        {"gradient of b", s.b, g.b, H * N},          {"gradient of c", s.c, g.c, H * N},
        {"gradient of d", s.d, g.d, H},              {"gradient of u", u, gu, size}};
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
        for (int i = 0; i < parts[p].count; i += 37) {
            const double at = parts[p].at[i], h = 1e-6;
            parts[p].at[i] = at + h;
            const double above = loss(&s, R, u, w, NULL);
            parts[p].at[i] = at - h;
            const double below = loss(&s, R, u, w, NULL);
            parts[p].at[i] = at;
            compare(set->name, R, parts[p].name, parts[p].gradient[i], (above - below) / (2 * h));
        }
    /* single precision against the outputs in double */
    float *single = malloc((size_t)size * sizeof *single), *out = malloc((size_t)size * sizeof *out);
    for (int i = 0; i < size; i++) single[i] = (float)u[i], u[i] = single[i];
    loss(&s, R, u, w, want);
    job.u = packed(single), job.y = packed(out), job.kept = NULL, job.last = NULL;
    job.groups = (H + set->single.lanes - 1) / set->single.lanes;
    pool_run(threads, job.groups * 2, (task)set->single.forward, &job);
    for (int i = 0; i < size; i++)
        if (fabs(out[i] - want[i]) > 2e-5 * (1 + fabs(want[i]))) {
            printf("%s rank %d: in single precision %g, not %g\n", set->name, R, out[i], want[i]);
            exit(1);
        }
}

int main(void) {
    const struct instruction_set *const *sets;
    const int count = instruction_sets(&sets);
    for (int i = 0; i < count; i++)
        for (int R = 0; R <= MAX_RANK; R++)
            for (int threads = 1; threads <= 3; threads++) check(sets[i], threads, R);
    for (int i = 0; i < count; i++) printf("%s ", sets[i]->name);
    printf("right, largest error %.1e\n", worst);
    return 0;
}
