// compute_far.c - streams that are mixed by balanced matrices, rows that stand for many positions,
// attention to them, how they are chosen by weighted heads, and routing by square roots of
// softplus, against their definitions (compute.h) in double.
#include "compute_check.h"

#include <float.h>

enum { ROWS = 9, N_PAGES = 3, ALL_ROWS = N_PAGES * PAGE_ROWS };
static const int32_t pages[N_PAGES] = {2, 0, 1};

static double sigmoid_of(double x)
{
    return 1 / (1 + exp(-x));
}

// Within 3 of 0, and so round that half floats hold them: caches add no error.
static float *floats(int64_t n)
{
    float *x = mem_array((size_t)n, sizeof(*x));
    random_floats(x, n);
    for (int64_t i = 0; i < n; i++)
        x[i] = rintf(fmaxf(-3, fminf(3, x[i])) * 64) / 64;
    return x;
}

static void say(struct compute *compute, const char *what, int n, int wrong)
{
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s: %s, %d: %d wrong\n", compute_info(compute)->device, what, n,
                wrong);
}

static bool near(double got, double want, double limit)
{
    return fabs(got - want) <= limit;
}

static int32_t row_of(int32_t pos, int32_t each)
{
    return (pages[pos / PAGE_ROWS] * PAGE_ROWS + pos % PAGE_ROWS) / each;
}

static struct tensor ints_of(struct compute *compute, const int32_t *data, int64_t n)
{
    return tensor_of(compute, DTYPE_I32, 1, n, data);
}

// ---- streams ------------------------------------------------------------------------------------

// m [n][n] as op_streams_read leaves it, of z.
static void balance(double *m, const double *z, int n, int n_round, double eps)
{
    for (int s = 0; s < n; s++) {
        double sum = 0;
        for (int d = 0; d < n; d++)
            sum += exp(z[s * n + d]);
        for (int d = 0; d < n; d++)
            m[s * n + d] = exp(z[s * n + d]) / sum + eps;
    }
    for (int k = 0; k < n_round; k++) {
        for (int s = 0; s < n && k > 0; s++) {
            double sum = eps;
            for (int d = 0; d < n; d++)
                sum += m[s * n + d];
            for (int d = 0; d < n; d++)
                m[s * n + d] /= sum;
        }
        for (int d = 0; d < n; d++) {
            double sum = eps;
            for (int s = 0; s < n; s++)
                sum += m[s * n + d];
            for (int s = 0; s < n; s++)
                m[s * n + d] /= sum;
        }
    }
}

struct mixed { // what a row should be
    double read[STREAMS_READ_MOST], post[STREAMS_READ_MOST],
        m[STREAMS_READ_MOST * STREAMS_READ_MOST];
};

static struct mixed mixed_of(const float *mix, const float *scale, const float *base, int n,
                             int n_round, double eps)
{
    struct mixed out;
    double z[STREAMS_READ_MOST * (2 + STREAMS_READ_MOST)];
    for (int i = 0; i < n * (2 + n); i++)
        z[i] = (double)mix[i] * (double)scale[i < n ? 0 : i < 2 * n ? 1 : 2] + (double)base[i];
    for (int s = 0; s < n; s++) {
        out.read[s] = sigmoid_of(z[s]) + eps;
        out.post[s] = 2 * sigmoid_of(z[n + s]);
    }
    balance(out.m, z + 2 * n, n, n_round, eps);
    return out;
}

// Of one row: what was read, and the streams after what was added to them.
static int wrong_streams(const struct mixed *want, const float *was, const float *y,
                         const float *read, const float *now, int n, int width)
{
    int wrong = 0;
    for (int i = 0; i < width; i++) {
        double sum = 0;
        for (int s = 0; s < n; s++)
            sum += want->read[s] * (double)was[s * width + i];
        wrong += !near(read[i], sum, 2e-5);
        for (int d = 0; d < n; d++) {
            double next = want->post[d] * (double)y[i];
            for (int s = 0; s < n; s++)
                next += want->m[s * n + d] * (double)was[s * width + i];
            wrong += !near(now[d * width + i], next, 4e-5);
        }
    }
    return wrong;
}

static void check_streams(struct compute *compute, int n, int width, int n_round)
{
    const int all = n * (2 + n), wide = n * width;
    const float eps = 1e-3f;
    float *x = floats(ROWS * wide), *y = floats(ROWS * width), *mix = floats(ROWS * all),
          *base = floats(all), scale[3] = {1.5f, -0.7f, 2.5f}, *read = floats(ROWS * width),
          *now = floats(ROWS * wide), *last = floats(ROWS * width);
    int wrong = 0, wrong_last = 0;
    struct tensor tx = tensor_of(compute, DTYPE_F32, ROWS, wide, x),
                  ty = tensor_of(compute, DTYPE_F32, ROWS, width, y),
                  tmix = tensor_of(compute, DTYPE_F32, ROWS, all, mix),
                  tbase = tensor_of(compute, DTYPE_F32, 1, all, base),
                  tscale = tensor_of(compute, DTYPE_F32, 1, 3, scale),
                  tw = tensor_of(compute, DTYPE_F32, ROWS, n + n * n, NULL),
                  tread = tensor_of(compute, DTYPE_F32, ROWS, width, NULL),
                  tlast = tensor_of(compute, DTYPE_F32, ROWS, width, NULL);
    const struct tensor few = tensor_columns(&tmix, 0, n);
    struct streams_read args = {.out = &tread,
                                .x = &tx,
                                .mix = &tmix,
                                .scale = &tscale,
                                .base = &tbase,
                                .weight = &tw,
                                .n_stream = n,
                                .n_round = n_round,
                                .eps = eps};
    run_begin(compute);
    op_streams_read(compute, &args);
    args.out = &tlast, args.mix = &few, args.weight = NULL;
    op_streams_read(compute, &args);
    op_streams_blend(compute, &tx, &ty, &tw, n);
    run_end(compute);
    tensor_read(compute, read, &tread, (size_t)(ROWS * width) * sizeof(float));
    tensor_read(compute, last, &tlast, (size_t)(ROWS * width) * sizeof(float));
    tensor_read(compute, now, &tx, (size_t)(ROWS * wide) * sizeof(float));
    for (int t = 0; t < ROWS; t++) {
        const struct mixed want = mixed_of(mix + t * all, scale, base, n, n_round, (double)eps);
        wrong += wrong_streams(&want, x + t * wide, y + t * width, read + t * width, now + t * wide,
                               n, width);
    }
    for (int i = 0; i < ROWS * width; i++)
        wrong_last += !near(last[i], read[i], 1e-6);
    say(compute, "balanced streams", n, wrong);
    say(compute, "the last reading of streams", n, wrong_last);
    FREE_ALL(compute, &tx, &ty, &tmix, &tbase, &tscale, &tw, &tread, &tlast);
    free(x), free(y), free(mix), free(base), free(read), free(now), free(last);
}

// ---- rows that stand for many positions ---------------------------------------------------------

struct blocks {
    int ratio, dim, wide, total;
    bool overlap;
    float *x, *score, *place, *out; // [total][wide] twice, [ratio][wide], [total][dim]
};

static double block_column(const struct blocks *b, int pos, int c)
{
    const int n = b->overlap ? 2 * b->ratio : b->ratio;
    double sum = 0, all = 0;
    for (int j = 0; j < n; j++) {
        const int at = pos + 1 - n + j, col = b->overlap && j >= b->ratio ? b->dim + c : c;
        if (at < 0)
            continue;
        const double e = exp((double)b->score[at * b->wide + col] +
                             (double)b->place[at % b->ratio * b->wide + col]);
        sum += e;
        all += e * (double)b->x[at * b->wide + col];
    }
    return all / sum;
}

// Tokens first .. end - 1 in one pass.
static void run_blocks(struct compute *compute, struct blocks *b, struct tensor *raw, int first,
                       int end, const struct tensor *place, const struct tensor *tp)
{
    const int n = end - first;
    int32_t pos[ALL_ROWS], row[ALL_ROWS];
    for (int t = 0; t < n; t++)
        pos[t] = first + t, row[t] = row_of(first + t, 1);
    struct tensor x = tensor_of(compute, DTYPE_F32, n, b->wide, b->x + first * b->wide),
                  score = tensor_of(compute, DTYPE_F32, n, b->wide, b->score + first * b->wide),
                  out = tensor_of(compute, DTYPE_F32, n, b->dim, NULL),
                  tpos = ints_of(compute, pos, n), trow = ints_of(compute, row, n),
                  table = ints_of(compute, NULL, n);
    run_begin(compute);
    op_compress(compute, &(struct compress){.out = &out,
                                            .x = &x,
                                            .score = &score,
                                            .raw_x = &raw[0],
                                            .raw_score = &raw[1],
                                            .place = place,
                                            .pos = &tpos,
                                            .row = &trow,
                                            .pages = tp,
                                            .table = &table,
                                            .ratio = b->ratio,
                                            .overlap = b->overlap});
    run_end(compute);
    tensor_read(compute, b->out + first * b->dim, &out, (size_t)(n * b->dim) * sizeof(float));
    FREE_ALL(compute, &x, &score, &out, &tpos, &trow, &table);
}

static void check_blocks(struct compute *compute, int ratio, int dim, bool overlap, int cut)
{
    struct blocks b = {ratio, dim, overlap ? 2 * dim : dim, 600, overlap};
    int wrong = 0, n = 0;
    b.x = floats(b.total * b.wide), b.score = floats(b.total * b.wide);
    b.place = floats(b.ratio * b.wide), b.out = floats(b.total * b.dim);
    struct tensor raw[2] = {cache_of(compute, DTYPE_F16, ALL_ROWS, b.wide),
                            cache_of(compute, DTYPE_F16, ALL_ROWS, b.wide)},
                  place = tensor_of(compute, DTYPE_F32, ratio, b.wide, b.place),
                  tp = tensor_of(compute, DTYPE_I32, 1, N_PAGES, pages);
    run_blocks(compute, &b, raw, 0, cut, &place, &tp);
    run_blocks(compute, &b, raw, cut, b.total, &place, &tp);
    for (int pos = ratio - 1; pos < b.total; pos += ratio, n++)
        for (int c = 0; c < dim; c++)
            wrong += !near(b.out[pos * dim + c], block_column(&b, pos, c), 2e-5);
    CHECK(n == b.total / ratio);
    say(compute, "rows of blocks", ratio, wrong);
    FREE_ALL(compute, &raw[0], &raw[1], &place, &tp);
    free(b.x), free(b.score), free(b.place), free(b.out);
}

// ---- attention ----------------------------------------------------------------------------------

struct far {
    int n_head, dim, window, ratio, count, n; // n tokens, of which the last sees count
    enum dtype type;
    bool chosen;
    float *near, *far, *q, *sinks, *out; // [count][dim], [count / ratio][dim], [n][n_head * dim]
    uint32_t *bits;                      // [n][words]
    int words;
};

static bool sees(const struct far *f, int t, int b)
{
    return !f->chosen || (f->bits[t * f->words + b / 32] >> b % 32 & 1);
}

static int wrong_head(const struct far *f, int t, int h)
{
    const int count = f->count - f->n + 1 + t, first = count > f->window ? count - f->window : 0;
    const float *q = f->q + (t * f->n_head + h) * f->dim;
    double sum = exp((double)f->sinks[h]), all[256] = {0};
    int wrong = 0;
    for (int i = first; i < count + count / f->ratio; i++) {
        const int b = i - count;
        const float *row = b < 0 ? f->near + i * f->dim : f->far + b * f->dim;
        double dot = 0;
        if (b >= 0 && !sees(f, t, b))
            continue;
        for (int c = 0; c < f->dim; c++)
            dot += (double)q[c] * (double)row[c];
        dot = exp(dot * 0.3);
        sum += dot;
        for (int c = 0; c < f->dim; c++)
            all[c] += dot * (double)row[c];
    }
    for (int c = 0; c < f->dim; c++)
        wrong += !near(f->out[(t * f->n_head + h) * f->dim + c], all[c] / sum,
                       f->type == DTYPE_F16 ? 1e-4 : 5e-2);
    return wrong;
}

static void fill_cache(struct compute *compute, struct tensor *cache, const float *rows, int n,
                       int each)
{
    int32_t row[ALL_ROWS];
    if (n == 0)
        return;
    for (int i = 0; i < n; i++)
        row[i] = row_of(i * each, each);
    row[n] = -1; // of which nothing is kept
    struct tensor k = tensor_of(compute, DTYPE_F32, n + 1, cache->n_cols, rows),
                  tr = ints_of(compute, row, n + 1), zero = ints_of(compute, NULL, n + 1);
    run_begin(compute);
    op_rope_kv(compute, &(struct rope_kv){.k = &k,
                                          .pos = &zero,
                                          .row = &tr,
                                          .cache_k = cache,
                                          .head_dim = (int32_t)cache->n_cols});
    run_end(compute);
    FREE_ALL(compute, &k, &tr, &zero);
}

static void check_far(struct compute *compute, struct far f)
{
    const int wide = f.n_head * f.dim, n_far = f.count / f.ratio;
    int32_t count[ALL_ROWS];
    int wrong = 0;
    f.words = ALL_ROWS / f.ratio / 32 > 0 ? ALL_ROWS / f.ratio / 32 : 1;
    f.near = floats((f.count + 1) * f.dim), f.far = floats((n_far + 1) * f.dim);
    f.q = floats(f.n * wide), f.sinks = floats(f.n_head), f.out = floats(f.n * wide);
    f.bits = mem_array((size_t)(f.n * f.words), sizeof(*f.bits));
    for (int i = 0; i < f.n * f.words; i++)
        f.bits[i] = i % 3 == 0 ? 0 : (uint32_t)i * 2654435761u;
    for (int t = 0; t < f.n; t++)
        count[t] = f.count - f.n + 1 + t;
    struct tensor near = cache_of(compute, f.type, ALL_ROWS, f.dim),
                  far = cache_of(compute, f.type, ALL_ROWS / f.ratio, f.dim),
                  q = tensor_of(compute, DTYPE_F32, f.n, wide, f.q),
                  out = tensor_of(compute, DTYPE_F32, f.n, wide, NULL),
                  sinks = tensor_of(compute, DTYPE_F32, 1, f.n_head, f.sinks),
                  bits = tensor_of(compute, DTYPE_I32, f.n, f.words, f.bits),
                  tp = tensor_of(compute, DTYPE_I32, 1, N_PAGES, pages),
                  tc = ints_of(compute, count, f.n), table = ints_of(compute, NULL, f.n);
    fill_cache(compute, &near, f.near, f.count, 1);
    fill_cache(compute, &far, f.far, n_far, f.ratio);
    run_begin(compute);
    op_attention_far(compute, &(struct attention_far){.out = &out,
                                                      .q = &q,
                                                      .near = &near,
                                                      .far = &far,
                                                      .near_pages = &tp,
                                                      .far_pages = &tp,
                                                      .table = &table,
                                                      .count = &tc,
                                                      .sinks = &sinks,
                                                      .chosen = f.chosen ? &bits : NULL,
                                                      .n_head = f.n_head,
                                                      .window = f.window,
                                                      .ratio = f.ratio,
                                                      .n_most = f.count,
                                                      .scale = 0.3f});
    run_end(compute);
    tensor_read(compute, f.out, &out, (size_t)(f.n * wide) * sizeof(float));
    for (int t = 0; t < f.n; t++)
        for (int h = 0; h < f.n_head; h++)
            wrong += wrong_head(&f, t, h);
    say(compute, "attention to rows far away", f.count, wrong);
    FREE_ALL(compute, &near, &far, &q, &out, &sinks, &bits, &tp, &tc, &table);
    free(f.near), free(f.far), free(f.q), free(f.sinks), free(f.out), free(f.bits);
}

// ---- choice by weighted heads -------------------------------------------------------------------

enum { DIM = 32, BLOCK = 4, CHOICES = 6 };
static double score_of(const float *q, const float *weight, const float *key, int n_head)
{
    double sum = 0;
    for (int h = 0; h < n_head; h++) {
        double dot = 0;
        for (int c = 0; c < DIM; c++)
            dot += (double)q[h * DIM + c] * (double)key[c];
        sum += dot > 0 ? dot * (double)weight[h] : 0;
    }
    return sum;
}

// As many as may be chosen are, and none of the others scores clearly more than one of these.
static bool is_choice(const uint32_t *bits, const double *scores, int n, int n_most)
{
    double least = DBL_MAX, most = -DBL_MAX;
    int chosen = 0;
    for (int b = 0; b < n; b++) {
        const bool in = bits[b / 32] >> b % 32 & 1;
        chosen += in;
        least = in && scores[b] < least ? scores[b] : least;
        most = !in && scores[b] > most ? scores[b] : most;
    }
    return chosen == (n < n_most ? n : n_most) && (n <= n_most || least > most - 1e-3);
}

static void check_choice(struct compute *compute, int n_head, int count, int n_most)
{
    const int n = count / BLOCK, words = ALL_ROWS / BLOCK / 32;
    float *keys = floats((n + 1) * DIM), *q = floats(CHOICES * n_head * DIM),
          *weight = floats(CHOICES * n_head);
    uint32_t *bits = mem_array((size_t)(CHOICES * words), sizeof(*bits));
    double *scores = mem_array((size_t)n, sizeof(*scores));
    int32_t counts[CHOICES];
    int wrong = 0;
    for (int t = 0; t < CHOICES; t++)
        counts[t] = count;
    struct tensor tk = cache_of(compute, DTYPE_F16, ALL_ROWS / BLOCK, DIM),
                  tq = tensor_of(compute, DTYPE_F32, CHOICES, n_head * DIM, q),
                  tw = tensor_of(compute, DTYPE_F32, CHOICES, n_head, weight),
                  chosen = tensor_of(compute, DTYPE_I32, CHOICES, words, NULL),
                  tp = tensor_of(compute, DTYPE_I32, 1, N_PAGES, pages),
                  tc = ints_of(compute, counts, CHOICES), table = ints_of(compute, NULL, CHOICES);
    fill_cache(compute, &tk, keys, n, BLOCK);
    run_begin(compute);
    op_index_choose(compute, &(struct index_choose){.chosen = &chosen,
                                                    .q = &tq,
                                                    .keys = &tk,
                                                    .pages = &tp,
                                                    .table = &table,
                                                    .count = &tc,
                                                    .weight = &tw,
                                                    .n_head = n_head,
                                                    .block = BLOCK,
                                                    .n_most = n_most});
    run_end(compute);
    tensor_read(compute, bits, &chosen, (size_t)(CHOICES * words) * sizeof(*bits));
    for (int t = 0; t < CHOICES; t++) {
        for (int b = 0; b < n; b++)
            scores[b] = score_of(q + t * n_head * DIM, weight + t * n_head, keys + b * DIM, n_head);
        wrong += !is_choice(bits + t * words, scores, n, n_most);
    }
    say(compute, "choice by weighted heads", n_head, wrong);
    FREE_ALL(compute, &tk, &tq, &tw, &chosen, &tp, &tc, &table);
    free(keys), free(q), free(weight), free(bits), free(scores);
}

// ---- routing ------------------------------------------------------------------------------------

enum { EXPERTS = 20, USED = 5, VOCABULARY = 30 };
static double softplus_root(double x)
{
    return sqrt(log1p(exp(x)));
}

static int wrong_route(const float *logits, const float *bias, const int32_t *id,
                       const float *weight, const int32_t *hashed)
{
    double sum = 0, least = DBL_MAX;
    bool taken[EXPERTS] = {false};
    int wrong = 0;
    for (int i = 0; i < USED; i++) {
        const double score = softplus_root((double)logits[id[i]]);
        wrong += hashed ? id[i] != hashed[i] : taken[id[i]];
        taken[id[i]] = true;
        sum += score;
        least = fmin(least, score + (double)bias[id[i]]);
    }
    for (int e = 0; e < EXPERTS && !hashed; e++)
        wrong += !taken[e] && softplus_root((double)logits[e]) + (double)bias[e] > least + 1e-5;
    for (int i = 0; i < USED; i++)
        wrong += !near(weight[i], 1.5 * softplus_root((double)logits[id[i]]) / sum, 1e-5);
    return wrong;
}

static void check_route(struct compute *compute, bool by_hash)
{
    float *logits = floats(ROWS * EXPERTS), *bias = floats(EXPERTS), weight[ROWS * USED];
    int32_t token[ROWS], table[VOCABULARY * USED], id[ROWS * USED];
    int wrong = 0;
    for (int i = 0; i < ROWS * EXPERTS; i++)
        logits[i] = logits[i] * 12 - (i % 7 == 0 ? 20 : 0); // far to both sides of 0
    for (int i = 0; i < VOCABULARY * USED; i++)
        table[i] = i * 7 % EXPERTS;
    for (int t = 0; t < ROWS; t++)
        token[t] = t * 11 % VOCABULARY;
    struct tensor tl = tensor_of(compute, DTYPE_F32, ROWS, EXPERTS, logits),
                  tb = tensor_of(compute, DTYPE_F32, 1, EXPERTS, bias),
                  ti = tensor_of(compute, DTYPE_I32, ROWS, USED, NULL),
                  tw = tensor_of(compute, DTYPE_F32, ROWS, USED, NULL),
                  tt = tensor_of(compute, DTYPE_I32, VOCABULARY, USED, table),
                  tok = ints_of(compute, token, ROWS);
    const struct route route = {.score = ROUTE_SOFTPLUS,
                                .normalise = true,
                                .scale = 1.5f,
                                .sum_least = 0x1p-14f,
                                .bias = by_hash ? NULL : &tb,
                                .hashed = by_hash ? &tt : NULL,
                                .token = &tok};
    run_begin(compute);
    op_route(compute, &ti, &tw, &tl, &route);
    run_end(compute);
    tensor_read(compute, id, &ti, sizeof(id));
    tensor_read(compute, weight, &tw, sizeof(weight));
    for (int t = 0; t < ROWS; t++)
        wrong += wrong_route(logits + t * EXPERTS, bias, id + t * USED, weight + t * USED,
                             by_hash ? table + token[t] * USED : NULL);
    say(compute, by_hash ? "routing by the token" : "routing by softplus", USED, wrong);
    FREE_ALL(compute, &tl, &tb, &ti, &tw, &tt, &tok);
    free(logits), free(bias);
}

// Turned, and turned back by as much: as it was.
static void check_back(struct compute *compute)
{
    enum { HEADS = 3, HEAD = 24, N_ROT = 8, WIDE = HEADS * HEAD };
    float *x = floats(ROWS * WIDE), *got = floats(ROWS * WIDE);
    int32_t pos[ROWS], turns[N_ROT], wrong = 0, same = 0;
    struct rope rope = {.pairs = ROPE_NORM, .n_rot = N_ROT, .first = HEAD - N_ROT};
    for (int t = 0; t < ROWS; t++)
        pos[t] = t * 31 + 1;
    rope_turns(turns, &rope.magnitude, N_ROT, &(struct rope_scaling){1e4f, 1});
    struct tensor q = tensor_of(compute, DTYPE_F32, ROWS, WIDE, x),
                  tp = ints_of(compute, pos, ROWS), tt = ints_of(compute, turns, N_ROT);
    rope.turns = &tt;
    for (int back = 0; back < 2; back++) {
        rope.back = back;
        run_begin(compute);
        op_rope_kv(compute, &(struct rope_kv){.q = &q, .pos = &tp, .head_dim = HEAD, .rope = rope});
        run_end(compute);
        tensor_read(compute, got, &q, (size_t)(ROWS * WIDE) * sizeof(float));
        for (int i = 0; i < ROWS * WIDE; i++) {
            same += !back && got[i] == x[i];
            wrong += back && !near(got[i], x[i], 1e-5);
        }
    }
    CHECK(same >= ROWS * HEADS * (HEAD - N_ROT) && same < ROWS * HEADS * (HEAD - N_ROT) + 9);
    say(compute, "turned back", HEAD, wrong);
    FREE_ALL(compute, &q, &tp, &tt);
    free(x), free(got);
}

static void check_all(struct compute *compute)
{
    check_streams(compute, 4, 100, 20);
    check_streams(compute, 4, 64, 1);
    check_streams(compute, 2, 32, 3);
    check_blocks(compute, 4, 32, true, 301);
    check_blocks(compute, 4, 72, true, 4);
    check_blocks(compute, 128, 40, false, 130);
    check_far(compute, (struct far){4, 32, 12, 4, 300, 5, DTYPE_F16, true});
    check_far(compute, (struct far){3, 64, 128, 4, 500, 40, DTYPE_F16, true});
    check_far(compute, (struct far){8, 96, 100, 128, 600, 3, DTYPE_F16, false});
    check_far(compute, (struct far){12, 32, 20, 128, 100, 2, DTYPE_F16, false});
    check_far(compute, (struct far){4, 64, 12, 4, 3, 3, DTYPE_F16, false});
    check_far(compute, (struct far){10, 64, 30, 4, 257, 9, DTYPE_Q8_0, true});
    check_choice(compute, 4, 530, 7);
    check_choice(compute, 64, 530, 40);
    check_choice(compute, 15, 530, 1);
    check_choice(compute, 8, 30, 9);
    check_route(compute, false);
    check_route(compute, true);
    check_back(compute);
}

int main(void)
{
    on_devices(3, check_all);
    return check_done("compute_far");
}
