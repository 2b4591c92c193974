// ops_streams.c - several residual streams in a row, and which blocks of positions attention sees.
#include "ops.h"

#include <math.h>
#include <string.h>

enum { N_STREAM = 4, PAGES = 5, ALL_ROWS = PAGES * PAGE_ROWS, TOKENS_MOST = 300 };
static const int32_t table_pages[PAGES] = {3, 0, 4, 1, 2};

static void streams(int64_t n, int64_t n_tokens)
{
    if (!case_open("streams, 4 of %lld, %lld rows", (long long)n, (long long)n_tokens))
        return;
    const int64_t all = N_STREAM * n;
    struct both *x = both_random(n_tokens, all, 1), *z = both_random(n_tokens, all, 2),
                *y = both_random(n_tokens, n, 1), *weight = both_random(n_tokens, N_STREAM, 2),
                *norm = both_random(1, all, 1), *mixed = both_random(n_tokens, n, 1),
                *added = both_random(n_tokens, all, 1), *gated = both_random(n_tokens, all, 1),
                *normed = both_random(n_tokens, all, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_streams_mix(ops_on[d], &mixed->on[d], &x->on[d], &z->on[d], N_STREAM);
        op_streams_add(ops_on[d], &added->on[d], &x->on[d], &y->on[d], &weight->on[d]);
        op_streams_gate(ops_on[d], &gated->on[d], &y->on[d], &x->on[d], &z->on[d]);
        op_group_norm(ops_on[d], &normed->on[d], &x->on[d], &norm->on[d], N_STREAM, 1e-6f);
        submit(d);
    }
    compare(mixed, LIMIT_SUMS);
    compare(added, LIMIT_SUMS);
    compare(gated, LIMIT_SUMS);
    compare(normed, LIMIT_SUMS);
    case_close();
}

struct index {
    int64_t dim;
    int32_t n_head, n_rot, block, n_most;
    enum rope_pairs pairs;
    bool weighted; // heads, by weights of both signs
};

// Tokens 0 .. total - 1 of one sequence leave keys; the last n of them choose.
static void index_of(struct index x, int32_t total, int32_t n)
{
    int32_t pos[ALL_ROWS], row[ALL_ROWS], count[TOKENS_MOST], turns[256];
    const int64_t words = ALL_ROWS / x.block / 32;
    struct rope rope = {.pairs = x.pairs, .n_rot = x.n_rot};
    if (!case_open("index of %d x %lld%s, %d in blocks of %d, %d of %d", x.n_head, (long long)x.dim,
                   x.weighted ? " weighted" : "", x.n_most, x.block, n, total))
        return;
    for (int32_t t = 0; t < total; t++)
        pos[t] = t, row[t] = table_pages[t / PAGE_ROWS] * PAGE_ROWS + t % PAGE_ROWS;
    for (int32_t t = 0; t < n; t++)
        count[t] = total - n + t + 1;
    rope_turns(turns, &rope.magnitude, x.n_rot, &(struct rope_scaling){1e4f, 1});
    struct both *k = both_random(total, x.dim, 1), *q = both_random(n, x.n_head * x.dim, 1),
                *norm = both_random(1, x.dim, 1), *weight = both_random(n, x.n_head, 1),
                *tp = both_ints(pos, total), *tr = both_ints(row, total), *tc = both_ints(count, n),
                *table = both_ints(NULL, n), *tt = both_ints(turns, x.n_rot),
                *pages = both_ints(table_pages, PAGES),
                *raw = both_cache(DTYPE_F16, ALL_ROWS, x.dim),
                *keys = both_cache(DTYPE_F16, ALL_ROWS / x.block, x.dim),
                *chosen = both_tensor(DTYPE_I32, n, words, NULL);
    for (int d = 0; d < N_DEVICES; d++) {
        rope.turns = &tt->on[d];
        record(d);
        op_index_keys(ops_on[d], &(struct index_keys){.x = &k->on[d],
                                                      .raw = &raw->on[d],
                                                      .keys = &keys->on[d],
                                                      .norm = &norm->on[d],
                                                      .pos = &tp->on[d],
                                                      .row = &tr->on[d],
                                                      .rope = rope,
                                                      .block = x.block,
                                                      .eps = 1e-6f});
        op_index_choose(ops_on[d],
                        &(struct index_choose){.chosen = &chosen->on[d],
                                               .q = &q->on[d],
                                               .keys = &keys->on[d],
                                               .pages = &pages->on[d],
                                               .table = &table->on[d],
                                               .count = &tc->on[d],
                                               .weight = x.weighted ? &weight->on[d] : NULL,
                                               .n_head = x.n_head,
                                               .block = x.block,
                                               .n_most = x.n_most});
        submit(d);
    }
    compare_ints(chosen);
    case_close();
}

// n tokens from position `from` on see random blocks, and their own.
static void attend(int32_t n_head, int32_t n_head_kv, int32_t head_dim, enum dtype cache,
                   int32_t block, int32_t from, int32_t n)
{
    static int32_t bits[TOKENS_MOST * ALL_ROWS / 2 / 32];
    int32_t row[ALL_ROWS], count[TOKENS_MOST];
    const int64_t words = ALL_ROWS / block / 32, kv = n_head_kv * head_dim, total = from + n;
    if (!case_open("attention to blocks of %d, %s %d/%d x %d, %d at %d", block, dtype_name(cache),
                   n_head, n_head_kv, head_dim, n, from))
        return;
    for (int32_t t = 0; t < total; t++)
        row[t] = table_pages[t / PAGE_ROWS] * PAGE_ROWS + t % PAGE_ROWS;
    for (int32_t t = 0; t < n; t++) {
        const int32_t b = (from + t) / block;
        count[t] = from + t + 1;
        for (int64_t w = 0; w < words; w++)
            bits[t * words + w] = w % 3 == 1 ? 0 : (int32_t)(random_bits() & random_bits());
        bits[t * words + b / 32] |= (int32_t)(1u << b % 32);
    }
    struct both *k = both_random(total, kv, 1), *v = both_random(total, kv, 1),
                *q = both_random(n, (int64_t)n_head * head_dim, 2),
                *none = both_random(total, head_dim, 1), *zero = both_ints(NULL, total),
                *tr = both_ints(row, total), *tc = both_ints(count, n),
                *pages = both_ints(table_pages, PAGES),
                *chosen = both_tensor(DTYPE_I32, n, words, bits),
                *ck = both_cache(cache, ALL_ROWS, kv), *cv = both_cache(cache, ALL_ROWS, kv),
                *out = both_random(n, (int64_t)n_head * head_dim, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_rope_kv(ops_on[d], &(struct rope_kv){.q = &none->on[d],
                                                .k = &k->on[d],
                                                .v = &v->on[d],
                                                .pos = &zero->on[d],
                                                .row = &tr->on[d],
                                                .cache_k = &ck->on[d],
                                                .cache_v = &cv->on[d],
                                                .head_dim = head_dim});
        op_attention(ops_on[d], &out->on[d], &q->on[d], &ck->on[d], &cv->on[d], &pages->on[d],
                     &zero->on[d], &tc->on[d],
                     &(struct attention){.n_head = n_head,
                                         .n_head_kv = n_head_kv,
                                         .head_dim = head_dim,
                                         .scale = 1 / sqrtf((float)head_dim),
                                         .chosen = &chosen->on[d],
                                         .block = block});
        submit(d);
    }
    compare(out, cache == DTYPE_F16 ? LIMIT_SOFTMAX_HALF : LIMIT_SOFTMAX_Q8_0);
    case_close();
}

void stream_cases(void)
{
    static const struct index indices[] = {
        {128, 4, 64, 4, 32, ROPE_NEOX},        {32, 4, 8, 4, 2, ROPE_NEOX},
        {40, 1, 40, 2, 7, ROPE_NORM},          {256, 8, 64, 8, 16, ROPE_NEOX},
        {128, 64, 64, 4, 32, ROPE_NEOX, true}, {64, 61, 32, 4, 9, ROPE_NORM, true},
    };
    static const int64_t tokens[] = {1, 7, 40};
    for (size_t i = 0; i < COUNT_OF(tokens); i++)
        streams(64, tokens[i]), streams(100, tokens[i]), streams(2560, tokens[i]);
    for (size_t i = 0; i < COUNT_OF(indices); i++) {
        index_of(indices[i], 3, 3), index_of(indices[i], 1200, 1), index_of(indices[i], 1023, 5);
        index_of(indices[i], 300, 300);
    }
    for (int32_t block = 2; block <= 8; block *= 2) {
        attend(8, 2, 64, DTYPE_F16, block, 0, 1), attend(8, 2, 64, DTYPE_F16, block, 1000, 1);
        attend(12, 1, 256, DTYPE_F16, block, 700, 3), attend(4, 2, 64, DTYPE_Q8_0, block, 511, 8);
        attend(8, 2, 128, DTYPE_F16, block, 0, 70), attend(12, 1, 256, DTYPE_F16, block, 200, 40);
    }
}
