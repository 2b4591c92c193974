// compute_experts.c - the operations of a mixture of experts against double: routing with ties, the
// products of the chosen, and their weighted sum.
//
// Layers of experts (op_experts_glu, op_experts_down) are checked with every way that their
// matrices may lie, against the formula over weights decoded by weight_at().
//
// Tolerances: routing is exact in its ids, 1e-5 in its weights (the difference of two logits, up to
// 100, is rounded to 2^-24 of that before it is an exponent); products as in compute_matmul.c.
#include "compute_check.h"

// ---- route --------------------------------------------------------------------------------------

enum { N_EXPERT_MOST = EXPERTS_MOST, N_USED_MOST = EXPERTS_USED_MOST, ROUTE_TOKENS = 9 };

static double score_of(enum route_score score, const float *logits, int32_t n,
                       const int32_t *chosen, int32_t n_used, int32_t expert)
{
    double sum = 0, most = -INFINITY;
    for (int32_t i = 0; i < n; i++)
        most = fmax(most, logits[i]);
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

// What an expert is chosen by, in double: its logit, or its score with the bias, without the groups
// that are not among the best.
static void choices(double *choice, const struct route *route, const float *logits, int32_t n,
                    const float *bias)
{
    double sum = 0, worth[N_EXPERT_MOST], most = -INFINITY;
    const int32_t n_group = route->n_group, each = n_group > 0 ? n / n_group : n;
    for (int32_t i = 0; i < n; i++)
        most = fmax(most, logits[i]);
    for (int32_t i = 0; i < n; i++)
        sum += exp(logits[i] - most);
    for (int32_t i = 0; i < n; i++) {
        choice[i] = logits[i];
        if ((bias || n_group > 0) && route->score == ROUTE_SIGMOID)
            choice[i] = 1 / (1 + exp(-(double)logits[i]));
        if ((bias || n_group > 0) && route->score == ROUTE_SOFTMAX)
            choice[i] = exp(logits[i] - most) / sum;
        choice[i] += bias ? (double)bias[i] : 0;
    }
    for (int32_t g = 0; g < n_group; g++) {
        double first = -INFINITY, second = -INFINITY;
        for (int32_t i = g * each; i < g * each + each; i++) {
            second = fmax(second, fmin(first, choice[i]));
            first = fmax(first, choice[i]);
        }
        worth[g] = first + second;
    }
    for (int32_t left = n_group; left > route->n_group_used; left--) {
        int32_t least = -1;
        for (int32_t g = 0; g < n_group; g++)
            if (isfinite(worth[g]) && (least < 0 || worth[g] <= worth[least]))
                least = g;
        worth[least] = INFINITY; // dropped
        for (int32_t i = least * each; i < least * each + each; i++)
            choice[i] = -INFINITY;
    }
}

// One token: the first of the greatest that are left, n_used times.
static int route_wrong(const struct route *route, const float *logits, int32_t n, const float *bias,
                       const int32_t *id, const float *weight, int32_t n_used, double limit)
{
    bool taken[N_EXPERT_MOST] = {false};
    int32_t chosen[N_USED_MOST], wrong = 0;
    double want[N_USED_MOST], choice[N_EXPERT_MOST], sum = 0;
    choices(choice, route, logits, n, bias);
    for (int32_t j = 0; j < n_used; j++) {
        chosen[j] = -1;
        for (int32_t i = 0; i < n; i++)
            if (!taken[i] && (chosen[j] < 0 || choice[i] > choice[chosen[j]]))
                chosen[j] = i;
        taken[chosen[j]] = true;
    }
    for (int32_t j = 0; j < n_used; j++)
        sum += want[j] = score_of(route->score, logits, n, chosen, n_used, chosen[j]);
    sum = fmax(sum, route->sum_least);
    for (int32_t j = 0; j < n_used; j++) {
        double w = want[j] * (double)route->scale / (route->normalise ? sum : 1);
        wrong += id[j] != chosen[j] || !(fabs(weight[j] - w) <= limit * w + 1e-30);
    }
    return wrong;
}

static void check_route(struct compute *compute, int32_t n, int32_t n_used, struct route route,
                        bool ties, bool biased)
{
    static float logits[ROUTE_TOKENS * N_EXPERT_MOST], weight[ROUTE_TOKENS * N_USED_MOST],
        bias[N_EXPERT_MOST];
    static int32_t id[ROUTE_TOKENS * N_USED_MOST];
    int wrong = 0;
    for (int32_t i = 0; i < ROUTE_TOKENS * n; i++)
        logits[i] = ties ? (float)(random_u32() % 5) : random_float() * 4;
    for (int32_t i = 0; i < n; i++)
        bias[i] = random_float() / 4;
    struct tensor tb = tensor_of(compute, DTYPE_F32, 1, n, bias),
                  tl = tensor_of(compute, DTYPE_F32, ROUTE_TOKENS, n, logits),
                  ti = tensor_of(compute, DTYPE_I32, ROUTE_TOKENS, n_used, NULL),
                  tw = tensor_of(compute, DTYPE_F32, ROUTE_TOKENS, n_used, NULL);
    route.bias = biased ? &tb : NULL;
    run_begin(compute);
    op_route(compute, &ti, &tw, &tl, &route);
    run_end(compute);
    tensor_read(compute, id, &ti, (size_t)(ROUTE_TOKENS * n_used) * sizeof(*id));
    tensor_read(compute, weight, &tw, (size_t)(ROUTE_TOKENS * n_used) * sizeof(*weight));
    for (int32_t t = 0; t < ROUTE_TOKENS; t++)
        wrong += route_wrong(&route, logits + t * n, n, biased ? bias : NULL, id + t * n_used,
                             weight + t * n_used, n_used, 1e-5);
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s: score %d, %d of %d, normalise %d, %d groups, bias %d: %d wrong\n",
                compute_info(compute)->device, route.score, n_used, n, route.normalise,
                route.n_group, biased, wrong);
    FREE_ALL(compute, &tb, &tl, &ti, &tw);
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

// ---- layers -------------------------------------------------------------------------------------

enum matrices { SEPARATE, FUSED, NO_GATE };
struct layer {
    enum dtype type;
    int32_t n_expert, n_used, n_tokens, n_ff, n_in;
    enum matrices matrices;
    enum activation activation;
    bool norm, bias, residual;
};

// dot(row r of w, x), and how far it may be off.
static double layer_dot(const struct compute *compute, enum dtype type, const uint8_t *w, int64_t r,
                        const double *x, int32_t n, double *limit)
{
    double sum = 0, size = 0, total = 0, most = 0;
    const uint8_t *row = w + (size_t)r * dtype_row_bytes(type, n);
    for (int32_t i = 0; i < n; i++) {
        const double weight = weight_at(type, row, i);
        sum += weight * x[i];
        size += fabs(weight * x[i]);
        total += fabs(weight);
        most = fmax(most, fabs(x[i]));
    }
    *limit = 0x1p-19 * size + step_of(compute, type) * total * most;
    return sum;
}

static double layer_glu(const struct layer *l, double g, double u)
{
    if (l->activation == ACTIVATION_SWIGLU_OAI) {
        g = fmin(g, 7), u = fmin(fmax(u, -7), 7);
        return g / (1 + exp(-1.702 * g)) * (u + 1);
    }
    if (l->activation == ACTIVATION_SWIGLU_10)
        g = fmin(g, 10), u = fmin(fmax(u, -10), 10);
    if (l->activation == ACTIVATION_RELU_SQUARE)
        return u > 0 ? u * u : 0;
    return g / (1 + exp(-g)) * u;
}

struct layer_data {
    uint8_t *gate, *up, *down; // gate holds both when FUSED
    float *x, *norm, *bias, *out, *residual, *weight;
    int32_t *id;
};

// out [n_tokens * n_used][n_ff] of the first half.
static int glu_wrong(const struct compute *compute, const struct layer *l,
                     const struct layer_data *d)
{
    int wrong = 0;
    double *x = calloc((size_t)l->n_in, sizeof(*x));
    for (int32_t i = 0; i < l->n_tokens * l->n_used; i++) {
        const float *from = d->x + (int64_t)(i / l->n_used) * l->n_in;
        double squares = 0;
        for (int32_t j = 0; j < l->n_in; j++)
            squares += (double)from[j] * from[j];
        for (int32_t j = 0; j < l->n_in; j++)
            x[j] = l->norm ? from[j] / sqrt(squares / l->n_in + 1e-5) * d->norm[j] : from[j];
        for (int32_t r = 0; r < l->n_ff; r++) {
            const int64_t expert = d->id[i], row = expert * l->n_ff + r;
            double dg = 0, du, g = 0, u;
            if (l->matrices == FUSED) {
                g = layer_dot(compute, l->type, d->gate, expert * 2 * l->n_ff + r, x, l->n_in, &dg);
                u = layer_dot(compute, l->type, d->gate, expert * 2 * l->n_ff + l->n_ff + r, x,
                              l->n_in, &du);
            } else {
                if (l->matrices == SEPARATE)
                    g = layer_dot(compute, l->type, d->gate, row, x, l->n_in, &dg);
                u = layer_dot(compute, l->type, d->up, row, x, l->n_in, &du);
            }
            if (l->bias) {
                g += d->bias[expert * 2 * l->n_ff + r];
                u += d->bias[expert * 2 * l->n_ff + l->n_ff + r];
            }
            const double want = layer_glu(l, g, u);
            const double steep = l->matrices == NO_GATE
                                     ? 2 * (fabs(u) + du) * du
                                     : 1.13 * dg * (fabs(u) + du + 1) + (fabs(g) + dg) * du;
            wrong += !(fabs(d->out[(int64_t)i * l->n_ff + r] - want) <=
                       steep + 1e-5 * (fabs(want) + 1e-3));
        }
    }
    free(x);
    return wrong;
}

// out [n_tokens][n_in] of the second half, of what the first half made.
static int down_wrong(const struct compute *compute, const struct layer *l,
                      const struct layer_data *d, const float *bias, const float *out)
{
    int wrong = 0;
    double *y = calloc((size_t)l->n_ff, sizeof(*y));
    for (int32_t t = 0; t < l->n_tokens; t++)
        for (int32_t r = 0; r < l->n_in; r++) {
            double want = l->residual ? (double)d->residual[t * l->n_in + r] : 0,
                   limit = 1e-6 * fabs(want), off;
            for (int32_t slot = 0; slot < l->n_used; slot++) {
                const int64_t i = t * l->n_used + slot, expert = d->id[i];
                for (int32_t j = 0; j < l->n_ff; j++)
                    y[j] = d->out[i * l->n_ff + j];
                double dot =
                    layer_dot(compute, l->type, d->down, expert * l->n_in + r, y, l->n_ff, &off);
                dot += l->bias ? (double)bias[expert * l->n_in + r] : 0;
                want += (double)d->weight[i] * dot;
                limit += fabs((double)d->weight[i]) * (off + 1e-6 * fabs(dot));
            }
            wrong += !(fabs(out[t * l->n_in + r] - want) <= limit + 1e-9);
        }
    free(y);
    return wrong;
}

static float *floats(int64_t n)
{
    float *x = calloc((size_t)n, sizeof(*x));
    random_floats(x, n);
    return x;
}

static struct layer_data layer_data_of(const struct layer *l)
{
    const int64_t n = (int64_t)l->n_tokens * l->n_used, all = (int64_t)l->n_expert * l->n_ff;
    struct layer_data d = {
        .gate = random_weights(l->type, l->matrices == FUSED ? 2 * all : all, l->n_in),
        .up = random_weights(l->type, all, l->n_in),
        .down = random_weights(l->type, (int64_t)l->n_expert * l->n_in, l->n_ff),
        .x = floats((int64_t)l->n_tokens * l->n_in),
        .norm = floats(l->n_in),
        .bias = floats(2 * all),
        .out = floats(n * l->n_ff),
        .residual = floats((int64_t)l->n_tokens * l->n_in),
        .weight = floats(n),
        .id = calloc((size_t)n, sizeof(*d.id)),
    };
    for (int64_t i = 0; i < n; i++)
        d.id[i] = (int32_t)(random_u32() % (1 + random_u32() % (uint32_t)l->n_expert));
    return d;
}

static void check_layer(struct compute *compute, struct layer l)
{
    const int64_t n = (int64_t)l.n_tokens * l.n_used, all = (int64_t)l.n_expert * l.n_ff;
    const bool gate = l.matrices != NO_GATE, fused = l.matrices == FUSED;
    struct layer_data d = layer_data_of(&l);
    float *bias_down = floats((int64_t)l.n_expert * l.n_in), *out = floats(l.n_tokens * l.n_in);
    struct tensor wg = weight_of(compute, l.type, fused ? 2 * all : all, l.n_in, d.gate),
                  wu = weight_of(compute, l.type, all, l.n_in, d.up),
                  wd = weight_of(compute, l.type, (int64_t)l.n_expert * l.n_in, l.n_ff, d.down),
                  x = tensor_of(compute, DTYPE_F32, l.n_tokens, l.n_in, d.x),
                  norm = tensor_of(compute, DTYPE_F32, 1, l.n_in, d.norm),
                  bias = tensor_of(compute, DTYPE_F32, l.n_expert, 2 * l.n_ff, d.bias),
                  bias_gate = tensor_columns(&bias, 0, l.n_ff),
                  bias_up = tensor_columns(&bias, l.n_ff, l.n_ff),
                  bd = tensor_of(compute, DTYPE_F32, l.n_expert, l.n_in, bias_down),
                  id = tensor_of(compute, DTYPE_I32, l.n_tokens, l.n_used, d.id),
                  weight = tensor_of(compute, DTYPE_F32, l.n_tokens, l.n_used, d.weight),
                  y = tensor_of(compute, DTYPE_F32, n, l.n_ff, NULL),
                  other = tensor_of(compute, DTYPE_F32, n, l.n_ff, NULL),
                  each = tensor_of(compute, DTYPE_F32, n, l.n_in, NULL),
                  to = tensor_of(compute, DTYPE_F32, l.n_tokens, l.n_in, d.residual);
    run_begin(compute);
    op_experts_glu(compute,
                   &(struct experts_glu){.out = &y,
                                         .w_gate = gate && !fused ? &wg : NULL,
                                         .w_up = fused ? NULL : &wu,
                                         .w_gate_up = fused ? &wg : NULL,
                                         .bias_gate = gate && l.bias ? &bias_gate : NULL,
                                         .bias_up = l.bias ? &bias_up : NULL,
                                         .id = &id,
                                         .scratch = gate ? &other : NULL,
                                         .activation = l.activation},
                   &(struct matmul_x){&x, l.norm ? &norm : NULL, 1e-5f});
    op_experts_down(compute, &(struct experts_down){&to, l.residual ? &to : NULL, &wd,
                                                    l.bias ? &bd : NULL, &y, &id, &weight, &each});
    run_end(compute);
    tensor_read(compute, d.out, &y, (size_t)(n * l.n_ff) * sizeof(float));
    tensor_read(compute, out, &to, (size_t)(l.n_tokens * l.n_in) * sizeof(float));
    const int wrong = glu_wrong(compute, &l, &d),
              then = down_wrong(compute, &l, &d, bias_down, out);
    if (!CHECK(wrong + then == 0))
        fprintf(stderr,
                "    %s %s: layer of %d of %d experts, %d tokens, matrices %d, activation %d, bias "
                "%d: %d and %d wrong\n",
                compute_info(compute)->device, dtype_name(l.type), l.n_used, l.n_expert, l.n_tokens,
                l.matrices, l.activation, l.bias, wrong, then);
    FREE_ALL(compute, &wg, &wu, &wd, &x, &norm, &bias, &bd, &id, &weight, &y, &other, &each, &to);
    free(d.gate), free(d.up), free(d.down), free(d.x), free(d.norm), free(d.bias), free(d.out);
    free(d.residual), free(d.weight), free(d.id), free(bias_down), free(out);
}

static void check_layers(struct compute *compute)
{
    static const struct layer layers[] = {
        {DTYPE_Q4_K, 8, 2, 1, 256, 512, SEPARATE, ACTIVATION_SILU, true, false, true},
        {DTYPE_Q4_K, 8, 2, 13, 256, 512, FUSED, ACTIVATION_SILU, true, false, true},
        {DTYPE_Q4_K, 5, 3, 2, 256, 256, FUSED, ACTIVATION_SILU, false, true, false},
        {DTYPE_MXFP4, 6, 4, 1, 96, 160, SEPARATE, ACTIVATION_SWIGLU_OAI, true, true, true},
        {DTYPE_MXFP4, 6, 4, 20, 96, 160, FUSED, ACTIVATION_SWIGLU_OAI, true, true, true},
        {DTYPE_Q8_0, 6, 2, 3, 64, 96, SEPARATE, ACTIVATION_SWIGLU_10, true, false, true},
        {DTYPE_Q8_0, 6, 2, 20, 64, 96, SEPARATE, ACTIVATION_SWIGLU_10, true, false, true},
        {DTYPE_F16, 7, 3, 3, 64, 96, NO_GATE, ACTIVATION_RELU_SQUARE, true, false, true},
        {DTYPE_Q8_0, 7, 3, 11, 64, 96, NO_GATE, ACTIVATION_RELU_SQUARE, false, true, true},
        {DTYPE_F32, 4, 1, 5, 32, 64, SEPARATE, ACTIVATION_SILU, true, true, false},
        {DTYPE_Q6_K, 16, 8, 8, 256, 256, SEPARATE, ACTIVATION_SILU, true, false, true},
    };
    for (size_t i = 0; i < COUNT_OF(layers); i++)
        check_layer(compute, layers[i]);
}

static void check_all(struct compute *compute)
{
    for (int ties = 0; ties < 2; ties++)
        for (enum route_score score = ROUTE_SOFTMAX; score <= ROUTE_SIGMOID; score++) {
            check_route(compute, 8, 2, (struct route){score, true, 1}, ties, false);
            check_route(compute, 128, 8, (struct route){score, false, 1}, ties, false);
            check_route(compute, 512, 16, (struct route){score, true, 2.5f}, ties, false);
            check_route(compute, 3, 3, (struct route){score, false, 0.5f}, ties, false);
            check_route(compute, 5, 1, (struct route){score, true, 1}, ties, false);
            check_route(compute, 512, 32, (struct route){score, true, 1}, ties, true);
            check_route(compute, 64, 6, (struct route){score, false, 1}, ties, true);
            check_route(compute, 256, 8,
                        (struct route){score, true, 2.5f, .n_group = 8, .n_group_used = 4}, ties,
                        true);
            check_route(compute, 24, 4,
                        (struct route){score, true, 1, .n_group = 3, .n_group_used = 1}, ties,
                        false);
        }
    struct route least = {ROUTE_SIGMOID, true, 1, .sum_least = 50}; // more than any sum
    check_route(compute, 32, 4, least, false, true);
    for (size_t i = 0; i < COUNT_OF(weight_types); i++) {
        enum dtype type = weight_types[i];
        int32_t n_in = block_size_of(type) == 256 ? 256 : 96;
        check_products(compute, type, (struct shape){4, 2, 1, 37, n_in, true, i % 2});
        check_products(compute, type, (struct shape){8, 2, 7, 33, 2 * n_in, false, true});
        check_products(compute, type, (struct shape){5, 1, 30, 17, n_in, true, false});
        check_products(compute, type, (struct shape){32, 4, 3, 70, n_in, true, true});
    }
    check_layers(compute);
    check_sum(compute, 4500, 1, false);
    check_sum(compute, 4096, 8, true);
    check_sum(compute, 37, 3, true);
}

int main(void)
{
    on_devices(3, check_all);
    return check_done("compute_experts");
}
