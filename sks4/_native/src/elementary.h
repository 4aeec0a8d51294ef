/* Vectors and elementary functions of one type, of a group of features side by side; included with
 *
 *     REAL         float or double
 *     INTEGER      an integer of its size
 *     VECTOR_BYTES size of a vector
 *     NAME(x)      a name of its own for everything that is defined for this type
 *
 * The functions are exact to a few roundings, and NaN stays NaN. */

#define LANES ((int)(VECTOR_BYTES / sizeof(REAL)))
#define MANTISSA (sizeof(REAL) == sizeof(float) ? 23 : 52)

#define vec NAME(vec)
#define loose NAME(loose)
#define whole NAME(whole)
typedef REAL vec __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef REAL loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef INTEGER whole __attribute__((vector_size(VECTOR_BYTES), may_alias));

#define either NAME(either)
INLINE vec either(whole where, vec a, vec b) {
    return (vec)((where & (whole)a) | (~where & (whole)b));
}

#define polynomial NAME(polynomial)
INLINE vec polynomial(const REAL *coefficients, const int degree, vec x) {
    vec sum = coefficients[degree] - (vec){0};
    UNROLL for (int i = degree - 1; i >= 0; i--) sum = sum * x + coefficients[i];
    return sum;
}

/* log(2) in two parts, the first with few digits, so that whole multiples of it are exact. */
#define log_2 NAME(log_2)
static const REAL log_2[2] = {
    sizeof(REAL) == sizeof(float) ? 0.693359375 : 6.93147180369123816490e-01,
    sizeof(REAL) == sizeof(float) ? -2.12194440054690583e-4 : 1.90821492927058770002e-10,
};

/* exp(x) for x <= 0: 2^n exp(r) with |r| <= log(2) / 2, by its series. */
#define exp_below NAME(exp_below)
INLINE vec exp_below(vec x) {
    static const REAL series[] = {1., 1., 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040,
                                  1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800,
                                  1. / 479001600, 1. / 6227020800};
    const int is_single = sizeof(REAL) == sizeof(float), degree = is_single ? 7 : 13;
    const REAL lowest = is_single ? -87 : -708; /* the result is a normal number */
    /* in the sum with this, n stands in the lowest bits */
    const REAL shift = is_single ? 12582912. : 6755399441055744.;
    x = either(x < lowest, lowest - (vec){0}, x);
    const vec shifted = x * (REAL)1.4426950408889634 + shift, n = shifted - shift;
    const vec r = (x - n * log_2[0]) - n * log_2[1];
    return (vec)((whole)polynomial(series, degree, r) + ((whole)shifted << MANTISSA));
}

/* log(x) of a positive normal number 2^n m with m from sqrt(1/2) to sqrt(2): n log(2) +
 * 2 artanh(s) with s = (m - 1) / (m + 1), by its series in s^2. */
#define log_of NAME(log_of)
INLINE vec log_of(vec x) {
    static const REAL series[] = {2. / 3, 2. / 5, 2. / 7, 2. / 9, 2. / 11, 2. / 13,
                                  2. / 15, 2. / 17, 2. / 19, 2. / 21, 2. / 23};
    const int is_single = sizeof(REAL) == sizeof(float), degree = is_single ? 3 : 10;
    const INTEGER root = (INTEGER)(is_single ? 0x3f3504f3 : 0x3fe6a09e667f3bcd); /* sqrt(1/2) */
    const whole exponent = ((whole)x - root) >> MANTISSA;
    const vec m = (vec)((whole)x - (exponent << MANTISSA));
    const vec s = (m - 1) / (m + 1), z = s * s, n = __builtin_convertvector(exponent, vec);
    return n * log_2[0] + (2 * s + (polynomial(series, degree, z) * z * s + n * log_2[1]));
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
