// compute_experts.c - the operations of a mixture of experts against double: routing with ties, the
// products of the chosen, and their weighted sum.
//
// Tolerances: routing is exact in its ids, 1e-5 in its weights (the difference of two logits, up to
// 100, is rounded to 2^-24 of that before it is an exponent); products as in compute_matmul.c.
#include "compute_check.h"

// ---- route --------------------------------------------------------------------------------------

enum { N_EXPERT_MOST = 512, N_USED_MOST = 16, ROUTE_TOKENS = 9 };

static double score_of(enum route_score score, const float *logits, int32_t n,
                       const int32_t *chosen, int32_t n_used, int32_t expert)
{
    double sum = 0, most = logits[chosen[0]];
    if (score == ROUTE_SIGMOID)
        return 1 / (1 + exp(-(double)logits[expert]));
    if (score == ROUTE_SOFTMAX)
        for (int32_t i = 0; i < n; i++)
            sum += exp(logits[i] - most);
    else
        for (int32_t i = 0; i < n_used; i++)
            sum += exp(logits[chosen[i]] - most);
    return exp(logits[expert] - most) / sum;
}

// One token: the first of the greatest that are left, n_used times.
static int route_wrong(const struct route *route, const float *logits, int32_t n, const int32_t *id,
                       const float *weight, int32_t n_used, double limit)
{
    bool taken[N_EXPERT_MOST] = {false};
    int32_t chosen[N_USED_MOST], wrong = 0;
    double want[N_USED_MOST], sum = 0;
    for (int32_t j = 0; j < n_used; j++) {
        chosen[j] = -1;
        for (int32_t i = 0; i < n; i++)
            if (!taken[i] && (chosen[j] < 0 || logits[i] > logits[chosen[j]]))
                chosen[j] = i;
        taken[chosen[j]] = true;
    }
    for (int32_t j = 0; j < n_used; j++)
        sum += want[j] = score_of(route->score, logits, n, chosen, n_used, chosen[j]);
    for (int32_t j = 0; j < n_used; j++) {
        double w = want[j] * (double)route->scale / (route->normalise ? sum : 1);
        wrong += id[j] != chosen[j] || !(fabs(weight[j] - w) <= limit * w + 1e-30);
    }
    return wrong;
}

static void check_route(struct compute *compute, int32_t n, int32_t n_used, struct route route,
                        bool ties)
{
    static float logits[ROUTE_TOKENS * N_EXPERT_MOST], weight[ROUTE_TOKENS * N_USED_MOST];
    static int32_t id[ROUTE_TOKENS * N_USED_MOST];
    int wrong = 0;
    for (int32_t i = 0; i < ROUTE_TOKENS * n; i++)
        logits[i] = ties ? (float)(random_u32() % 5) : random_float() * 4;
    struct tensor tl = tensor_of(compute, DTYPE_F32, ROUTE_TOKENS, n, logits),
                  ti = tensor_of(compute, DTYPE_I32, ROUTE_TOKENS, n_used, NULL),
                  tw = tensor_of(compute, DTYPE_F32, ROUTE_TOKENS, n_used, NULL);
    run_begin(compute);
    op_route(compute, &ti, &tw, &tl, &route);
    run_end(compute);
    tensor_read(compute, id, &ti, (size_t)(ROUTE_TOKENS * n_used) * sizeof(*id));
    tensor_read(compute, weight, &tw, (size_t)(ROUTE_TOKENS * n_used) * sizeof(*weight));
    for (int32_t t = 0; t < ROUTE_TOKENS; t++)
        wrong += route_wrong(&route, logits + t * n, n, id + t * n_used, weight + t * n_used,
                             n_used, 1e-5);
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s: score %d, %d of %d, normalise %d: %d wrong\n",
                compute_info(compute)->device, route.score, n_used, n, route.normalise, wrong);
    FREE_ALL(compute, &tl, &ti, &tw);
}

// ---- products -----------------------------------------------------------------------------------

struct shape {
    int32_t n_expert, n_used, n_tokens, n_out, n_in;
    bool share, bias; // one x a token; bias
};

static double step_of(const struct compute *compute, enum dtype type)
{
    bool quantised = block_size_of(type) > 1;
    if (is_cpu(compute))
        return quantised && !is_exact(compute) ? 1.05 * 0x1p-15 : 0;
    return quantised ? 1.0 / 240 : 0x1p-10;
}

static int products_wrong(const struct compute *compute, enum dtype type, const struct shape *s,
                          const uint8_t *w, const float *x, const int32_t *id, const float *bias,
                          const float *out)
{
    int wrong = 0;
    for (int32_t i = 0; i < s->n_tokens * s->n_used; i++)
        for (int32_t r = 0; r < s->n_out; r++) {
            const uint8_t *row =
                w + (size_t)(id[i] * s->n_out + r) * dtype_row_bytes(type, s->n_in);
            const float *xi = x + (int64_t)(s->share ? i / s->n_used : i) * s->n_in;
            double want = bias ? bias[id[i] * s->n_out + r] : 0, size = fabs(want), total = 0,
                   most = 0;
            for (int32_t j = 0; j < s->n_in; j++) {
                double weight = weight_at(type, row, j);
                want += weight * xi[j];
                size += fabs(weight * xi[j]);
                total += fabs(weight);
                most = fmax(most, fabs(xi[j]));
            }
            double limit = 0x1p-20 * size + step_of(compute, type) * total * most;
            wrong += !(fabs(out[(int64_t)i * s->n_out + r] - want) <= limit);
        }
    return wrong;
}

static void check_products(struct compute *compute, enum dtype type, struct shape s)
{
    int32_t n = s.n_tokens * s.n_used, n_x = s.share ? s.n_tokens : n, wrong;
    int32_t *id = calloc((size_t)n, sizeof(*id));
    float *x = calloc((size_t)(n_x * s.n_in), sizeof(*x)),
          *out = calloc((size_t)(n * s.n_out), sizeof(*out)),
          *bias = calloc((size_t)(s.n_expert * s.n_out), sizeof(*bias));
    uint8_t *w = random_weights(type, (int64_t)s.n_expert * s.n_out, s.n_in);
    random_floats(x, n_x * s.n_in);
    random_floats(bias, s.n_expert * s.n_out);
    for (int32_t i = 0; i < n; i++) // the later experts are liked less, the last one not at all
        id[i] = (int32_t)(random_u32() % (1 + random_u32() % (uint32_t)(s.n_expert - 1)));
    struct tensor tw = weight_of(compute, type, (int64_t)s.n_expert * s.n_out, s.n_in, w),
                  tx = tensor_of(compute, DTYPE_F32, n_x, s.n_in, x),
                  ti = tensor_of(compute, DTYPE_I32, s.n_tokens, s.n_used, id),
                  tb = tensor_of(compute, DTYPE_F32, s.n_expert, s.n_out, bias),
                  to = tensor_of(compute, DTYPE_F32, n, s.n_out, NULL);
    run_begin(compute);
    op_matmul_experts(compute, &(struct matmul_experts){&to, &tw, s.bias ? &tb : NULL, &tx, &ti,
                                                        s.share ? s.n_used : 1});
    run_end(compute);
    tensor_read(compute, out, &to, (size_t)(n * s.n_out) * sizeof(*out));
    wrong = products_wrong(compute, type, &s, w, x, id, s.bias ? bias : NULL, out);
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s %s: %d of %d experts, %d tokens, %d x %d: %d wrong\n",
                compute_info(compute)->device, dtype_name(type), s.n_used, s.n_expert, s.n_tokens,
                s.n_out, s.n_in, wrong);
    FREE_ALL(compute, &tw, &tx, &ti, &tb, &to);
    free(id), free(x), free(out), free(bias), free(w);
}

// ---- the sum ------------------------------------------------------------------------------------

static void check_sum(struct compute *compute, int32_t n_cols, int32_t n_used, bool in_place)
{
    enum { TOKENS = 5, MOST = 4500 };
    static float residual[TOKENS * MOST], y[TOKENS * 8 * MOST], weight[TOKENS * 8],
        out[TOKENS * MOST];
    int wrong = 0;
    random_floats(residual, TOKENS * n_cols);
    random_floats(y, TOKENS * n_used * n_cols);
    random_floats(weight, TOKENS * n_used);
    struct tensor tr = tensor_of(compute, DTYPE_F32, TOKENS, n_cols, residual),
                  ty = tensor_of(compute, DTYPE_F32, TOKENS * n_used, n_cols, y),
                  tw = tensor_of(compute, DTYPE_F32, TOKENS, n_used, weight),
                  to = tensor_of(compute, DTYPE_F32, TOKENS, n_cols, NULL);
    run_begin(compute);
    op_experts_sum(compute, in_place ? &tr : &to, &tr, &ty, &tw);
    run_end(compute);
    tensor_read(compute, out, in_place ? &tr : &to, (size_t)(TOKENS * n_cols) * sizeof(*out));
    for (int32_t t = 0; t < TOKENS; t++)
        for (int32_t i = 0; i < n_cols; i++) {
            double want = residual[t * n_cols + i], size = fabs(want);
            for (int32_t slot = 0; slot < n_used; slot++) {
                double term = (double)weight[t * n_used + slot] *
                              y[(int64_t)(t * n_used + slot) * n_cols + i];
                want += term, size += fabs(term);
            }
            wrong += !(fabs(out[t * n_cols + i] - want) <= 0x1p-20 * size);
        }
    CHECK(wrong == 0);
    FREE_ALL(compute, &tr, &ty, &tw, &to);
}

static void check_all(struct compute *compute)
{
    for (int ties = 0; ties < 2; ties++)
        for (enum route_score score = ROUTE_SOFTMAX; score <= ROUTE_SIGMOID; score++) {
            check_route(compute, 8, 2, (struct route){score, true, 1}, ties);
            check_route(compute, 128, 8, (struct route){score, false, 1}, ties);
            check_route(compute, 512, 16, (struct route){score, true, 2.5f}, ties);
            check_route(compute, 3, 3, (struct route){score, false, 0.5f}, ties);
            check_route(compute, 5, 1, (struct route){score, true, 1}, ties);
        }
    for (size_t i = 0; i < COUNT_OF(weight_types); i++) {
        enum dtype type = weight_types[i];
        int32_t n_in = block_size_of(type) == 256 ? 256 : 96;
        check_products(compute, type, (struct shape){4, 2, 1, 37, n_in, true, i % 2});
        check_products(compute, type, (struct shape){8, 2, 7, 33, 2 * n_in, false, true});
        check_products(compute, type, (struct shape){5, 1, 30, 17, n_in, true, false});
        check_products(compute, type, (struct shape){32, 4, 3, 70, n_in, true, true});
    }
    check_sum(compute, 4500, 1, false);
    check_sum(compute, 4096, 8, true);
    check_sum(compute, 37, 3, true);
}

int main(void)
{
    on_devices(3, check_all);
    return check_done("compute_experts");
}
