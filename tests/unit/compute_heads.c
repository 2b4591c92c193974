// compute_heads.c - what op_rope_kv and op_attention do for models whose heads differ: heads
// normalised before they are rotated, gates between queries, part of a head rotated, queries that
// grow with the position, values narrower than keys or a part of them, caches that are only read,
// outputs under gates, tokens that all see each other. Against the formulas in double.
//
// Tolerances as in compute_rope.c and compute_attention.c; a norm adds a rounding or two.
#include "compute_check.h"

#include "../../engine/compute/blocks.h"

enum { ROWS = PAGE_ROWS + 40, TOKENS = 6, BASE = 10000, LONG = 450 };

struct form {
    int32_t n_head, n_head_kv, head_dim, head_dim_v, q_stride, first, n_rot;
    enum rope_pairs pairs;
    enum dtype cache;
    bool q_norm, k_norm, v_norm;
    enum { V_OWN, V_OF_K, V_IS_K } v; // its own; a part of the keys; the keys as they came
    enum { NO_GATE, GATE_COLUMNS, GATE_BESIDE_Q, GATE_HEADS } gate;
    bool all;          // tokens see each other, not only those before them
    float temperature; // by which queries grow with the position, a step every LONG
};

static const int32_t positions[TOKENS] = {3, 4, 5, 900, 901, 40000};
static const float eps = 1e-5f;

// One head [head_dim] as it should become.
static void head_of(double *out, const float *x, const struct form *f, const float *norm,
                    int32_t pos, bool normalise, int32_t n)
{
    double squares = 0;
    for (int32_t d = 0; d < n; d++)
        squares += (double)x[d] * x[d];
    for (int32_t d = 0; d < n; d++) {
        out[d] = x[d];
        if (normalise)
            out[d] *= (norm ? (double)norm[d] : 1) / sqrt(squares / n + (double)eps);
    }
    for (int32_t i = 0; i < f->n_rot / 2 && pos >= 0; i++) {
        const int32_t a = f->first + (f->pairs == ROPE_NORM ? 2 * i : i),
                      b = f->pairs == ROPE_NORM ? a + 1 : a + f->n_rot / 2;
        const double angle = pos * pow(BASE, -2.0 * i / f->n_rot), u = out[a], v = out[b];
        out[a] = u * cos(angle) - v * sin(angle);
        out[b] = u * sin(angle) + v * cos(angle);
    }
}

struct data { // on the host
    int64_t q_cols, k_cols, v_cols, out_cols;
    float *q, *k, *v, *gate, *q_norm, *k_norm, *out;
    double *q_want, *k_want, *v_want; // [TOKENS][heads * width], as they are in the cache
};

// Rows [TOKENS][n_cols] as the cache's format has them.
static void cached_rows(double *x, int64_t n_cols, enum dtype cache)
{
    for (int64_t i = 0; i < TOKENS * n_cols && cache == DTYPE_F16; i++)
        x[i] = float_from_f16(f16_from_float((float)x[i]));
    for (int64_t i = 0; i < TOKENS * n_cols && cache == DTYPE_Q8_0; i += 32) {
        double most = 0;
        for (int64_t j = i; j < i + 32; j++)
            most = fmax(most, fabs(x[j]));
        for (int64_t j = i; j < i + 32 && most > 0; j++)
            x[j] = rint(x[j] * 127 / most) * float_from_f16(f16_from_float((float)(most / 127)));
    }
}

static struct data data_of(const struct form *f)
{
    struct data d = {.q_cols = (int64_t)f->n_head * f->q_stride,
                     .k_cols = (int64_t)f->n_head_kv * f->head_dim,
                     .v_cols = (int64_t)f->n_head_kv * f->head_dim_v,
                     .out_cols = (int64_t)f->n_head * f->head_dim_v};
    const size_t n = (size_t)TOKENS * (size_t)(d.q_cols + d.k_cols + d.v_cols + d.out_cols);
    float **all[] = {&d.q, &d.k, &d.v, &d.gate, &d.q_norm, &d.k_norm, &d.out};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        *all[i] = calloc(n, sizeof(float));
        random_floats(*all[i], (int64_t)n);
    }
    d.q_want = calloc(n, sizeof(double)), d.k_want = calloc(n, sizeof(double));
    d.v_want = calloc(n, sizeof(double));
    for (int32_t t = 0; t < TOKENS; t++) {
        for (int32_t h = 0; h < f->n_head; h++)
            head_of(d.q_want + (t * f->n_head + h) * f->head_dim,
                    d.q + t * d.q_cols + h * f->q_stride, f, d.q_norm, positions[t], f->q_norm,
                    f->head_dim);
        for (int32_t i = 0; i < f->n_head * f->head_dim; i++)
            d.q_want[t * f->n_head * f->head_dim + i] *=
                1 + (double)f->temperature * log(1 + floor((double)positions[t] / LONG));
        for (int32_t h = 0; h < f->n_head_kv; h++) {
            const int64_t k = t * d.k_cols + h * f->head_dim, v = t * d.v_cols + h * f->head_dim_v;
            head_of(d.k_want + k, d.k + k, f, d.k_norm, positions[t], f->k_norm, f->head_dim);
            if (f->v != V_OF_K)
                head_of(d.v_want + v, (f->v == V_IS_K ? d.k : d.v) + v, f, NULL, -1, f->v_norm,
                        f->head_dim_v);
        }
    }
    cached_rows(d.k_want, d.k_cols, f->cache);
    cached_rows(d.v_want, d.v_cols, f->cache);
    for (int32_t t = 0; t < TOKENS && f->v == V_OF_K; t++)
        for (int32_t h = 0; h < f->n_head_kv; h++)
            memcpy(d.v_want + t * d.v_cols + h * f->head_dim_v,
                   d.k_want + t * d.k_cols + h * f->head_dim,
                   (size_t)f->head_dim_v * sizeof(double));
    return d;
}

static void data_free(struct data *d)
{
    free(d->q), free(d->k), free(d->v), free(d->gate), free(d->q_norm), free(d->k_norm);
    free(d->out), free(d->q_want), free(d->k_want), free(d->v_want);
}

// Token t, head h: softmax over what it sees, and the gate.
static void attended(double *out, const struct form *f, const struct data *d, int32_t t, int32_t h)
{
    const int32_t head_kv = h / (f->n_head / f->n_head_kv), n = f->all ? TOKENS : t + 1;
    double score[TOKENS], most = -INFINITY, sum = 0;
    for (int32_t j = 0; j < n; j++) {
        score[j] = 0;
        for (int32_t i = 0; i < f->head_dim; i++)
            score[j] += d->q_want[(t * f->n_head + h) * f->head_dim + i] *
                        d->k_want[j * d->k_cols + head_kv * f->head_dim + i];
        score[j] /= sqrt(f->head_dim);
        most = fmax(most, score[j]);
    }
    for (int32_t i = 0; i < f->head_dim_v; i++)
        out[i] = 0;
    for (int32_t j = 0; j < n; j++) {
        sum += exp(score[j] - most);
        for (int32_t i = 0; i < f->head_dim_v; i++)
            out[i] += exp(score[j] - most) * d->v_want[j * d->v_cols + head_kv * f->head_dim_v + i];
    }
    for (int32_t i = 0; i < f->head_dim_v; i++) {
        double gate = f->gate == GATE_COLUMNS ? d->gate[t * d->out_cols + h * f->head_dim_v + i]
                      : f->gate == GATE_HEADS ? d->gate[t * f->n_head + h]
                      : f->gate == GATE_BESIDE_Q
                          ? d->q[t * d->q_cols + h * f->q_stride + f->head_dim + i]
                          : INFINITY;
        out[i] *= 1 / sum / (1 + exp(-gate));
    }
}

static int q_wrong(const struct form *f, const struct data *d, const float *q, double limit)
{
    int wrong = 0;
    for (int32_t t = 0; t < TOKENS; t++)
        for (int64_t i = 0; i < d->q_cols; i++) {
            const int64_t h = i / f->q_stride, c = i % f->q_stride, at = t * d->q_cols + i;
            if (c < f->head_dim)
                wrong += !(fabs(q[at] - d->q_want[(t * f->n_head + h) * f->head_dim + c]) <= limit);
            else // beside the heads: as it was
                wrong += q[at] != d->q[at];
        }
    return wrong;
}

struct device_data { // the same on the device, and its results
    struct tensor q, k, v, gates, q_norm, k_norm, pos, row, pages, table, count, turns, cache_k,
        cache_v, out;
    struct rope rope;
};

static struct device_data device_data_of(struct compute *compute, const struct form *f,
                                         const struct data *d)
{
    static const int32_t page = 1;
    int32_t row[TOKENS], count[TOKENS], turns[256];
    struct device_data on = {.rope = {.pairs = f->pairs, .n_rot = f->n_rot, .first = f->first}};
    for (int32_t t = 0; t < TOKENS; t++)
        row[t] = page * PAGE_ROWS + t, count[t] = f->all ? TOKENS : t + 1;
    rope_turns(turns, &on.rope.magnitude, f->n_rot, &(struct rope_scaling){BASE, 1});
    on.q = tensor_of(compute, DTYPE_F32, TOKENS, d->q_cols, d->q);
    on.k = tensor_of(compute, DTYPE_F32, TOKENS, d->k_cols, d->k);
    on.v = tensor_of(compute, DTYPE_F32, TOKENS, d->v_cols, d->v);
    on.gates = tensor_of(compute, DTYPE_F32, TOKENS,
                         f->gate == GATE_HEADS ? f->n_head : d->out_cols, d->gate);
    on.q_norm = tensor_of(compute, DTYPE_F32, 1, f->head_dim, d->q_norm);
    on.k_norm = tensor_of(compute, DTYPE_F32, 1, f->head_dim, d->k_norm);
    on.pos = tensor_of(compute, DTYPE_I32, 1, TOKENS, positions);
    on.row = tensor_of(compute, DTYPE_I32, 1, TOKENS, row);
    on.pages = tensor_of(compute, DTYPE_I32, 1, 1, &page);
    on.table = tensor_of(compute, DTYPE_I32, 1, TOKENS, NULL);
    on.count = tensor_of(compute, DTYPE_I32, 1, TOKENS, count);
    on.turns = tensor_of(compute, DTYPE_I32, 1, f->n_rot, turns);
    on.cache_k = cache_of(compute, f->cache, ROWS, d->k_cols);
    on.cache_v = cache_of(compute, f->cache, ROWS, d->v_cols);
    on.out = tensor_of(compute, DTYPE_F32, TOKENS, d->out_cols, NULL);
    return on;
}

static void turn(struct compute *compute, const struct form *f, struct device_data *on)
{
    on->rope.turns = &on->turns;
    op_rope_kv(compute, &(struct rope_kv){.q = &on->q,
                                          .k = &on->k,
                                          .v = f->v == V_OF_K   ? NULL
                                               : f->v == V_IS_K ? &on->k
                                                                : &on->v,
                                          .pos = &on->pos,
                                          .row = &on->row,
                                          .cache_k = &on->cache_k,
                                          .cache_v = f->v == V_OF_K ? NULL : &on->cache_v,
                                          .head_dim = f->head_dim,
                                          .rope = on->rope,
                                          .n_head = f->n_head,
                                          .q_stride = f->q_stride,
                                          .head_dim_v = f->head_dim_v,
                                          .q_norm = f->q_norm ? &on->q_norm : NULL,
                                          .k_norm = f->k_norm ? &on->k_norm : NULL,
                                          .v_norm = f->v_norm,
                                          .eps = eps,
                                          .temperature = f->temperature,
                                          .temperature_length = LONG});
}

// Tokens t .. t + n - 1.
static void attend(struct compute *compute, const struct form *f, const struct device_data *on,
                   int32_t t, int32_t n)
{
    const struct tensor beside =
        tensor_columns(&on->q, f->gate == GATE_BESIDE_Q ? f->head_dim : 0,
                       on->q.n_cols - (f->gate == GATE_BESIDE_Q ? f->head_dim : 0));
    const struct tensor q = tensor_rows(&on->q, t, n), out = tensor_rows(&on->out, t, n),
                        gate = tensor_rows(f->gate == GATE_BESIDE_Q ? &beside : &on->gates, t, n),
                        table = tensor_columns(&on->table, t, n),
                        count = tensor_columns(&on->count, t, n);
    op_attention(compute, &out, &q, &on->cache_k, f->v == V_OF_K ? NULL : &on->cache_v, &on->pages,
                 &table, &count,
                 &(struct attention){.n_head = f->n_head,
                                     .n_head_kv = f->n_head_kv,
                                     .head_dim = f->head_dim,
                                     .scale = 1 / sqrtf((float)f->head_dim),
                                     .head_dim_v = f->head_dim_v,
                                     .q_stride = f->q_stride,
                                     .gate = f->gate == NO_GATE ? NULL : &gate,
                                     .gate_stride = f->gate == GATE_BESIDE_Q ? f->q_stride : 0,
                                     .gate_heads = f->gate == GATE_HEADS});
}

static int out_wrong(const struct form *f, const struct data *d)
{
    // Halfway between two steps of the cache's format a value may go either way, and a score with
    // it.
    const double limit = f->cache == DTYPE_F16 ? 2e-2 : 0.3;
    double want[600];
    int wrong = 0;
    for (int32_t t = 0; t < TOKENS; t++)
        for (int32_t h = 0; h < f->n_head; h++) {
            const float *got = d->out + t * d->out_cols + h * f->head_dim_v;
            attended(want, f, d, t, h);
            for (int32_t i = 0; i < f->head_dim_v; i++)
                wrong += !(fabs(got[i] - want[i]) <= limit);
        }
    return wrong;
}

static void check_form(struct compute *compute, const struct form *f, bool one_by_one)
{
    struct data d = data_of(f);
    struct device_data on = device_data_of(compute, f, &d);
    run_begin(compute);
    turn(compute, f, &on);
    for (int32_t t = 0; t < TOKENS; t += one_by_one ? 1 : TOKENS)
        attend(compute, f, &on, t, one_by_one ? 1 : TOKENS);
    run_end(compute);
    float *q = calloc((size_t)(TOKENS * d.q_cols), sizeof(*q));
    tensor_read(compute, q, &on.q, (size_t)(TOKENS * d.q_cols) * sizeof(*q));
    tensor_read(compute, d.out, &on.out, (size_t)(TOKENS * d.out_cols) * sizeof(*d.out));
    const int wrong_q = q_wrong(f, &d, q, is_cpu(compute) ? 2e-5 : 2e-4), wrong = out_wrong(f, &d);
    if (!CHECK(wrong_q + wrong == 0))
        fprintf(stderr, "    %s: %d/%d heads of %d and %d, %s, v %d, gate %d: %d and %d wrong\n",
                compute_info(compute)->device, f->n_head, f->n_head_kv, f->head_dim, f->head_dim_v,
                dtype_name(f->cache), f->v, f->gate, wrong_q, wrong);
    free(q);
    FREE_ALL(compute, &on.q, &on.k, &on.v, &on.gates, &on.q_norm, &on.k_norm, &on.pos, &on.row,
             &on.pages, &on.table, &on.count, &on.turns, &on.cache_k, &on.cache_v, &on.out);
    data_free(&d);
}

// Only q, for a layer that reads another's cache.
static void check_q_alone(struct compute *compute)
{
    const struct form form = {3, 1, 40, 40, 48, 8, 24, ROPE_NEOX, .q_norm = true}, *f = &form;
    struct data d = data_of(f);
    int32_t turns[24];
    struct rope rope = {.pairs = f->pairs, .n_rot = f->n_rot, .first = f->first};
    rope_turns(turns, &rope.magnitude, f->n_rot, &(struct rope_scaling){BASE, 1});
    struct tensor q = tensor_of(compute, DTYPE_F32, TOKENS, d.q_cols, d.q),
                  qn = tensor_of(compute, DTYPE_F32, 1, f->head_dim, d.q_norm),
                  tp = tensor_of(compute, DTYPE_I32, 1, TOKENS, positions),
                  tt = tensor_of(compute, DTYPE_I32, 1, f->n_rot, turns);
    rope.turns = &tt;
    run_begin(compute);
    op_rope_kv(compute, &(struct rope_kv){.q = &q,
                                          .pos = &tp,
                                          .head_dim = f->head_dim,
                                          .rope = rope,
                                          .q_stride = f->q_stride,
                                          .q_norm = &qn,
                                          .eps = eps});
    run_end(compute);
    float *got = calloc((size_t)(TOKENS * d.q_cols), sizeof(*got));
    tensor_read(compute, got, &q, (size_t)(TOKENS * d.q_cols) * sizeof(*got));
    CHECK(q_wrong(f, &d, got, is_cpu(compute) ? 2e-5 : 2e-4) == 0);
    free(got);
    FREE_ALL(compute, &q, &qn, &tp, &tt);
    data_free(&d);
}

static void check_all(struct compute *compute)
{
    static const struct form forms[] = {
        // qwen3; gemma4's, whose values are keys before their norm; qwen35's, with gates beside q
        {4, 2, 64, 64, 64, 0, 64, ROPE_NEOX, DTYPE_F16, true, true, false, V_OWN, NO_GATE, false},
        {4, 2, 64, 64, 64, 0, 64, ROPE_NEOX, DTYPE_F16, true, true, true, V_IS_K, NO_GATE, false},
        {4, 1, 64, 64, 128, 0, 16, ROPE_NEOX, DTYPE_F16, true, true, false, V_OWN, GATE_BESIDE_Q,
         false},
        // MLA: one key head, of which values are the first part and the last part turns
        {8, 1, 192, 128, 192, 128, 64, ROPE_NORM, DTYPE_F16, false, false, false, V_OF_K, NO_GATE,
         false},
        {16, 1, 576, 512, 576, 512, 64, ROPE_NORM, DTYPE_F16, false, false, false, V_OF_K, NO_GATE,
         false},
        {4, 1, 96, 64, 96, 64, 32, ROPE_NORM, DTYPE_Q8_0, false, false, false, V_OF_K, NO_GATE,
         false},
        // values narrower and wider than keys; gates of every kind; bert: all see all
        {4, 2, 192, 128, 192, 0, 64, ROPE_NEOX, DTYPE_F16, false, true, true, V_OWN, GATE_COLUMNS,
         false},
        {6, 3, 32, 64, 32, 0, 32, ROPE_NORM, DTYPE_F16, true, false, true, V_OWN, GATE_HEADS, true},
        {4, 4, 32, 32, 40, 4, 8, ROPE_NEOX, DTYPE_Q8_0, true, true, true, V_OWN, NO_GATE, true},
        {2, 1, 7, 5, 9, 2, 4, ROPE_NORM, DTYPE_F16, true, true, true, V_OWN, GATE_COLUMNS, false},
        // mistral3, mistral4; what does not turn grows too
        {4, 2, 64, 64, 64, 0, 64, ROPE_NORM, DTYPE_F16, false, false, false, V_OWN, NO_GATE, false,
         0.1f},
        {8, 1, 192, 128, 192, 128, 64, ROPE_NORM, DTYPE_F16, false, false, false, V_OF_K, NO_GATE,
         false, 0.1f},
        {4, 4, 32, 32, 40, 4, 8, ROPE_NEOX, DTYPE_Q8_0, true, true, true, V_OWN, NO_GATE, true,
         0.1f},
    };
    for (size_t i = 0; i < COUNT_OF(forms); i++)
        if (is_cpu(compute) || forms[i].head_dim % 8 == 0) { // what any device must have
            check_form(compute, &forms[i], false);
            check_form(compute, &forms[i], true);
        }
    check_q_alone(compute);
}

int main(void)
{
    on_devices(3, check_all);
    return check_done("compute_heads");
}
