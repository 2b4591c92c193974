// ops_attention.c - op_attention: heads that share keys in every ratio, head sizes, lengths around
// the edges of tiles, of pages and of the parts a long cache is split into, prompts and decoding,
// pages in any order, in several tables, and given back behind a window.
//
// The cache is filled by op_rope_kv at position 0, which turns nothing.
#include "ops.h"

#include <math.h>
#include <stdio.h>

enum { N_PAGES = 9, CACHE_ROWS = N_PAGES * PAGE_ROWS, TABLE_PAGES = 5 };
// Two sequences with the same beginning, one of its own, and one whose first pages are gone.
enum { FORKED, OTHER, ALONE, GONE, N_TABLES };
static const int32_t tables[N_TABLES][TABLE_PAGES] = {
    [FORKED] = {3, 0, 6, 1, 5},
    [OTHER] = {3, 0, 2, 7, 8},
    [ALONE] = {4, -1, -1, -1, -1},
    [GONE] = {-1, -1, 2, 4, -1},
};

struct shape {
    int32_t n_head, n_head_kv, head_dim;
    enum dtype cache;
    float softcap;
    int32_t window;
    bool sinks, alibi, around; // around: a window about the token's own position
};

struct token {
    int32_t table, count, pos; // pos: for alibi
};

static void fill(const struct both *ck, const struct both *cv, int32_t head_dim, int64_t n_cols)
{
    enum { AT_ONCE = 2 * PAGE_ROWS };
    static int32_t zero[AT_ONCE], row[AT_ONCE];
    int32_t turns[2] = {0, 0};
    struct both *q = both_random(AT_ONCE, head_dim, 1), *pos = both_ints(zero, AT_ONCE),
                *tt = both_ints(turns, 2);
    for (int32_t at = 0; at < CACHE_ROWS; at += AT_ONCE) {
        for (int32_t t = 0; t < AT_ONCE; t++)
            row[t] = (at + t) % CACHE_ROWS; // the last time over the first ones again
        struct both *k = both_random(AT_ONCE, n_cols, 1), *v = both_random(AT_ONCE, n_cols, 1),
                    *tr = both_ints(row, AT_ONCE);
        for (int d = 0; d < N_DEVICES; d++) {
            const struct rope rope = {ROPE_NEOX, 2, &tt->on[d], 1};
            record(d);
            op_rope_kv(ops_on[d],
                       &(struct rope_kv){&q->on[d], &k->on[d], &v->on[d], &pos->on[d], &tr->on[d],
                                         &ck->on[d], &cv->on[d], head_dim, rope});
            submit(d);
        }
    }
}

static void attend(struct shape s, const struct token *tokens, int32_t n_tokens, const char *what)
{
    char extra[64] = "";
    int at = 0;
    if (s.softcap > 0)
        at += snprintf(extra, sizeof(extra), ", softcap");
    if (s.window > 0)
        at += snprintf(extra + at, sizeof(extra) - (size_t)at, ", window %d", s.window);
    if (s.sinks || s.alibi || s.around)
        snprintf(extra + at, sizeof(extra) - (size_t)at,
                 s.sinks   ? ", sinks"
                 : s.alibi ? ", alibi"
                           : " both ways");
    if (!case_open("attention %s %d/%d x %d%s, %s", dtype_name(s.cache), s.n_head, s.n_head_kv,
                   s.head_dim, extra, what))
        return;
    static int32_t table[600], count[600], pos[600];
    float slopes[16];
    for (int32_t t = 0; t < n_tokens; t++)
        table[t] = tokens[t].table, count[t] = tokens[t].count, pos[t] = tokens[t].pos;
    for (int32_t h = 0; h < s.n_head; h++) // as they are made for models of so many heads
        slopes[h] = exp2f(-8.0f * (float)(h + 1) / (float)s.n_head);
    int64_t n_cols = (int64_t)s.n_head * s.head_dim, kv_cols = (int64_t)s.n_head_kv * s.head_dim;
    struct both *ck = both_cache(s.cache, CACHE_ROWS, kv_cols),
                *cv = both_cache(s.cache, CACHE_ROWS, kv_cols),
                *q = both_random(n_tokens, n_cols, 2), *out = both_random(n_tokens, n_cols, 1),
                *pages = both_tensor(DTYPE_I32, N_TABLES, TABLE_PAGES, tables),
                *tt = both_ints(table, n_tokens), *tc = both_ints(count, n_tokens),
                *tp = both_ints(pos, n_tokens),
                *sinks = s.sinks ? both_random(1, s.n_head, 3) : NULL,
                *alibi = s.alibi ? both_tensor(DTYPE_F32, 1, s.n_head, slopes) : NULL;
    fill(ck, cv, s.head_dim, kv_cols);
    for (int d = 0; d < N_DEVICES; d++) {
        const struct attention attention = {s.n_head,
                                            s.n_head_kv,
                                            s.head_dim,
                                            1 / sqrtf((float)s.head_dim),
                                            s.softcap,
                                            s.window,
                                            sinks ? &sinks->on[d] : NULL,
                                            .alibi = alibi ? &alibi->on[d] : NULL,
                                            .pos = alibi || s.around ? &tp->on[d] : NULL};
        record(d);
        op_attention(ops_on[d], &out->on[d], &q->on[d], &ck->on[d], &cv->on[d], &pages->on[d],
                     &tt->on[d], &tc->on[d], &attention);
        submit(d);
    }
    compare(out, s.cache != DTYPE_F16 ? LIMIT_SOFTMAX_Q8_0
                 : n_tokens > 8       ? LIMIT_SOFTMAX_HALF
                                      : LIMIT_SOFTMAX);
    case_close();
}

static void decode(struct shape s, int32_t count)
{
    char what[48];
    struct token token = {count % 2 ? FORKED : OTHER, count, count - 1};
    snprintf(what, sizeof(what), "1 token sees %d", count);
    attend(s, &token, 1, what);
}

// n tokens of one sequence, the first of them at position `pos`.
static void prompt(struct shape s, int32_t table, int32_t pos, int32_t n)
{
    static struct token tokens[600];
    char what[48];
    for (int32_t t = 0; t < n; t++)
        tokens[t] = (struct token){table, pos + t + 1, pos + t};
    snprintf(what, sizeof(what), "prompt of %d at %d", n, pos);
    attend(s, tokens, n, what);
}

// n tokens that all see each other.
static void all_see_all(struct shape s, int32_t n)
{
    static struct token tokens[600];
    char what[48];
    for (int32_t t = 0; t < n; t++)
        tokens[t] =
            (struct token){OTHER, s.around && t + s.window + 1 < n ? t + s.window + 1 : n, t};
    snprintf(what, sizeof(what), "%d tokens see each other", n);
    attend(s, tokens, n, what);
}

// Pages that no window shows any more are not read.
static void behind_window(struct shape s)
{
    const struct token few[] = {{GONE, 700, 699}, {FORKED, 700, 699}, {GONE, 1024, 1023}};
    attend(s, few, 1, "1 token whose first pages are gone");
    attend(s, few, 3, "3 tokens, of which 2 lack pages");
    prompt(s, GONE, 680, 20);
    prompt(s, GONE, 755, 40);
}

static void together(struct shape s)
{
    static const struct token few[] = {
        {ALONE, 1, 0}, {FORKED, 290, 289}, {OTHER, 560, 559}, {ALONE, 128, 127}, {OTHER, 257, 256}};
    struct token tokens[30];
    attend(s, few, 5, "5 sequences decode");
    for (int32_t t = 0; t < 14; t++)
        tokens[t] = (struct token){FORKED, 250 + t, 249 + t};
    for (int32_t t = 14; t < 19; t++)
        tokens[t] = few[t - 14];
    attend(s, tokens, 19, "a prompt's piece and 5 sequences");
    for (int32_t t = 14; t < 28; t++)
        tokens[t] = (struct token){OTHER, 500 + t, 499 + t};
    attend(s, tokens, 28, "pieces of two prompts that share pages");
}

void attention_cases(void)
{
    // Every ratio of heads and every size once: see cached() in ops_rows.c.
    static const struct shape shapes[] = {
        {4, 4, 64, DTYPE_F16, 0, 0, false},   {4, 2, 32, DTYPE_F16, 0, 0, false},
        {8, 2, 128, DTYPE_F16, 0, 0, false},  {14, 2, 64, DTYPE_F16, 0, 0, false},
        {8, 1, 80, DTYPE_F16, 0, 0, false},   {3, 1, 96, DTYPE_F16, 0, 0, false},
        {2, 1, 256, DTYPE_F16, 0, 0, false},  {8, 2, 128, DTYPE_Q8_0, 0, 0, false},
        {14, 2, 64, DTYPE_Q8_0, 0, 0, false}, {8, 2, 80, DTYPE_Q8_0, 0, 0, false},
        {2, 1, 144, DTYPE_F16, 0, 0, false}, // the narrowest that two subgroups share
    };
    // Windows, capped scores and sinks, alone and together.
    static const struct shape special[] = {
        {4, 4, 64, DTYPE_F16, 0, 1, false},
        {4, 4, 64, DTYPE_F16, 0, 33, false},
        {8, 2, 128, DTYPE_F16, 0, 128, false},
        {4, 4, 64, DTYPE_F16, 3, 0, false},
        {8, 2, 128, DTYPE_F16, 0, 0, true},
        {14, 2, 64, DTYPE_F16, 0, 128, true},
        {2, 1, 256, DTYPE_F16, 30, 100, false},
        {3, 1, 96, DTYPE_Q8_0, 0, 65, true},
        {8, 2, 128, DTYPE_Q8_0, 5, 0, false},
        {12, 12, 64, DTYPE_F16, 0, 0, false, true}, // jina-bert-v2
        {8, 2, 128, DTYPE_Q8_0, 8, 100, false, true},
    };
    static const struct shape both_ways[] = {
        {3, 1, 256, DTYPE_F16, 0, 256, false, false, true}, // gemma-embedding
        {4, 4, 64, DTYPE_F16, 0, 64, false, false, true},
        {4, 2, 64, DTYPE_Q8_0, 5, 31, false, false, true},
    };
    static const int32_t lengths[] = {1,   2,   31,  32,  33,  63,  64,  65,  127,  128,  129,
                                      255, 256, 257, 300, 511, 512, 513, 700, 1023, 1025, 1100};
    static const int32_t prompts[][2] = {{0, 9},   {0, 16},   {0, 33},  {0, 64},
                                         {0, 65},  {31, 17},  {0, 128}, {100, 30},
                                         {0, 129}, {500, 40}, {0, 257}, {127, 66}};
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        for (size_t j = i % 3; j < COUNT_OF(lengths); j += i == 0 || i == 2 ? 1 : 3)
            decode(shapes[i], lengths[j]);
        for (size_t j = i % 3; j < COUNT_OF(prompts); j += i == 0 || i == 2 ? 1 : 3)
            prompt(shapes[i], FORKED, prompts[j][0], prompts[j][1]);
        together(shapes[i]);
    }
    for (size_t i = 0; i < COUNT_OF(special); i++) {
        for (size_t j = i % 4; j < COUNT_OF(lengths); j += 4)
            decode(special[i], lengths[j]);
        for (size_t j = i % 4; j < COUNT_OF(prompts); j += 4)
            prompt(special[i], FORKED, prompts[j][0], prompts[j][1]);
        together(special[i]);
        if (special[i].window > 0)
            behind_window(special[i]);
        if (special[i].alibi)
            all_see_all(special[i], 7), all_see_all(special[i], 300);
    }
    for (size_t i = 0; i < COUNT_OF(both_ways); i++)
        all_see_all(both_ways[i], 7), all_see_all(both_ways[i], 300),
            all_see_all(both_ways[i], 590);
}
