/* Draws from the distribution of the next value, and the steps between them; included by
 * step_kernels.h after output_kernel.h. The distributions are those of sks4/training/_likelihoods.py.
 */

#define SMALLEST_SCALE 1e-3 /* as there */

/* The k-th largest of n numbers, by a heap of the k largest so far, whose root is the smallest. */
#define kth_largest NAME(kth_largest)
static REAL kth_largest(const REAL *x, int64_t n, int64_t k, REAL *heap) {
    int64_t size = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t at;
        if (size < k) {
            for (at = size++; at > 0 && heap[(at - 1) / 2] > x[i]; at = (at - 1) / 2)
                heap[at] = heap[(at - 1) / 2];
        } else if (x[i] > heap[0]) {
            for (at = 0;;) {
                int64_t child = 2 * at + 1;
                if (child + 1 < k && heap[child + 1] < heap[child]) child++;
                if (child >= k || heap[child] >= x[i]) break;
                heap[at] = heap[child];
                at = child;
            }
        } else {
            continue;
        }
        heap[at] = x[i];
    }
    return heap[0];
}

/* Replace all but the k largest scores by -infinity. */
#define keep_largest NAME(keep_largest)
static void keep_largest(REAL *scores, int64_t n, int64_t k, REAL *heap) {
    const REAL limit = kth_largest(scores, n, k, heap);
    int64_t above = 0;
    for (int64_t i = 0; i < n; i++) above += scores[i] > limit;
    for (int64_t i = 0; i < n; i++) {
        const int is_tie = scores[i] == limit && above < k;
        above += is_tie;
        if (!(scores[i] > limit || is_tie)) scores[i] = -(REAL)INFINITY;
    }
}

/* Where a number in [0, 1) falls in the cumulative softmax(scores / temperature). */
#define draw_index NAME(draw_index)
static int64_t draw_index(const REAL *scores, int64_t n, double uniform, double temperature,
                          double *sums) {
    REAL largest = scores[0];
    for (int64_t i = 1; i < n; i++) largest = scores[i] > largest ? scores[i] : largest;
    double sum = 0;
    for (int64_t i = 0; i < n; i += LANES) {
        const int m = n - i < LANES ? (int)(n - i) : LANES;
        vec z = {0};
        for (int l = 0; l < m; l++) z[l] = (scores[i + l] - largest) / (REAL)temperature;
        z = exp_below(z);
        for (int l = 0; l < m; l++) sums[i + l] = sum += scores[i + l] == -(REAL)INFINITY ? 0 : z[l];
    }
    const double target = uniform * sum;
    int64_t index = 0;
    for (int64_t i = 0; i < n; i++) index += sums[i] <= target;
    return index;
}

#define scale_of NAME(scale_of)
static REAL scale_of(REAL raw) {
    const double x = raw; /* softplus */
    return (REAL)((x > 20 ? x : log1p(exp(x))) + SMALLEST_SCALE);
}

/* Draw the value of a channel from a mixture, whose parameters are at `p`. */
#define draw_mixture NAME(draw_mixture)
static REAL draw_mixture(const struct draw_plan *d, const REAL *p, double uniform,
                         double logistic) {
    const int64_t m = d->n_components;
    const double temperature = *AT(double, d->temperature);
    double *sums = (double *)(AT(REAL, d->work) + d->n_outputs_p);
    const int64_t i = draw_index(p, m, uniform, temperature, sums);
    const REAL mean = p[m + i] + AT(REAL, d->starts)[i];
    return (REAL)(mean + temperature * scale_of(p[2 * m + i]) * logistic);
}

/* Draw the values of all channels of a stream. */
#define draw_values NAME(draw_values)
static void draw_values(const struct draw_plan *d, const REAL *p, const void *noise,
                        const void *second, int64_t at, REAL *drawn) {
    const double temperature = *AT(double, d->temperature);
    for (int64_t c = 0; c < d->size; c++) {
        if (d->kind == MIXTURE_DRAW) {
            drawn[c] = draw_mixture(d, p + 3 * d->n_components * c, ((const double *)noise)[at + c],
                                    ((const REAL *)second)[at + c]);
        } else {
            const double deviation = sqrt(temperature) * scale_of(p[d->size + c]);
            drawn[c] = (REAL)(p[c] + deviation * ((const REAL *)noise)[at + c]);
        }
    }
}

/* Draw a symbol of a stream. */
#define draw_symbol NAME(draw_symbol)
static int64_t draw_symbol(const struct draw_plan *d, REAL *scores, double uniform) {
    REAL *heap = AT(REAL, d->work);
    double *sums = (double *)(heap + d->n_outputs_p);
    if (d->top_k > 0 && d->top_k < d->size) keep_largest(scores, d->size, d->top_k, heap);
    return draw_index(scores, d->size, uniform, *AT(double, d->temperature), sums);
}

/* Take the step after the last drawn values. */
#define draw_step NAME(draw_step)
static void draw_step(const struct draw_plan *d) {
    struct step_plan *p = AT(struct step_plan, d->steps);
    take_steps(p, AT(void, d->input), 1, p->symbols ? 1 : p->n_inputs);
    dense(AT(REAL, d->weight), AT(REAL, d->bias), AT(REAL, p->features), p->n_features,
          AT(REAL, d->outputs), p->n_features, d->n_outputs_p, p->batch);
}

#define draw_all NAME(draw_all)
static void draw_all(struct draw_plan *d, const void *noise, const void *second, void *drawn,
                     int64_t n) {
    const struct step_plan *p = AT(struct step_plan, d->steps);
    for (int64_t t = 0; t < n; t++) {
        if (!d->is_ready) draw_step(d);
        d->is_ready = 0;
        for (int64_t b = 0; b < p->batch; b++) {
            REAL *outputs = AT(REAL, d->outputs) + b * d->n_outputs_p;
            const int64_t at = t * p->batch + b;
            if (d->kind == CATEGORICAL_DRAW) {
                const int64_t symbol = draw_symbol(d, outputs, ((const double *)noise)[at]);
                ((int64_t *)drawn)[at] = AT(int64_t, d->input)[b] = symbol;
            } else {
                REAL *values = (REAL *)drawn + at * d->size;
                draw_values(d, outputs, noise, second, at * d->size, values);
                memcpy(AT(REAL, d->input) + b * p->n_inputs, values,
                       (size_t)d->size * sizeof(REAL));
            }
        }
    }
}

static const struct step_kernel NAME(step_kernel) = {take_steps, refresh_plan, flush_summary,
                                                     read_outputs, draw_all};
