// ops_rows.c - the operations on rows: embed, rows, rms_norm, glu, top_k; rotation and the cache's
// rows; and that what is recorded together runs in order, and again when submitted again.
#include "ops.h"

#include "../unit/formats.h"

// ---- embed, rows, norm, glu ---------------------------------------------------------------------

static void embed(enum dtype type, int64_t n_cols, int32_t n_tokens)
{
    enum { ROWS = 301 };
    int32_t token[600];
    if (!case_open("embed %s, %lld columns, %d tokens", dtype_name(type), (long long)n_cols,
                   n_tokens))
        return;
    for (int32_t t = 0; t < n_tokens; t++)
        token[t] = (int32_t)(random_bits() % ROWS);
    token[n_tokens - 1] = ROWS - 1;
    struct both *w = both_weight(type, ROWS, n_cols), *ids = both_ints(token, n_tokens),
                *out = both_random(n_tokens, n_cols, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_embed(ops_on[d], &out->on[d], &w->on[d], &ids->on[d], 1);
        submit(d);
    }
    compare(out, LIMIT_DECODE);
    case_close();
}

static void rows(int64_t n_cols, int32_t n_rows)
{
    int32_t row[64];
    if (!case_open("rows %d of %lld columns", n_rows, (long long)n_cols))
        return;
    for (int32_t t = 0; t < n_rows; t++)
        row[t] = (int32_t)(random_bits() % 70);
    struct both *x = both_random(70, n_cols, 1), *ids = both_ints(row, n_rows),
                *out = both_random(n_rows, n_cols, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_rows(ops_on[d], &out->on[d], &x->on[d], &ids->on[d]);
        submit(d);
    }
    compare(out, LIMIT_EXACT);
    case_close();
}

// Of n_cols columns within wider rows: what stands beside them stays.
static void rows_within(int64_t n_cols, int32_t n_rows)
{
    int32_t row[64];
    if (!case_open("rows %d of %lld columns within wider ones", n_rows, (long long)n_cols))
        return;
    for (int32_t t = 0; t < n_rows; t++)
        row[t] = (int32_t)(random_bits() % 70);
    struct both *x = both_random(70, n_cols + 3, 1), *ids = both_ints(row, n_rows),
                *out = both_random(n_rows, n_cols + 3, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        const struct tensor from = tensor_columns(&x->on[d], 2, n_cols),
                            to = tensor_columns(&out->on[d], 1, n_cols);
        record(d);
        op_rows(ops_on[d], &to, &from, &ids->on[d]);
        submit(d);
    }
    compare(out, LIMIT_EXACT);
    case_close();
}

static void copy(int64_t n_cols, int32_t n_rows)
{
    if (!case_open("copy %d rows of %lld columns", n_rows, (long long)n_cols))
        return;
    struct both *x = both_random(n_rows + 5, n_cols, 1), *out = both_random(n_rows + 9, n_cols, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        const struct tensor from = tensor_rows(&x->on[d], 2, n_rows),
                            to = tensor_rows(&out->on[d], 7, n_rows);
        record(d);
        op_copy(ops_on[d], &to, &from);
        submit(d);
    }
    compare(out, LIMIT_EXACT);
    case_close();
}

static void norm(int64_t n_cols, int64_t n_rows, float size)
{
    if (!case_open("rms_norm %lld rows of %lld, size %g", (long long)n_rows, (long long)n_cols,
                   (double)size))
        return;
    struct both *x = both_random(n_rows, n_cols, size), *w = both_random(1, n_cols, 1),
                *out = both_random(n_rows, n_cols, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_rms_norm(ops_on[d], &out->on[d], &x->on[d], &w->on[d], 1e-5f);
        submit(d);
    }
    compare(out, LIMIT_SUMS);
    case_close();
}

static void glu(int64_t n_cols, int64_t n_rows, enum activation activation, bool in_place)
{
    static const char *const names[N_ACTIVATIONS] = {"silu",    "gelu", "gelu erf",   "relu square",
                                                     "sigmoid", "tanh", "swiglu oai", "swiglu 10"};
    if (!case_open("glu %s, %lld rows of %lld%s", names[activation], (long long)n_rows,
                   (long long)n_cols, in_place ? ", in place" : ""))
        return;
    struct both *gate = both_random(n_rows, n_cols, 6), *up = both_random(n_rows, n_cols, 1),
                *out = in_place ? gate : both_random(n_rows, n_cols, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_glu(ops_on[d], &out->on[d], &gate->on[d], &up->on[d], activation);
        submit(d);
    }
    compare(out, LIMIT_SUMS);
    case_close();
}

// ---- top_k --------------------------------------------------------------------------------------

enum values { DISTINCT, TIES, NANS, EQUAL, INFINITE };

static void top_k(int64_t n_cols, int64_t n_rows, int32_t k, enum values values)
{
    static const char *const names[] = {"distinct", "ties", "NaN", "all equal", "infinite"};
    if (!case_open("top_k %d of %lld, %lld rows, %s", k, (long long)n_cols, (long long)n_rows,
                   names[values]))
        return;
    float *x = mem_array((size_t)(n_rows * n_cols), sizeof(*x));
    for (int64_t i = 0; i < n_rows * n_cols; i++) {
        x[i] = normal() * 4;
        if (values == TIES)
            x[i] = (float)(random_bits() % 30) - 15;
        if (values == NANS && random_bits() % 200 == 0)
            x[i] = random_bits() % 2 ? NAN : -NAN;
        if (values == EQUAL)
            x[i] = -1;
        if (values == INFINITE && random_bits() % 3)
            x[i] = random_bits() % 50 ? -INFINITY : INFINITY;
    }
    struct both *tx = both_tensor(DTYPE_F32, n_rows, n_cols, x),
                *id = both_tensor(DTYPE_I32, n_rows, k, NULL), *value = both_random(n_rows, k, 1),
                *total = both_random(n_rows, 1, 1);
    free(x);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_top_k(ops_on[d], &id->on[d], &value->on[d], &total->on[d], &tx->on[d]);
        submit(d);
    }
    compare_ints(id);
    if (values != INFINITE) { // infinities differ by NaN; their places were compared
        compare(value, LIMIT_EXACT);
        compare(total, LIMIT_SOFTMAX);
    }
    case_close();
}

// 64 rows of 256 numbers in F32 lie in 16 KiB at most.
void split_rows(void)
{
    embed(DTYPE_F32, 256, 130);
    embed(DTYPE_Q6_K, 768, 33);
    embed(DTYPE_IQ3_S, 256, 1);
}

void row_cases(void)
{
    for (size_t i = 0; i < COUNT_OF(weight_types); i++) {
        embed(weight_types[i], 256, 1);
        embed(weight_types[i], 1280, 7);
        embed(weight_types[i], 768, 130);
    }
    rows(64, 1), rows(2048, 3), rows(896, 33), rows(1, 2), rows(1, 64), rows(70, 5);
    rows_within(1, 1), rows_within(1, 9), rows_within(6, 5), rows_within(128, 7);
    copy(4, 1);
    copy(520, 256); // a page
    copy(1028, 41);
    norm(32, 1, 1), norm(896, 5, 1), norm(2048, 1, 100), norm(4864, 33, 1), norm(5120, 3, 1e-3f);
    norm(128, 200, 1);
    for (enum activation a = ACTIVATION_SILU; a < N_ACTIVATIONS; a++)
        glu(4864, 1, a, true), glu(131, 9, a, false), glu(2048, 65, a, true);
    for (enum values v = DISTINCT; v <= INFINITE; v++) {
        top_k(1, 2, 1, v), top_k(64, 3, 64, v), top_k(1000, 2, 40, v), top_k(32003, 1, 1, v);
        top_k(32003, 2, 64, v), top_k(151936, 1, 40, v);
    }
}

// ---- rotation, and keys and values into the cache -----------------------------------------------

struct rope_case {
    enum rope_pairs pairs;
    int32_t n_head, n_head_kv, head_dim, n_rot;
    enum dtype cache;
    bool yarn;
};

// The rows of a cache of one page read back through attention with a window of one row, whose
// weight is 1. (The oracle's attention over one row gives that row.) Heads are as in
// ops_attention.c: a device may compile a kernel for each ratio and size, which takes longer than
// all the rest.
static struct both *cached(const struct both *cache, const int32_t *row, int32_t n_rows,
                           const struct rope_case *c)
{
    int32_t counts[64];
    for (int32_t t = 0; t < n_rows; t++)
        counts[t] = row[t] + 1;
    struct both *q = both_random(n_rows, (int64_t)c->n_head * c->head_dim, 1),
                *out = both_random(n_rows, (int64_t)c->n_head * c->head_dim, 1),
                *pages = both_ints(NULL, 1), *table = both_ints(NULL, n_rows),
                *count = both_ints(counts, n_rows);
    const struct attention attention = {c->n_head, c->n_head_kv, c->head_dim, 0.01f, .window = 1};
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_attention(ops_on[d], &out->on[d], &q->on[d], &cache->on[d], &cache->on[d], &pages->on[d],
                     &table->on[d], &count->on[d], &attention);
        submit(d);
    }
    return out;
}

static void rope(struct rope_case c, int32_t n_tokens)
{
    enum { ROWS = 99, MOST = 64 };
    static const int32_t far[] = {0, 1, 2, 777, 4095, 32767, 131071, 1048575};
    int32_t pos[MOST], row[MOST], turns[256];
    if (!case_open("rope_kv %s %s, %d and %d heads of %d, %d turned%s, %d tokens",
                   dtype_name(c.cache), c.pairs == ROPE_NORM ? "norm" : "neox", c.n_head,
                   c.n_head_kv, c.head_dim, c.n_rot, c.yarn ? ", yarn" : "", n_tokens))
        return;
    for (int32_t t = 0; t < n_tokens; t++) {
        pos[t] = t < 8 ? far[(t + n_tokens) % 8] : t * 13;
        row[t] = (t * 37 + 5) % ROWS; // all different
    }
    struct rope_scaling scaling = {.freq_base = 1e6f, .freq_scale = 1};
    if (c.yarn)
        scaling = (struct rope_scaling){1e4f, 0.25f, NULL, true, 4096, 32, 1, 1};
    struct rope how = {.pairs = c.pairs, .n_rot = c.n_rot};
    rope_turns(turns, &how.magnitude, c.n_rot, &scaling);
    int64_t n_q = (int64_t)c.n_head * c.head_dim, n_kv = (int64_t)c.n_head_kv * c.head_dim;
    struct both *q = both_random(n_tokens, n_q, 1), *k = both_random(n_tokens, n_kv, 1),
                *v = both_random(n_tokens, n_kv, 1), *tp = both_ints(pos, n_tokens),
                *tr = both_ints(row, n_tokens), *tt = both_ints(turns, c.n_rot),
                *ck = both_cache(c.cache, ROWS, n_kv), *cv = both_cache(c.cache, ROWS, n_kv);
    for (int d = 0; d < N_DEVICES; d++) {
        how.turns = &tt->on[d];
        record(d);
        op_rope_kv(ops_on[d],
                   &(struct rope_kv){&q->on[d], &k->on[d], &v->on[d], &tp->on[d], &tr->on[d],
                                     &ck->on[d], &cv->on[d], c.head_dim, how});
        submit(d);
    }
    enum limit limit = c.cache == DTYPE_F16 ? LIMIT_CACHE_F16 : LIMIT_CACHE_Q8_0;
    compare(q, LIMIT_TRIGONOMETRY);
    compare(cached(ck, row, n_tokens, &c), limit);
    compare(cached(cv, row, n_tokens, &c), limit);
    static const int32_t untouched[] = {0}; // no token's row
    compare(cached(cv, untouched, 1, &c), LIMIT_EXACT);
    case_close();
}

void rope_cases(void)
{
    enum { F16 = DTYPE_F16, Q8_0 = DTYPE_Q8_0 };
    static const struct rope_case cases[] = {
        {ROPE_NORM, 4, 4, 64, 64, F16, false},   {ROPE_NEOX, 14, 2, 64, 64, F16, false},
        {ROPE_NEOX, 8, 2, 128, 128, F16, true},  {ROPE_NORM, 8, 1, 80, 32, F16, false},
        {ROPE_NEOX, 3, 1, 96, 96, F16, false},   {ROPE_NEOX, 2, 1, 256, 256, F16, false},
        {ROPE_NORM, 4, 2, 32, 32, F16, true},    {ROPE_NORM, 14, 2, 64, 64, Q8_0, false},
        {ROPE_NEOX, 8, 2, 128, 128, Q8_0, true}, {ROPE_NEOX, 8, 2, 80, 80, Q8_0, false},
        {ROPE_NORM, 3, 1, 96, 64, Q8_0, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        rope(cases[i], 1), rope(cases[i], 5), rope(cases[i], 33);
}

// ---- recordings ---------------------------------------------------------------------------------

// 64 dependent products in one recording (y = x; x = x + y): a lost order or barrier shows as a
// wrong power of two.
static void order(void)
{
    enum { N = 96, TIMES = 32 };
    static float identity[N * N];
    if (!case_open("recording, %d dependent products", 2 * TIMES))
        return;
    for (int i = 0; i < N; i++)
        identity[i * N + i] = 1;
    struct both *w = both_tensor(DTYPE_F32, N, N, identity), *x = both_random(1, N, 1),
                *y = both_random(1, N, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        const struct matmul copy = {.out = &y->on[d], .w = &w->on[d]},
                            add = {.out = &x->on[d], .w = &w->on[d], .residual = &x->on[d]};
        record(d);
        for (int i = 0; i < TIMES; i++) {
            op_matmul(ops_on[d], &copy, 1, &(struct matmul_x){.x = &x->on[d]});
            op_matmul(ops_on[d], &add, 1, &(struct matmul_x){.x = &y->on[d]});
        }
        submit(d);
    }
    compare(x, LIMIT_DECODE);
    case_close();
}

struct layer {
    struct both *embd, *token, *pos, *row, *pages, *table, *count, *turns, *x, *q, *k, *v, *att,
        *ck, *cv, *wq, *wk, *wv, *wo, *norm, *logits, *id, *value;
};

enum { L_HEADS = 4, L_HEADS_KV = 2, L_DIM = 64, L_EMBD = 256, L_VOCAB = 301, L_PAGES = 2 };

static void record_layer(const struct layer *l, int d)
{
    struct compute *compute = ops_on[d];
    const struct rope rope = {ROPE_NEOX, L_DIM, &l->turns->on[d], 1};
    const struct attention attention = {L_HEADS, L_HEADS_KV, L_DIM, 0.125f};
    const struct matmul qkv[] = {{&l->q->on[d], &l->wq->on[d], NULL, NULL},
                                 {&l->k->on[d], &l->wk->on[d], NULL, NULL},
                                 {&l->v->on[d], &l->wv->on[d], NULL, NULL}};
    op_embed(compute, &l->x->on[d], &l->embd->on[d], &l->token->on[d], 1);
    op_matmul(compute, qkv, 3, &(struct matmul_x){&l->x->on[d], &l->norm->on[d], 1e-5f});
    op_rope_kv(compute,
               &(struct rope_kv){&l->q->on[d], &l->k->on[d], &l->v->on[d], &l->pos->on[d],
                                 &l->row->on[d], &l->ck->on[d], &l->cv->on[d], L_DIM, rope});
    op_attention(compute, &l->att->on[d], &l->q->on[d], &l->ck->on[d], &l->cv->on[d],
                 &l->pages->on[d], &l->table->on[d], &l->count->on[d], &attention);
    op_matmul(compute, &(struct matmul){&l->x->on[d], &l->wo->on[d], NULL, &l->x->on[d]}, 1,
              &(struct matmul_x){.x = &l->att->on[d]});
    op_matmul(compute, &(struct matmul){&l->logits->on[d], &l->embd->on[d], NULL, NULL}, 1,
              &(struct matmul_x){&l->x->on[d], &l->norm->on[d], 1e-5f});
    op_top_k(compute, &l->id->on[d], &l->value->on[d], NULL, &l->logits->on[d]);
}

static void write_ints(const struct both *to, const int32_t *from, int32_t n)
{
    for (int d = 0; d < N_DEVICES; d++)
        tensor_write(ops_on[d], &to->on[d], from, (size_t)n * sizeof(*from));
}

// A layer of a model, `n` sequences, step after step under one key: tokens, positions, lengths,
// pages and whose is which table change, what is recorded does not. F16 weights, so that all of it
// is tight.
static void decode(int32_t n)
{
    enum { STEPS = 40, N_PAGES = 24 * L_PAGES };
    if (!case_open("recording, %d sequences decoded under one key", n))
        return;
    int32_t turns[L_DIM], ints[24], pages[N_PAGES];
    float magnitude;
    rope_turns(turns, &magnitude, L_DIM, &(struct rope_scaling){1e4f, 1});
    struct layer l = {.embd = both_weight(DTYPE_F16, L_VOCAB, L_EMBD),
                      .token = both_ints(NULL, n),
                      .pos = both_ints(NULL, n),
                      .row = both_ints(NULL, n),
                      .pages = both_tensor(DTYPE_I32, n, L_PAGES, NULL),
                      .table = both_ints(NULL, n),
                      .count = both_ints(NULL, n),
                      .turns = both_ints(turns, L_DIM),
                      .x = both_random(n, L_EMBD, 1),
                      .q = both_random(n, L_HEADS * L_DIM, 1),
                      .k = both_random(n, L_HEADS_KV * L_DIM, 1),
                      .v = both_random(n, L_HEADS_KV * L_DIM, 1),
                      .att = both_random(n, L_HEADS * L_DIM, 1),
                      .ck = both_cache(DTYPE_F16, n * L_PAGES * PAGE_ROWS, L_HEADS_KV * L_DIM),
                      .cv = both_cache(DTYPE_F16, n * L_PAGES * PAGE_ROWS, L_HEADS_KV * L_DIM),
                      .wq = both_weight(DTYPE_F16, L_HEADS * L_DIM, L_EMBD),
                      .wk = both_weight(DTYPE_F16, L_HEADS_KV * L_DIM, L_EMBD),
                      .wv = both_weight(DTYPE_F16, L_HEADS_KV * L_DIM, L_EMBD),
                      .wo = both_weight(DTYPE_F16, L_EMBD, L_HEADS * L_DIM),
                      .norm = both_random(1, L_EMBD, 0.1f),
                      .logits = both_random(n, L_VOCAB, 1),
                      .id = both_tensor(DTYPE_I32, n, 1, NULL),
                      .value = both_random(n, 1, 1)};
    for (int32_t step = 0; step < STEPS; step++) {
        int32_t pos = step < 5 ? step : step * 9; // jumps leave rows of zeros behind
        for (int32_t i = 0; i < n * L_PAGES; i++) // what was kept goes to others now and then
            pages[i] = (i + step / 8 * 3) % (n * L_PAGES);
        write_ints(l.pages, pages, n * L_PAGES);
        for (int32_t t = 0; t < n; t++)
            ints[t] = (step * 31 + t * 7) % L_VOCAB;
        write_ints(l.token, ints, n);
        for (int32_t t = 0; t < n; t++)
            ints[t] = pos;
        write_ints(l.pos, ints, n);
        for (int32_t t = 0; t < n; t++)
            ints[t] = (t + step) % n;
        write_ints(l.table, ints, n);
        for (int32_t t = 0; t < n; t++)
            ints[t] = pages[ints[t] * L_PAGES + pos / PAGE_ROWS] * PAGE_ROWS + pos % PAGE_ROWS;
        write_ints(l.row, ints, n);
        for (int32_t t = 0; t < n; t++)
            ints[t] = pos + 1;
        write_ints(l.count, ints, n);
        for (int d = 0; d < N_DEVICES; d++) {
            if (compute_begin(ops_on[d], (uint64_t)n))
                record_layer(&l, d);
            submit(d);
        }
        compare(l.logits, LIMIT_HALF);
        compare_largest(l.id, l.logits);
    }
    case_close();
}

void recording_cases(void)
{
    order();
    decode(1);
    decode(3);
    decode(8);
    decode(24);
    decode(1); // the key of tensors that are gone
}
