// compute_streams.c - several residual streams in a row, and which blocks of positions attention
// sees, against their definitions (compute.h) in double.
//
// What is chosen is judged by the keys that the device made, read back: as many blocks as there may
// be, none of which scores less than one that was left out, equal ones from the front, and the
// block that is not whole.
#include "compute_check.h"

enum { ROWS = 23, N_STREAM = 4 };

static double sigmoid_of(double x)
{
    return 1 / (1 + exp(-x));
}

static float *floats(int64_t n)
{
    float *x = mem_array((size_t)n, sizeof(*x));
    random_floats(x, n);
    return x;
}

static void say(struct compute *compute, const char *what, int n, int wrong)
{
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s: %s of %d: %d wrong\n", compute_info(compute)->device, what, n,
                wrong);
}

// ---- streams ------------------------------------------------------------------------------------

struct streams { // [ROWS][N_STREAM * n] three times, [ROWS][n], [ROWS][N_STREAM]
    int n;
    float *x, *z, *y, *weight, *got;
    struct tensor tx, tz, ty, tweight, out, small;
};

static struct streams streams_of(struct compute *compute, int n)
{
    const int64_t all = (int64_t)ROWS * N_STREAM * n;
    struct streams s = {n, floats(all), floats(all), floats(ROWS * n), floats(ROWS * N_STREAM)};
    s.got = mem_array((size_t)all, sizeof(float));
    s.tx = tensor_of(compute, DTYPE_F32, ROWS, N_STREAM * n, s.x);
    s.tz = tensor_of(compute, DTYPE_F32, ROWS, N_STREAM * n, s.z);
    s.ty = tensor_of(compute, DTYPE_F32, ROWS, n, s.y);
    s.tweight = tensor_of(compute, DTYPE_F32, ROWS, N_STREAM, s.weight);
    s.out = tensor_of(compute, DTYPE_F32, ROWS, N_STREAM * n, NULL);
    s.small = tensor_of(compute, DTYPE_F32, ROWS, n, NULL);
    return s;
}

static void streams_free(struct compute *compute, struct streams *s)
{
    FREE_ALL(compute, &s->tx, &s->tz, &s->ty, &s->tweight, &s->out, &s->small);
    free(s->x), free(s->z), free(s->y), free(s->weight), free(s->got);
}

static bool near(double got, double want, double size)
{
    return fabs(got - want) <= 2e-5 * size + 1e-6;
}

static void check_mix_and_add(struct compute *compute, struct streams *s)
{
    const int n = s->n;
    int mixed = 0, added = 0;
    run_begin(compute);
    op_streams_mix(compute, &s->small, &s->tx, &s->tz, N_STREAM);
    op_streams_add(compute, &s->out, &s->tx, &s->ty, &s->tweight);
    run_end(compute);
    tensor_read(compute, s->got, &s->small, (size_t)(ROWS * n) * sizeof(float));
    for (int t = 0; t < ROWS; t++)
        for (int i = 0; i < n; i++) {
            double want = 0;
            for (int k = 0; k < N_STREAM; k++) {
                const int at = (t * N_STREAM + k) * n + i;
                want += s->x[at] * sigmoid_of(s->z[at]) / N_STREAM;
            }
            mixed += !near(s->got[t * n + i], want, 1);
        }
    tensor_read(compute, s->got, &s->out, (size_t)(ROWS * N_STREAM * n) * sizeof(float));
    for (int i = 0; i < ROWS * N_STREAM * n; i++) {
        const double want =
            s->x[i] + s->y[i / (N_STREAM * n) * n + i % n] * 2 * sigmoid_of(s->weight[i / n]);
        added += !near(s->got[i], want, 1 + fabs(want));
    }
    say(compute, "mixture", n, mixed);
    say(compute, "what is added", n, added);
}

static void check_gate(struct compute *compute, struct streams *s)
{
    const int n = s->n;
    int wrong = 0;
    memset(s->x, 0, (size_t)n * sizeof(float)); // of row 0 the first stream: below 1e-6
    tensor_write(compute, &s->tx, s->x, (size_t)(ROWS * N_STREAM * n) * sizeof(float));
    run_begin(compute);
    op_streams_gate(compute, &s->out, &s->ty, &s->tx, &s->tz);
    run_end(compute);
    tensor_read(compute, s->got, &s->out, (size_t)(ROWS * N_STREAM * n) * sizeof(float));
    for (int k = 0; k < ROWS * N_STREAM; k++) {
        double d = 0;
        for (int i = 0; i < n; i++)
            d += (double)s->x[k * n + i] * s->z[k * n + i] / sqrt(n);
        const double root = sqrt(fmax(fabs(d), 1e-6)), gate = sigmoid_of(d < 0 ? -root : root);
        for (int i = 0; i < n; i++)
            wrong += !near(s->got[k * n + i], s->y[k / N_STREAM * n + i] * gate, 10);
    }
    say(compute, "gate", n, wrong);
}

static void check_group_norm(struct compute *compute, struct streams *s)
{
    const int n = s->n;
    float *weight = floats(N_STREAM * n);
    struct tensor tw = tensor_of(compute, DTYPE_F32, 1, N_STREAM * n, weight);
    int wrong = 0;
    run_begin(compute);
    op_group_norm(compute, &s->out, &s->tz, &tw, N_STREAM, 1e-6f);
    run_end(compute);
    tensor_read(compute, s->got, &s->out, (size_t)(ROWS * N_STREAM * n) * sizeof(float));
    for (int k = 0; k < ROWS * N_STREAM; k++) {
        double squares = 0;
        for (int i = 0; i < n; i++)
            squares += (double)s->z[k * n + i] * s->z[k * n + i];
        for (int i = 0; i < n; i++) {
            const double want =
                s->z[k * n + i] / sqrt(squares / n + 1e-6) * (double)weight[k % N_STREAM * n + i];
            wrong += !near(s->got[k * n + i], want, 1 + fabs(want));
        }
    }
    say(compute, "norm of each group", n, wrong);
    FREE_ALL(compute, &tw);
    free(weight);
}

// ---- blocks -------------------------------------------------------------------------------------

enum { N_PAGES = 3, POSITIONS = 600, ALL_ROWS = N_PAGES * PAGE_ROWS };
static const int32_t pages[N_PAGES] = {2, 0, 1};

struct index { // of one sequence of POSITIONS tokens
    int dim, n_head, n_rot, block, n_most;
    enum rope_pairs pairs;
    float *x, *q, *norm; // [POSITIONS][dim], [POSITIONS][n_head * dim], [dim]
    int32_t turns[64];
    float magnitude;
    struct tensor raw, keys, chosen, tpages;
    float *made;     // [ALL_ROWS / block][dim]: keys, read back
    uint32_t *words; // [POSITIONS][n_words]
    int n_words;
};

static int32_t row_of(int pos)
{
    return pages[pos / PAGE_ROWS] * PAGE_ROWS + pos % PAGE_ROWS;
}

// The key of block b, in double; size: what it is made of.
static void key_of(const struct index *x, int b, double *out, double *size)
{
    double squares = 0;
    for (int i = 0; i < x->dim; i++) {
        out[i] = size[i] = 0;
        for (int j = 0; j < x->block; j++) {
            const double part = (double)x->x[(b * x->block + j) * x->dim + i] / x->block;
            out[i] += part;
            size[i] += fabs(part);
        }
        squares += out[i] * out[i];
    }
    for (int i = 0; i < x->dim; i++) {
        const double by = (double)x->norm[i] / sqrt(squares / x->dim + 1e-6);
        out[i] *= by;
        size[i] *= fabs(by);
    }
    for (int i = 0; i < x->n_rot / 2; i++) {
        const double angle = b * x->block * pow(1e4, -2.0 * i / x->n_rot);
        const int u = x->pairs == ROPE_NORM ? 2 * i : i,
                  v = x->pairs == ROPE_NORM ? 2 * i + 1 : i + x->n_rot / 2;
        const double a = out[u], c = out[v];
        out[u] = a * cos(angle) - c * sin(angle);
        out[v] = a * sin(angle) + c * cos(angle);
        size[u] = size[v] = size[u] + size[v];
    }
}

// Positions from .. end - 1 of the sequence, in one batch.
static void run_index(struct compute *compute, struct index *x, int from, int end)
{
    const int n = end - from;
    int32_t pos[POSITIONS], row[POSITIONS], count[POSITIONS];
    for (int t = 0; t < n; t++)
        pos[t] = from + t, row[t] = row_of(from + t), count[t] = from + t + 1;
    struct tensor tx = tensor_of(compute, DTYPE_F32, n, x->dim, x->x + from * x->dim),
                  tq = tensor_of(compute, DTYPE_F32, n, x->n_head * x->dim,
                                 x->q + from * x->n_head * x->dim),
                  norm = tensor_of(compute, DTYPE_F32, 1, x->dim, x->norm),
                  turns = tensor_of(compute, DTYPE_I32, 1, x->n_rot, x->turns),
                  tp = tensor_of(compute, DTYPE_I32, 1, n, pos),
                  tr = tensor_of(compute, DTYPE_I32, 1, n, row),
                  tc = tensor_of(compute, DTYPE_I32, 1, n, count),
                  table = tensor_of(compute, DTYPE_I32, 1, n, NULL);
    struct tensor to = tensor_rows(&x->chosen, from, n);
    run_begin(compute);
    op_index_keys(compute, &(struct index_keys){.x = &tx,
                                                .raw = &x->raw,
                                                .keys = &x->keys,
                                                .norm = &norm,
                                                .pos = &tp,
                                                .row = &tr,
                                                .rope = {x->pairs, x->n_rot, &turns, x->magnitude},
                                                .block = x->block,
                                                .eps = 1e-6f});
    op_index_choose(compute, &(struct index_choose){.chosen = &to,
                                                    .q = &tq,
                                                    .keys = &x->keys,
                                                    .pages = &x->tpages,
                                                    .table = &table,
                                                    .count = &tc,
                                                    .n_head = x->n_head,
                                                    .block = x->block,
                                                    .n_most = x->n_most});
    run_end(compute);
    FREE_ALL(compute, &tx, &tq, &norm, &turns, &tp, &tr, &tc, &table);
}

static const float *made_key(const struct index *x, int b)
{
    return x->made + (int64_t)(row_of(b * x->block) / x->block) * x->dim;
}

static void check_keys(struct compute *compute, struct index *x)
{
    const int n = ALL_ROWS / x->block;
    uint16_t *halves = mem_array((size_t)(n * x->dim), sizeof(*halves));
    double key[INDEX_DIM_MOST], size[INDEX_DIM_MOST];
    int wrong = 0;
    tensor_read(compute, halves, &x->keys, (size_t)(n * x->dim) * sizeof(*halves));
    dtype_decode(DTYPE_F16, x->made, halves, (int64_t)n * x->dim);
    for (int b = 0; b < POSITIONS / x->block; b++) {
        key_of(x, b, key, size);
        for (int i = 0; i < x->dim; i++) // half floats of it, then a half float: 2^-11 each
            wrong += !(fabs(made_key(x, b)[i] - key[i]) <= 1e-3 * (size[i] + fabs(key[i])) + 1e-6);
    }
    say(compute, "keys of blocks", x->block, wrong);
    free(halves);
}

static double score_of(const struct index *x, int pos, int b)
{
    double sum = 0;
    for (int h = 0; h < x->n_head; h++) {
        double dot = 0;
        for (int i = 0; i < x->dim; i++)
            dot += (double)x->q[(pos * x->n_head + h) * x->dim + i] * made_key(x, b)[i];
        sum += dot > 0 ? dot : 0;
    }
    return sum;
}

static int wrong_choice(const struct index *x, int pos)
{
    const int n = (pos + 1) / x->block, wanted = n < x->n_most ? n : x->n_most;
    const uint32_t *words = x->words + pos * x->n_words;
    double least = HUGE_VAL, most = -1;
    int n_chosen = 0, gap = -1, wrong = 0;
    for (int b = 0; b < n; b++) {
        const bool is = words[b / 32] >> b % 32 & 1;
        const double score = score_of(x, pos, b);
        n_chosen += is;
        least = is && score < least ? score : least;
        most = !is && score > most ? score : most;
        wrong += is && score == 0 && gap >= 0; // equal ones from the front
        gap = !is && score == 0 ? b : gap;
    }
    wrong += n_chosen != wanted || most > least * (1 + 1e-5) + 1e-5;
    return wrong + ((pos + 1) % x->block != 0 && !(words[n / 32] >> n % 32 & 1));
}

static void check_index(struct compute *compute, struct index x)
{
    static const int cuts[] = {0, 1, 2, 3, 7, 40, 41, 250, 300, 301, POSITIONS};
    x.n_words = N_PAGES * PAGE_ROWS / x.block / 32;
    x.x = floats((int64_t)POSITIONS * x.dim);
    x.q = floats((int64_t)POSITIONS * x.n_head * x.dim);
    x.norm = floats(x.dim);
    memset(x.q + (int64_t)500 * x.n_head * x.dim, 0, (size_t)(x.n_head * x.dim) * sizeof(float));
    rope_turns(x.turns, &x.magnitude, x.n_rot, &(struct rope_scaling){1e4f, 1});
    x.raw = tensor_of(compute, DTYPE_F16, ALL_ROWS, x.dim, NULL);
    x.keys = tensor_of(compute, DTYPE_F16, ALL_ROWS / x.block, x.dim, NULL);
    x.chosen = tensor_of(compute, DTYPE_I32, POSITIONS, x.n_words, NULL);
    x.tpages = tensor_of(compute, DTYPE_I32, 1, N_PAGES, pages);
    x.made = mem_array((size_t)(ALL_ROWS / x.block * x.dim), sizeof(float));
    x.words = mem_array((size_t)(POSITIONS * x.n_words), sizeof(*x.words));
    int wrong = 0;
    for (size_t i = 0; i + 1 < COUNT_OF(cuts); i++)
        run_index(compute, &x, cuts[i], cuts[i + 1]);
    check_keys(compute, &x);
    tensor_read(compute, x.words, &x.chosen, (size_t)(POSITIONS * x.n_words) * sizeof(*x.words));
    for (int pos = 0; pos < POSITIONS; pos++)
        wrong += wrong_choice(&x, pos) != 0;
    say(compute, "choices in blocks", x.block, wrong);
    FREE_ALL(compute, &x.raw, &x.keys, &x.chosen, &x.tpages);
    free(x.x), free(x.q), free(x.norm), free(x.made), free(x.words);
}

// ---- attention that sees what is chosen ---------------------------------------------------------

enum { HEADS = 4, HEADS_KV = 2, DIM = 32, KV = HEADS_KV * DIM };

// Half floats keep them: whole numbers of sixteenths.
static float *coarse(int64_t n)
{
    float *x = floats(n);
    for (int64_t i = 0; i < n; i++)
        x[i] = rintf(x[i] * 16) / 16;
    return x;
}

static int wrong_rows(const float *q, const float *k, const float *v, const float *out, int pos,
                      const uint32_t *words, int block)
{
    int wrong = 0;
    for (int h = 0; h < HEADS; h++) {
        const int at = h / (HEADS / HEADS_KV) * DIM;
        double sum = 0, want[DIM] = {0};
        for (int p = 0; p <= pos; p++) {
            double dot = 0;
            for (int i = 0; i < DIM; i++)
                dot += (double)q[h * DIM + i] * k[p * KV + at + i];
            const int b = p / block;
            const double weight = words[b / 32] >> b % 32 & 1 ? exp(dot * 0.2) : 0;
            sum += weight;
            for (int i = 0; i < DIM; i++)
                want[i] += weight * v[p * KV + at + i];
        }
        for (int i = 0; i < DIM; i++)
            wrong += !(fabs(out[h * DIM + i] - want[i] / sum) <= 2e-4);
    }
    return wrong;
}

static void check_attention(struct compute *compute, int from, int n, int block)
{
    const int n_words = N_PAGES * PAGE_ROWS / block / 32, total = from + n;
    float *k = coarse((int64_t)total * KV), *v = coarse((int64_t)total * KV),
          *q = floats((int64_t)n * HEADS * DIM), *out = floats((int64_t)n * HEADS * DIM);
    uint32_t *words = mem_array((size_t)(n * n_words), sizeof(*words));
    int32_t row[POSITIONS], count[POSITIONS], wrong = 0;
    for (int p = 0; p < total; p++)
        row[p] = row_of(p);
    for (int t = 0; t < n; t++) {
        count[t] = from + t + 1;
        for (int w = 0; w < n_words; w++) // a few; in between whole tiles that nobody sees
            words[t * n_words + w] = w % 3 == 1 ? 0 : random_u32() & random_u32();
        words[t * n_words + (from + t) / block / 32] |= 1u << (from + t) / block % 32;
    }
    struct tensor tk = tensor_of(compute, DTYPE_F32, total, KV, k),
                  tv = tensor_of(compute, DTYPE_F32, total, KV, v),
                  tq = tensor_of(compute, DTYPE_F32, n, HEADS * DIM, q),
                  none = tensor_of(compute, DTYPE_F32, total, DIM, NULL),
                  to = tensor_of(compute, DTYPE_F32, n, HEADS * DIM, NULL),
                  tw = tensor_of(compute, DTYPE_I32, n, n_words, words),
                  tr = tensor_of(compute, DTYPE_I32, 1, total, row),
                  tc = tensor_of(compute, DTYPE_I32, 1, n, count),
                  table = tensor_of(compute, DTYPE_I32, 1, total, NULL),
                  tp = tensor_of(compute, DTYPE_I32, 1, N_PAGES, pages),
                  ck = cache_of(compute, DTYPE_F16, ALL_ROWS, KV),
                  cv = cache_of(compute, DTYPE_F16, ALL_ROWS, KV);
    run_begin(compute);
    op_rope_kv(compute, &(struct rope_kv){.q = &none,
                                          .k = &tk,
                                          .v = &tv,
                                          .pos = &table,
                                          .row = &tr,
                                          .cache_k = &ck,
                                          .cache_v = &cv,
                                          .head_dim = DIM});
    op_attention(compute, &to, &tq, &ck, &cv, &tp, &table, &tc,
                 &(struct attention){.n_head = HEADS,
                                     .n_head_kv = HEADS_KV,
                                     .head_dim = DIM,
                                     .scale = 0.2f,
                                     .chosen = &tw,
                                     .block = block});
    run_end(compute);
    tensor_read(compute, out, &to, (size_t)(n * HEADS * DIM) * sizeof(float));
    for (int t = 0; t < n; t++)
        wrong += wrong_rows(q + t * HEADS * DIM, k, v, out + t * HEADS * DIM, from + t,
                            words + t * n_words, block);
    say(compute, "attention to blocks", block, wrong);
    FREE_ALL(compute, &tk, &tv, &tq, &none, &to, &tw, &tr, &tc, &table, &tp, &ck, &cv);
    free(k), free(v), free(q), free(out), free(words);
}

static void check_all(struct compute *compute)
{
    static const int widths[] = {32, 100, 640};
    for (size_t i = 0; i < COUNT_OF(widths); i++) {
        struct streams s = streams_of(compute, widths[i]);
        check_mix_and_add(compute, &s);
        check_group_norm(compute, &s);
        check_gate(compute, &s);
        streams_free(compute, &s);
    }
    check_index(compute, (struct index){32, 4, 8, 4, 5, ROPE_NEOX});
    check_index(compute, (struct index){128, 4, 64, 4, 64, ROPE_NEOX});
    check_index(compute, (struct index){40, 1, 40, 2, 3, ROPE_NORM});
    check_index(compute, (struct index){64, 8, 16, 8, 1, ROPE_NEOX});
    check_attention(compute, 0, 1, 4);
    check_attention(compute, 599, 1, 4);
    check_attention(compute, 300, 3, 2);
    check_attention(compute, 0, 70, 4);
    check_attention(compute, 400, 100, 8);
}

int main(void)
{
    on_devices(3, check_all);
    return check_done("compute_streams");
}
