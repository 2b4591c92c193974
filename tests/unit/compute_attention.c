// compute_attention.c - op_attention against softmax in double: lengths 1 .. 700, pages in any
// order, several sequences in one batch that share pages or not, grouped heads, head sizes that are
// no multiple of a vector, windows (behind which pages may be gone), sinks, capped scores, scores
// that fall with the distance, caches of F16 and Q8_0, one thread and three (the cache is then
// split).
//
// Tolerance: keys and values are the cache's own numbers on both sides; scores are F32 sums of
// head_dim products (2^-20 of their size, times the score's own size in the exponent), e^x has
// 2^-22: 2e-5 of the largest value covers scores up to 30. A GPU may round queries and weights to
// half floats: 4e-3. Numbers that would lie halfway between two steps of Q8_0 are kept out of the
// data: rounding may go either way there.
#include "compute_check.h"

#include "../../engine/compute/blocks.h"

enum { N_PAGES = 6, CACHE_ROWS = N_PAGES * PAGE_ROWS, TABLE_PAGES = 3 };
enum { LARGEST = 20 }; // of the values (random_float)

// Two sequences with the same first page, one of its own, and one whose first page is gone.
enum { FORKED, OTHER, ALONE, GONE, N_TABLES };
static const int32_t tables[N_TABLES][TABLE_PAGES] = {
    [FORKED] = {4, 0, 3},
    [OTHER] = {4, 5, 1},
    [ALONE] = {2, -1, -1},
    [GONE] = {-1, 2, 5},
};

struct token {
    int32_t table, count;
    int32_t pos; // with alibi: 0: the last that it sees
};

static int64_t row_of(struct token token, int32_t pos)
{
    return tables[token.table][pos / PAGE_ROWS] * PAGE_ROWS + pos % PAGE_ROWS;
}

struct shape {
    int32_t n_head, n_head_kv, head_dim;
    enum dtype cache;
    float softcap;
    int32_t window;
    bool sinks, alibi, around;
};

static float slope_of(const struct shape *s, int32_t head)
{
    return s->alibi ? 0.5f / (float)(1 + head) : 0;
}

static int32_t pos_of(struct token token)
{
    return token.pos ? token.pos : token.count - 1;
}

// ---- the cache ----------------------------------------------------------------------------------

struct cached {
    struct tensor tensor;
    float *x;      // what was written
    double *value; // and what the format makes of it
};

// 32 numbers as Q8_0 has them; the data is changed where rounding is a matter of taste.
static void as_q8_0(double *value, float *x)
{
    double most = 0;
    for (int i = 0; i < 32; i++)
        most = fmax(most, fabs((double)x[i]));
    double step = float_from_f16(f16_from_float((float)most / 127));
    for (int i = 0; i < 32; i++) {
        double q = most > 0 ? x[i] * 127 / most : 0;
        if (fabs(fabs(q - rint(q)) - 0.5) < 1e-3)
            q = x[i] = 0;
        value[i] = rint(q) * step;
    }
}

static struct cached cached_of(struct compute *compute, enum dtype type, int64_t n_cols)
{
    int64_t n = CACHE_ROWS * n_cols;
    struct cached c = {.tensor = cache_of(compute, type, CACHE_ROWS, n_cols),
                       .x = calloc((size_t)n, sizeof(*c.x)),
                       .value = calloc((size_t)n, sizeof(*c.value))};
    random_floats(c.x, n);
    for (int64_t i = 0; i < n && type == DTYPE_Q8_0; i += 32)
        as_q8_0(c.value + i, c.x + i);
    for (int64_t i = 0; i < n && type == DTYPE_F16; i++)
        c.value[i] = float_from_f16(f16_from_float(c.x[i]));
    return c;
}

// Writes both caches, at position 0, where nothing turns.
static void fill(struct compute *compute, const struct cached *k, const struct cached *v,
                 int32_t head_dim)
{
    static int32_t row[CACHE_ROWS];
    for (int32_t i = 0; i < CACHE_ROWS; i++)
        row[i] = i;
    int64_t n_cols = k->tensor.n_cols;
    struct tensor q = tensor_of(compute, DTYPE_F32, CACHE_ROWS, head_dim, NULL),
                  tk = tensor_of(compute, DTYPE_F32, CACHE_ROWS, n_cols, k->x),
                  tv = tensor_of(compute, DTYPE_F32, CACHE_ROWS, n_cols, v->x),
                  pos = tensor_of(compute, DTYPE_I32, 1, CACHE_ROWS, NULL),
                  rows = tensor_of(compute, DTYPE_I32, 1, CACHE_ROWS, row),
                  turns = tensor_of(compute, DTYPE_I32, 1, 2, NULL);
    run_begin(compute);
    op_rope_kv(compute, &(struct rope_kv){&q,
                                          &tk,
                                          &tv,
                                          &pos,
                                          &rows,
                                          &k->tensor,
                                          &v->tensor,
                                          head_dim,
                                          {ROPE_NEOX, 2, &turns, 1}});
    run_end(compute);
    FREE_ALL(compute, &q, &tk, &tv, &pos, &rows, &turns);
}

// ---- the reference ------------------------------------------------------------------------------

// One head of one token: out [head_dim].
static void reference(double *out, const float *q, const struct cached *k, const struct cached *v,
                      struct token token, const struct shape *s, const float *sinks, int32_t head)
{
    int64_t kv_cols = (int64_t)s->n_head_kv * s->head_dim;
    double maximum = sinks ? sinks[head] : -INFINITY, sum = 0,
           *scores = calloc((size_t)token.count, sizeof(*scores));
    int64_t column = head / (s->n_head / s->n_head_kv) * s->head_dim;
    const int32_t end = s->around ? pos_of(token) : token.count;
    int32_t from = s->window > 0 && end > s->window ? end - s->window : 0;
    for (int32_t j = from; j < token.count; j++) {
        for (int32_t i = 0; i < s->head_dim; i++)
            scores[j] += (double)q[head * s->head_dim + i] *
                         k->value[row_of(token, j) * kv_cols + column + i];
        scores[j] /= sqrt(s->head_dim);
        if (s->softcap > 0)
            scores[j] = s->softcap * tanh(scores[j] / s->softcap);
        scores[j] -= (double)slope_of(s, head) * abs(pos_of(token) - j);
        maximum = fmax(maximum, scores[j]);
    }
    if (sinks)
        sum = exp(sinks[head] - maximum);
    for (int32_t i = 0; i < s->head_dim; i++)
        out[i] = 0;
    for (int32_t j = from; j < token.count; j++) {
        double weight = exp(scores[j] - maximum);
        sum += weight;
        for (int32_t i = 0; i < s->head_dim; i++)
            out[i] += weight * v->value[row_of(token, j) * kv_cols + column + i];
    }
    for (int32_t i = 0; i < s->head_dim; i++)
        out[i] /= sum;
    free(scores);
}

static struct cached k, v; // of the shape that is checked

static void check_batch(struct compute *compute, const struct shape *s, const struct token *tokens,
                        int32_t n_tokens, const char *what)
{
    int64_t n_cols = (int64_t)s->n_head * s->head_dim;
    float *q = calloc((size_t)(n_tokens * n_cols), sizeof(*q)),
          *out = calloc((size_t)(n_tokens * n_cols), sizeof(*out)), sinks[16], slopes[16];
    int32_t table[64], count[64], pos[64], wrong = 0;
    double limit = (is_cpu(compute) ? 2e-5 : 4e-3) * LARGEST;
    random_floats(q, n_tokens * n_cols);
    random_floats(sinks, 16);
    for (int32_t t = 0; t < n_tokens; t++)
        table[t] = tokens[t].table, count[t] = tokens[t].count, pos[t] = pos_of(tokens[t]);
    for (int32_t h = 0; h < s->n_head; h++)
        slopes[h] = slope_of(s, h);
    struct tensor tq = tensor_of(compute, DTYPE_F32, n_tokens, n_cols, q),
                  to = tensor_of(compute, DTYPE_F32, n_tokens, n_cols, NULL),
                  pages = tensor_of(compute, DTYPE_I32, N_TABLES, TABLE_PAGES, tables),
                  tt = tensor_of(compute, DTYPE_I32, 1, n_tokens, table),
                  tc = tensor_of(compute, DTYPE_I32, 1, n_tokens, count),
                  tp = tensor_of(compute, DTYPE_I32, 1, n_tokens, pos),
                  ts = tensor_of(compute, DTYPE_F32, 1, s->n_head, sinks),
                  ta = tensor_of(compute, DTYPE_F32, 1, s->n_head, slopes);
    const struct attention attention = {
        s->n_head,
        s->n_head_kv,
        s->head_dim,
        1 / sqrtf((float)s->head_dim),
        s->softcap,
        s->window,
        s->sinks ? &ts : NULL,
        .alibi = s->alibi ? &ta : NULL,
        .pos = s->alibi || s->around ? &tp : NULL,
    };
    run_begin(compute);
    op_attention(compute, &to, &tq, &k.tensor, &v.tensor, &pages, &tt, &tc, &attention);
    run_end(compute);
    tensor_read(compute, out, &to, (size_t)(n_tokens * n_cols) * sizeof(*out));
    for (int32_t t = 0; t < n_tokens; t++)
        for (int32_t head = 0; head < s->n_head; head++) {
            double want[256];
            const float *got = out + t * n_cols + head * s->head_dim;
            reference(want, q + t * n_cols, &k, &v, tokens[t], s, s->sinks ? sinks : NULL, head);
            for (int32_t d = 0; d < s->head_dim; d++)
                wrong += !(fabs(got[d] - want[d]) <= limit);
        }
    if (!CHECK(wrong == 0))
        fprintf(stderr,
                "    %s, %s: %d heads of %d, cache %s, cap %g, window %d, sinks %d, %d tokens, the "
                "first sees %d rows: %d wrong\n",
                compute_info(compute)->device, what, s->n_head, s->head_dim, dtype_name(s->cache),
                (double)s->softcap, s->window, s->sinks, n_tokens, tokens[0].count, wrong);
    FREE_ALL(compute, &tq, &to, &pages, &tt, &tc, &tp, &ts, &ta);
    free(q), free(out);
}

// A query that is not finite spoils its own head, visibly, and no other.
static void check_not_finite(struct compute *compute, const struct shape *s, int32_t count)
{
    int32_t table[2] = {FORKED, OTHER}, counts[2] = {count, count}, wrong = 0;
    int64_t n_cols = (int64_t)s->n_head * s->head_dim;
    float *q = calloc((size_t)(2 * n_cols), sizeof(*q));
    q[s->head_dim] = NAN; // token 0, head 1
    struct tensor tq = tensor_of(compute, DTYPE_F32, 2, n_cols, q),
                  to = tensor_of(compute, DTYPE_F32, 2, n_cols, NULL),
                  pages = tensor_of(compute, DTYPE_I32, N_TABLES, TABLE_PAGES, tables),
                  tt = tensor_of(compute, DTYPE_I32, 1, 2, table),
                  tc = tensor_of(compute, DTYPE_I32, 1, 2, counts);
    const struct attention attention = {s->n_head, s->n_head_kv, s->head_dim, 0.1f};
    run_begin(compute);
    op_attention(compute, &to, &tq, &k.tensor, &v.tensor, &pages, &tt, &tc, &attention);
    run_end(compute);
    tensor_read(compute, q, &to, (size_t)(2 * n_cols) * sizeof(*q));
    for (int64_t i = 0; i < 2 * n_cols; i++)
        wrong += isfinite(q[i]) == (i >= s->head_dim && i < 2 * s->head_dim);
    CHECK(wrong == 0);
    FREE_ALL(compute, &tq, &to, &pages, &tt, &tc);
    free(q);
}

static void check_shape(struct compute *compute, const struct shape *s)
{
    static const int32_t lengths[] = {1,  2,   3,   7,   8,   31,  32,  33,  63, 64,
                                      65, 127, 128, 129, 255, 256, 257, 299, 300};
    struct token tokens[64];
    k = cached_of(compute, s->cache, (int64_t)s->n_head_kv * s->head_dim);
    v = cached_of(compute, s->cache, (int64_t)s->n_head_kv * s->head_dim);
    fill(compute, &k, &v, s->head_dim);
    for (size_t j = 0; j < COUNT_OF(lengths); j++) { // one token decoded
        tokens[0] = (struct token){j % 2 ? FORKED : OTHER, lengths[j], 0};
        check_batch(compute, s, tokens, 1, "decode");
    }
    for (int32_t t = 0; t < 37; t++) // a prompt from its start, causal
        tokens[t] = (struct token){FORKED, t + 1, 0};
    check_batch(compute, s, tokens, 37, "prompt");
    for (int32_t t = 0; t < 11; t++) // a later piece of a prompt, then four that decode
        tokens[t] = (struct token){FORKED, 250 + t, 0};
    tokens[11] = (struct token){ALONE, 1, 0};
    tokens[12] = (struct token){OTHER, 290, 0};
    tokens[13] = (struct token){ALONE, 60, 0};
    tokens[14] = (struct token){FORKED, 600, 0};
    check_batch(compute, s, tokens, 15, "mixed");
    tokens[0] = (struct token){FORKED, 700, 0};
    check_batch(compute, s, tokens, 1, "long");
    for (int32_t t = 0; t < 40; t++) // all see all
        tokens[t] = (struct token){OTHER, s->around && t + 21 < 40 ? t + 21 : 40, t};
    check_batch(compute, s, tokens, 40, "both ways");
    for (int32_t t = 0; t < 9; t++) // nobody sees the page that is not there
        tokens[t] = (struct token){GONE, PAGE_ROWS + s->window + s->around + t * 20, 0};
    if (s->window > 0)
        check_batch(compute, s, tokens, 9, "behind the window");
    if (is_cpu(compute))
        check_not_finite(compute, s, 1), check_not_finite(compute, s, 300);
    FREE_ALL(compute, &k.tensor, &v.tensor);
    free(k.x), free(k.value), free(v.x), free(v.value);
}

static void check_all(struct compute *compute)
{
    static const struct shape shapes[] = {
        {4, 2, 64, DTYPE_F16, 0, 0, false},
        {3, 1, 40, DTYPE_F16, 0, 0, false},
        {2, 2, 7, DTYPE_F16, 0, 0, false},
        {8, 1, 128, DTYPE_F16, 0, 0, false},
        {4, 2, 64, DTYPE_F16, 0, 40, false},
        {4, 2, 64, DTYPE_F16, 5, 0, false},
        {4, 2, 64, DTYPE_F16, 0, 0, true},
        {4, 2, 64, DTYPE_Q8_0, 0, 0, false},
        {6, 2, 80, DTYPE_Q8_0, 8, 100, true},
        {2, 1, 256, DTYPE_Q8_0, 0, 1, true},
        {4, 1, 32, DTYPE_F16, 30, 129, true},
        {12, 12, 64, DTYPE_F16, 0, 0, false, true},
        {4, 2, 64, DTYPE_Q8_0, 5, 50, false, true},
        {4, 2, 64, DTYPE_F16, 0, 20, false, false, true},
    };
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        if (is_cpu(compute) || shapes[i].head_dim % 8 == 0) // what any device must have
            check_shape(compute, &shapes[i]);
}

int main(void)
{
    on_devices(1, check_all);
    on_devices(3, check_all);
    return check_done("compute_attention");
}
