// compute_matmul.c - op_matmul and op_matmul_glu in every weight format, against sums in double.
//
// Shapes: rows 1 .. 70 and tokens 1 .. 33, odd ones among them, so that every block, tile and chunk
// has edges; rows of one and of several blocks. Tolerance, per output, with S = sum |w x| and W =
// sum |w| * (largest |x| of the row):
//   float paths (and the portable one): F32 products and sums in some order: 2^-20 S;
//   quantised weights on AVX2 and AVX-512 additionally: activations in two int8 planes of steps
//   2^-14 of the largest in 256, half a step each: 2^-15 W (1.05 for the rounding of the step
//   itself);
//   on another device: activations and weights in half floats, 2^-10 W, or activations in 8 bits,
//   half a step of the largest / 127, W / 240.
#include "compute_check.h"

struct shape {
    int64_t n_out, n_in, n_tokens;
};

// Of W, as above.
static double step_of(const struct compute *compute, enum dtype type)
{
    bool quantised = block_size_of(type) > 1;
    if (is_cpu(compute))
        return quantised && !is_exact(compute) ? 1.05 * 0x1p-15 : 0;
    return quantised ? 1.0 / 240 : 0x1p-10;
}

static double largest(const float *x, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(x[i]));
    return most;
}

// Compares out with double sums; extra: bias and residual, or NULL, and a scale.
static int count_wrong(enum dtype type, struct shape s, double step, const uint8_t *w,
                       const float *x, const float *bias, const float *residual, double scale,
                       const float *out)
{
    int wrong = 0;
    size_t row_bytes = dtype_row_bytes(type, s.n_in);
    double *row = calloc((size_t)s.n_in, sizeof(*row));
    for (int64_t r = 0; r < s.n_out; r++) {
        for (int64_t i = 0; i < s.n_in; i++)
            row[i] = weight_at(type, w + (size_t)r * row_bytes, i);
        for (int64_t t = 0; t < s.n_tokens; t++) {
            double want = (bias ? bias[r] * scale : 0) + (residual ? residual[t * s.n_out + r] : 0),
                   size = fabs(want), total = 0;
            for (int64_t i = 0; i < s.n_in; i++) {
                want += scale * row[i] * x[t * s.n_in + i];
                size += fabs(scale * row[i] * x[t * s.n_in + i]);
                total += fabs(scale * row[i]);
            }
            double limit = 0x1p-20 * size + step * total * largest(x + t * s.n_in, s.n_in);
            wrong += !(fabs(out[t * s.n_out + r] - want) <= limit);
        }
    }
    free(row);
    return wrong;
}

static void check_shape(struct compute *compute, enum dtype type, struct shape s, bool extra)
{
    size_t n_out = (size_t)(s.n_out * s.n_tokens);
    uint8_t *weights = random_weights(type, s.n_out, s.n_in);
    float *x = calloc((size_t)(s.n_tokens * s.n_in), sizeof(*x)),
          *out = calloc(n_out, sizeof(*out));
    float *bias = calloc((size_t)s.n_out, sizeof(*bias)),
          *residual = calloc(n_out, sizeof(*residual));
    random_floats(x, s.n_tokens * s.n_in);
    random_floats(bias, s.n_out);
    random_floats(residual, (int64_t)n_out);
    struct tensor w, tx = tensor_of(compute, DTYPE_F32, s.n_tokens, s.n_in, x);
    struct tensor tb = tensor_of(compute, DTYPE_F32, 1, s.n_out, bias);
    struct tensor to = tensor_of(compute, DTYPE_F32, s.n_tokens, s.n_out,
                                 residual); // the residual is `out` itself
    CHECK(compute_weight(compute, &w, type, s.n_out, s.n_in, weights, NULL) == OK);
    const float scale = extra && s.n_tokens % 2 ? 0.375f : 0; // none: as 1
    struct matmul product = {.out = &to,
                             .w = &w,
                             .bias = extra ? &tb : NULL,
                             .residual = extra ? &to : NULL,
                             .scale = scale};
    run_begin(compute);
    op_matmul(compute, &product, 1, &(struct matmul_x){.x = &tx});
    run_end(compute);
    tensor_read(compute, out, &to, n_out * sizeof(*out));
    int wrong = count_wrong(type, s, step_of(compute, type), weights, x, extra ? bias : NULL,
                            extra ? residual : NULL, scale != 0 ? (double)scale : 1, out);
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s %s, %lld rows of %lld, %lld tokens%s: %d of %zu outputs\n",
                compute_info(compute)->device, dtype_name(type), (long long)s.n_out,
                (long long)s.n_in, (long long)s.n_tokens, extra ? ", bias and residual" : "", wrong,
                n_out);
    tensor_free(compute, &w), tensor_free(compute, &tx), tensor_free(compute, &tb),
        tensor_free(compute, &to);
    free(weights), free(x), free(out), free(bias), free(residual);
}

// Four products of one x in four formats, as q, k, v and more: each must get its own rows.
static void check_several(struct compute *compute)
{
    enum { N_IN = 512, N_TOKENS = 19 };
    static const enum dtype types[4] = {DTYPE_Q4_K, DTYPE_F16, DTYPE_Q6_K, DTYPE_Q8_0};
    static const int64_t n_out[4] = {40, 7, 33, 65};
    static float x[N_IN * N_TOKENS], out[65 * N_TOKENS];
    struct tensor tx, w[4], to[4];
    struct matmul products[4];
    uint8_t *weights[4];
    random_floats(x, N_IN * N_TOKENS);
    tx = tensor_of(compute, DTYPE_F32, N_TOKENS, N_IN, x);
    for (int i = 0; i < 4; i++) {
        weights[i] = random_weights(types[i], n_out[i], N_IN);
        to[i] = tensor_of(compute, DTYPE_F32, N_TOKENS, n_out[i], NULL);
        CHECK(compute_weight(compute, &w[i], types[i], n_out[i], N_IN, weights[i], NULL) == OK);
        products[i] = (struct matmul){.out = &to[i], .w = &w[i]};
    }
    run_begin(compute);
    op_matmul(compute, products, 4, &(struct matmul_x){.x = &tx});
    run_end(compute);
    for (int i = 0; i < 4; i++) {
        tensor_read(compute, out, &to[i], (size_t)(n_out[i] * N_TOKENS) * sizeof(*out));
        CHECK(count_wrong(types[i], (struct shape){n_out[i], N_IN, N_TOKENS},
                          step_of(compute, types[i]), weights[i], x, NULL, NULL, 1, out) == 0);
        tensor_free(compute, &w[i]), tensor_free(compute, &to[i]);
        free(weights[i]);
    }
    tensor_free(compute, &tx);
}

// An activation that is not finite spoils its own token, visibly, and no other.
static void check_not_finite(struct compute *compute, enum dtype type, int64_t n_tokens, float bad)
{
    enum { N_IN = 512, N_OUT = 17, MOST = 16 };
    static float x[N_IN * MOST], out[N_OUT * MOST];
    uint8_t *weights = random_weights(type, N_OUT, N_IN);
    int wrong = 0;
    random_floats(x, N_IN * n_tokens);
    x[N_IN * (n_tokens - 1) + 300] = bad;
    struct tensor w, tx = tensor_of(compute, DTYPE_F32, n_tokens, N_IN, x);
    struct tensor to = tensor_of(compute, DTYPE_F32, n_tokens, N_OUT, NULL);
    CHECK(compute_weight(compute, &w, type, N_OUT, N_IN, weights, NULL) == OK);
    struct matmul product = {.out = &to, .w = &w};
    run_begin(compute);
    op_matmul(compute, &product, 1, &(struct matmul_x){.x = &tx});
    run_end(compute);
    tensor_read(compute, out, &to, sizeof(*out) * (size_t)(N_OUT * n_tokens));
    for (int64_t i = 0; i < N_OUT * n_tokens; i++)
        wrong += isfinite(out[i]) ? i >= N_OUT * (n_tokens - 1) : i < N_OUT * (n_tokens - 1);
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s %s: %g among the activations, %d wrong\n",
                compute_info(compute)->device, dtype_name(type), (double)bad, wrong);
    tensor_free(compute, &w), tensor_free(compute, &tx), tensor_free(compute, &to);
    free(weights);
}

// ---- fused: the normalisation before, the gate behind -------------------------------------------

// x normalised in double, and the limit of one product's error with it (head of this file).
static void normalised(double *to, const float *x, const float *norm, int64_t n, double eps)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    for (int64_t i = 0; i < n; i++)
        to[i] = x[i] / sqrt(sum / (double)n + eps) * norm[i];
}

static double dot_of(enum dtype type, const uint8_t *row, const double *x, int64_t n, double step,
                     double *limit)
{
    double sum = 0, size = 0, total = 0, most = 0;
    for (int64_t i = 0; i < n; i++) {
        double w = weight_at(type, row, i);
        sum += w * x[i];
        size += fabs(w * x[i]);
        total += fabs(w);
        most = fmax(most, fabs(x[i]));
    }
    *limit = 0x1p-20 * size + step * total * most;
    return sum;
}

static double activated(double g, enum activation activation)
{
    if (activation == ACTIVATION_RELU_SQUARE)
        return g > 0 ? g * g : 0;
    return activation == ACTIVATION_SILU
               ? g / (1 + exp(-g))
               : g / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g)));
}

// How: 0 plain, 1 with biases, 2 with one and no gate.
static void check_glu(struct compute *compute, enum dtype type, int64_t n_tokens,
                      enum activation activation, int how)
{
    enum { N_IN = 768, N_OUT = 37, MOST = 20 };
    static float x[N_IN * MOST], norm[N_IN], out[N_OUT * MOST], bias[2 * N_OUT];
    static double normed[N_IN];
    const float eps = 1e-5f;
    uint8_t *gate = random_weights(type, N_OUT, N_IN),
            *up = random_weights(DTYPE_Q6_K, N_OUT, N_IN);
    int wrong = 0;
    random_floats(x, N_IN * n_tokens);
    random_floats(norm, N_IN);
    random_floats(bias, 2 * N_OUT);
    struct tensor wg, wu, tb = tensor_of(compute, DTYPE_F32, 2, N_OUT, bias),
                          b0 = tensor_rows(&tb, 0, 1), b1 = tensor_rows(&tb, 1, 1),
                          tx = tensor_of(compute, DTYPE_F32, n_tokens, N_IN, x),
                          tn = tensor_of(compute, DTYPE_F32, 1, N_IN, norm),
                          to = tensor_of(compute, DTYPE_F32, n_tokens, N_OUT, NULL),
                          ts = tensor_of(compute, DTYPE_F32, n_tokens, N_OUT, NULL);
    CHECK(compute_weight(compute, &wg, type, N_OUT, N_IN, gate, NULL) == OK);
    CHECK(compute_weight(compute, &wu, DTYPE_Q6_K, N_OUT, N_IN, up, NULL) == OK);
    run_begin(compute);
    const struct matmul_glu plain = {&to, &wg, &wu, &ts, activation},
                            biased = {&to, &wg, &wu, &ts, activation, &b0, &b1},
                            open = {&to, NULL, &wu, NULL, activation, NULL, &b1};
    op_matmul_glu(compute,
                  how == 0   ? &plain
                  : how == 1 ? &biased
                             : &open,
                  &(struct matmul_x){&tx, &tn, eps});
    run_end(compute);
    tensor_read(compute, out, &to, sizeof(*out) * (size_t)(N_OUT * n_tokens));
    for (int64_t t = 0; t < n_tokens; t++) {
        normalised(normed, x + t * N_IN, norm, N_IN, (double)eps);
        for (int64_t r = 0; r < N_OUT; r++) {
            double dg, du, g, u;
            g = dot_of(type, gate + (size_t)r * dtype_row_bytes(type, N_IN), normed, N_IN,
                       step_of(compute, type), &dg);
            u = dot_of(DTYPE_Q6_K, up + (size_t)r * dtype_row_bytes(DTYPE_Q6_K, N_IN), normed, N_IN,
                       step_of(compute, DTYPE_Q6_K), &du);
            if (how > 0)
                g += bias[r], u += bias[N_OUT + r], dg += 1e-6 * fabs(g), du += 1e-6 * fabs(u);
            if (how == 2)
                g = u, dg = du, u = 1, du = 0;
            // None but the square is steeper than 1.13.
            double a = activated(g, activation),
                   steep = activation == ACTIVATION_RELU_SQUARE ? 2 * (fabs(g) + dg) : 1.13;
            double limit = steep * dg * (fabs(u) + du) + fabs(a) * (du + 4e-6 * fabs(u)) + 1e-9;
            wrong += !(fabs(out[t * N_OUT + r] - a * u) <= limit);
        }
    }
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s %s, gated by %d, way %d, %lld tokens: %d wrong\n",
                compute_info(compute)->device, dtype_name(type), activation, how,
                (long long)n_tokens, wrong);
    FREE_ALL(compute, &wg, &wu, &tb, &tx, &tn, &to, &ts);
    free(gate), free(up);
}

static void check_type(struct compute *compute, enum dtype type, size_t seed)
{
    static const int64_t rows[] = {1, 2, 3, 15, 16, 17, 31, 33, 48, 70};
    static const int64_t tokens[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 25, 33};
    int64_t block = block_size_of(type);
    for (size_t t = 0; t < COUNT_OF(tokens); t++) {
        int64_t n_out = rows[(t * 3 + seed) % COUNT_OF(rows)];
        int64_t n_in = block == 1    ? (is_cpu(compute) ? 37 : 32) + 300 * (int64_t)(t % 5)
                       : block == 32 ? 32 * (1 + 3 * (int64_t)t)
                                     : 256 * (1 + (int64_t)t % 5);
        check_shape(compute, type, (struct shape){n_out, n_in, tokens[t]}, t % 2);
    }
    for (size_t r = 0; r < COUNT_OF(rows); r++)
        check_shape(compute, type, (struct shape){rows[r], 256, r % 2 ? 1 : 11}, r % 3 == 0);
}

static void check_all(struct compute *compute)
{
    for (size_t i = 0; i < COUNT_OF(weight_types); i++)
        check_type(compute, weight_types[i], i);
    static const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
    static const enum dtype types[] = {DTYPE_Q4_K, DTYPE_Q8_0, DTYPE_Q6_K, DTYPE_Q5_0};
    for (size_t b = 0; b < COUNT_OF(bad) && is_cpu(compute); b++) {
        check_not_finite(compute, types[b], 1, bad[b]);
        check_not_finite(compute, types[b], 14, bad[b]);
    }
    check_several(compute);
    for (int64_t n_tokens = 1; n_tokens <= 20; n_tokens = n_tokens * 2 + 2) {
        check_glu(compute, DTYPE_Q4_K, n_tokens, ACTIVATION_SILU, 0);
        check_glu(compute, DTYPE_F16, n_tokens, ACTIVATION_GELU, 0);
        check_glu(compute, DTYPE_Q4_K, n_tokens, ACTIVATION_GELU, 1);
        check_glu(compute, DTYPE_Q6_K, n_tokens, ACTIVATION_SILU, 1);
        check_glu(compute, DTYPE_Q6_K, n_tokens, ACTIVATION_RELU_SQUARE, 2);
        check_glu(compute, DTYPE_Q6_K, n_tokens, ACTIVATION_GELU, 2);
    }
}

int main(void)
{
    on_devices(3, check_all);
    return check_done("compute_matmul");
}
