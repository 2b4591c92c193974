// ops_far.c - streams that are mixed by balanced matrices, rows that stand for many positions and
// attention to them (DeepSeek-V4).
#include "ops.h"

enum { PAGES = 5, ALL_ROWS = PAGES * PAGE_ROWS, TOKENS_MOST = 300 };
static const int32_t table_pages[PAGES] = {3, 0, 4, 1, 2};

static void mixed_streams(int64_t n, int32_t n_stream, int64_t n_tokens)
{
    const int64_t all = n_stream * n, wide = n_stream * (2 + n_stream);
    if (!case_open("balanced streams, %d of %lld, %lld rows", n_stream, (long long)n,
                   (long long)n_tokens))
        return;
    struct both *x = both_random(n_tokens, all, 1), *mix = both_random(n_tokens, wide, 1),
                *base = both_random(1, wide, 1), *scale = both_random(1, 3, 1),
                *y = both_random(n_tokens, n, 1), *read = both_random(n_tokens, n, 1),
                *weight = both_random(n_tokens, n_stream * (1 + n_stream), 1);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_streams_read(ops_on[d], &(struct streams_read){.out = &read->on[d],
                                                          .x = &x->on[d],
                                                          .mix = &mix->on[d],
                                                          .scale = &scale->on[d],
                                                          .base = &base->on[d],
                                                          .weight = &weight->on[d],
                                                          .n_stream = n_stream,
                                                          .n_round = 20,
                                                          .eps = 1e-6f});
        op_streams_blend(ops_on[d], &x->on[d], &y->on[d], &weight->on[d], n_stream);
        submit(d);
    }
    compare(read, LIMIT_SUMS);
    compare(weight, LIMIT_SUMS);
    compare(x, LIMIT_SUMS);
    case_close();
}

struct shape {
    int32_t n_head, dim, ratio, window;
    enum dtype type;
    bool overlap, chosen;
};

// total tokens of one sequence leave rows, the last n of them attend to these.
static void far(struct shape s, int32_t total, int32_t n)
{
    static int32_t bits[TOKENS_MOST * ALL_ROWS / 4 / 32];
    int32_t pos[ALL_ROWS], row[ALL_ROWS], first[ALL_ROWS], made[ALL_ROWS], count[TOKENS_MOST];
    const int64_t wide = s.overlap ? 2 * s.dim : s.dim, words = ALL_ROWS / s.ratio / 32;
    if (!case_open("attention far, %s %d x %d, %d of %d by %d", dtype_name(s.type), s.n_head, s.dim,
                   n, total, s.ratio))
        return;
    for (int32_t t = 0; t < total; t++) {
        pos[t] = t, first[t] = t / s.ratio * s.ratio;
        row[t] = table_pages[t / PAGE_ROWS] * PAGE_ROWS + t % PAGE_ROWS;
        made[t] = (t + 1) % s.ratio ? -1 : row[t] / s.ratio;
    }
    for (int32_t t = 0; t < n; t++)
        count[t] = total - n + t + 1;
    for (int64_t i = 0; i < n * words && s.chosen; i++)
        bits[i] = i % 4 == 1 ? 0 : (int32_t)(random_bits() & random_bits());
    struct both *x = both_random(total, wide, 1), *score = both_random(total, wide, 1),
                *place = both_random(s.ratio, wide, 1), *k = both_random(total, s.dim, 1),
                *q = both_random(n, (int64_t)s.n_head * s.dim, 1),
                *sinks = both_random(1, s.n_head, 1), *tp = both_ints(pos, total),
                *tr = both_ints(row, total), *tf = both_ints(first, total),
                *tm = both_ints(made, total), *tc = both_ints(count, n),
                *zero = both_ints(NULL, total), *pages = both_ints(table_pages, PAGES),
                *raw_x = both_cache(DTYPE_F16, ALL_ROWS, wide),
                *raw_score = both_cache(DTYPE_F16, ALL_ROWS, wide),
                *near = both_cache(s.type, ALL_ROWS, s.dim),
                *rows = both_cache(s.type, ALL_ROWS / s.ratio, s.dim),
                *pooled = both_tensor(DTYPE_F32, total, s.dim, NULL),
                *chosen = both_tensor(DTYPE_I32, n, words > 0 ? words : 1, bits),
                *out = both_random(n, (int64_t)s.n_head * s.dim, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_compress(ops_on[d],
                    &(struct compress){&pooled->on[d], &x->on[d], &score->on[d], &raw_x->on[d],
                                       &raw_score->on[d], &place->on[d], &tp->on[d], &tr->on[d],
                                       &pages->on[d], &zero->on[d], s.ratio, s.overlap});
        op_rope_kv(ops_on[d], &(struct rope_kv){.k = &pooled->on[d],
                                                .pos = &tf->on[d],
                                                .row = &tm->on[d],
                                                .cache_k = &rows->on[d],
                                                .head_dim = s.dim});
        op_rope_kv(ops_on[d], &(struct rope_kv){.k = &k->on[d],
                                                .pos = &tp->on[d],
                                                .row = &tr->on[d],
                                                .cache_k = &near->on[d],
                                                .head_dim = s.dim});
        op_attention_far(ops_on[d], &(struct attention_far){
                                        &out->on[d], &q->on[d], &near->on[d], &rows->on[d],
                                        &pages->on[d], &pages->on[d], &zero->on[d], &tc->on[d],
                                        &sinks->on[d], s.chosen ? &chosen->on[d] : NULL, s.n_head,
                                        s.window, s.ratio, total / s.ratio + 1, 0.2f});
        submit(d);
    }
    compare(pooled, LIMIT_SUMS);
    compare(out, s.type == DTYPE_F16 ? LIMIT_SOFTMAX : LIMIT_SOFTMAX_Q8_0);
    case_close();
}

static void softplus(bool hashed, int64_t n_tokens)
{
    enum { EXPERTS = 256, USED = 6, VOCABULARY = 40 };
    int32_t table[VOCABULARY * USED], token[TOKENS_MOST];
    if (!case_open("route by softplus, %s, %lld rows", hashed ? "by the token" : "chosen",
                   (long long)n_tokens))
        return;
    for (int32_t i = 0; i < VOCABULARY * USED; i++)
        table[i] = (int32_t)(random_bits() % EXPERTS);
    for (int64_t t = 0; t < n_tokens; t++)
        token[t] = (int32_t)(random_bits() % VOCABULARY);
    struct both *logits = both_random(n_tokens, EXPERTS, 5), *bias = both_random(1, EXPERTS, 1),
                *tt = both_tensor(DTYPE_I32, VOCABULARY, USED, table),
                *tk = both_ints(token, n_tokens),
                *id = both_tensor(DTYPE_I32, n_tokens, USED, NULL),
                *weight = both_tensor(DTYPE_F32, n_tokens, USED, NULL);
    for (int d = 0; d < N_DEVICES; d++) {
        const struct route route = {.score = ROUTE_SOFTPLUS,
                                    .normalise = true,
                                    .scale = 1.5f,
                                    .bias = hashed ? NULL : &bias->on[d],
                                    .hashed = hashed ? &tt->on[d] : NULL,
                                    .token = &tk->on[d]};
        record(d);
        op_route(ops_on[d], &id->on[d], &weight->on[d], &logits->on[d], &route);
        submit(d);
    }
    compare_ints(id);
    compare(weight, LIMIT_SUMS);
    case_close();
}

void far_cases(void)
{
    static const struct shape shapes[] = {
        {4, 32, 4, 12, DTYPE_F16, true, true},        {64, 512, 4, 128, DTYPE_F16, true, true},
        {64, 512, 128, 128, DTYPE_F16, false, false}, {5, 40, 4, 7, DTYPE_F16, true, false},
        {8, 64, 4, 100, DTYPE_Q8_0, true, true},      {6, 96, 128, 30, DTYPE_Q8_0, false, false},
    };
    mixed_streams(64, 4, 1), mixed_streams(100, 2, 7), mixed_streams(4096, 4, 9);
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        far(shapes[i], 300, 9);
    far(shapes[0], 1200, 1), far(shapes[2], 1200, 1), far(shapes[0], 3, 3);
    softplus(false, 1), softplus(false, 40), softplus(true, 1), softplus(true, 40);
}
